from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.delivery.frame import Frame
from marketstream.wire import messages, sse
from marketstream.wire.sse import SSE, UNCHUNKED, parse_cursor
from tests.support.builders import JSON, best_price

SYMBOLS = st.text("ABCXYZ0189.-_/=^:", min_size=1, max_size=32)


def read(stream: bytes) -> list[dict[str, str]]:
    """The events in a stream, by the rules of the HTML standard, written down independently."""
    events: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    for line in stream.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line:
            if "data" in fields:
                events.append(fields)
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
    return events


def unchunk(data: bytes) -> bytes:
    """The body in some chunks, by the rules of RFC 9112."""
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        end = int(size, 16)
        body += rest[:end]
        assert rest[end : end + 2] == b"\r\n"
        data = rest[end + 2 :]
    return body


def stamped(symbol: str, at_ms: int, cursor: int) -> Frame:
    """A price as it comes from the bus."""
    frame = messages.price(best_price(symbol, 1.5, at_ms))
    frame.cursor = cursor
    return frame


@given(SYMBOLS, st.integers(0, 10**15), st.integers(1, 10**18))
def test_the_cursor_of_an_id_is_read_back(symbol: str, at_ms: int, cursor: int) -> None:
    (found,) = read(UNCHUNKED.render([stamped(symbol, at_ms, cursor)]))
    assert found["id"] == f"{symbol}-{at_ms}@{cursor}"
    assert parse_cursor(found["id"]) == cursor


@given(SYMBOLS, st.integers(0, 10**15))
def test_an_id_without_a_cursor_asks_for_everything(symbol: str, at_ms: int) -> None:
    assert parse_cursor(f"{symbol}-{at_ms}") is None


@given(st.text() | st.text("A-@0123456789٣²").map(lambda text: f"A-1@{text}"))
def test_no_id_makes_the_reader_fail(text: str) -> None:
    cursor = parse_cursor(text)
    assert cursor is None or cursor >= 0


@given(st.lists(st.tuples(st.text(min_size=1, max_size=9), st.lists(JSON, max_size=3)), max_size=4))
def test_any_event_is_one_event_for_the_reader(sent: list[tuple[str, list[Any]]]) -> None:
    """Neither a name nor a payload can end an event early or begin another."""
    frames = [messages.custom(name, arguments) for name, arguments in sent]
    found = read(unchunk(SSE.render([sse.COMMENT, *frames])))
    assert len(found) == len(frames)
    for fields, frame, (_, arguments) in zip(found, frames, sent, strict=True):
        body = frame.body.decode()
        assert fields["data"] == (body if len(arguments) == 1 else f"[{body}]")
        assert set(fields) == {"event", "data"}
