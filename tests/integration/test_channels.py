"""What back ends say of the market as a whole: through Redis, to the clients of every process and edge."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from marketstream.bus.url import build_bus
from marketstream.observability.clock import SystemClock
from marketstream.ports import Bus
from marketstream.wire import messages
from tests.conformance.raw import RawSocket, raw_socket, say
from tests.support.eventually import eventually
from tests.support.gateways import gateways, next_event
from tests.support.plain import TYPED, call, plain
from tests.support.valkey import Valkey

AT_MS = int(time.time() * 1000)


@asynccontextmanager
async def back_end(url: str) -> AsyncIterator[Bus]:
    """A process on the bus that serves nobody."""
    bus = build_bus(url, clock=SystemClock())
    bus.attach(lambda _: None)
    task = asyncio.create_task(bus.run())
    try:
        await eventually(lambda: bus.connected, 5, "a connection to Valkey")
        yield bus
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def listen(socket: RawSocket, *channels: str) -> None:
    """Subscribes to channels over Socket.IO and reads the answer."""
    await socket.send(say("subscribe", {"channels": list(channels)}, 1))
    assert await socket.read_to("43/market-data,1") is not None


def market(*channels: str) -> dict[str, Any]:
    """A subscription to channels over the plain WebSocket."""
    return call(TYPED, "subscribe", type="market_data", channels=list(channels))


async def test_an_update_reaches_listeners_in_every_process_and_the_last_one_those_who_come_late(
    valkey: Valkey,
) -> None:
    async with gateways(valkey.url) as (one, two), back_end(valkey.url) as bus:
        async with raw_socket(one.url, token=one.token()) as early, plain(two.url, two.token()) as other:
            await listen(early, "indices", "sectors")
            await other.ask(market("indices"), "subscribed")
            bus.publish([messages.channel_update("indices", {"n": 1}, AT_MS)])
            assert await next_event(early, "market_update") == {
                "channel": "indices",
                "data": {"n": 1},
                "timestamp": AT_MS,
            }
            assert (await other.named("market_update"))["data"]["data"] == {"n": 1}
            bus.publish([messages.channel_update("sectors", {"n": 2}, AT_MS)])
            assert (await next_event(early, "sector_update"))["data"] == {"n": 2}
        # Nobody here has been listening any more.
        bus.publish([messages.channel_update("indices", {"n": 3}, AT_MS + 1)])
        await eventually(lambda: told(bus, {"n": 3}), 5, "the last value")
        async with raw_socket(two.url, token=two.token()) as late, plain(one.url, one.token()) as later:
            await listen(late, "indices")
            assert (await next_event(late, "market_update"))["data"] == {"n": 3}
            await later.ask(market("sectors", "indices"), "subscribed")
            updates = [(await later.named(f"{name}_update"))["data"]["data"] for name in ("sector", "market")]
            assert updates == [{"n": 2}, {"n": 3}]


async def told(bus: Bus, data: object) -> bool:
    """Whether the last update of `indices` in Redis holds this."""
    found = bus.last([messages.channel_key("indices")], "acme")
    frames = found if isinstance(found, list) else await found  # type: ignore[misc]
    return [frame.body for frame in frames] == [messages.channel_update("indices", data, AT_MS + 1).body]
