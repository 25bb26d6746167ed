"""What connection limits promise, whoever keeps them.

An implementation joins by one entry in `LIMITS`: how to make it, ready to be asked.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.coordination.interest_gossip import InterestGossip
from marketstream.engine.delivery.connection_limits import LocalConnectionLimits
from marketstream.errors import ConnectionLimitError
from marketstream.observability.clock import SystemClock
from marketstream.ports import ConnectionLimits
from tests.support.eventually import eventually
from tests.support.valkey import Valkey

Open = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[ConnectionLimits]]


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest) -> AsyncIterator[ConnectionLimits]:
    """Those of a single process."""
    yield LocalConnectionLimits()


@asynccontextmanager
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[ConnectionLimits]:
    """Those of many processes, over a real Valkey."""
    valkey: Valkey = request.getfixturevalue("valkey")
    bus = build_bus(valkey.url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    gossip = InterestGossip(bus=bus, clock=SystemClock())
    running = [asyncio.create_task(gossip.run()), asyncio.create_task(bus.run())]
    try:
        await eventually(lambda: bus.connected, what="a connection to Valkey")
        yield gossip.connection_limits
    finally:
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


LIMITS: dict[str, Open] = {"memory": memory, "redis": redis}


@pytest.fixture(params=list(LIMITS.values()), ids=list(LIMITS))
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[ConnectionLimits]:
    """Connection limits of each kind."""
    make: Open = request.param
    async with make(request) as made:
        yield made


async def take(limits: ConnectionLimits, user: str = "u", limit: int = 2, tenant: str = "acme") -> bool:
    """Whether there was a place."""
    try:
        waiting = limits.acquire(tenant, user, limit)
        if waiting is not None:
            await waiting
    except ConnectionLimitError as error:
        assert str(error) == f"{limit} connections are open for this user"  # noqa: PT017  # both ways to raise it
        return False
    return True


async def test_as_many_are_admitted_as_the_limit_says(limits: ConnectionLimits) -> None:
    assert [await take(limits) for _ in range(4)] == [True, True, False, False]


async def test_a_place_that_is_given_back_is_there_again(limits: ConnectionLimits) -> None:
    for _ in range(5):
        assert await take(limits, limit=1)
        assert not await take(limits, limit=1)
        limits.release("acme", "u")
    assert await take(limits, limit=1)


async def test_every_user_of_every_tenant_has_a_limit_of_its_own(limits: ConnectionLimits) -> None:
    users = [("acme", "u"), ("acme", "v"), ("rival", "u"), ("acme u", ""), ("", "acme u"), ("\ud800", "\x1f")]
    assert all([await take(limits, user, 1, tenant) for tenant, user in users])
    assert not any([await take(limits, user, 1, tenant) for tenant, user in users])


async def test_the_limit_is_that_of_who_asks(limits: ConnectionLimits) -> None:
    """A user may have tokens of different plans."""
    assert await take(limits, limit=1)
    assert not await take(limits, limit=1)
    assert await take(limits, limit=2)
    assert not await take(limits, limit=2)


async def test_of_many_who_ask_at_once_as_many_get_a_place_as_there_are(limits: ConnectionLimits) -> None:
    asked = [(f"u{number % 7}", number) for number in range(70)]
    found = await asyncio.gather(*(take(limits, user, 4) for user, _ in asked))
    for user in {user for user, _ in asked}:
        granted = [each for (asker, _), each in zip(asked, found, strict=True) if asker == user]
        assert granted == [True] * 4 + [False] * 6


async def test_who_stops_waiting_holds_no_place(limits: ConnectionLimits) -> None:
    """However far it had come."""
    for turns in (0, 1, 2, 3, 5, 8, 16, 32, 64, 128, 256, 512, 1024):
        task = asyncio.create_task(take(limits, limit=1))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            assert task.result()
            limits.release("acme", "u")
    assert await take(limits, limit=1)
