"""What every provider quota promises, whoever shares it."""

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


async def granted(quota: ProviderQuota, who: Asker, most: int = 30) -> int:
    """How many questions somebody may ask before a share is spent."""
    for number in range(most):
        try:
            if await quota.take("shared", who) > 0:
                return number
        except ProviderShareError:
            return number
    return most


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest) -> AsyncIterator[tuple[ProviderQuota, FakeClock]]:
    """The quota of one process."""
    clock = FakeClock()
    yield MemoryProviderQuota(ALLOWED, clock=clock, reserve=0.25), clock


@asynccontextmanager
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ProviderQuota, FakeClock]]:
    """The quota of many, over a real Valkey."""
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
    """A quota over Redis."""
    clock = FakeClock()
    bus = build_bus(url, clock=clock)
    assert isinstance(bus, RedisBus)
    try:
        quota = RedisProviderQuota(bus.client, ALLOWED, clock=clock, reserve=0.25)
        # The first connection may take longer than a question should.
        await eventually(lambda: answers(quota, clock), what="an answer of Redis")
        yield quota, clock
    finally:
        await bus.client.aclose()


async def answers(quota: RedisProviderQuota, clock: FakeClock) -> bool:
    """Whether Redis answers; asks again at once where it did not."""
    await quota.take("nobody")
    clock.advance(1)
    return not quota._lost


BUDGETS: dict[str, Open] = {"memory": memory, "redis": redis, "cluster": cluster}


@pytest.fixture(params=list(BUDGETS.values()), ids=list(BUDGETS))
async def made(request: pytest.FixtureRequest) -> AsyncIterator[tuple[ProviderQuota, FakeClock]]:
    """A quota of each kind."""
    make: Open = request.param
    async with make(request) as made:
        yield made


@pytest.fixture
def quota(made: tuple[ProviderQuota, FakeClock]) -> ProviderQuota:
    return made[0]


@pytest.mark.parametrize("provider", ["day", "both"])
async def test_so_many_may_be_asked_on_a_day_and_the_next_waits_for_its_end(
    quota: ProviderQuota, provider: str
) -> None:
    assert [await quota.take(provider) for _ in range(3)] == [0, 0, 0]
    assert 0 < await quota.take(provider) <= DAY


async def test_so_many_may_be_asked_in_a_minute_and_the_next_waits_for_its_end(quota: ProviderQuota) -> None:
    waits = [await quota.take("minute") for _ in range(7)]
    # Seven, because a minute may end in the middle of the test.
    refused = next(wait for wait in waits if wait)
    assert waits.index(refused) >= 3
    assert 0 < refused <= 60


async def test_what_was_refused_was_not_counted(quota: ProviderQuota) -> None:
    await quota.spend("day", 0.05)
    waits = [await quota.take("day") for _ in range(3)]
    assert all(0 < wait <= 0.05 for wait in waits)


async def test_each_provider_has_a_quota_of_its_own(quota: ProviderQuota) -> None:
    assert await quota.take("other") == 0
    assert await quota.take("other") > 0
    assert await quota.take("day") == 0


async def test_zero_allows_any_number_and_so_does_a_provider_nobody_spoke_of(quota: ProviderQuota) -> None:
    assert {await quota.take(provider) for provider in ("free", "nobody") for _ in range(50)} == {0}


async def test_together_no_more_are_let_through_than_are_allowed(quota: ProviderQuota) -> None:
    waits = await asyncio.gather(*(quota.take("day") for _ in range(20)))
    assert sorted(waits)[:4].count(0) == 3


async def test_a_provider_that_wants_quiet_gets_it(quota: ProviderQuota) -> None:
    await quota.spend("free", 40)
    await quota.spend("free", 5)
    assert 35 < await quota.take("free") <= 40
    await quota.spend("free", 100)
    assert 95 < await quota.take("free") <= 100


async def test_quiet_ends(made: tuple[ProviderQuota, FakeClock]) -> None:
    quota, clock = made
    await quota.spend("free", 0.05)

    async def again() -> bool:
        clock.advance(0.01)
        return await quota.take("free") == 0

    assert await eventually(again, what="the end of the quiet")


async def test_a_quiet_longer_than_a_day_outlasts_it(quota: ProviderQuota) -> None:
    await quota.spend("free", 2 * DAY)
    assert 2 * DAY - 5 < await quota.take("free") <= 2 * DAY


async def test_a_user_may_ask_so_much_of_it_and_the_others_all_the_same(quota: ProviderQuota) -> None:
    assert [await granted(quota, asker(who)) for who in (ANN, BOB, EVE, ANN)] == [2, 2, 2, 0]
    with pytest.raises(ProviderShareError) as refused:
        await quota.take("shared", asker(ANN))
    assert refused.value.whose == "user"
    assert 0 < (refused.value.retry_after or 0) <= DAY


async def test_the_users_of_a_plan_may_ask_so_much_together(quota: ProviderQuota) -> None:
    users = [("acme", f"u{number}") for number in range(10)]
    assert sum([await granted(quota, asker(user)) for user in users]) == 10
    with pytest.raises(ProviderShareError) as refused:
        await quota.take("shared", asker(("acme", "last")))
    assert refused.value.whose == "plan"
    assert await granted(quota, asker(("acme", "u0"), plan="other")) == 0
    assert await granted(quota, asker(("acme", "last"), plan="other")) == 2


async def test_something_is_kept_for_what_is_known_to_exist(quota: ProviderQuota) -> None:
    assert await granted(quota, Asker(known=False)) == 15
    with pytest.raises(ProviderShareError) as refused:
        await quota.take("shared", Asker(known=False))
    assert refused.value.whose == "unknown"
    assert await granted(quota, Asker(known=True)) == 5


async def test_what_a_share_refuses_counts_against_nothing(quota: ProviderQuota) -> None:
    assert await granted(quota, asker(ANN)) == 2
    for _ in range(30):
        assert await granted(quota, asker(ANN)) == 0
    assert await granted(quota, Asker()) == 18
