import pytest

from marketstream.core.query.failover import Ask, Attempt, Failover, GiveUp, Outcome, Step

BOTH = ("yahoo", "fmp")
NO_JITTER = 0.5


def failed(
    failover: Failover, outcome: Outcome, now: float, *, took: float = 0.0, chance: float = 0.5
) -> Step:
    return failover.failed(outcome, outcome.upper(), took=took, now=now, chance=chance)


def test_the_first_of_the_order_is_asked_first() -> None:
    assert Failover(BOTH, 0).begin(0) == Ask("yahoo", 0, 2.5)


def test_a_transient_failure_asks_the_same_again_after_one_and_two_seconds() -> None:
    failover = Failover(BOTH, 0)
    failover.begin(0)
    assert failed(failover, "transient", 0) == Ask("yahoo", 1.0, 2.0)
    assert failed(failover, "transient", 1) == Ask("yahoo", 2.0, 1.0)
    assert failed(failover, "transient", 3) == Ask("fmp", 0, 2.0)


@pytest.mark.parametrize("outcome", ["final", "unknown", "resting"])
def test_every_other_failure_asks_the_next_at_once(outcome: Outcome) -> None:
    failover = Failover(BOTH, 0)
    failover.begin(0)
    assert failed(failover, outcome, 0.1) == Ask("fmp", 0, 4.9)


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
def test_a_pause_varies_by_a_tenth_at_most(chance: float, pause: float) -> None:
    failover = Failover(BOTH, 0)
    failover.begin(0)
    step = failed(failover, "transient", 0, chance=chance)
    assert isinstance(step, Ask)
    assert step.delay == pytest.approx(pause)


def test_a_provider_that_hangs_leaves_half_of_the_time_to_the_others() -> None:
    """And is not asked again: what is left would not do for another attempt of that length."""
    failover = Failover((*BOTH, "tiingo"), 0)
    failover.begin(0)
    assert failed(failover, "transient", 2.5, took=2.5) == Ask("fmp", 0, 1.25)
    assert failed(failover, "transient", 3.75, took=1.25) == Ask("tiingo", 0, 1.25)
    assert failed(failover, "transient", 5, took=1.25) == GiveUp("deadline")


def test_a_provider_that_took_long_is_not_asked_again_while_another_one_is_left() -> None:
    """Two seconds, a pause and two seconds more would leave nothing to the others."""
    failover = Failover(BOTH, 0)
    failover.begin(0)
    assert failed(failover, "transient", 2, took=2) == Ask("fmp", 0, 3.0)


def test_the_last_provider_is_asked_again_as_long_as_there_is_time() -> None:
    failover = Failover(["yahoo"], 0)
    assert failover.begin(0) == Ask("yahoo", 0, 5.0)
    assert failed(failover, "transient", 3.5, took=3.5) == Ask("yahoo", 1.0, 0.5)
    assert failed(failover, "transient", 5, took=0.5) == GiveUp("deadline")


def test_nobody_is_waited_for_beyond_the_deadline() -> None:
    failover = Failover(["yahoo"], 0)
    failover.begin(0)
    assert failed(failover, "transient", 4.1) == GiveUp("failed")


def test_all_that_failed_is_remembered_in_order() -> None:
    failover = Failover(BOTH, 0)
    failover.begin(0)
    failed(failover, "transient", 0.25, took=0.25)
    failed(failover, "final", 1.5, took=0.25)
    failed(failover, "unknown", 1.5)
    assert failover.attempts == [
        Attempt("yahoo", "TRANSIENT", 0.25),
        Attempt("yahoo", "FINAL", 0.25),
        Attempt("fmp", "UNKNOWN", 0.0),
    ]
    assert failover.tries == 3


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        (["unknown", "unknown"], "unknown"),
        (["unknown", "final"], "unknown"),
        (["final", "unknown"], "unknown"),
        (["final", "final"], "failed"),
        (["unknown", "resting"], "failed"),
        (["resting", "unknown"], "failed"),
    ],
)
def test_a_symbol_is_unknown_when_one_says_so_and_none_broke_down(
    outcomes: list[Outcome], reason: str
) -> None:
    """Who is out of quota says nothing about a symbol; who broke down might have known it."""
    failover = Failover(BOTH, 0)
    step = failover.begin(0)
    for outcome in outcomes:
        step = failed(failover, outcome, 0)
    assert step == GiveUp(reason)  # type: ignore[arg-type]  # of the table above


def test_without_a_provider_there_is_nothing_to_ask() -> None:
    failover = Failover((), 0)
    assert failover.begin(0) == GiveUp("failed")
    assert failover.attempts == []
