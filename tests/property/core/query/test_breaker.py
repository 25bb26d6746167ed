from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.query.breaker import Breaker

FAILURES, PAUSE = 3, 10.0
steps = st.lists(
    st.tuples(st.sampled_from(["fail", "succeed", "abandon", "silent"]), st.floats(0, 15)), max_size=60
)


@given(steps)
def test_it_is_open_after_a_run_of_failures_and_never_before(steps: list[tuple[str, float]]) -> None:
    """Callers come one after the other; each tells its outcome at once, or never."""
    breaker = Breaker(failures=FAILURES, pause=PAUSE)
    now, run, kept_out_since = 0.0, 0, None
    for outcome, gap in steps:
        now += gap
        wait = breaker.admit(now)
        assert 0 <= wait <= PAUSE + 1e-9  # seconds are binary fractions
        if run < FAILURES:
            assert wait == 0
        if wait > 0:
            kept_out_since = now if kept_out_since is None else kept_out_since
            assert now - kept_out_since < 2 * PAUSE, "nobody was let through for two pauses"
            continue
        kept_out_since = None
        if outcome == "fail":
            breaker.failed(now)
            run += 1
        elif outcome == "succeed":
            breaker.succeeded()
            run = 0
            assert breaker.state(now) == "closed"
        elif outcome == "abandon":
            breaker.abandoned()


@given(st.integers(1, 20), st.lists(st.floats(0, 9.99), max_size=30))
def test_half_open_it_lets_one_through_in_each_pause(callers: int, times: list[float]) -> None:
    breaker = Breaker(failures=1, pause=PAUSE)
    breaker.failed(0)
    admitted = [breaker.admit(PAUSE + at) for at in sorted([0.0] * callers + times)]
    assert admitted.count(0) == 1
