from typing import Any

import pytest

from marketstream.core.events.event import Event, Priority
from marketstream.errors import InvalidMessageError
from marketstream.wire.events import codec
from tests.support.events import AT_MS, event

LEAST = {"type": "alert", "name": "wedge"}


def parse(value: Any) -> Event:
    return codec.parse_event(value, AT_MS, lambda: "made")


def test_a_type_and_a_name_make_an_event() -> None:
    assert parse(LEAST) == event("made", priority=Priority.MEDIUM)


def test_everything_that_is_said_is_kept() -> None:
    said = {
        "id": "e1",
        "type": "pattern",
        "name": "double bottom",
        "symbol": "eur/usd",
        "tier": "combo",
        "confidence": 1,
        "priority": "LOW",
        "timestamp": AT_MS - 5.5,
        "expiresAt": AT_MS + 5,
        "tenantId": "acme",
        "data": {"score": 0.5, "é": ["ü"]},
    }
    assert parse(said) == Event(
        id="e1",
        type="pattern",
        name="double bottom",
        priority=Priority.LOW,
        at_ms=AT_MS - 6,
        symbol="EUR/USD",
        tier="combo",
        confidence=1.0,
        expires_at_ms=AT_MS + 5,
        tenant="acme",
        data='{"score":0.5,"é":["ü"]}'.encode(),
    )


def test_fields_that_are_not_known_are_passed_over_and_null_is_as_good_as_absent() -> None:
    absent = dict.fromkeys(("id", "symbol", "tier", "confidence", "priority", "timestamp", "data"))
    assert parse(LEAST | absent | {"colour": "red", "expiresAt": None, "tenantId": None}) == parse(LEAST)


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"type": None}, "type"),
        ({"type": ""}, "type"),
        ({"name": "n" * 65}, "name"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"id": "i" * 129}, "id"),
        ({"symbol": "AA PL"}, "symbol"),
        ({"tier": "weekly"}, "tier"),
        ({"confidence": 1.1}, "confidence"),
        ({"confidence": float("nan")}, "confidence"),
        ({"confidence": False}, "confidence"),
        ({"priority": "URGENT"}, "priority"),
        ({"priority": 3}, "priority"),
        ({"timestamp": "now"}, "timestamp"),
        ({"timestamp": 0}, "timestamp"),
        ({"timestamp": AT_MS * 1_000}, "timestamp"),
        ({"timestamp": float("inf")}, "timestamp"),
        ({"expiresAt": True}, "expiresAt"),
        ({"expiresAt": 2**53}, "expiresAt"),
        ({"tenantId": ""}, "tenantId"),
        ({"data": []}, "data"),
        ({"data": {"x": "\ud800"}}, "data"),
        ({"data": {"x": "a" * codec.MAX_DATA}}, "data"),
    ],
)
def test_what_is_no_event_is_refused_with_the_path_of_the_fault(said: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        parse(LEAST | said)
    assert refused.value.path == path
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize("value", [None, [], "alert", 1])
def test_an_event_is_an_object(value: Any) -> None:
    with pytest.raises(InvalidMessageError):
        parse(value)


def test_data_may_have_16_kilobytes_as_they_are_written() -> None:
    room = codec.MAX_DATA - len(b'{"x":""}')
    assert len(parse(LEAST | {"data": {"x": "a" * room}}).data) == codec.MAX_DATA
    with pytest.raises(InvalidMessageError, match="16384 bytes"):
        parse(LEAST | {"data": {"x": "é" * (room // 2 + 1)}})


def test_data_nested_too_deeply_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(2_000):
        deep = {"x": deep}
    with pytest.raises(InvalidMessageError) as refused:
        parse(LEAST | {"data": deep})
    assert refused.value.path == "data"


def test_an_event_is_written_without_what_it_does_not_have() -> None:
    assert codec.render_event(event("e1", data=b'{"a":[1]}')) == (
        b'{"id":"e1","type":"alert","name":"wedge","priority":"MEDIUM",'
        b'"timestamp":1700000000000,"data":{"a":[1]}}'
    )


def test_names_and_the_market_are_added_to_the_same_bytes() -> None:
    body = codec.render_event(event("e1"))
    enriched = codec.enrich(body, b'{"symbol":"AAPL"}', "live")
    assert enriched == body[:-1] + b',"market":{"price":{"symbol":"AAPL"},"state":"live"}}'
    assert codec.enrich(body, None, None).endswith(b'"market":{"price":null,"state":null}}')
    assert codec.render_matched(body, ["a", 'b"']) == body[:-1] + rb',"matched":["a","b\""]}'


def test_a_batch_says_how_many_are_missing_only_if_some_are() -> None:
    assert codec.render_batch([b'{"id":"1"}', b'{"id":"2"}']) == b'{"events":[{"id":"1"},{"id":"2"}]}'
    assert codec.render_batch([], 7) == b'{"events":[],"dropped":7}'


def test_an_event_that_has_nothing_to_hide_is_not_written_again() -> None:
    body = codec.render_event(event("e1"))
    assert codec.drop_fields(body, ["confidence", "market", "data.score"]) is body


def test_all_fields_that_a_plan_may_not_see_are_gone() -> None:
    body = codec.render_event(
        event("e1", confidence=0.5, data=b'{"score":1,"model":{"name":"x","kind":"y"}}')
    )
    shown = codec.drop_fields(body, ["confidence", "data.score", "data.model.name", "data.model.name.x"])
    assert shown == codec.render_event(event("e1", data=b'{"model":{"kind":"y"}}'))
    assert codec.drop_fields(body, ["confidence", "data"]) == codec.render_event(event("e1"))
