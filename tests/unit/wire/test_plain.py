import json
from dataclasses import replace
from typing import Any

import pytest

from marketstream.core.delivery.commands import (
    Authenticate,
    Command,
    GetQuote,
    ListSubscriptions,
    Ping,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import BestPrice, Side
from marketstream.errors import InvalidMessageError, MarketstreamError, UnknownEventError
from marketstream.wire import messages, plain
from marketstream.wire.plain.action import ACTION
from marketstream.wire.plain.language import Language, iso
from marketstream.wire.plain.typed import TYPED
from tests.support.builders import AT_MS, best_price

DATE = "2023-11-14T22:13:20.000+00:00"


def pushed(language: Language, frame: Frame) -> Any:
    """What a client reads of a frame."""
    data = language.dialect.render([frame])
    assert data[0] == 0x81
    return json.loads(data[2:] if data[1] < 126 else data[4:])


# Calls


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"action": "subscribe", "symbols": ["A", "b"]}, Subscribe(("A", "b"))),
        (
            {"action": "subscribe", "symbols": ["A"], "high_frequency": True, "maxRate": 2},
            Subscribe(("A",), "every", 2),
        ),
        ({"action": "subscribe", "symbols": ["A"], "high_frequency": False}, Subscribe(("A",))),
        ({"action": "subscribe", "symbols": ["A"], "data_types": ["volume"]}, Subscribe(("A",))),
        ({"action": "subscribe", "channels": ["indices"]}, Subscribe((), channels=("indices",))),
        ({"action": "unsubscribe", "symbols": ["A"]}, Unsubscribe(("A",))),
        ({"action": "get_quote", "symbol": "A"}, GetQuote("A")),
        ({"action": "get_connection_state"}, ListSubscriptions()),
        ({"action": "authenticate", "token": "t"}, Authenticate("t")),
        ({"action": "ping", "request_id": 1, "type": "more", "unknown": {}}, Ping()),
    ],
)
def test_an_action_is_read(message: dict[str, Any], command: Command) -> None:
    assert plain.recognise(message) is ACTION
    assert ACTION.parse(message) == command


@pytest.mark.parametrize(
    ("name", "data", "command"),
    [
        ("subscribe", {"type": "stock_quotes", "symbols": ["A"]}, Subscribe(("A",))),
        (
            "subscribe",
            {"type": "stock_quotes", "symbols": ["A"], "mode": "every", "maxRate": 3},
            Subscribe(("A",), "every", 3),
        ),
        (
            "subscribe",
            {"type": "market_data", "channels": ["indices", "movers"]},
            Subscribe((), channels=("indices", "movers")),
        ),
        ("unsubscribe", {"type": "stock_quotes", "symbols": ["A"]}, Unsubscribe(("A",))),
        ("unsubscribe", {"type": "market_data", "channels": ["sectors"]}, Unsubscribe((), ("sectors",))),
        ("subscriptions", {}, ListSubscriptions()),
        ("get_quote", {"symbol": "A"}, GetQuote("A")),
        ("authenticate", {"token": "t"}, Authenticate("t")),
        ("ping", None, Ping()),
    ],
)
def test_a_type_is_read(name: str, data: Any, command: Command) -> None:
    message = {"type": name, "data": data}
    assert plain.recognise(message) is TYPED
    assert TYPED.parse(message) == command
    if data is None:
        assert TYPED.parse({"type": name}) == command


