from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.delivery.bucket import MessageRate, TokenBucket

CAPACITIES = st.integers(1, 20)
REFILLS = st.sampled_from([0.1, 0.3, 1, 7, 10, 1000])
STEPS = st.lists(st.sampled_from([0, 0, 0, 0.001, 0.1, 1 / 3, 1, 10]), min_size=1, max_size=120)
JUMPS = st.lists(st.floats(-20, 20), min_size=1, max_size=120)
STARTS = st.sampled_from([-3.0, 0.0, 5e5 + 0.1])


@given(CAPACITIES, REFILLS, STARTS, STEPS)
def test_no_window_grants_more_than_capacity_and_what_came_back_in_it(
    capacity: int, refill: float, start: float, steps: list[float]
) -> None:
    bucket = TokenBucket(capacity, refill)
    taken = [now for now in accumulate(steps, initial=start) if bucket.take(now) == 0]
    for first, opened in enumerate(taken):
        for last, closed in enumerate(taken[first:], first):
            assert last - first + 1 <= capacity + refill * (closed - opened) + 1e-5


@given(st.lists(st.tuples(CAPACITIES, REFILLS), min_size=1, max_size=3), STEPS)
def test_changing_between_sizes_never_grants_more_than_the_largest_would(
    sizes: list[tuple[int, float]], steps: list[float]
) -> None:
    bucket, now, granted = TokenBucket(*sizes[0]), 0.0, 0
    for number, step in enumerate(steps):
        now += step
        bucket.resize(*sizes[number % len(sizes)], now)
        granted += bucket.take(now) == 0
    capacity, refill = max(size for size, _ in sizes), max(rate for _, rate in sizes)
    assert granted <= capacity + refill * now + 1e-5


@given(CAPACITIES, REFILLS, JUMPS)
def test_a_clock_that_jumps_never_grants_more_than_its_furthest_time_allows(
    capacity: int, refill: float, jumps: list[float]
) -> None:
    bucket = TokenBucket(capacity, refill)
    times = list(accumulate(jumps))
    granted = sum(bucket.take(now) == 0 for now in times)
    assert granted <= capacity + refill * (max(times) - times[0]) + 1e-5


@given(CAPACITIES, REFILLS, STARTS, STEPS)
def test_who_waits_as_told_is_served(capacity: int, refill: float, start: float, steps: list[float]) -> None:
    bucket = TokenBucket(capacity, refill)
    now = start
    for step in steps:
        now += step
        wait = bucket.take(now)
        assert 0 <= wait <= 1 / refill + 1e-9
        if wait > 0:
            now += wait
            assert bucket.take(now) == 0


@given(CAPACITIES, REFILLS, STEPS)
def test_a_caller_within_the_rate_is_never_refused(capacity: int, refill: float, steps: list[float]) -> None:
    bucket = TokenBucket(capacity, refill)
    now = 0.0
    for step in steps:
        now += step + 1 / refill
        assert bucket.take(now) == 0


@given(st.integers(1, 5), STARTS, STEPS)
def test_a_rate_never_blames_who_stays_within_the_limit_and_always_who_sends_twice_as_much(
    limit: int, start: float, steps: list[float]
) -> None:
    """Windows last a second at least, so a stretch shorter than one touches two of them at most."""
    message_rate = MessageRate(limit)
    times = list(accumulate(steps, initial=start))
    blamed = [message_rate.exceeded(now) for now in times]

    def busiest(window: float) -> int:
        return max(sum(now <= other < now + window for other in times) for now in times)

    # A whisker wider than a second: sums of fractions end on either side of it.
    if busiest(1 + 1e-9) <= limit:
        assert not any(blamed)
    if busiest(1 - 1e-9) > 2 * limit:
        assert any(blamed)
