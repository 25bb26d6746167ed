import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.events.event import Event, Priority
from marketstream.core.events.filter import Filter
from marketstream.errors import InvalidMessageError
from marketstream.wire.events import codec
from marketstream.wire.json import dumps, loads
from tests.support.builders import HOSTILE, JSON
from tests.support.events import AT_MS, FILTERS, TIERS

WORDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=64)
EVENTS = st.builds(
    Event,
    id=WORDS,
    type=WORDS,
    name=WORDS,
    priority=st.sampled_from(Priority),
    at_ms=st.integers(1, AT_MS),
    symbol=st.none() | st.sampled_from(["AAPL", "EUR/USD"]),
    tier=st.none() | st.sampled_from(TIERS),
    confidence=st.none() | st.floats(0, 1),
    expires_at_ms=st.none() | st.integers(1, codec.MAX_MS),
    tenant=st.none() | WORDS,
    data=st.dictionaries(st.text(max_size=9), JSON, max_size=4).map(dumps),
)
FIELDS = [
    *("id", "type", "name", "symbol", "tier", "confidence", "priority", "timestamp"),
    *("expiresAt", "tenantId", "data", "types", "names", "symbols", "tiers", "minConfidence", "minPriority"),
]
# Things that are no JSON, but that a value may be by the time it arrives here.
ODD = st.sampled_from(
    [float("nan"), float("inf"), 10**400, "\ud800", b"x", {"a": "\ud800"}, {1: 2}, object()]
)
SHAPED = st.fixed_dictionaries(
    {"type": st.just("alert"), "name": st.just("wedge")},
    optional={field: JSON | ODD for field in FIELDS if field not in ("type", "name")},
)


def attempt(value: Any) -> None:
    """Reads something in every way; nothing but the one error may come of it."""
    for read in (
        lambda: codec.render_event(codec.parse_event(value, AT_MS, lambda: "made")),
        lambda: codec.parse_filter(value),
        lambda: codec.parse_subscription_name(value),
    ):
        try:
            read()
        except InvalidMessageError as error:
            assert str(error)  # noqa: PT017  # whether it is raised is not the question


@given(st.sampled_from(HOSTILE) | st.binary(max_size=80) | JSON.map(json.dumps).map(str.encode))
def test_no_bytes_make_a_reader_raise_anything_but_the_one_error(raw: bytes) -> None:
    try:
        value = loads(raw)
    except InvalidMessageError:
        return
    attempt(value)


@given(JSON | ODD | SHAPED | st.dictionaries(st.sampled_from(FIELDS), JSON | ODD, max_size=6))
def test_no_value_makes_a_reader_raise_anything_but_the_one_error(value: Any) -> None:
    attempt(value)


@given(EVENTS)
def test_an_event_is_read_as_it_was_written(event: Event) -> None:
    body = codec.render_event(event)
    assert codec.parse_event(loads(body), AT_MS, lambda: "made") == event


@given(FILTERS)
def test_a_filter_is_read_as_it_was_written(filter_: Filter) -> None:
    assert codec.parse_filter(loads(dumps(codec.render_filter(filter_)))) == filter_


@given(st.lists(st.tuples(EVENTS, st.lists(WORDS, max_size=3)), max_size=4), st.integers(0, 5))
def test_what_is_joined_from_bytes_is_the_json_it_stands_for(
    parts: list[tuple[Event, list[str]]], dropped: int
) -> None:
    bodies = [codec.render_matched(codec.render_event(event), names) for event, names in parts]
    batch = loads(codec.render_batch(bodies, dropped))
    assert batch.get("dropped", 0) == dropped
    assert [entry.pop("matched") for entry in batch["events"]] == [names for _, names in parts]
    assert batch["events"] == [loads(codec.render_event(event)) for event, _ in parts]


@given(EVENTS, st.sampled_from(["live", "closed", None]), st.booleans())
def test_fields_that_are_dropped_are_gone_and_nothing_else(
    event: Event,
    state: str | None,
    priced: bool,  # noqa: FBT001  # drawn
) -> None:
    price = b'{"symbol":"AAPL"}' if priced else None
    body = codec.enrich(codec.render_event(event), price, state)
    before = loads(body)
    assert before["market"] == {"price": {"symbol": "AAPL"} if priced else None, "state": state}
    after = loads(codec.drop_fields(body, ["confidence", "data.score", "market.price", "data.a.b.c"]))
    before.pop("confidence", None)
    before["market"].pop("price")
    before["data"].pop("score", None)
    assert after == before
