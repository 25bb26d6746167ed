from dataclasses import replace

import pytest

from marketstream.transports.rest.rate_limiter import UserRateLimiter
from tests.support.builders import PRO, principal
from tests.support.clock import FakeClock

SMALL = replace(PRO, rate_capacity=2, rate_refill=0.5)


def test_what_is_left_is_told_with_every_call() -> None:
    clock = FakeClock()
    limiter = UserRateLimiter(clock=clock)
    who = principal(plan=SMALL)
    told = [limiter.spend(who) for _ in range(3)]
    assert [headers["RateLimit-Remaining"] for headers, _ in told] == ["1", "0", "0"]
    assert [headers["RateLimit-Reset"] for headers, _ in told] == ["2", "4", "4"]
    assert [refusal is None for _, refusal in told] == [True, True, False]
    assert told[2][1] is not None
    assert told[2][1].retry_after_ms == 2_000


def test_one_who_waits_as_long_as_told_is_let_in() -> None:
    clock = FakeClock()
    limiter = UserRateLimiter(clock=clock)
    who = principal(plan=SMALL)
    refusal = None
    while refusal is None:
        _, refusal = limiter.spend(who)
    clock.advance(refusal.retry_after_ms / 1000)
    assert limiter.spend(who)[1] is None


def test_users_beyond_its_memory_are_forgotten_the_quietest_first() -> None:
    limiter = UserRateLimiter(clock=FakeClock(), most_users=2)
    first, second, third = (principal(name, plan=SMALL) for name in ("u1", "u2", "u3"))
    for who in (first, second, first, third):
        limiter.spend(who)
    assert len(limiter) == 2
    assert limiter.spend(first)[0]["RateLimit-Remaining"] == "0"
    assert limiter.spend(second)[0]["RateLimit-Remaining"] == "1"


@pytest.mark.parametrize("other", [principal("u2", plan=SMALL), principal("u1", "umbrella", SMALL)])
def test_nobody_uses_up_the_allowance_of_another(other: object) -> None:
    limiter = UserRateLimiter(clock=FakeClock())
    for _ in range(3):
        limiter.spend(principal("u1", plan=SMALL))
    assert limiter.spend(other)[1] is None  # type: ignore[arg-type]  # of the list above


def test_a_user_with_tokens_of_two_plans_has_one_allowance() -> None:
    limiter, large = UserRateLimiter(clock=FakeClock()), replace(SMALL, rate_capacity=4)
    assert [limiter.spend(principal(plan=large))[1] is None for _ in range(5)] == [True] * 4 + [False]
    for plan in (SMALL, large, SMALL, large):
        assert limiter.spend(principal(plan=plan))[1] is not None
