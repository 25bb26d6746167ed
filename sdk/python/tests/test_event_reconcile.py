import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import EventFilter
from marketstream_sdk.event_model import read_filter
from marketstream_sdk.reconcile import reconcile_events
from rehearsal.cases import golden

CASES = json.loads(golden("sdk/event_reconcile.json"))

NAMES = st.sampled_from("abcdef")
FILTERS = st.builds(
    EventFilter,
    types=st.none() | st.sets(st.sampled_from(["pattern", "halt"]), min_size=1),
    min_confidence=st.none() | st.sampled_from([0, 0.5]),
)
SUBSCRIPTIONS = st.dictionaries(NAMES, FILTERS)


def wanted_filter(written: dict[str, Any]) -> EventFilter:
    filter_ = read_filter(written)
    assert filter_ is not None
    return filter_


@pytest.mark.parametrize("case", CASES, ids=[case["rule"] for case in CASES])
def test_it_says_what_every_client_library_says(case: dict[str, Any]) -> None:
    calls = reconcile_events(
        {name: wanted_filter(each) for name, each in case["wanted"].items()},
        {each["name"]: read_filter(each["filter"]) for each in case["held"]},
        case.get("left", ()),
    )
    assert [[call.event, call.payload] for call in calls] == case["calls"]


@given(SUBSCRIPTIONS, SUBSCRIPTIONS, st.sets(NAMES))
def test_a_server_that_does_as_it_is_told_holds_what_is_wanted_and_what_is_none_of_our_business(
    wanted: dict[str, EventFilter], held: dict[str, EventFilter], left: set[str]
) -> None:
    state: dict[str, EventFilter | None] = dict(held)
    for call in reconcile_events(wanted, held, left):
        if call.filter is None:
            state.pop(call.name, None)
        else:
            state[call.name] = call.filter
    theirs = {name: each for name, each in held.items() if name not in wanted and name not in left}
    assert state == wanted | theirs
    assert reconcile_events(wanted, state) == []
