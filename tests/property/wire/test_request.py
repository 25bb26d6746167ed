import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marketstream.core.delivery.commands import (
    Authenticate,
    Command,
    GetQuote,
    ListSubscriptions,
    Ping,
    Subscribe,
    Unsubscribe,
)
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.errors import InvalidMessageError, RequestError, UnknownEventError
from marketstream.wire import publication, request
from marketstream.wire.json import dumps, loads
from tests.support.builders import HOSTILE, JSON, NUMBERS

EVENTS = st.sampled_from(["subscribe", "unsubscribe", "subscriptions", "ping", "get_quote", "authenticate"])
FIELDS = st.sampled_from(["symbols", "mode", "maxRate", "channels", "symbol", "token"])
LIKELY = JSON | st.sampled_from([["AAPL"], [], "every", 5, ["indices"], "AAPL"])
PAYLOADS = st.dictionaries(FIELDS, LIKELY, max_size=4) | JSON


@given(EVENTS | JSON, st.lists(PAYLOADS, max_size=2))
def test_no_call_makes_the_reader_fail_in_any_other_way(event: object, arguments: list[Any]) -> None:
    with suppress(InvalidMessageError, UnknownEventError):
        command = request.parse(event, arguments)
        assert isinstance(command, Command)
        match command:
            case Subscribe(symbols, mode, max_rate, channels):
                assert all(isinstance(symbol, str) for symbol in (*symbols, *(channels or ())))
                assert mode in ("latest", "every")
                assert 0 <= max_rate <= 1e6
            case Unsubscribe(symbols, channels):
                assert all(isinstance(symbol, str) for symbol in (*symbols, *(channels or ())))
            case GetQuote(text) | Authenticate(text):
                assert isinstance(text, str)
                assert text
            case ListSubscriptions() | Ping():
                pass


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize("place", ["event", "argument", "symbols", "mode", "maxRate", "token"])
def test_no_json_however_hostile_makes_the_reader_fail_in_any_other_way(body: bytes, place: str) -> None:
    with suppress(InvalidMessageError, UnknownEventError):
        value = loads(body)
        if place == "event":
            request.parse(value, [])
        elif place == "argument":
            request.parse("subscribe", [value])
        else:
            request.parse("subscribe", [{"symbols": ["AAPL"], place: value}])
            request.parse("authenticate", [{place: value}])


COMMANDS: st.SearchStrategy[tuple[Command, str, dict[str, Any]]] = st.one_of(
    st.builds(
        lambda symbols, mode, rate, channels: (
            Subscribe(tuple(symbols), mode, rate, None if channels is None else tuple(channels)),
            "subscribe",
            {"symbols": symbols, "mode": mode, "maxRate": rate, "channels": channels},
        ),
        st.lists(st.text(max_size=8), max_size=5),
        st.sampled_from(["latest", "every"]),
        st.just(0) | st.floats(0.01, 1e6),
        st.none() | st.lists(st.text(max_size=8), max_size=3),
    ),
    st.builds(
        lambda symbols: (Unsubscribe(tuple(symbols)), "unsubscribe", {"symbols": symbols}),
        st.lists(st.text(max_size=8), max_size=5),
    ),
    st.builds(lambda text: (GetQuote(text), "get_quote", {"symbol": text}), st.text(min_size=1)),
    st.builds(lambda text: (Authenticate(text), "authenticate", {"token": text}), st.text(min_size=1)),
    st.sampled_from([(Ping(), "ping", {}), (ListSubscriptions(), "subscriptions", {})]),
)


@given(COMMANDS)
def test_a_command_written_as_json_is_read_as_it_was_meant(case: tuple[Command, str, dict[str, Any]]) -> None:
    command, event, payload = case
    assert request.parse(event, [loads(json.dumps(payload))]) == command


ITEMS = st.dictionaries(
    st.sampled_from(
        [
            "symbol",
            "source",
            "bid",
            "bidSize",
            "ask",
            "askSize",
            "timestamp",
            "bestBid",
            "bestAsk",
            "midPrice",
        ]
    ),
    JSON
    | st.sampled_from(["AAPL", "lmax", 1.5, 10**12])
    | st.fixed_dictionaries({"price": NUMBERS, "source": st.text(min_size=1), "size": NUMBERS | st.none()}),
)
BODIES = (
    st.fixed_dictionaries(
        {}, optional={"quotes": st.lists(ITEMS), "prices": st.lists(ITEMS), "tenantId": st.text() | JSON}
    )
    | JSON
)
REGISTRY = SymbolRegistry("open")


@given(BODIES)
@example({"prices": [{"symbol": "A", "timestamp": 5e-324}]})
def test_no_publication_makes_the_reader_fail_in_any_other_way(body: Any) -> None:
    with suppress(InvalidMessageError):
        batch = publication.parse(dumps(body))
        items = list(batch.items(REGISTRY, 1_700_000_000_000))
        assert [index for index, _ in items] == list(range(len(batch.prices) + len(batch.quotes)))
        for _, item in items:
            if not isinstance(item, RequestError):
                assert REGISTRY.accepts(item.symbol)
                assert 0 <= item.at_ms <= 1_700_000_000_000 + publication.MAX_AHEAD_MS


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_of_publications_fail_in_any_other_way(body: bytes) -> None:
    with suppress(InvalidMessageError):
        publication.parse(body)


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize(
    "frame", [b"%s", b'{"quotes":%s}', b'{"quotes":[%s]}', b'{"prices":[{"symbol":%s,"bestBid":%s}]}']
)
def test_no_publication_however_hostile_makes_the_reader_fail_in_any_other_way(
    body: bytes, frame: bytes
) -> None:
    with suppress(InvalidMessageError):
        list(publication.parse(frame.replace(b"%s", body)).items(REGISTRY, 0))
