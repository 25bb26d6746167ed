"""Gateways and a feed while Redis is gone for long, frozen for long, or throws its listeners out.

Clients stay connected, all end on the newest price, none has got an older one, and the log says it once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.conformance.market import new_symbol
from tests.conformance.raw import RawSocket, raw_socket
from tests.support.eventually import eventually, wait_until
from tests.support.figures import metric
from tests.support.gateways import gateways, is_ready, subscribe
from tests.support.server import Server, running_server
from tests.support.valkey import Valkey, running_valkey

GATEWAY = {"MARKETSTREAM_SERVER__ROLE": "gateway"}


@pytest.fixture
def mortal() -> Iterator[Valkey]:
    """A Valkey of the test's own."""
    with running_valkey() as valkey:
        yield valkey


class Watcher:
    """A client that reads all the time.

    Attributes:
        prices: Every value of each symbol, in order.
        states: The state that each symbol was last said to be in.
        ended: Whether the server closed the connection.
    """

    def __init__(self, socket: RawSocket) -> None:
        self.prices: dict[str, list[dict[str, Any]]] = {}
        self.states: dict[str, str] = {}
        self.ended = False
        self._socket = socket

    async def read(self) -> None:
        """Reads until the end, and answers pings."""
        for name, data in self._socket.events:
            self._take(name, data)
        while (packet := await self._socket.read(patience=60)) is not None:
            if packet == "2":
                await self._socket.send("3")
            for name, data in self._socket.events:
                self._take(name, data)
            self._socket.packets.clear()
        self.ended = True

    def _take(self, name: str, data: Any) -> None:
        for best in data["prices"] if name == "snapshot" else [data] if name == "price" else []:
            self.prices.setdefault(best["symbol"], []).append(best)
        if name == "status":
            self.states[data["symbol"]] = data["state"]


class Scene:
    """A feed, two gateways, and clients at both.

    Attributes:
        feed: Feeds the market.
        gateways: Serve the clients.
        watchers: The clients.
        symbols: What they watch.
    """

    def __init__(
        self, feed: Server, gateways: list[Server], watchers: list[Watcher], symbols: list[str]
    ) -> None:
        self.feed = feed
        self.gateways = gateways
        self.watchers = watchers
        self.symbols = symbols

    def all_said(self, state: str) -> bool:
        """Whether every client was told that every symbol is in this state."""
        return all(
            watcher.states.get(symbol) == state for watcher in self.watchers for symbol in self.symbols
        )

    def counts(self) -> list[int]:
        """How many prices came, for each client and symbol."""
        return [len(watcher.prices.get(symbol, ())) for watcher in self.watchers for symbol in self.symbols]

    async def flowing(self, patience: float = 20) -> None:
        """Waits until every client has got two more prices of every symbol."""
        before = self.counts()
        await eventually(
            lambda: all(now >= then + 2 for now, then in zip(self.counts(), before, strict=True)),
            patience,
            "prices at every client",
        )

    async def settle(self) -> None:
        """Ends the feed and checks that all have what a client that comes now is given."""
        await asyncio.to_thread(self.feed.terminate)
        gateway = self.gateways[0]
        async with raw_socket(gateway.url, token=gateway.token()) as late:
            newest = {best["symbol"]: best for best in await subscribe(late, *self.symbols)}
        assert newest.keys() == set(self.symbols)
        await eventually(
            lambda: all(w.prices[symbol][-1] == newest[symbol] for w in self.watchers for symbol in newest),
            what="the newest price at every client",
        )
        for watcher in self.watchers:
            assert not watcher.ended
            for prices in watcher.prices.values():
                times = [best["timestamp"] for best in prices]
                assert times == sorted(times)

    def said_once(self) -> None:
        """The log of each process says of the loss and of the return what happened, once."""
        for server in (self.feed, *self.gateways):
            wait_until(lambda server=server: server.events("bus_reconnected"), what="the return in the log")  # type: ignore[misc]
            for name in ("bus_disconnected", "bus_reconnected"):
                assert len(server.events(name)) == 1, name
            assert len(server.log) < 40


@asynccontextmanager
async def scene(bus: Valkey) -> AsyncIterator[Scene]:
    """Everything runs and prices flow, inside the block."""
    symbols = [new_symbol("OUT") for _ in range(3)]
    feed = f"synthetic?symbols={','.join(symbols)}&rate=5"
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(
            running_server("--bus", bus.url, "--role", "feed", feeds=[feed])
        )
        servers = await stack.enter_async_context(gateways(bus.url, env=GATEWAY, owner=False))
        watchers = []
        for server in servers:
            socket = await stack.enter_async_context(raw_socket(server.url, token=server.token()))
            await subscribe(socket, *symbols)
            watchers.append(Watcher(socket))
        readers = [asyncio.create_task(watcher.read()) for watcher in watchers]
        try:
            found = Scene(owner, servers, watchers, symbols)
            await found.flowing()
            yield found
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)


async def kill(mortal: Valkey, seconds: float) -> None:
    """Kills it, and starts it again, empty, after a while."""
    mortal.kill()
    await asyncio.sleep(seconds)
    mortal.start()


async def freeze(mortal: Valkey, seconds: float) -> None:
    """Freezes it for a while."""
    mortal.pause()
    await asyncio.sleep(seconds)
    mortal.go_on()


@pytest.mark.parametrize(
    ("harm", "seconds"),
    [
        (kill, 1),
        pytest.param(kill, 30, marks=pytest.mark.slow),
        pytest.param(freeze, 20, marks=pytest.mark.slow),
    ],
)
async def test_clients_outlive_an_outage_and_end_on_the_newest_price(
    mortal: Valkey, harm: Callable[[Valkey, float], Coroutine[None, None, None]], seconds: float
) -> None:
    async with scene(mortal) as on:
        harming = asyncio.create_task(harm(mortal, seconds))
        await eventually(lambda: on.all_said("stale"), 20, "a word about the outage")
        assert not await is_ready(on.gateways[0])
        await eventually(lambda: metric(on.feed, "bus_frames_waiting"), what="prices that wait")
        await harming
        await on.flowing()
        assert on.all_said("live")
        for server in on.gateways:
            await eventually(lambda server=server: is_ready(server), 15, "readiness")  # type: ignore[misc]
        assert not on.feed.events("lease_lost")
        on.said_once()
        await on.settle()


async def test_listeners_that_are_thrown_out_are_back_before_anybody_notices(mortal: Valkey) -> None:
    async with scene(mortal) as on:
        assert mortal.kill_listeners() == 3
        await on.flowing()
        assert "stale" not in {state for watcher in on.watchers for state in watcher.states.values()}
        on.said_once()
        await on.settle()
