from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.query.quota import DAY_MS, MINUTE_MS, Allowance, Quota

gaps = st.lists(st.integers(0, 90_000), max_size=120)


@given(st.integers(0, 5), st.integers(0, 20), st.integers(0, DAY_MS), gaps)
def test_no_minute_and_no_day_holds_more_than_is_allowed(
    per_minute: int, per_day: int, start: int, gaps: list[int]
) -> None:
    quota = Quota(Allowance(per_minute, per_day))
    at_ms, minutes, days = start, Counter[int](), Counter[int]()
    for gap in gaps:
        at_ms += gap
        wait = quota.take(at_ms / 1000, at_ms)
        if wait == 0:
            minutes[at_ms // MINUTE_MS] += 1
            days[at_ms // DAY_MS] += 1
        else:
            again = at_ms + round(wait * 1000)
            assert again // MINUTE_MS > at_ms // MINUTE_MS
            assert wait <= DAY_MS / 1000
    assert not per_minute or max(minutes.values(), default=0) <= per_minute
    assert not per_day or max(days.values(), default=0) <= per_day


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.floats(0, 200))
def test_it_keeps_quiet_for_as_long_as_the_longest_it_was_told(told: list[float], later: float) -> None:
    quota = Quota(Allowance(0, 0))
    for seconds in told:
        quota.spend(0.0, seconds)
    assert quota.take(later, 0) == max(0.0, max(told) - later)


def test_the_wait_it_names_is_enough() -> None:
    quota = Quota(Allowance(1, 2))
    at_ms = 5 * DAY_MS - 90_000
    for _ in range(4):
        wait = quota.take(at_ms / 1000, at_ms)
        at_ms += round(wait * 1000)
        assert wait == 0 or quota.take(at_ms / 1000, at_ms) == 0


def test_a_clock_that_was_set_back_does_not_keep_it_shut() -> None:
    quota = Quota(Allowance(0, 1))
    assert quota.take(0.0, 900 * DAY_MS) == 0
    assert quota.take(0.0, 5 * DAY_MS) == 0
