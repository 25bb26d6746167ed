"""What the chaos test is made of: what is done when, and what is wrong with what clients see."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.schedule import HARMS, WARMING, harms
from tests.chaos.witness import Client, Witness


@given(seed=st.integers(), seconds=st.floats(0, 600))
def test_a_schedule_follows_from_its_seed_and_is_over_in_time(seed: int, seconds: float) -> None:
    schedule = list(harms(seed, seconds))
    assert schedule == list(harms(seed, seconds))
    assert [harm.at for harm in schedule] == sorted(harm.at for harm in schedule)
    for harm in schedule:
        targets, least, most = HARMS[harm.kind]
        assert harm.target in targets
        assert least <= harm.seconds <= most
        assert harm.at >= WARMING
        assert harm.at + harm.seconds <= seconds


@given(seed=st.integers())
def test_two_harms_of_one_target_do_not_overlap(seed: int) -> None:
    schedule = list(harms(seed, 300))
    for target in {harm.target for harm in schedule}:
        own = [harm for harm in schedule if harm.target == target]
        assert all(one.at + one.seconds <= other.at for one, other in pairwise(own))


def test_every_kind_of_harm_comes_in_the_end() -> None:
    assert {harm.kind for harm in harms(1, 600)} == set(HARMS)


class Scene:
    """One client of tenant `acme` that is up from the beginning, watched for ten seconds of stillness.

    Attributes:
        eyes: What is tested.
        clear: Since when nothing has stood between the client and its gateway.
    """

    def __init__(self) -> None:
        self.clear = 0.0
        self.eyes = Witness(
            [Client("c", "events", "g", "acme", "pro")],
            moving=("M",),
            owners={1: "acme", 2: "globex"},
            bound=10,
            clear=lambda _: self.clear,
        )
        self.eyes.take(0, "c", "up")

    def pass_time(self, since: int, until: int) -> list[str]:
        """Looks every second, with the clients' program running; returns what was wrong in that time."""
        before = len(self.eyes.faults)
        for now in range(since, until + 1):
            self.eyes.take(now, "", "beat")
            self.eyes.look(now)
        return self.eyes.faults[before:]


def test_a_value_that_is_older_is_wrong_on_a_later_connection_too() -> None:
    scene = Scene()
    scene.eyes.take(1, "c", "price", "P", 1.0, 100)
    scene.eyes.take(1, "c", "price", "P", 1.0, 100)
    assert scene.eyes.faults == []
    scene.eyes.take(2, "c", "down")
    scene.eyes.take(3, "c", "up")
    scene.eyes.take(4, "c", "price", "P", 1.0, 99)
    assert len(scene.eyes.faults) == 1


def test_a_value_of_another_tenant_is_wrong() -> None:
    scene = Scene()
    for number, value in enumerate((7.5, 1_000_001)):
        scene.eyes.take(number, "c", "price", "P", value, number)
    assert scene.eyes.faults == []
    scene.eyes.take(3, "c", "price", "P", 2_000_001, 3)
    assert len(scene.eyes.faults) == 1


def test_what_stands_still_must_be_said_to_be_stale() -> None:
    scene = Scene()
    scene.eyes.take(0, "c", "price", "M", 1.0, 1)
    assert scene.pass_time(0, 10) == []
    assert len(scene.pass_time(11, 30)) == 1
    scene.eyes.take(31, "c", "price", "M", 1.0, 2)
    assert len(scene.eyes.faults) == 1


def test_who_was_told_who_is_away_and_who_cannot_be_reached_may_see_nothing_move() -> None:
    told, away, shut = Scene(), Scene(), Scene()
    told.eyes.take(5, "c", "state", "M", "stale")
    away.eyes.take(5, "c", "down")
    shut.clear = float("inf")
    for scene in (told, away, shut):
        assert scene.pass_time(0, 30) == []


def test_a_connection_that_is_new_must_be_told_again() -> None:
    scene = Scene()
    scene.eyes.take(5, "c", "state", "M", "stale")
    scene.eyes.take(6, "c", "down")
    scene.eyes.take(7, "c", "up")
    assert scene.pass_time(7, 17) == []
    assert len(scene.pass_time(18, 18)) == 1


def test_what_moves_must_not_be_said_to_be_stale_for_long() -> None:
    scene = Scene()
    scene.eyes.take(1, "c", "state", "M", "stale")
    for number in range(2, 13):
        scene.eyes.take(number, "c", "price", "M", 1.0, number)
    assert scene.eyes.faults == []
    scene.eyes.take(13, "c", "price", "M", 1.0, 13)
    assert len(scene.eyes.faults) == 1


def test_the_first_value_after_a_long_time_may_come_just_before_the_word_that_it_moves_again() -> None:
    scene = Scene()
    scene.eyes.take(1, "c", "price", "M", 1.0, 1)
    scene.eyes.take(5, "c", "state", "M", "stale")
    scene.eyes.take(30, "c", "price", "M", 1.0, 2)
    assert scene.eyes.faults == []


def test_who_is_told_that_it_is_live_waits_anew_and_is_not_told_so_twice_for_nothing() -> None:
    scene = Scene()
    scene.eyes.take(0, "c", "price", "M", 1.0, 1)
    scene.eyes.take(5, "c", "state", "M", "stale")
    scene.eyes.take(12, "c", "state", "M", "live")
    assert scene.pass_time(0, 22) == []
    assert len(scene.pass_time(23, 23)) == 1
    twice = Scene()
    for number, bid in enumerate((None, 2, None)):
        twice.eyes.take(10 * number, "c", "state", "M", "stale")
        twice.eyes.take(10 * number + 1, "c", "state", "M", "live")
        assert len(twice.eyes.faults) == min(number, 1)
        if bid is not None:
            twice.eyes.take(10 * number + 2, "c", "price", "M", 1.0, bid)


def test_a_time_in_which_the_clients_did_not_run_counts_for_nothing() -> None:
    scene = Scene()
    assert scene.pass_time(0, 5) == []
    assert scene.pass_time(14, 23) == []
    assert len(scene.pass_time(24, 26)) == 1
