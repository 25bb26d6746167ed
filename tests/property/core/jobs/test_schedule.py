"""Due times are the same moments for everybody, and none is passed over."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.jobs.schedule import DAY, Schedule, daily, every, identity

MOMENTS = st.integers(0, 4_000_000_000_000)
SCHEDULES = st.one_of(
    st.integers(1, DAY).map(every),
    st.integers(0, 23).map(daily),
)


@given(SCHEDULES, MOMENTS)
def test_now_lies_between_the_last_due_time_and_the_next(schedule: Schedule, now: int) -> None:
    last, following = schedule.last(now), schedule.next(now)
    assert last <= now < following
    assert following - last == schedule.period * 1000
    assert (last - schedule.offset * 1000) % (schedule.period * 1000) == 0


@given(SCHEDULES, MOMENTS, st.integers(0, DAY * 1000))
def test_whoever_looks_at_whatever_time_finds_the_same_run(schedule: Schedule, now: int, later: int) -> None:
    """Two processes that look within one period name the same run; later ones never an earlier one."""
    first, second = schedule.last(now), schedule.last(now + later)
    assert first <= second
    assert (first == second) == (now + later < schedule.next(now))
    assert schedule.last(schedule.next(now)) == schedule.next(now)
    assert identity("a", first) != identity("b", first)


@given(st.integers(0, 23), MOMENTS)
def test_what_is_daily_is_due_at_its_hour_of_utc(hour: int, now: int) -> None:
    due = datetime.fromtimestamp(daily(hour).next(now) / 1000, UTC)
    assert (due.hour, due.minute, due.second, due.microsecond) == (hour, 0, 0, 0)


def test_a_schedule_says_when() -> None:
    assert [str(each) for each in (every(60), daily(2))] == ["every 60 s", "daily at 02:00 UTC"]
