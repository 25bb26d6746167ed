"""What the right to feed the market promises, whoever gives it.

An implementation joins by one entry in `LEASES`: how to make that of one process.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from marketstream.bus.memory import MemoryLease
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.coordination.lease import RedisLease
from marketstream.core.delivery.frame import Frame
from marketstream.observability.clock import SystemClock
from marketstream.ports import Lease
from tests.support.eventually import eventually
from tests.support.valkey import Valkey

Open = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Lease]]


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest) -> AsyncIterator[Lease]:
    """That of a single process."""
    yield MemoryLease()


@asynccontextmanager
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Lease]:
    """That of many processes, over a real Valkey."""
    valkey: Valkey = request.getfixturevalue("valkey")
    bus = build_bus(valkey.url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    yield RedisLease(bus)
    await bus.client.aclose()


LEASES: dict[str, Open] = {"memory": memory, "redis": redis}


@pytest.fixture(params=list(LEASES.values()), ids=list(LEASES))
async def lease(request: pytest.FixtureRequest) -> AsyncIterator[Lease]:
    """A lease of each kind."""
    make: Open = request.param
    async with make(request) as made:
        yield made


class Duty:
    """What the holder does: nothing, until it is cancelled.

    Attributes:
        given: The last values that it was given, each time.
        ended: How often it ended.
    """

    def __init__(self) -> None:
        self.given: list[Sequence[Frame]] = []
        self.ended = 0

    async def __call__(self, known: Sequence[Frame]) -> None:
        """Waits."""
        self.given.append(known)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1


async def test_who_is_alone_does_the_duty_once_and_holds_the_lease_meanwhile(lease: Lease) -> None:
    duty = Duty()
    holding = asyncio.ensure_future(lease.hold(duty))
    await eventually(lambda: duty.given, what="the duty")
    assert lease.held
    assert [list(known) for known in duty.given] == [[]]
    holding.cancel()
    with suppress(asyncio.CancelledError):
        await holding


async def test_the_duty_has_ended_when_the_holding_was_cancelled(lease: Lease) -> None:
    duty = Duty()
    holding = asyncio.ensure_future(lease.hold(duty))
    await eventually(lambda: duty.given, what="the duty")
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert duty.ended == 1
