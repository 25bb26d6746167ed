"""Peers that vanish without a word, on every edge: the server notices and counts them no more."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.conformance.raw import enter
from tests.support.blackhole import held, vanish
from tests.support.eventually import eventually
from tests.support.figures import metric
from tests.support.raw_socket import UPGRADE, Wire, head, stream_head, wire
from tests.support.server import Server, running_server

SYMBOLS = [f"SYM{number}" for number in range(100)]
QUIET = ["NOBODY"]
POLL = "/socket.io/?EIO=4&transport=polling&sid="
IMPATIENT = {
    "MARKETSTREAM_SERVER__PEER_TIMEOUT": "4",
    "MARKETSTREAM_SOCKETIO__PING_INTERVAL": "2",
    "MARKETSTREAM_DELIVERY__SLOW_TIMEOUT": "3",
}
HASTY = {"MARKETSTREAM_SERVER__PEER_TIMEOUT": "1", "MARKETSTREAM_DELIVERY__SLOW_TIMEOUT": "0.5"}

Way = Callable[[Wire, Server, list[str]], Awaitable[None]]


async def stream(client: Wire, server: Server, symbols: list[str]) -> None:
    """An event stream."""
    await client.send(stream_head(symbols, server.token(user="stream")))
    assert b" 200 " in await client.read_head()


async def engine(client: Wire, server: Server, symbols: list[str]) -> None:
    """Socket.IO on a websocket."""
    await client.enter(server.token(user="engine"))
    await client.subscribe(symbols)


async def plain(client: Wire, server: Server, symbols: list[str]) -> None:
    """A plain WebSocket."""
    await client.send(head("/ws", {**UPGRADE, "Authorization": f"Bearer {server.token(user='plain')}"}))
    assert b" 101 " in await client.read_head()
    await client.say(json.dumps({"action": "subscribe", "symbols": symbols}))
    assert await client.frame()


async def _answered(client: Wire) -> bytes:
    """The body of the answer to a request."""
    lines = (await client.read_head()).lower()
    size, body = int(lines.partition(b"content-length: ")[2].split(b"\r\n")[0]), b""
    while len(body) < size:
        body += await client.read()
    return body


async def _post(client: Wire, path: str, packet: str) -> None:
    size = {"Content-Length": str(len(packet.encode()))}
    await client.send(head(path, size, "POST") + packet.encode())
    assert await _answered(client) == b"ok"


async def polling(client: Wire, server: Server, symbols: list[str]) -> None:
    """Socket.IO by polls, one of which is waiting or being answered."""
    await client.send(head(POLL.removesuffix("&sid="), {}))
    path = POLL + json.loads((await _answered(client))[1:])["sid"]
    await _post(client, path, enter(server.token(user="polling")))
    await client.send(head(path, {}))
    assert b"connected" in await _answered(client)
    await _post(client, path, "42/market-data," + json.dumps(["subscribe", {"symbols": symbols}]))
    await client.send(head(path, {}))


async def request(client: Wire, server: Server, symbols: list[str]) -> None:
    """A connection for requests that is kept."""
    await client.send(
        head(f"/api/v1/market/quote/{symbols[0]}", {"Authorization": f"Bearer {server.token()}"})
    )
    await _answered(client)


WAYS: dict[str, Way] = {
    "sse": stream,
    "websocket": engine,
    "ws": plain,
    "polling": polling,
    "request": request,
}


@asynccontextmanager
async def everybody(server: Server, symbols: list[str]) -> AsyncIterator[dict[str, Wire]]:
    """One client of each kind."""
    async with AsyncExitStack() as stack:
        clients = {}
        for way, begin in WAYS.items():
            clients[way] = await stack.enter_async_context(wire(server.port))
            await begin(clients[way], server, symbols)
        yield clients


async def connections(server: Server) -> dict[str, float]:
    """How many clients the server believes it has."""
    ways = [way for way in WAYS if way != "request"]
    series = [f'websocket_active_connections{{transport="{way}"}}' for way in ways]
    return dict(zip(ways, await asyncio.gather(*(metric(server, name) for name in series)), strict=True))


async def _all_are_noticed(server: Server, symbols: list[str], patience: float) -> None:
    async with everybody(server, symbols) as clients:
        assert set((await connections(server)).values()) == {1.0}
        assert all(held(server.port, client._sock) for client in clients.values())
        for client in clients.values():
            vanish(client._sock)

        async def free() -> bool:
            return set((await connections(server)).values()) == {0.0}

        async def forgotten() -> bool:
            return not any(held(server.port, client._sock) for client in clients.values())

        await asyncio.gather(
            eventually(free, patience, "a free place for each"),
            eventually(forgotten, patience, "a kernel that holds no connection"),
        )


@pytest.mark.parametrize("symbols", [SYMBOLS, QUIET], ids=["prices flow", "nothing is sent"])
async def test_a_peer_that_vanished_is_noticed_in_the_time_that_is_set(symbols: list[str]) -> None:
    """By the kernel, within `server.peer_timeout`; a poll that nobody makes any more is missed as ever."""
    async with running_server(env=IMPATIENT, feeds=("synthetic?symbols=SYM*100&rate=20",)) as server:
        await _all_are_noticed(server, symbols, 15)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("symbols", [SYMBOLS, QUIET], ids=["prices flow", "nothing is sent"])
async def test_a_peer_that_vanished_is_noticed_within_a_minute(symbols: list[str]) -> None:
    """With the settings as they are shipped."""
    async with running_server(feeds=("synthetic?symbols=SYM*100&rate=20",)) as server:
        await _all_are_noticed(server, symbols, 60)


async def test_a_peer_that_is_only_slow_stays() -> None:
    """It acknowledges what its kernel takes, and answers the probes."""
    async with (
        running_server(env=HASTY) as server,
        wire(server.port) as client,
    ):
        await stream(client, server, QUIET)
        began = asyncio.get_running_loop().time()
        await eventually(lambda: asyncio.get_running_loop().time() - began > 4, 10, "four times as long")
        assert (await connections(server))["sse"] == 1.0
