import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk.model import MODES, Mode
from marketstream_sdk.reconcile import PART, Terms, joined, reconcile
from rehearsal.cases import golden

CASES = json.loads(golden("sdk/reconcile.json"))

TERMS = st.builds(Terms, st.sampled_from(MODES), st.sampled_from([0, 0.5, 2, 10]))
SUBSCRIPTIONS = st.dictionaries(st.sampled_from("ABCDEFGH"), TERMS)


def subscriptions(written: dict[str, Any]) -> dict[str, Terms]:
    return {symbol: Terms(each["mode"], each["maxRate"]) for symbol, each in written.items()}


@pytest.mark.parametrize("case", CASES, ids=[case["rule"] for case in CASES])
def test_it_says_what_every_client_library_says(case: dict[str, Any]) -> None:
    calls = reconcile(subscriptions(case["wanted"]), subscriptions(case["confirmed"]), case.get("part", PART))
    assert [[call.event, call.payload] for call in calls] == case["calls"]


@given(SUBSCRIPTIONS, SUBSCRIPTIONS, st.integers(1, 4))
def test_a_server_that_does_as_it_is_told_ends_with_what_is_wanted(
    wanted: dict[str, Terms], confirmed: dict[str, Terms], part: int
) -> None:
    state = dict(confirmed)
    for call in reconcile(wanted, confirmed, part):
        assert 1 <= len(call.symbols) <= part
        for symbol in call.symbols:
            if call.terms is None:
                del state[symbol]
            else:
                state[symbol] = call.terms
    assert state == wanted
    assert reconcile(wanted, state, part) == []


@given(TERMS, TERMS)
def test_joined_terms_are_enough_for_both(one: Terms, other: Terms) -> None:
    both = one.joined(other)
    assert both == other.joined(one)
    for each in (one, other):
        assert both.mode == "every" or each.mode == "latest"
        assert not both.max_rate or 0 < each.max_rate <= both.max_rate
        assert both.joined(each) == both


def test_symbols_are_wanted_in_the_order_in_which_they_are_first_named() -> None:
    every: Mode = "every"
    wanted = joined([("B", Terms()), ("A", Terms(max_rate=2)), ("B", Terms(every)), ("A", Terms(max_rate=5))])
    assert list(wanted.items()) == [("B", Terms(every)), ("A", Terms(max_rate=5))]


@pytest.mark.parametrize("rate", [-1, 0.001, 2_000_000, float("nan"), float("inf")])
def test_a_rate_that_the_server_would_refuse_is_refused_here(rate: float) -> None:
    with pytest.raises(ValueError, match="max_rate"):
        Terms(max_rate=rate)


def test_there_are_two_modes() -> None:
    with pytest.raises(ValueError, match="mode"):
        Terms("all")  # type: ignore[arg-type]
