from typing import Any

import pytest

from marketstream.core.delivery.commands import (
    Authenticate,
    Command,
    GetQuote,
    ListSubscriptions,
    Ping,
    Subscribe,
    Unsubscribe,
)
from marketstream.errors import InvalidMessageError, UnknownEventError
from marketstream.wire.request import MAX_SYMBOLS, parse


@pytest.mark.parametrize(
    ("event", "arguments", "command"),
    [
        ("subscribe", [{"symbols": ["AAPL", "eur/usd"]}], Subscribe(("AAPL", "eur/usd"))),
        (
            "subscribe",
            [{"symbols": ["A"], "mode": "every", "maxRate": 2.5, "channels": ["indices"]}],
            Subscribe(("A",), "every", 2.5, ("indices",)),
        ),
        ("subscribe", [{"channels": []}], Subscribe((), channels=())),
        ("subscribe", [{"symbols": []}], Subscribe(())),
        (
            "subscribe",
            [{"symbols": ["A"], "mode": None, "maxRate": None, "channels": None}],
            Subscribe(("A",)),
        ),
        ("unsubscribe", [{"symbols": ["A"]}], Unsubscribe(("A",))),
        ("unsubscribe", [{"channels": ["movers"]}], Unsubscribe((), ("movers",))),
        ("subscriptions", [{}], ListSubscriptions()),
        ("subscriptions", [], ListSubscriptions()),
        ("ping", [], Ping()),
        ("ping", [None], Ping()),
        ("ping", [{"anything": 1}], Ping()),
        ("get_quote", [{"symbol": "AAPL"}], GetQuote("AAPL")),
        ("authenticate", [{"token": "abc"}], Authenticate("abc")),
    ],
)
def test_each_call_is_read_as_the_protocol_writes_it(
    event: str, arguments: list[Any], command: Command
) -> None:
    assert parse(event, arguments) == command


@pytest.mark.parametrize(
    ("event", "payload", "path"),
    [
        ("subscribe", {}, "symbols"),
        ("subscribe", {"mode": "every"}, "symbols"),
        ("subscribe", {"symbols": "AAPL"}, "symbols"),
        ("subscribe", {"symbols": {"AAPL": 1}}, "symbols"),
        ("subscribe", {"symbols": ["AAPL", 7]}, "symbols[1]"),
        ("subscribe", {"symbols": [None]}, "symbols[0]"),
        ("subscribe", {"symbols": [], "channels": ["a", []]}, "channels[1]"),
        ("subscribe", {"symbols": [], "mode": "fast"}, "mode"),
        ("subscribe", {"symbols": [], "mode": ["every"]}, "mode"),
        ("subscribe", {"symbols": [], "maxRate": -1}, "maxRate"),
        ("subscribe", {"symbols": [], "maxRate": "2"}, "maxRate"),
        ("subscribe", {"symbols": [], "maxRate": True}, "maxRate"),
        ("subscribe", {"symbols": [], "maxRate": 1e7}, "maxRate"),
        ("subscribe", {"symbols": [], "maxRate": float("nan")}, "maxRate"),
        ("subscribe", {"symbols": [], "maxRate": float("inf")}, "maxRate"),
        ("unsubscribe", {}, "symbols"),
        ("unsubscribe", {"symbols": 5}, "symbols"),
        ("get_quote", {}, "symbol"),
        ("get_quote", {"symbol": ""}, "symbol"),
        ("get_quote", {"symbol": ["AAPL"]}, "symbol"),
        ("authenticate", {"token": None}, "token"),
    ],
)
def test_a_payload_of_the_wrong_shape_is_refused_with_the_place_of_the_fault(
    event: str, payload: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        parse(event, [payload])
    assert caught.value.path == path


@pytest.mark.parametrize("arguments", [[[]], ["AAPL"], [5], [True], [{}, {}], [{}, None]])
def test_a_call_takes_one_object(arguments: list[Any]) -> None:
    with pytest.raises(InvalidMessageError):
        parse("ping", arguments)


@pytest.mark.parametrize(
    "event", ["connect", "disconnect", "Subscribe", "subscribe ", "", "__init__", None, 5, ["subscribe"], {}]
)
def test_only_names_on_the_list_are_calls(event: object) -> None:
    with pytest.raises(UnknownEventError):
        parse(event, [{"symbols": ["A"], "symbol": "A", "token": "t"}])


def test_an_endless_name_is_not_echoed_in_full() -> None:
    with pytest.raises(UnknownEventError) as caught:
        parse("x" * 100_000, [])
    assert len(str(caught.value)) < 100


def test_one_call_names_a_bounded_number_of_symbols() -> None:
    assert isinstance(parse("subscribe", [{"symbols": ["A"] * MAX_SYMBOLS}]), Subscribe)
    with pytest.raises(InvalidMessageError, match=f"{MAX_SYMBOLS} at a time"):
        parse("subscribe", [{"symbols": ["A"] * (MAX_SYMBOLS + 1)}])
