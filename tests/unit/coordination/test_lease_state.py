import pytest

from marketstream.coordination.lease_state import LOOKS, LeaseState


def looks(state: LeaseState, *found: bool, ever_held: bool = True) -> list[bool]:
    """What the state makes of looks in a row, each of which found the lease held or not."""
    return [state.looked(held=held, ever_held=ever_held) for held in found]


def test_a_lease_that_nobody_ever_held_is_taken_at_first_sight() -> None:
    assert looks(LeaseState(), False, ever_held=False) == [True]


def test_a_lease_that_somebody_once_held_is_taken_at_the_third_sight() -> None:
    """The holder may be alive: this process has just begun, and Redis has just come back."""
    assert looks(LeaseState(), *[False] * LOOKS) == [False, False, True]


def test_that_it_was_seen_held_is_remembered_though_redis_forgets_it() -> None:
    state = LeaseState()
    looks(state, True)
    assert looks(state, False, False, False, ever_held=False) == [False, False, True]


def test_a_holder_that_is_seen_in_between_starts_the_count_over() -> None:
    assert looks(LeaseState(), False, False, True, False, False, False) == [*[False] * 5, True]


def test_a_redis_that_does_not_answer_starts_the_count_over() -> None:
    state = LeaseState()
    looks(state, False, False)
    state.unanswered()
    assert looks(state, False, False, False) == [False, False, True]


def test_who_lost_its_term_does_not_take_it_back_at_first_sight() -> None:
    state = LeaseState()
    state.begin("7")
    state.serving = True
    state.end()
    assert (state.term, state.serving) == ("", False)
    assert looks(state, False, False, False, ever_held=False) == [False, False, True]


@pytest.mark.parametrize(
    ("answer", "fenced", "becomes"),
    [("7", False, "kept"), ("7", True, "new"), ("8", False, "new"), ("", False, "lost"), ("", True, "lost")],
)
def test_a_term_goes_on_only_while_redis_knows_it_and_takes_what_is_published_in_it(
    answer: str,
    fenced: bool,  # noqa: FBT001  # a parameter of the test
    becomes: str,
) -> None:
    state = LeaseState()
    state.begin("7")
    assert state.renewed(answer, fenced=fenced) == becomes
