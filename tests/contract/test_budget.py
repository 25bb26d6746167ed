"""What every budget promises, whoever shares it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.coordination.provider_quota import RedisProviderQuota
from marketstream.core.query.quota import Allowance, Asker
from marketstream.errors import ProviderShareError
from marketstream.ports import ProviderQuota
from marketstream.providers.quota import MemoryProviderQuota
from tests.support.clock import FakeClock
from tests.support.cluster import Cluster
from tests.support.eventually import eventually
from tests.support.valkey import Valkey

Open = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[tuple[ProviderQuota, FakeClock]]]

DAY = 86_400
ALLOWED = {
    "minute": Allowance(3, 0),
    "day": Allowance(0, 3),
    "both": Allowance(1_000, 3),
    "free": Allowance(0, 0),
    "other": Allowance(0, 1),
    "shared": Allowance(0, 20),
}
ANN, BOB, EVE = (("acme", "ann"), ("acme", "bob"), ("globex", "ann"))


def asker(user: tuple[str, str] | None, *, known: bool = True, plan: str = "basic") -> Asker:
    """Somebody of a plan that gives a user a tenth of a day, and all its users half."""
    return Asker(user, plan, 0.1, 0.5, known)


async def granted(budget: ProviderQuota, who: Asker, most: int = 30) -> int:
    """How many questions somebody may ask before a share is spent."""
    for number in range(most):
        try:
            if await budget.take("shared", who) > 0:
                return number
        except ProviderShareError:
            return number
    return most


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest) -> AsyncIterator[tuple[ProviderQuota, FakeClock]]:
    """The budget of one process."""
    clock = FakeClock()
    yield MemoryProviderQuota(ALLOWED, clock=clock, reserve=0.25), clock


@asynccontextmanager
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ProviderQuota, FakeClock]]:
    """The budget of many, over a real Valkey."""
    valkey: Valkey = request.getfixturevalue("valkey")
    async with shared(valkey.url) as made:
        yield made


@asynccontextmanager
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ProviderQuota, FakeClock]]:
    """The same over a cluster."""
    valkeys: Cluster = request.getfixturevalue("cluster")
    async with shared(valkeys.url) as made:
        yield made


@asynccontextmanager
async def shared(url: str) -> AsyncIterator[tuple[RedisProviderQuota, FakeClock]]:
    """A budget over Redis."""
    clock = FakeClock()
    bus = build_bus(url, clock=clock)
    assert isinstance(bus, RedisBus)
    try:
        budget = RedisProviderQuota(bus.client, ALLOWED, clock=clock, reserve=0.25)
        # The first connection may take longer than a question should.
        await eventually(lambda: answers(budget, clock), what="an answer of Redis")
        yield budget, clock
    finally:
        await bus.client.aclose()


async def answers(budget: RedisProviderQuota, clock: FakeClock) -> bool:
    """Whether Redis answers; asks again at once where it did not."""
    await budget.take("nobody")
    clock.advance(1)
    return not budget._lost


BUDGETS: dict[str, Open] = {"memory": memory, "redis": redis, "cluster": cluster}


@pytest.fixture(params=list(BUDGETS.values()), ids=list(BUDGETS))
async def made(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ProviderQuota, FakeClock]]:
    """A budget of each kind."""
    make: Open = request.param
    async with make(request) as made:
        yield made


@pytest.fixture
def budget(made: tuple[ProviderQuota, FakeClock]) -> ProviderQuota:
    return made[0]


@pytest.mark.parametrize("provider", ["day", "both"])
async def test_so_many_may_be_asked_on_a_day_and_the_next_waits_for_its_end(
    budget: ProviderQuota, provider: str
) -> None:
    assert [await budget.take(provider) for _ in range(3)] == [0, 0, 0]
    assert 0 < await budget.take(provider) <= DAY


async def test_so_many_may_be_asked_in_a_minute_and_the_next_waits_for_its_end(budget: ProviderQuota) -> None:
    waits = [await budget.take("minute") for _ in range(7)]
    # Seven, because a minute may end in the middle of the test.
    refused = next(wait for wait in waits if wait)
    assert waits.index(refused) >= 3
    assert 0 < refused <= 60


async def test_what_was_refused_was_not_counted(budget: ProviderQuota) -> None:
    await budget.spend("day", 0.05)
    waits = [await budget.take("day") for _ in range(3)]
    assert all(0 < wait <= 0.05 for wait in waits)


async def test_each_provider_has_a_budget_of_its_own(budget: ProviderQuota) -> None:
    assert await budget.take("other") == 0
    assert await budget.take("other") > 0
    assert await budget.take("day") == 0


async def test_zero_allows_any_number_and_so_does_a_provider_nobody_spoke_of(budget: ProviderQuota) -> None:
    assert {await budget.take(provider) for provider in ("free", "nobody") for _ in range(50)} == {0}


async def test_together_no_more_are_let_through_than_are_allowed(budget: ProviderQuota) -> None:
    waits = await asyncio.gather(*(budget.take("day") for _ in range(20)))
    assert sorted(waits)[:4].count(0) == 3


async def test_a_provider_that_wants_quiet_gets_it(budget: ProviderQuota) -> None:
    await budget.spend("free", 40)
    await budget.spend("free", 5)
    assert 35 < await budget.take("free") <= 40
    await budget.spend("free", 100)
    assert 95 < await budget.take("free") <= 100


async def test_quiet_ends(made: tuple[ProviderQuota, FakeClock]) -> None:
    budget, clock = made
    await budget.spend("free", 0.05)

    async def again() -> bool:
        clock.advance(0.01)
        return await budget.take("free") == 0

    assert await eventually(again, what="the end of the quiet")


async def test_a_quiet_longer_than_a_day_outlasts_it(budget: ProviderQuota) -> None:
    await budget.spend("free", 2 * DAY)
    assert 2 * DAY - 5 < await budget.take("free") <= 2 * DAY


async def test_a_user_may_ask_so_much_of_it_and_the_others_all_the_same(budget: ProviderQuota) -> None:
    assert [await granted(budget, asker(who)) for who in (ANN, BOB, EVE, ANN)] == [2, 2, 2, 0]
    with pytest.raises(ProviderShareError) as refused:
        await budget.take("shared", asker(ANN))
    assert refused.value.whose == "user"
    assert 0 < (refused.value.retry_after or 0) <= DAY


async def test_the_users_of_a_plan_may_ask_so_much_together(budget: ProviderQuota) -> None:
    users = [("acme", f"u{number}") for number in range(10)]
    assert sum([await granted(budget, asker(user)) for user in users]) == 10
    with pytest.raises(ProviderShareError) as refused:
        await budget.take("shared", asker(("acme", "last")))
    assert refused.value.whose == "plan"
    assert await granted(budget, asker(("acme", "u0"), plan="other")) == 0
    assert await granted(budget, asker(("acme", "last"), plan="other")) == 2


async def test_something_is_kept_for_what_is_known_to_exist(budget: ProviderQuota) -> None:
    assert await granted(budget, Asker(known=False)) == 15
    with pytest.raises(ProviderShareError) as refused:
        await budget.take("shared", Asker(known=False))
    assert refused.value.whose == "unknown"
    assert await granted(budget, Asker(known=True)) == 5


async def test_what_a_share_refuses_counts_against_nothing(budget: ProviderQuota) -> None:
    assert await granted(budget, asker(ANN)) == 2
    for _ in range(30):
        assert await granted(budget, asker(ANN)) == 0
    assert await granted(budget, Asker()) == 18
