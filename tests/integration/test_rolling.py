"""A rolling restart of every process under many clients: what an operator does for each release."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conformance.market import new_symbol, price
from tests.conformance.raw import RawSocket, enter, raw_socket, say
from tests.support.balancer import ENV, Stage, stage
from tests.support.eventually import eventually
from tests.support.gateways import is_ready
from tests.support.server import Server, running_server
from tests.support.valkey import Valkey

CLIENTS = 500
WINDOW = 0.1
"""Seconds in which not many clients should be sent away together."""


class Nomad:
    """A client that comes back whenever it is sent away, as stock clients do.

    Attributes:
        prices: Every value of each symbol, in order.
        lost_at: When a connection ended, each time, in monotonic seconds.
        errors: Whatever else was not as it should be.
    """

    def __init__(self, door: Server, symbols: list[str]) -> None:
        self.prices: dict[str, list[tuple[int, float]]] = {symbol: [] for symbol in symbols}
        self.lost_at: list[float] = []
        self.errors: list[str] = []
        self._door = door
        self._token = door.token()

    async def live(self) -> None:
        """Comes, reads, and comes back, until cancelled."""
        while True:
            try:
                await self._stay()
            except (aiohttp.ClientError, AssertionError, TimeoutError) as error:
                self.errors.append(repr(error))
            self.lost_at.append(time.monotonic())
            # socket.io-client waits a second, give or take a half.
            await asyncio.sleep(random.uniform(0.5, 1.5))

    async def _stay(self) -> None:
        async with raw_socket(self._door.url) as socket:
            await socket.send(enter(self._token), say("subscribe", {"symbols": list(self.prices)}, 1))
            while (packet := await socket.read(patience=60)) is not None:
                if packet == "2":
                    await socket.send("3")
                self._take(socket, packet)

    def _take(self, socket: RawSocket, packet: str) -> None:
        if packet.startswith("44"):
            self.errors.append(packet)
        for name, data in socket.events:
            if name == "error":
                self.errors.append(str(data))
            for best in data["prices"] if name == "snapshot" else [data] if name == "price" else []:
                self.prices[best["symbol"]].append((best["timestamp"], best["midPrice"]))
        socket.packets.clear()


@asynccontextmanager
async def alive(nomads: list[Nomad]) -> AsyncIterator[None]:
    """The clients do what they do inside the block; they come a few at a time."""
    tasks = []
    for nomad in nomads:
        tasks.append(asyncio.create_task(nomad.live()))
        await asyncio.sleep(0.002)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def all_have(nomads: list[Nomad], symbol: str, middle: float) -> None:
    """Waits until this is every client's newest price of a symbol."""
    await eventually(
        lambda: all(nomad.prices[symbol][-1:] and nomad.prices[symbol][-1][1] == middle for nomad in nomads),
        40,
        f"{symbol} at {middle} for every client",
    )


async def all_flowing(nomads: list[Nomad], symbol: str) -> None:
    """Waits until every client has got another price of a symbol that is fed."""
    before = [len(nomad.prices[symbol]) for nomad in nomads]
    await eventually(
        lambda: all(len(n.prices[symbol]) > then for n, then in zip(nomads, before, strict=True)),
        40,
        f"a new price of {symbol} for every client",
    )


class Fleet:
    """The processes that are not gateways, each of which can be replaced."""

    def __init__(self, bus: str, feed: str, stack: AsyncExitStack) -> None:
        self._bus = bus
        self._feed = feed
        self._stack = stack

    async def start(self, role: str) -> Server:
        """Starts a process of a role."""
        feeds = [self._feed] if role == "feed" else ["none"]
        server = await self._stack.enter_async_context(
            running_server("--bus", self._bus, "--role", role, feeds=feeds)
        )
        await eventually(lambda: is_ready(server), 20, f"a {role} that is ready")
        return server

    async def replace(self, role: str, old: Server) -> Server:
        """Ends a process in order, and starts another one of its role."""
        assert await asyncio.to_thread(old.terminate) == 0
        return await self.start(role)

    async def replace_gateway(self, old: Server) -> None:
        """The same for a gateway, which must come back where the balancer looks for it."""
        assert await asyncio.to_thread(old.terminate) == 0
        server = await self._stack.enter_async_context(
            running_server("--bus", self._bus, env=ENV, port=old.port)
        )
        await eventually(lambda: is_ready(server), 20, "a gateway that is ready")


def together(moments: list[float]) -> int:
    """The most that happened within any stretch of `WINDOW`."""
    moments = sorted(moments)
    return max(sum(at <= other < at + WINDOW for other in moments) for at in moments)


@pytest.mark.slow
async def test_a_rolling_restart_of_everything_costs_clients_nothing_but_reconnects(
    shared_valkey: Valkey, tmp_path: Path
) -> None:
    fed, published = new_symbol("FED"), new_symbol("PUB")
    async with AsyncExitStack() as stack:
        on: Stage = await stack.enter_async_context(stage("haproxy", shared_valkey.url, tmp_path))
        fleet = Fleet(shared_valkey.url, f"synthetic?symbols={fed}&rate=2", stack)
        jobs, first, second = [await fleet.start(role) for role in ("jobs", "feed", "feed")]
        await asyncio.to_thread(on.feed.terminate)
        nomads = [Nomad(on.door, [fed, published]) for _ in range(CLIENTS)]
        await stack.enter_async_context(alive(nomads))
        await publish(on, published, 1)
        await all_have(nomads, published, 1)
        await all_flowing(nomads, fed)
        await fleet.replace("jobs", jobs)
        for feed in (first, second):
            await fleet.replace("feed", feed)
            await all_flowing(nomads, fed)
        assert not [nomad for nomad in nomads if nomad.lost_at]
        for number, gateway in enumerate(on.servers, 2):
            gone = len(gateway.events("websocket_connection_established"))
            known = sum(len(nomad.lost_at) for nomad in nomads)
            await fleet.replace_gateway(gateway)
            await publish(on, published, number)
            await all_have(nomads, published, number)
            await all_flowing(nomads, fed)
            lost = sorted(at for nomad in nomads for at in nomad.lost_at)[known:]
            assert 0 < len(lost) <= gone
            assert together(lost) < len(lost) / 2
        errors = [error for nomad in nomads for error in nomad.errors]
        assert not errors, (len(errors), errors[:3])
        for nomad in nomads:
            for values in nomad.prices.values():
                times = [at_ms for at_ms, _ in values]
                assert times == sorted(times)


async def publish(on: Stage, symbol: str, number: int) -> None:
    """Publishes through the door."""
    body: dict[str, Any] = {"prices": [price(symbol, number)]}
    headers = {"Authorization": f"Bearer {on.door.token(scopes=('market:publish',))}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{on.door.url}/api/v1/market/publish", json=body) as answer,
    ):
        assert (answer.status, await answer.json()) == (200, {"accepted": 1, "rejected": []})
