import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketstream.core.delivery.commands import Command, Subscribe, Unsubscribe
from marketstream.core.delivery.frame import Frame
from marketstream.errors import InvalidMessageError, UnknownEventError
from marketstream.wire import messages, plain
from marketstream.wire.plain.action import ACTION
from marketstream.wire.plain.typed import TYPED
from tests.support.builders import HOSTILE, JSON, NUMBERS

NAMES = (
    "subscribe",
    "unsubscribe",
    "subscriptions",
    "get_connection_state",
    "get_quote",
    "authenticate",
    "ping",
)
FIELDS = (
    "symbols",
    "channels",
    "maxRate",
    "mode",
    "high_frequency",
    "data_types",
    "request_id",
    "token",
    "symbol",
)
LIKELY = JSON | st.sampled_from([["A"], [], True, "every", "stock_quotes", "market_data", ["price"], "A", 5])
PAYLOADS = st.dictionaries(st.sampled_from([*FIELDS, "type"]), LIKELY, max_size=5) | JSON
MESSAGES: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        lambda name, more: {**more, "action": name},
        st.sampled_from(NAMES) | JSON,
        st.dictionaries(st.sampled_from(FIELDS), LIKELY, max_size=5),
    ),
    st.builds(lambda name, data: {"type": name, "data": data}, st.sampled_from(NAMES) | JSON, PAYLOADS),
    JSON,
)
EVENTS = st.sampled_from(["price", "status", "error", "heartbeat", "market_update", "lagged", "news"])
LANGUAGES = pytest.mark.parametrize("language", [ACTION, TYPED], ids=lambda language: language.dialect.name)


def read(data: bytes) -> Command | None:
    """The command in some bytes; None when they were refused as they should be."""
    with suppress(InvalidMessageError, UnknownEventError):
        message, fault = plain.read(data)
        language = plain.recognise(message, fault)
        mark = language.mark(message)
        assert json.loads(language.refuse(mark, InvalidMessageError("no")))
        return None if fault else language.parse(message)
    return None


@given(MESSAGES)
def test_no_message_makes_the_reader_fail_in_any_other_way(message: Any) -> None:
    command = read(json.dumps(message).encode())
    if isinstance(command, Subscribe | Unsubscribe):
        assert all(isinstance(name, str) for name in (*command.symbols, *(command.channels or ())))


@given(st.binary(max_size=60))
@example(b'{"action":null}')
@example(b'{"type":null}')
def test_no_bytes_make_the_reader_fail_in_any_other_way(data: bytes) -> None:
    read(data)


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize("place", [b"%s", b'{"action":%s}', b'{"type":"subscribe","data":%s}', b'{"type":%s}',
                                   b'{"action":"subscribe","symbols":["A"],"request_id":%s}'])  # fmt: skip
def test_no_json_however_hostile_makes_the_reader_fail_in_any_other_way(body: bytes, place: bytes) -> None:
    read(place.replace(b"%s", body))


@LANGUAGES
@given(EVENTS, st.lists(JSON, max_size=2))
def test_any_event_of_a_back_end_becomes_json(language: Any, name: str, arguments: list[Any]) -> None:
    """It is made in the middle of everybody's flush, so it must not fail."""
    shown(language.dialect.wrap(messages.custom(name, arguments)))


BODIES = JSON | st.fixed_dictionaries({"bestBid": JSON, "bestAsk": JSON, "midPrice": JSON})
FLOATS = st.floats(allow_nan=False)
TRADES = st.none() | st.tuples(FLOATS, st.none() | FLOATS)


@LANGUAGES
@given(EVENTS, BODIES, NUMBERS, TRADES)
def test_any_price_becomes_json(language: Any, name: str, body: Any, at_ms: float, trade: Any) -> None:
    """Also of a process that writes prices in another way."""
    data = json.dumps(body).encode()
    shown(language.dialect.wrap(Frame(name, data, key="A", symbol="A", at_ms=int(at_ms), trade=trade)))


def shown(data: bytes) -> Any:
    """The JSON of a frame; refuses what is none."""
    start = {126: 4, 127: 10}.get(data[1], 2)
    message = json.loads(data[start:])
    assert isinstance(message["type"], str)
    return message
