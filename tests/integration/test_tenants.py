"""Two tenants on one symbol: what is one's own reaches nobody else, on any edge."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from marketstream.app import Server as App
from marketstream.settings import Settings
from tests.conformance.market import new_symbol, numbers, price, quote
from tests.conformance.stream import Reader, streaming
from tests.conformance.watcher import NAMESPACE, Watcher, watching
from tests.support.eventually import eventually
from tests.support.server import Server, free_port


@dataclass
class Party:
    """One tenant's two clients on a symbol."""

    watcher: Watcher
    stream: Reader


@asynccontextmanager
async def _parties(server: Any, symbol: str, way: str = "websocket") -> AsyncIterator[tuple[Party, Party]]:
    """Tenants acme and globex, each on Socket.IO and SSE, all subscribed to the symbol."""
    async with AsyncExitStack() as stack:
        found = []
        for tenant in ("acme", "globex"):
            token = server.token(tenant=tenant)
            watcher = await stack.enter_async_context(watching(server, token, way))
            await watcher.call("subscribe", {"symbols": [symbol]})
            stream = await stack.enter_async_context(streaming(server, symbol, token=token))
            found.append(Party(watcher, stream))
        yield found[0], found[1]


async def test_a_price_for_one_tenant_reaches_that_tenant_only(server: Server) -> None:
    """The next public price proves that nothing came before it for the other."""
    symbol = new_symbol()
    async with _parties(server, symbol) as (acme, globex):
        await server.publish(prices=[price(symbol, 1)], tenant="acme")
        assert (await acme.stream.event()).number == 1
        await server.publish(prices=[price(symbol, 2)])
        assert (await acme.stream.event()).number == 2
        assert (await globex.stream.event()).number == 2
        for party in (acme, globex):
            await party.watcher.fence()
        assert acme.watcher.prices(symbol) == [1, 2]
        assert globex.watcher.prices(symbol) == [2]


@pytest.mark.parametrize("mode", ["latest", "every"])
async def test_a_tenants_price_stays_its_own_in_every_mode(server: Server, mode: str) -> None:
    symbol = new_symbol()
    async with (
        watching(server, server.token(tenant="acme"), "polling") as acme,
        watching(server, server.token(tenant="globex"), "polling") as globex,
    ):
        for watcher in (acme, globex):
            await watcher.call("subscribe", {"symbols": [symbol], "mode": mode, "maxRate": 0})
        for number in (1, 2, 3):
            await server.publish(prices=[price(symbol, number)], tenant="acme" if number != 2 else "globex")
            await acme.fence()
            await globex.fence()
        assert acme.prices(symbol) == [1, 3]
        assert globex.prices(symbol) == [2]


async def test_a_tenants_last_price_is_in_nobody_elses_snapshot_or_quote(server: Server) -> None:
    symbol = new_symbol()
    await server.publish(prices=[price(symbol, 1)])
    await server.publish(prices=[price(symbol, 2)], tenant="acme")
    for tenant, number in (("acme", 2), ("globex", 1)):
        token = server.token(tenant=tenant)
        async with watching(server, token) as watcher, streaming(server, symbol, token=token) as stream:
            await watcher.call("subscribe", {"symbols": [symbol]})
            [snapshot] = await watcher.until("snapshot")
            assert numbers(snapshot["prices"]) == [number]
            assert (await watcher.call("get_quote", {"symbol": symbol}))["price"] == number
            assert (await stream.event()).number == number


async def test_a_tenants_quotes_meet_only_each_other(server: Server) -> None:
    """A private quote is neither in the public best price nor better than it for anybody else."""
    symbol = new_symbol()
    async with _parties(server, symbol) as (acme, globex):
        await server.publish(quotes=[quote(symbol, "own", 1.15, 1.16, 1)], tenant="acme")
        await server.publish(quotes=[quote(symbol, "public", 1.1, 1.2, 2)])
        block = await globex.stream.event()
        assert block.data["bestBid"] == {"price": 1.1, "size": 100, "source": "public"}
        await globex.watcher.fence()
        sources = [best["bestBid"]["source"] for best in globex.watcher.named("price")]
        assert sources == ["public"]
        await acme.watcher.fence()
        assert acme.watcher.named("price")[0]["bestBid"]["source"] == "own"
        # Not even that the other has prices of its own can be seen.
        assert [status["source"] for status in globex.watcher.named("status")] in ([], ["public"])


async def test_a_client_that_leaves_and_comes_back_as_another_tenant_starts_anew(server: Server) -> None:
    symbol = new_symbol()
    await server.publish(prices=[price(symbol, 1)], tenant="acme")
    async with watching(server, server.token(tenant="globex")) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol]})
        assert await watcher.until("snapshot") == [{"prices": []}]
        refused = await watcher.call("authenticate", {"token": server.token(tenant="acme")})
        assert refused["code"] == "AUTH_FAILED"
        await server.publish(prices=[price(symbol, 2)], tenant="acme")
        await watcher.fence()
        assert watcher.named("price") == []


