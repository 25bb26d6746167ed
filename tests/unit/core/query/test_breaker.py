import pytest

from marketstream.core.query.breaker import Breaker


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(failures=2, pause=10)
    breaker.failed(now)
    breaker.failed(now)
    return breaker


def test_a_run_of_failures_opens_it_and_a_success_in_between_does_not() -> None:
    breaker = Breaker(failures=2, pause=10)
    breaker.failed(0)
    breaker.succeeded()
    breaker.failed(0)
    assert breaker.state(0) == "closed"
    breaker.failed(0)
    assert breaker.state(0) == "open"


def test_who_is_kept_out_is_told_for_how_long() -> None:
    assert opened(5).admit(8) == 7


def test_after_the_pause_one_caller_may_try_and_only_one() -> None:
    breaker = opened()
    assert breaker.state(10) == "half-open"
    assert breaker.admit(10) == 0
    assert breaker.admit(11) == 9


def test_a_try_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.admit(10)
    breaker.succeeded()
    assert breaker.state(10) == "closed"
    assert [breaker.admit(10), breaker.admit(10)] == [0, 0]


def test_a_try_that_fails_opens_it_for_another_pause() -> None:
    breaker = opened()
    breaker.admit(10)
    breaker.failed(12)
    assert breaker.admit(12) == 10
    assert breaker.admit(22) == 0


def test_a_try_without_an_outcome_is_the_next_ones_turn() -> None:
    breaker = opened()
    breaker.admit(10)
    breaker.abandoned()
    assert breaker.admit(11) == 0


def test_a_try_whose_outcome_nobody_told_keeps_nobody_out_for_ever() -> None:
    breaker = opened()
    breaker.admit(10)
    assert breaker.admit(20) == 0


def test_one_that_was_under_way_and_fails_late_does_not_draw_the_pause_out() -> None:
    breaker = opened()
    breaker.failed(9)
    assert breaker.state(10) == "half-open"


@pytest.mark.parametrize(("failures", "pause"), [(0, 1), (1, 0), (1, float("nan"))])
def test_one_that_could_protect_nobody_is_not_made(failures: int, pause: float) -> None:
    with pytest.raises(ValueError, match="protects nobody"):
        Breaker(failures=failures, pause=pause)
