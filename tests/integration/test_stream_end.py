"""How an event stream ends, and what clients that are not ours make of it."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.conformance.market import new_symbol, price
from tests.support.eventually import eventually, scaled
from tests.support.node import Node
from tests.support.program import Program, clean_environment
from tests.support.raw_socket import Wire, head, wire
from tests.support.server import Server, running_server

PARTIAL_FILE = 18
"""Exit code of curl for a body that was not complete."""

BRIEF = {"MARKETSTREAM_SERVER__DRAIN_TIMEOUT": "2"}
STREAM = "/market-data/stream?symbols="


@asynccontextmanager
async def curl(server: Server, symbol: str) -> AsyncIterator[Program]:
    """A curl that has read a price of the symbol."""
    program = shutil.which("curl")
    if program is None:
        pytest.fail("there is no curl here; install the Debian package", pytrace=False)
    await server.publish(prices=[price(symbol, 1)])
    words = [program, "-sN", f"{server.url}{STREAM}{symbol}", "-H", f"Authorization: Bearer {server.token()}"]
    with Program(words, env=clean_environment()) as reader:
        await eventually(lambda: "event: price" in reader.out, what="a price")
        yield reader


async def test_a_crash_is_no_end_of_a_stream() -> None:
    async with running_server() as server, curl(server, new_symbol()) as reader:
        server.kill()
        assert await asyncio.to_thread(reader.wait, scaled(5)) == PARTIAL_FILE


async def test_a_drain_is_the_end_of_a_stream() -> None:
    async with running_server(env=BRIEF) as server, curl(server, new_symbol()) as reader:
        os.kill(server.pid, signal.SIGTERM)
        assert await asyncio.to_thread(reader.wait, scaled(5)) == 0


async def test_a_stream_whose_token_ended_is_complete(server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.token(ttl=2)}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}{STREAM}X") as response,
    ):
        assert "TOKEN_EXPIRED" in await response.text()


async def test_a_request_by_http_1_0_gets_a_response_that_it_can_read(server: Server) -> None:
    """As older proxies ask: no chunks, and the end of the connection is the end of the stream."""
    symbol = new_symbol()
    await server.publish(prices=[price(symbol, 1)])
    async with wire(server.port) as way:
        await way.send(_old_head(f"{STREAM}{symbol}&token={server.token(ttl=2)}"))
        answer = await way.read_head()
        assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"transfer-encoding" not in answer.lower()
        assert [await way.read_line() for _ in range(2)] == [b"retry: 3000", b"event: price"]
        rest = await _read_to_end(way)
    assert rest.endswith(b'"message":"the token has expired"}\n\n')


def _old_head(target: str) -> bytes:
    return head(target, {}).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)


async def _read_to_end(way: Wire) -> bytes:
    found = b""
    while data := await way.read():
        found += data
    return found


async def test_fetch_event_source_comes_back_after_a_crash_and_sees_no_empty_event(node: Node) -> None:
    """It retries what breaks, stays away after an orderly end, and tells of blocks without data."""
    symbol = new_symbol()
    env = {"MARKETSTREAM_SSE__RETRY_MS": "100", "MARKETSTREAM_SSE__COMMENT_INTERVAL": "0.2"}
    async with running_server(env=env) as server:
        await server.publish(prices=[price(symbol, 1)])
        url = f"{server.url}{STREAM}{symbol}"
        async with node.start("fetched.mjs", url, server.token()) as script:
            await eventually(lambda: script.messages, what="the first price")
            server.kill()
            secret = {"MARKETSTREAM_JWT_SECRET": server.secret}
            async with running_server(env=env | secret, port=server.port) as again:
                await again.publish(prices=[price(symbol, 2)])
                told = await script.finished()
    assert [event["event"] for event in told] == ["price", "price"]
    assert [event["middle"] for event in told] == [1, 2]
