import json
from typing import Any

import pytest

from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import BestPrice, Side, State, Status
from marketstream.errors import InvalidMessageError
from marketstream.wire import messages
from marketstream.wire.json import loads
from tests.support.builders import best_price


def payload(frame: Frame) -> Any:
    return json.loads(frame.body)


def test_a_price_is_keyed_by_its_symbol_and_dated_by_its_source() -> None:
    frame = messages.price(best_price("AAPL", at_ms=5), "acme")
    assert (frame.event, frame.key, frame.symbol, frame.at_ms, frame.tenant) == (
        "price",
        "AAPL",
        "AAPL",
        5,
        "acme",
    )


def test_a_missing_side_or_size_is_null() -> None:
    best = BestPrice("A", Side(1.5, None, "x"), None, None, None, None, 5)
    assert payload(messages.price(best)) == {
        "symbol": "A",
        "bestBid": {"price": 1.5, "size": None, "source": "x"},
        "bestAsk": None,
        "midPrice": None,
        "spread": None,
        "spreadBps": None,
        "timestamp": 5,
    }


def test_a_snapshot_repeats_the_bodies_as_they_were_made() -> None:
    prices = [messages.price(best_price(symbol)) for symbol in ("A", "B")]
    assert messages.snapshot(prices).body == b'{"prices":[' + prices[0].body + b"," + prices[1].body + b"]}"
    assert payload(messages.snapshot([])) == {"prices": []}


def test_states_of_a_symbol_replace_each_other_and_never_its_price() -> None:
    first, second = (messages.status(Status("A", state, None, 5)) for state in ("live", "stale"))
    assert first.key == second.key != messages.price(best_price("A")).key
    assert first.key != messages.status(Status("B", "live", None, 5)).key


@pytest.mark.parametrize("state", ["live", "stale", "delayed", "closed"])
def test_a_live_status_is_told_from_the_others(state: State) -> None:
    """A source may be called anything."""
    assert messages.is_live(messages.status(Status("A", state, '"state":"live"', 5))) == (state == "live")


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        ("indices", "market_update"),
        ("movers", "market_update"),
        ("sectors", "sector_update"),
        ("sentiment", "sentiment_update"),
    ],
)
def test_each_channel_has_its_event(channel: str, name: str) -> None:
    frame = messages.channel_update(channel, {"x": 1}, 5)
    assert frame.event == name
    assert payload(frame) == {"channel": channel, "data": {"x": 1}, "timestamp": 5}


def test_updates_of_one_channel_replace_each_other_and_of_two_do_not() -> None:
    keys = [messages.channel_update(channel, 1, 5).key for channel in ("indices", "indices", "movers")]
    assert keys[0] == keys[1] != keys[2]


def test_what_must_arrive_is_never_replaced() -> None:
    frames = [
        messages.lagged("A", 5),
        messages.error("X", "y"),
        messages.token_expiring(5),
        messages.snapshot([]),
    ]
    assert [frame.key for frame in frames] == [None] * 4


@pytest.mark.parametrize("data", [object(), {1, 2}, b"bytes", {"deep": 1 << 70}, "\ud800", {"\ud800": 1}])
def test_a_payload_without_a_form_in_json_is_refused(data: object) -> None:
    with pytest.raises(InvalidMessageError):
        messages.custom("e", [data])


@pytest.mark.parametrize("name", ["", "\ud800"], ids=["empty", "half a letter"])
def test_a_name_that_no_dialect_can_write_is_refused_where_the_event_is_made(name: str) -> None:
    """Without a name a frame passes for a finished packet; without bytes it fails in everybody's flush."""
    with pytest.raises(InvalidMessageError):
        messages.custom(name, [1])


def test_a_status_says_why_only_where_there_is_a_reason() -> None:
    said = [
        loads(messages.status(Status("A", "stale", None, 5, reason)).body) for reason in (None, "no_feed")
    ]
    assert [each.get("reason", "nothing") for each in said] == ["nothing", "no_feed"]
