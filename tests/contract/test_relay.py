"""What the carrying of messages between processes promises, whoever carries them.

An implementation joins by one entry in `RELAYS`: how to make that of one process, running.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

import pytest

from marketstream.bus.memory import MemoryChannel
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.observability.clock import SystemClock
from marketstream.ports import Relay
from tests.support.eventually import eventually
from tests.support.valkey import Valkey

Open = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Relay]]


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest) -> AsyncIterator[Relay]:
    """That of a single process."""
    yield MemoryChannel()


@asynccontextmanager
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Relay]:
    """That of many processes, over a real Valkey."""
    valkey: Valkey = request.getfixturevalue("valkey")
    bus = build_bus(valkey.url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    running = asyncio.create_task(bus.run())
    await eventually(lambda: bus.connected, what="a connection to Valkey")
    yield bus
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


RELAYS: dict[str, Open] = {"memory": memory, "redis": redis}


@pytest.fixture(params=list(RELAYS.values()), ids=list(RELAYS))
async def relay(request: pytest.FixtureRequest) -> AsyncIterator[Relay]:
    """A relay of each kind."""
    make: Open = request.param
    async with make(request) as made:
        yield made


async def test_what_is_sent_arrives_here_too_in_order_and_once(relay: Relay) -> None:
    got: list[bytes] = []
    relay.listen(got.append)
    sent = [b"%d" % number for number in range(200)]
    for message in sent:
        relay.send(message)
    await eventually(lambda: len(got) >= len(sent), what="the messages")
    assert got == sent


async def test_bytes_arrive_as_they_were_sent(relay: Relay) -> None:
    got: list[bytes] = []
    relay.listen(got.append)
    for message in (b"", bytes(range(256)), b"x" * 100_000):
        relay.send(message)
    await eventually(lambda: len(got) == 3, what="the messages")
    assert got == [b"", bytes(range(256)), b"x" * 100_000]


async def test_the_receiver_that_was_named_last_is_the_one(relay: Relay) -> None:
    first: list[bytes] = []
    second: list[bytes] = []
    relay.listen(first.append)
    relay.listen(second.append)
    relay.send(b"message")
    await eventually(lambda: second, what="the message")
    assert first == []
