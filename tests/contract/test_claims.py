"""What claims of runs promise, whoever keeps them.

An implementation joins by one entry in `CLAIMS`: how to make those of one process.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from marketstream.bus.memory import MemoryClaims
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.coordination.claims import RedisClaims
from marketstream.observability.clock import SystemClock
from marketstream.ports import Claims
from tests.support.valkey import Valkey

Open = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Claims]]


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest) -> AsyncIterator[Claims]:
    """Those of a single process."""
    yield MemoryClaims()


@asynccontextmanager
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Claims]:
    """Those of many processes, over a real Valkey."""
    valkey: Valkey = request.getfixturevalue("valkey")
    bus = build_bus(valkey.url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    yield RedisClaims(bus.client, "one")
    await bus.client.aclose()


CLAIMS: dict[str, Open] = {"memory": memory, "redis": redis}


@pytest.fixture(params=list(CLAIMS.values()), ids=list(CLAIMS))
async def claims(request: pytest.FixtureRequest) -> AsyncIterator[Claims]:
    """Claims of each kind."""
    make: Open = request.param
    async with make(request) as made:
        yield made


async def test_a_run_that_nobody_has_is_ones_own(claims: Claims) -> None:
    assert await claims.take("job", 7, 60)


async def test_a_run_stays_ones_own_when_it_is_asked_for_again(claims: Claims) -> None:
    assert [await claims.take("job", 7, 60) for _ in range(3)] == [True, True, True]


async def test_runs_of_other_times_and_jobs_are_claims_of_their_own(claims: Claims) -> None:
    taken = [await claims.take(job, due, 60) for job in ("job", "other") for due in (7, 8)]
    assert taken == [True] * 4
