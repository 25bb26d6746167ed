"""A Redis that answers no more and a key set that does not come: whoever goes on sending fills nothing.

Three connections say as much as they are let, again and again; what the server weighs is looked at from
outside. Payloads are small on the wire and many times as large once they are read.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.eventually import eventually
from tests.support.figures import memory, metric
from tests.support.raw_socket import UPGRADE, Wire, head, masked, wire
from tests.support.server import Server, free_port, running_server
from tests.support.valkey import Valkey, running_valkey

MEGABYTE = 1024 * 1024
CONNECTIONS = 3
TIMES = 900
ROOM = 30 * MEGABYTE


def fat(size: int) -> str:
    """JSON of so many bytes that takes thirty times as many when it is read."""
    return "[" + ",".join(["[]"] * (size // 3)) + "]"


def socketio(size: int) -> str:
    """A call of Socket.IO."""
    return f'42/market-data,1["subscribe",{{"symbols":["A"],"x":{fat(size)}}}]'


def action(size: int) -> str:
    """A call of a plain WebSocket."""
    return f'{{"action":"subscribe","symbols":["A"],"x":{fat(size)}}}'


async def repeat(client: Wire, text: str) -> None:
    """Says something until nobody listens any more."""
    frame = masked(text)
    with contextlib.suppress(TimeoutError):
        for _ in range(TIMES):
            if not await client.send(frame):
                return


@asynccontextmanager
async def silent_keys() -> AsyncIterator[str]:
    """The address of a key set that nobody gets."""
    over = asyncio.Event()

    async def handle(_request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/jwks", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/jwks"
    finally:
        over.set()
        await runner.cleanup()


async def highest(server: Server, work: Awaitable[object]) -> int:
    """The most that the server weighs while something is done."""
    task = asyncio.ensure_future(work)
    most = memory(server)
    while not task.done():
        most = max(most, memory(server))
        await asyncio.sleep(0.01)
    await task
    return most


@pytest.mark.parametrize("size", [1_000, 15_000])
async def test_calls_behind_a_key_that_does_not_come_take_little(size: int) -> None:
    """Nobody needs a good token for that, only one whose key is not known."""
    token = jwt.encode({"sub": "u"}, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "new"})
    async with silent_keys() as keys, running_server(env={"MARKETSTREAM_AUTH__JWKS": keys}) as server:

        async def attack() -> None:
            async with wire(server.port) as client:
                await client.upgrade()
                await client.say("40/market-data," + json.dumps({"token": token}))
                await repeat(client, socketio(size))

        before = memory(server)
        most = await highest(server, asyncio.gather(*(attack() for _ in range(CONNECTIONS))))
        assert most - before < ROOM


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A Redis that a test may freeze."""
    with running_valkey() as running:
        yield running


@pytest.mark.parametrize("call", [socketio, action])
async def test_calls_behind_a_redis_that_is_frozen_take_little(
    valkey: Valkey, call: Callable[[int], str]
) -> None:
    async with running_server("--bus", valkey.url) as server, contextlib.AsyncExitStack() as stack:
        await eventually(lambda: connected(server), 10)
        clients = [await stack.enter_async_context(wire(server.port)) for _ in range(CONNECTIONS)]
        for client in clients:
            if call is socketio:
                await client.enter(server.token())
            else:
                await client.send(head(f"/ws?token={server.token()}", dict(UPGRADE)))
                assert b" 101 " in await client.read_head()
        valkey.pause()
        try:
            before = memory(server)
            texts = [call(250_000)] * CONNECTIONS
            most = await highest(server, asyncio.gather(*map(repeat, clients, texts)))
            assert most - before < ROOM
            assert await metric(server, "waiting_bytes") <= CONNECTIONS * MEGABYTE
        finally:
            valkey.go_on()


async def connected(server: Server) -> bool:
    """Whether the bus of a server is there."""
    return await metric(server, "bus_connected") == 1


async def test_publications_that_nobody_takes_are_refused_when_there_is_no_room(valkey: Valkey) -> None:
    """A gateway sends them on, which takes as long as Redis takes."""
    room = {"MARKETSTREAM_DELIVERY__MAX_WAITING_BYTES": str(8 * MEGABYTE)}
    async with running_server("--bus", valkey.url, "--role", "gateway", env=room) as server:
        await eventually(lambda: connected(server), 10)
        valkey.pause()
        try:
            body = json.dumps({"prices": [{"symbol": "A", "x": "x" * 900_000}]}).encode()
            headers = {"Authorization": f"Bearer {server.token(scopes=('market:publish',))}"}
            async with aiohttp.ClientSession(headers=headers) as session:
                answers = await asyncio.gather(*(post(session, server, body) for _ in range(20)))
            assert {status for status, _ in answers} == {503}
            refused = [text for _, text in answers if "too much waits" in text]
            assert 10 <= len(refused) < 20
            assert await metric(server, "waiting_refused_total") == len(refused)
            assert await metric(server, "waiting_bytes") == 0
            assert len(await server.logged("waiting_refused")) == 1
        finally:
            valkey.go_on()


async def post(session: aiohttp.ClientSession, server: Server, body: bytes) -> tuple[int, str]:
    """Publishes a body; returns status and text."""
    async with session.post(f"{server.url}/api/v1/market/publish", data=body) as answer:
        return answer.status, await answer.text()
