from typing import Any

import pytest

from marketstream.core.events.event import Priority
from marketstream.core.events.filter import MAX_VALUES, Filter
from marketstream.errors import InvalidMessageError
from marketstream.wire.events.codec import parse_filter, parse_subscription_name
from tests.support.events import event

FULL = event(
    type="pattern", name="wedge", symbol="AAPL", tier="daily", confidence=0.7, priority=Priority.HIGH
)


def refused(value: Any) -> InvalidMessageError:
    with pytest.raises(InvalidMessageError) as caught:
        parse_filter(value)
    return caught.value


def test_an_empty_filter_matches_anything() -> None:
    assert parse_filter({}).matches(FULL)
    assert parse_filter({}).matches(event())


def test_a_filter_matches_what_meets_all_its_conditions() -> None:
    conditions = {
        "types": ["pattern", "alert"],
        "names": ["wedge"],
        "symbols": ["aapl", "MSFT"],
        "tiers": ["daily"],
        "minConfidence": 0.7,
        "minPriority": "HIGH",
    }
    assert parse_filter(conditions).matches(FULL)


@pytest.mark.parametrize(
    "condition",
    [
        {"types": ["alert"]},
        {"names": ["flag"]},
        {"symbols": ["MSFT"]},
        {"tiers": ["combo", "intraday"]},
        {"minConfidence": 0.71},
        {"minPriority": "CRITICAL"},
    ],
)
def test_one_condition_that_is_not_met_is_enough(condition: dict[str, Any]) -> None:
    assert not parse_filter({"types": ["pattern"], "minPriority": "LOW"} | condition).matches(FULL)


@pytest.mark.parametrize("condition", [{"symbols": ["AAPL"]}, {"tiers": ["daily"]}, {"minConfidence": 0}])
def test_an_event_without_a_field_never_meets_a_condition_on_it(condition: dict[str, Any]) -> None:
    assert not parse_filter(condition).matches(event())


def test_symbols_are_those_that_prices_have() -> None:
    assert parse_filter({"symbols": ["eur/usd", "EUR/USD"]}) == Filter(symbols=frozenset({"EUR/USD"}))


def test_null_is_as_good_as_absent() -> None:
    assert parse_filter({"types": None, "minConfidence": None}) == Filter()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([], ""),
        (None, ""),
        ("types", ""),
        ({"type": ["alert"]}, "type"),
        ({"min_confidence": 0.5}, "min_confidence"),
        ({"x" * 1_000: 1}, "x" * 64),
        ({"types": "alert"}, "types"),
        ({"types": {"alert": 1}}, "types"),
        ({"types": ["alert", 1]}, "types[1]"),
        ({"types": [""]}, "types[0]"),
        ({"types": ["a" * 65]}, "types[0]"),
        ({"names": ["a\nb"]}, "names[0]"),
        ({"names": ["\ud800"]}, "names[0]"),
        ({"symbols": ["AA PL"]}, "symbols[0]"),
        ({"symbols": [None]}, "symbols[0]"),
        ({"tiers": ["weekly"]}, "tiers[0]"),
        ({"tiers": [[]]}, "tiers[0]"),
        ({"minConfidence": "0.5"}, "minConfidence"),
        ({"minConfidence": True}, "minConfidence"),
        ({"minConfidence": 1.01}, "minConfidence"),
        ({"minConfidence": float("nan")}, "minConfidence"),
        ({"minPriority": "high"}, "minPriority"),
        ({"minPriority": 2}, "minPriority"),
        ({"minPriority": ["HIGH"]}, "minPriority"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_path_of_the_fault(value: Any, path: str) -> None:
    error = refused(value)
    assert error.path == path
    assert str(error).startswith(f"{path}: " if path else "a filter")
    assert len(str(error)) < 200


@pytest.mark.parametrize("field", ["types", "names", "symbols", "tiers"])
def test_an_empty_list_is_refused_with_the_advice_to_leave_it_out(field: str) -> None:
    """It would match nothing, and whoever sends it means anything."""
    assert "leave it out" in str(refused({field: []}))


def test_a_field_lists_two_hundred_values_at_most() -> None:
    values = [f"n{number}" for number in range(MAX_VALUES)]
    assert parse_filter({"names": values}).names == frozenset(values)
    assert refused({"names": [*values, "n0"]}).path == "names"


def test_a_name_of_a_subscription_has_up_to_64_printable_characters() -> None:
    for name in ("a", "My wedges", "€" * 64):
        assert parse_subscription_name(name) == name
    for value in ("", "a" * 65, "a\tb", "a\u2028", None, 1, ["a"]):
        with pytest.raises(InvalidMessageError):
            parse_subscription_name(value)
