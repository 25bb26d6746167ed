from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import EventFilter, InvalidSymbolError, Priority, Tier
from marketstream_sdk.event_model import read_filter

WORDS = st.none() | st.sets(st.text(min_size=1, max_size=5), min_size=1, max_size=3)
FILTERS = st.builds(
    EventFilter,
    types=WORDS,
    names=WORDS,
    symbols=st.none() | st.sets(st.sampled_from(["AAPL", "msft", "EUR/USD"]), min_size=1),
    tiers=st.none() | st.sets(st.sampled_from(get_args(Tier)), min_size=1),
    min_confidence=st.none() | st.floats(0, 1),
    min_priority=st.none() | st.sampled_from(get_args(Priority)),
)


@given(FILTERS)
def test_what_is_written_is_read_as_the_same(filter_: EventFilter) -> None:
    assert read_filter(filter_.payload) == filter_
    assert hash(read_filter(filter_.payload)) == hash(filter_)


def test_a_single_value_needs_no_list_and_order_and_case_of_symbols_do_not_count() -> None:
    assert EventFilter("pattern", symbols="aapl") == EventFilter(["pattern"], symbols=["AAPL", " AAPL "])
    assert EventFilter(["b", "a", "b"]).payload == {"types": ["a", "b"]}
    assert EventFilter(iter(["Pattern"])).payload == {"types": ["Pattern"]}
    assert EventFilter().payload == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("types", []),
        ("names", [""]),
        ("symbols", ["A B"]),
        ("tiers", "weekly"),
        ("min_confidence", 1.1),
        ("min_confidence", float("nan")),
        ("min_priority", "high"),
    ],
)
def test_a_condition_that_no_event_can_meet_is_refused_here(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match="symbol" if field == "symbols" else field):
        EventFilter(**{field: value})


def test_a_symbol_that_is_none_is_told_like_everywhere() -> None:
    with pytest.raises(InvalidSymbolError):
        EventFilter(symbols="A B")


@pytest.mark.parametrize(
    "written", [None, [], {"phase": ["moon"]}, {"types": 1}, {"tiers": ["weekly"]}, {"minConfidence": "much"}]
)
def test_what_another_program_asks_for_may_make_no_sense_here(written: Any) -> None:
    assert read_filter(written) is None
