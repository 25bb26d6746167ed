from dataclasses import replace
from pathlib import Path
from struct import pack

import pytest

from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.errors import InvalidMessageError
from marketstream.wire import envelope, messages
from tests.support.builders import best_price

GOLDEN = Path(__file__).parents[2] / "golden" / "bus"
CURSOR = 1_700_000_000_000_001


def frames() -> list[Frame]:
    """One of each kind that travels."""
    return [
        messages.price(best_price("EUR/USD", 1.5, 1_699_999_999_999)),
        messages.price(best_price("AAPL", 2, 7), "acme ö", frozenset()),
        messages.price(best_price("AAPL", 3, 8), None, frozenset({"rival", "acme"})),
        messages.status(Status("AAPL", "stale", "feed", 9)),
        messages.channel_update("indices", {"up": True}, 10),
        messages.custom("own", [1, "two"]),
    ]


def batch(entries: list[Frame], first: int = CURSOR, previous: int = 5) -> bytes:
    """A message as the script in Redis makes it."""
    head = pack(">BQQI", envelope.VERSION, first, previous, len(entries))
    return head + b"".join(map(envelope.render, entries))


def shown(frame: Frame) -> tuple[object, ...]:
    """All of a frame that travels, but its cursor."""
    names = ("event", "body", "key", "symbol", "tenant", "at_ms", "arity", "withheld", "trade")
    return tuple(getattr(frame, name) for name in names)


class Everything:
    """Wants all."""

    def __contains__(self, name: object) -> bool:
        return True


def test_a_batch_is_written_as_it_was_recorded() -> None:
    """Processes of two versions share one Redis during an upgrade."""
    assert batch(frames()).hex(" ", 16) == (GOLDEN / "batch.hex").read_text()


def test_a_recorded_batch_is_read() -> None:
    read = envelope.parse_batch(bytes.fromhex((GOLDEN / "batch.hex").read_text()), Everything())
    assert [shown(frame) for frame in read.frames] == [shown(frame) for frame in frames()]
    assert [frame.cursor for frame in read.frames] == list(range(CURSOR, CURSOR + 6))
    assert (read.first, read.previous, read.last) == (CURSOR, 5, CURSOR + 5)


def test_only_what_is_wanted_is_read_and_keeps_its_cursor() -> None:
    read = envelope.parse_batch(batch(frames()), {"AAPL", "indices"})
    assert [frame.cursor - CURSOR for frame in read.frames] == [1, 2, 3, 4]


def test_a_last_value_is_read_with_its_cursor() -> None:
    for frame in frames():
        read = envelope.parse_value(pack(">Q", CURSOR) + envelope.render(frame))
        assert (shown(read), read.cursor) == (shown(frame), CURSOR)


def test_no_tenant_and_a_tenant_without_a_name_are_two_things() -> None:
    for tenant in (None, ""):
        frame = messages.price(best_price("A"), tenant)
        assert envelope.parse_batch(batch([frame]), Everything()).frames[0].tenant == tenant


def test_the_last_trade_travels_beside_a_price() -> None:
    """What is recorded has none, so what was written before there were trades is still read."""
    for volume in (None, 0.0, 81_000.0):
        frame = messages.price(
            replace(best_price("A"), last=150.25, volume=volume), "acme", frozenset({"rival"})
        )
        read = envelope.parse_batch(batch([frame]), Everything()).frames[0]
        assert (read.trade, shown(read)) == ((150.25, volume), shown(frame))


def test_a_batch_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(InvalidMessageError, match="version 9"):
        envelope.parse_batch(b"\x09" + batch(frames())[1:], Everything())


def test_a_name_that_is_too_long_cannot_travel() -> None:
    with pytest.raises(InvalidMessageError, match="cannot travel"):
        envelope.render(messages.price(best_price("A"), "x" * 70_000))


def test_a_message_with_anything_behind_it_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="size"):
        envelope.parse_batch(batch(frames()) + b"x", Everything())
    with pytest.raises(InvalidMessageError, match="size"):
        envelope.parse_value(pack(">Q", 1) + envelope.render(frames()[0]) + b"x")