class InProcess:
    """A server in this event loop, on a real port, whose python-socketio face a test can use.

    Attributes:
        url: Where it listens.
        app: The server.
    """

    def __init__(self) -> None:
        port = free_port()
        self._secret = secrets.token_hex(32)
        self.url = f"http://127.0.0.1:{port}"
        settings = Settings.model_validate(
            {
                "server": {"port": port, "drain_timeout": 1},
                "auth": {"secret": SecretStr(self._secret)},
                "feeds": {"specs": ("none",)},
            }
        )
        self.app = App(settings)

    def token(self, tenant: str) -> str:
        """A token of one tenant."""
        claims = {"sub": "u1", "tenantId": tenant, "plan": "pro", "exp": int(time.time()) + 600}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    async def emit(self, event: str, data: Any, room: str | None) -> None:
        """python-socketio's own `emit`."""
        await self.app.socketio.emit(event, data, room=room, namespace=NAMESPACE)


@pytest.fixture
async def inside() -> AsyncIterator[InProcess]:
    """A server in this event loop."""
    server = InProcess()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.app.run())
        host, port = server.url.removeprefix("http://").split(":")
        await eventually(lambda: _accepts(host, int(port)), 5, "a listening server")
        yield server
        server.app._stop.set()
        assert await running == 0


async def _accepts(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_an_event_for_a_tenants_room_reaches_that_tenant_on_every_edge(inside: InProcess) -> None:
    """python-socketio's `emit` to `tenant:acme`: Socket.IO and SSE clients of acme, and nobody else."""
    symbol = new_symbol()
    async with _parties(inside, symbol) as (acme, globex):
        await inside.emit("notice", {"text": "for acme"}, "tenant:acme")
        assert (await acme.stream.event("notice")).data == {"text": "for acme"}
        await inside.emit("notice", {"text": "for globex"}, "tenant:globex")
        assert (await globex.stream.event("notice")).data == {"text": "for globex"}
        for party in (acme, globex):
            await party.watcher.fence()
        assert acme.watcher.named("notice") == [{"text": "for acme"}]
        assert globex.watcher.named("notice") == [{"text": "for globex"}]


@pytest.mark.parametrize("way", ["websocket", "polling", "upgrade"])
async def test_events_of_a_back_end_keep_their_order_and_their_arguments(inside: InProcess, way: str) -> None:
    async with _parties(inside, new_symbol(), way) as (acme, globex):
        for number in range(50):
            await inside.emit("count", number, "tenant:acme")
        await inside.emit("many", (1, "two", {"three": 3}), "tenant:acme")
        await inside.emit("none", None, "tenant:acme")
        await acme.watcher.fence()
        await globex.watcher.fence()
        assert acme.watcher.named("count") == list(range(50))
        assert acme.watcher.named("many") == [(1, "two", {"three": 3})]
        assert acme.watcher.named("none") == [()]
        assert "count" not in globex.watcher.names


async def test_an_event_for_a_symbols_room_reaches_its_watchers_of_every_tenant(inside: InProcess) -> None:
    symbol = new_symbol()
    async with _parties(inside, symbol) as (acme, globex):
        await inside.emit("halted", {"symbol": symbol}, f"symbol:{symbol}")
        await inside.emit("halted", {"symbol": "other"}, "symbol:OTHER")
        for party in (acme, globex):
            assert (await party.stream.event("halted")).data == {"symbol": symbol}
            await party.watcher.fence()
            assert party.watcher.named("halted") == [{"symbol": symbol}]


async def test_an_event_for_a_client_or_for_everybody_reaches_them(inside: InProcess) -> None:
    async with _parties(inside, new_symbol()) as (acme, globex):
        [connected] = acme.watcher.named("connected")
        await inside.emit("private", 1, connected["clientId"])
        await inside.emit("public", 2, None)
        for party in (acme, globex):
            await party.watcher.fence()
            assert party.watcher.named("public") == [2]
        assert acme.watcher.named("private") == [1]
        assert globex.watcher.named("private") == []


async def test_a_client_is_in_its_tenants_room_and_its_symbols_rooms(inside: InProcess) -> None:
    symbol = new_symbol()
    async with _parties(inside, symbol) as (acme, _):
        [connected] = acme.watcher.named("connected")
        rooms = inside.app.socketio.rooms(connected["clientId"], namespace=NAMESPACE)
        assert {"tenant:acme", f"symbol:{symbol}"} <= set(rooms)
        assert "tenant:globex" not in rooms
        await acme.watcher.call("unsubscribe", {"symbols": [symbol]})
        rooms = inside.app.socketio.rooms(connected["clientId"], namespace=NAMESPACE)
        assert f"symbol:{symbol}" not in rooms


async def test_a_server_can_ask_a_client_and_end_its_stay(inside: InProcess) -> None:
    """`call` and `disconnect` of python-socketio work as documented there."""
    async with _parties(inside, new_symbol()) as (acme, globex):
        acme.watcher.socket.on("question", lambda data: data * 2, namespace=NAMESPACE)
        [connected] = acme.watcher.named("connected")
        answer = await inside.app.socketio.call("question", 21, to=connected["clientId"], namespace=NAMESPACE)
        assert answer == 42
        await inside.app.socketio.disconnect(connected["clientId"], namespace=NAMESPACE)
        await acme.watcher.until("disconnect")
        await globex.watcher.fence()
        assert globex.watcher.named("disconnect") == []
