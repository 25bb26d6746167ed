from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.query.failover import DEADLINE, JITTER, PAUSES, TRIES, Ask, Failover, GiveUp, Outcome

NAMES = ("yahoo", "fmp", "alpha_vantage", "tiingo")
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    ["transient", "transient", "resting", "unknown", "final"]
)
EVENTS = st.lists(
    st.tuples(OUTCOMES, st.floats(0, 1), st.floats(0, 1)),
    min_size=len(NAMES) * TRIES,
    max_size=len(NAMES) * TRIES,
)


@given(events=EVENTS, count=st.integers(0, len(NAMES)), began=st.floats(0, 1e6))
def test_a_question_ends_in_time_and_asks_in_order(
    events: list[tuple[Outcome, float, float]], count: int, began: float
) -> None:
    """Whatever happens: within the deadline, three times each, in the order of the providers."""
    names = NAMES[:count]
    failover = Failover(names, began)
    now = began
    asked: list[str] = []
    step = failover.begin(now)
    for outcome, share, chance in events:
        if isinstance(step, GiveUp):
            break
        assert step.limit > 0
        if step.delay:
            pause = PAUSES[asked.count(step.provider) - 1]
            assert abs(step.delay / pause - 1) <= JITTER + 1e-9
        asked.append(step.provider)
        took = step.limit * share
        now += step.delay + took
        assert now <= began + DEADLINE + 1e-6
        step = failover.failed(outcome, "X", took=took, now=now, chance=chance)
    assert isinstance(step, GiveUp)
    assert all(asked.count(name) <= TRIES for name in names)
    assert all(names.index(first) <= names.index(second) for first, second in pairwise(asked))
    assert [attempt.provider for attempt in failover.attempts] == asked
    assert failover.tries == len(asked)


@given(outcome=st.sampled_from(["resting", "unknown", "final"]), count=st.integers(1, len(NAMES)))
def test_without_a_transient_failure_nobody_waits_and_everybody_is_asked_once(
    outcome: Outcome, count: int
) -> None:
    failover = Failover(NAMES[:count], 0)
    step, asked = failover.begin(0), []
    while isinstance(step, Ask):
        assert step.delay == 0
        asked.append(step.provider)
        step = failover.failed(outcome, "X", took=0, now=0, chance=0)
    assert tuple(asked) == NAMES[:count]
