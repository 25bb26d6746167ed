import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import EventFilter, EventMarket, InvalidMessageError, MarketEvent
from marketstream_sdk.event_model import Events
from marketstream_sdk.payload import parse_quote
from marketstream_sdk.wire import parse_event, parse_subscriptions
from rehearsal.cases import golden_event

AT = 1_700_000_000_000
LEAST = {"id": "1", "type": "halt", "name": "all", "priority": "CRITICAL", "timestamp": AT, "data": {}}
MOST = {
    "id": "2",
    "type": "pattern",
    "name": "head_and_shoulders",
    "symbol": "EUR/USD",
    "tier": "daily",
    "confidence": 0.7,
    "priority": "HIGH",
    "timestamp": AT,
    "expiresAt": AT + 1,
    "tenantId": "acme",
    "data": {"score": 3},
    "market": {"price": golden_event("price")[1], "state": "live"},
    "matched": ["mine", "yours"],
}


def test_an_event_with_all_its_fields_and_one_with_few_are_read() -> None:
    assert parse_event("events", {"events": [LEAST, MOST], "dropped": 3}) == Events(
        (
            MarketEvent("1", "halt", "all", "CRITICAL", AT),
            MarketEvent(
                id="2",
                type="pattern",
                name="head_and_shoulders",
                priority="HIGH",
                timestamp=AT,
                data={"score": 3},
                symbol="EUR/USD",
                tier="daily",
                confidence=0.7,
                expires_at=AT + 1,
                tenant_id="acme",
                market=EventMarket(parse_quote(golden_event("price")[1]), "live"),
                matched=("mine", "yours"),
            ),
        ),
        3,
    )


def test_a_market_may_be_unknown_and_data_may_have_been_taken_away() -> None:
    bare = {**LEAST, "market": {"price": None, "state": None}, "data": None}
    message = parse_event("events", {"events": [bare]})
    assert isinstance(message, Events)
    assert message.events[0].market == EventMarket(None, None)
    assert (message.events[0].data, message.dropped) == ({}, 0)


def test_a_priority_that_the_server_learnt_later_is_passed_on() -> None:
    message = parse_event("events", {"events": [{**LEAST, "priority": "COSMIC", "tier": "weekly"}]})
    assert isinstance(message, Events)
    assert (message.events[0].priority, message.events[0].tier) == ("COSMIC", "weekly")


@pytest.mark.parametrize(
    "payload",
    [None, {}, {"events": [1]}, {"events": [{**LEAST, "id": 1}]}, {"events": [], "dropped": True}],
)
def test_what_makes_no_sense_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidMessageError):
        parse_event("events", payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(sorted(MOST)), JSON)
def test_nothing_but_one_error_is_raised_whatever_was_sent(field: str, value: Any) -> None:
    with suppress(InvalidMessageError):
        parse_event("events", {"events": [{**MOST, field: value}]})
    with suppress(InvalidMessageError):
        parse_event("events", value)
    with suppress(InvalidMessageError):
        parse_subscriptions({"subscriptions": value})


def test_subscriptions_are_read_by_name() -> None:
    answer = json.loads(
        '{"subscriptions":[{"name":"b","filter":{"phase":"moon"}},{"name":"a","filter":{"types":["x"]}}]}'
    )
    assert parse_subscriptions(answer) == {"b": None, "a": EventFilter("x")}
