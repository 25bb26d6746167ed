import pytest

from marketstream.core.backoff import Backoff


def waits(count: int, *, lasted: float = 0, chance: float = 0) -> list[float]:
    backoff = Backoff()
    return [backoff.next(lasted, chance) for _ in range(count)]


def test_the_wait_doubles_up_to_half_a_minute() -> None:
    assert waits(7) == [2, 4, 8, 16, 32, 32, 32]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_chance_adds_a_tenth_at_most(chance: float) -> None:
    assert waits(2, chance=chance) == pytest.approx([2 * (1 + chance / 10), 4 * (1 + chance / 10)])


def test_a_minute_of_health_starts_the_count_over() -> None:
    backoff = Backoff()
    assert [backoff.next(lasted, 0) for lasted in (0, 59.9, 60, 0)] == [2, 4, 2, 4]


def test_other_steps_can_be_given() -> None:
    backoff = Backoff((0.1, 1.0))
    assert [backoff.next(0, 0) for _ in range(3)] == [0.1, 1.0, 1.0]