@pytest.mark.parametrize("data", [b"", b"7", b"[]", b'"subscribe"', b"null", b"{", b'{"actio', b"NaN"])
def test_what_is_no_object_is_no_message(data: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        plain.recognise(*plain.read(data))


DAMAGED = [
    *('"\\ud83d"', '"\\ude00\\ud83d"', "NaN", "-Infinity", "1e400", "01", "'x'", "[1,]", "undefined"),
    "[" * 2_000 + "]" * 2_000,
    '{"a":' * 2_000 + '{"request_id":8}' + "}" * 2_000,
    '["\\ud83d","{\\"request_id\\":8,"]',
]
CUT = ['{"a":', "[" * 100_000, '"x', "["]


def told(text: str) -> tuple[Language, object]:
    """Language and mark of a message that is no JSON."""
    message, fault = plain.read(text.encode())
    assert fault is not None
    language = plain.recognise(message, fault)
    return language, language.mark(message)


@pytest.mark.parametrize("value", DAMAGED + CUT, ids=lambda value: value[:12])
def test_who_calls_is_read_whatever_follows(value: str) -> None:
    """A call that is waited for is answered, though it cannot be carried out."""
    assert told(f'{{"action":"subscribe","request_id":7,"symbols":{value}}}') == (ACTION, 7)


@pytest.mark.parametrize("value", DAMAGED, ids=lambda value: value[:12])
def test_who_calls_is_read_whatever_came_before(value: str) -> None:
    """Of two ids it is the last, as in JSON."""
    assert told(f'{{"request_id":9, "symbols":{value}, "action":"get_quote","request_id" : 7}}') == (
        ACTION,
        7,
    )


@pytest.mark.parametrize(
    ("ident", "mark"),
    [
        ('"x"', "x"),
        ("1.5", 1.5),
        ("null", None),
        ("{}", None),
        ("NaN", None),
        ('"\\ud83d"', None),
        ('"\\"}{"', '"}{'),
        ('"' + "x" * 200 + '"', None),
    ],
)
def test_of_a_damaged_call_only_a_whole_request_id_is_repeated(ident: str, mark: object) -> None:
    message, _ = plain.read(f'{{"action":"ping","request_id":{ident},"x":NaN}}'.encode())
    assert ACTION.mark(message) == mark


def test_looking_at_what_is_damaged_has_an_end() -> None:
    """It is slower than reading what is whole, and anybody can send it."""
    message, _ = plain.read(b'{"x":[' + b"[]," * 200_000 + b'NaN],"action":"ping","request_id":7}')
    assert message == {}


def test_a_message_of_neither_language_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="`action` or a `type`"):
        plain.recognise({"event": "subscribe"})


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"action": 7}, "action"),
        ({"symbols": "A"}, "symbols"),
        ({"symbols": [7]}, "symbols[0]"),
        ({}, "symbols"),
        ({"symbols": ["A"], "high_frequency": 1}, "high_frequency"),
        ({"symbols": ["A"], "data_types": "price"}, "data_types"),
        ({"symbols": ["A"], "data_types": ["trades"]}, "data_types"),
        ({"symbols": ["A"], "data_types": [["price"]]}, "data_types"),
        ({"symbols": ["A"], "maxRate": -1}, "maxRate"),
        ({"symbols": ["A"], "request_id": {"a": 1}}, "request_id"),
        ({"symbols": ["A"], "request_id": "x" * 129}, "request_id"),
        ({"symbols": ["A"], "request_id": True}, "request_id"),
    ],
)
def test_a_bad_action_is_refused_where_it_is_bad(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        ACTION.parse({"action": "subscribe", **fields})
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (7, "data"),
        ([], "data"),
        (None, "data.type"),
        ({"symbols": ["A"]}, "data.type"),
        ({"type": ["stock_quotes"]}, "data.type"),
        ({"type": "gossip", "symbols": ["A"]}, "data.type"),
        ({"type": "stock_quotes"}, "data.symbols"),
        ({"type": "stock_quotes", "channels": ["indices"]}, "data.symbols"),
        ({"type": "market_data", "symbols": ["A"]}, "data.channels"),
        ({"type": "market_data", "channels": [1]}, "channels[0]"),
    ],
)
def test_a_bad_type_is_refused_where_it_is_bad(data: Any, path: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        TYPED.parse({"type": "subscribe", "data": data})
    assert caught.value.path == path


@pytest.mark.parametrize("name", ["buy", "connect", "price_update", "", "x" * 5_000])
def test_a_call_that_does_not_exist_is_refused_in_few_words(name: str) -> None:
    for language, message in ((ACTION, {"action": name}), (TYPED, {"type": name})):
        with pytest.raises(UnknownEventError) as caught:
            language.parse(message)
        assert len(str(caught.value)) < 100


# Answers


def test_one_symbol_is_told_apart_from_many_and_none() -> None:
    answers = [
        json.loads(ACTION.answer(None, Subscribed(names, None, ()))) for names in (("A",), ("A", "B"), ())
    ]
    assert answers == [
        {"status": "subscribed", "symbol": "A"},
        {"status": "subscribed", "symbols": ["A", "B"]},
        {"status": "subscribed", "symbols": []},
    ]
    assert json.loads(ACTION.answer(7, Unsubscribed(("A",), None))) == {
        "status": "unsubscribed",
        "symbol": "A",
        "request_id": 7,
    }


def test_a_fault_of_the_servers_is_not_told_in_detail() -> None:
    fault = MarketstreamError("the password is 1234")
    assert json.loads(ACTION.refuse("r", fault)) == {
        "status": "error",
        "code": "INTERNAL",
        "message": "internal error",
        "request_id": "r",
    }
    assert json.loads(TYPED.refuse(None, fault))["data"] == {"code": "INTERNAL", "message": "internal error"}


# Prices


BOTH = best_price("A", 1.5)
BID_ONLY = BestPrice("A", Side(3.0, None, "x"), None, None, None, None, AT_MS)
ASK_ONLY = BestPrice("A", None, Side(4.0, None, "x"), None, None, None, AT_MS)
NEITHER = BestPrice("A", None, None, None, None, None, AT_MS)


@pytest.mark.parametrize(
    ("best", "price", "volume"),
    [
        (replace(BOTH, last=9.5, volume=700.0), 9.5, 700.0),
        (replace(BOTH, last=9.5), 9.5, None),
        (replace(NEITHER, last=9.5), 9.5, None),
        (BOTH, 2.0, None),
        (BID_ONLY, 3.0, None),
        (ASK_ONLY, 4.0, None),
        (NEITHER, None, None),
    ],
)
def test_the_price_is_the_last_trade_or_the_middle_or_the_only_side(
    best: BestPrice, price: float | None, volume: float | None
) -> None:
    action, typed = pushed(ACTION, messages.price(best)), pushed(TYPED, messages.price(best))
    assert action == {
        "type": "price_update",
        "symbol": "A",
        "price": price,
        **({} if volume is None else {"volume": volume}),
        **({} if best.best_bid is None else {"bid": best.best_bid.price}),
        **({} if best.best_ask is None else {"ask": best.best_ask.price}),
        "timestamp": DATE,
    }
    quote = {"price": price, "change": None, "changePercent": None, "volume": volume}
    assert typed == {"type": "quote_update", "data": {"symbol": "A", "quote": quote, "timestamp": DATE}}


def test_a_trade_changes_nothing_of_the_price_event() -> None:
    """Clients of Socket.IO and event streams see best prices only."""
    assert messages.price(replace(BOTH, last=9.5, volume=1.0)).body == messages.price(BOTH).body


# Other events


@pytest.mark.parametrize(
    ("name", "arguments", "action", "typed"),
    [
        ("news", [{"a": 1}], {"data": {"a": 1}}, {"data": {"a": 1}}),
        ("news", ["a"], {"data": "a"}, {"data": "a"}),
        ("news", [1, 2], {"data": [1, 2]}, {"data": [1, 2]}),
        ("news", [], {}, {}),
        ("price", [{"symbol": "A"}], {"data": {"symbol": "A"}}, {"data": {"symbol": "A"}}),
        ("status", ["closed"], {"data": "closed"}, {"data": "closed"}),
        ("status", [{}], {"data": {}}, {"data": {}}),
        ("status", [{"a": 1}, 2], {"data": [{"a": 1}, 2]}, {"data": [{"a": 1}, 2]}),
        ("error", [{"code": "X"}], {"code": "X"}, {"data": {"code": "X"}}),
        ("heartbeat", [], {}, {}),
        ("market_update", [7], {"data": 7}, {"data": 7}),
        ("market_update", [{"up": 1}], {"data": {"up": 1}}, {"data": {"up": 1}}),
        ("market_update", [{"timestamp": "soon"}],
         {"data": {"timestamp": "soon"}}, {"data": {"timestamp": "soon"}}),
    ],
)  # fmt: skip
def test_a_back_ends_event_keeps_its_name_and_payload(
    name: str, arguments: list[Any], action: dict[str, Any], typed: dict[str, Any]
) -> None:
    """Also when it is called like one of the server's and is not made like it."""
    assert pushed(ACTION, messages.custom(name, arguments)) == {"type": name, **action}
    assert pushed(TYPED, messages.custom(name, arguments)) == {"type": name, **typed}


@pytest.mark.parametrize(
    ("at_ms", "shown"),
    [
        (AT_MS + 7, "2023-11-14T22:13:20.007+00:00"),
        (0, "1970-01-01T00:00:00.000+00:00"),
        (-5, "1970-01-01T00:00:00.000+00:00"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999+00:00"),
        (2**63, "9999-12-31T23:59:59.999+00:00"),
    ],
)
def test_every_time_has_a_date(at_ms: int, shown: str) -> None:
    """A tape may hold any number, and a push is made while everybody's prices are written."""
    assert iso(at_ms) == shown
