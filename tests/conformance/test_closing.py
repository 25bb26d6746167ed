"""The promised close code arrives, also at a client that is in the middle of sending.

A socket that is closed while it holds unread input is reset, and a reset takes back the close frame that was
written last: the client shows 1006. So the server closes its half first and reads on for a moment.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import websocket

from tests.conformance.raw import enter
from tests.support.eventually import eventually
from tests.support.node import Node
from tests.support.raw_socket import CLOSE, UPGRADE, Wire, head, masked, wire
from tests.support.server import Server, running_server

Kind = Callable[..., Awaitable[Wire]]
"""Makes a client: of a stack, a server, a token, and the bytes that its kernel may hold unread."""

TIMES = 15
BIG = 4 * 1024 * 1024
PATHS = ("/ws?", "/socket.io/?EIO=4&transport=websocket&")
SMALL = "6"
"""Engine.IO's packet that means nothing; on a plain WebSocket it is a call that is refused."""


def address(server: Server, path: str) -> str:
    """Where a websocket of a verified client is opened."""
    return f"{server.url.replace('http', 'ws')}{path}token={server.token()}"


@pytest.mark.parametrize("path", PATHS, ids=["plain", "engine"])
@pytest.mark.parametrize(("what", "code"), [("big", 1009), ("many", 4429)])
async def test_the_stock_client_of_node_sees_the_code_each_time(
    server: Server, node: Node, path: str, what: str, code: int
) -> None:
    url = address(server, path)
    [codes] = await node.run("closing.mjs", url, what, str(TIMES), timeout=60)
    assert codes == [code] * TIMES


@pytest.mark.parametrize("path", PATHS, ids=["plain", "engine"])
@pytest.mark.parametrize(("what", "code"), [("big", 1009), ("many", 4429)])
async def test_the_stock_client_of_python_sees_the_code_each_time(
    server: Server, path: str, what: str, code: int
) -> None:
    messages = ["x" * BIG] if what == "big" else [SMALL] * 20_000

    def once() -> int | None:
        client: Any = websocket.create_connection(address(server, path), timeout=20)
        try:
            for message in messages:
                client.send(message)
        except OSError:
            pass
        try:
            opcode = None
            while opcode != CLOSE:
                opcode, data = client.recv_data(control_frame=True)
            return int.from_bytes(data[:2])
        except (OSError, websocket.WebSocketException):
            return None
        finally:
            client.shutdown()

    codes = [await asyncio.to_thread(once) for _ in range(TIMES)]
    assert codes == [code] * TIMES


FAULTS = {
    "a frame that is not masked": (b"\x81\x05hello", 1002),
    "a close with a code of nobody": (masked(b"\x03\xe7", 0x80 | CLOSE), 1002),
    "text that is not UTF-8": (masked(b"\xff"), 1007),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_told_by_its_code_though_more_is_on_its_way(server: Server, fault: str) -> None:
    data, code = FAULTS[fault]
    for _ in range(TIMES):
        async with wire(server.port) as client:
            await client.upgrade()
            assert await client.send(data + masked("x" * BIG))
            while await client.frame() is not None:
                pass
            assert client.close_code == code


async def plain_client(
    stack: AsyncExitStack, server: Server, token: str, receive_buffer: int | None = None
) -> Wire:
    """A client of the plain WebSocket."""
    client = await stack.enter_async_context(wire(server.port, receive_buffer))
    await client.send(head("/ws", {**UPGRADE, "Authorization": f"Bearer {token}"}))
    assert b" 101 " in await client.read_head()
    return client


async def engine_client(
    stack: AsyncExitStack, server: Server, token: str, receive_buffer: int | None = None
) -> Wire:
    """A client of Socket.IO."""
    client = await stack.enter_async_context(wire(server.port, receive_buffer))
    await client.upgrade()
    await client.say(enter(token))
    await client.packets_to('42/market-data,["connected"')
    return client


async def _codes_after(
    server: Server, clients: list[Wire], while_stopped: Callable[[], Awaitable[None]]
) -> set[int | None]:
    """Stops the process, sends more than it will read, and looks at what it says when it goes on."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        sending = [asyncio.create_task(client.send(masked("x" * 200_000) * 10)) for client in clients]
        await while_stopped()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    for client in clients:
        while await client.frame() is not None:
            pass
    await asyncio.gather(*sending)
    return {client.close_code for client in clients}


@pytest.mark.parametrize("kind", [plain_client, engine_client])
async def test_the_end_of_a_token_is_told_to_a_client_that_is_sending(server: Server, kind: Kind) -> None:
    async with AsyncExitStack() as stack:
        clients = [await kind(stack, server, server.token(user=f"u{n}", ttl=3)) for n in range(TIMES)]

        async def past_the_end() -> None:
            await asyncio.sleep(3)  # the clock of another process, which is stopped

        assert await _codes_after(server, clients, past_the_end) == {4401}


async def test_a_drain_is_told_to_a_client_that_is_sending() -> None:
    """And the process waits for those that have not hung up, for a moment."""
    async with running_server() as server, AsyncExitStack() as stack:
        clients = [await plain_client(stack, server, server.token(user=f"u{n}")) for n in range(TIMES)]

        async def terminated() -> None:
            os.kill(server.pid, signal.SIGTERM)

        assert await _codes_after(server, clients, terminated) == {1012}
        await eventually(lambda: server.events("server_stopped"), 10, "the end of the server")


async def test_a_client_that_never_hangs_up_is_let_go(server: Server) -> None:
    """It is read for some seconds at most, and what it sends is dropped."""
    async with wire(server.port) as client:
        await client.upgrade()
        await client.send(b"\x81\x05hello")
        while await client.frame() is not None:
            pass

        async def refused() -> bool:
            with suppress(OSError):
                return not await client.send(b"x" * 1_000)
            return True

        await eventually(refused, 15, "a connection that takes nothing any more")


def test_a_client_that_sends_without_end_is_cut(server: Server) -> None:
    """Reading on after the end is bounded by time, not by what comes."""

    def send_without_end() -> None:
        while True:
            client.sendall(masked(SMALL) * 1_000)

    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(head())
        client.recv(4096)
        with pytest.raises(ConnectionError):
            send_without_end()


@pytest.mark.parametrize("kind", [plain_client, engine_client])
async def test_a_client_that_reads_too_slowly_for_what_it_asks_sees_the_code(
    server: Server, kind: Kind
) -> None:
    """It is slow, but it takes something: only who takes nothing is cut off without a word."""
    async with AsyncExitStack() as stack:
        client = await kind(stack, server, server.token(user="slow"), 4_096)
        plain = kind is plain_client
        call = '{"action":"get_connection_state"}' if plain else '42/market-data,7["subscriptions",{}]'

        async def ask() -> None:
            # Below a thousand a second, which would end it for another reason.
            while await client.send(masked(call) * 40) and not await asyncio.sleep(0.05, False):
                pass

        def closed() -> int:
            entries = server.events("websocket_connection_closed")
            return sum(entry["reason"] == "slow_consumer" for entry in entries)

        before, asking = closed(), asyncio.create_task(ask())
        while closed() == before and not client.ended:
            # Some two hundred answers a second at most, of eight hundred that are asked for.
            for _ in range(20):
                await client.frame()
                await asyncio.sleep(0.004)
        while await client.frame() is not None:
            pass
        assert client.close_code == 4408
        asking.cancel()
        await asyncio.wait([asking])
