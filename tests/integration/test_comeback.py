"""A server that is full or going down: stock clients come back by themselves, others get the status."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

import aiohttp
import pytest

from tests.conformance.market import price
from tests.conformance.stream import streaming
from tests.support.eventually import eventually
from tests.support.node import Node, Script
from tests.support.raw_socket import wire
from tests.support.server import running_server

ENV = {"MARKETSTREAM_SSE__RETRY_MS": "300"}
CLIENTS = 1_000
PASSED_ON = {"X-Forwarded-For": "203.0.113.9"}
BROWSER = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}


def _seen(script: Script, kind: str, event: str) -> int:
    return sum((told["kind"], told["event"]) == (kind, event) for told in script.messages)


@pytest.mark.parametrize("path", ["/market-data/stream?symbols=AAPL&", "/api/v1/events/stream?"])
async def test_an_event_source_that_is_refused_is_told_to_come_back_later_each_time(path: str) -> None:
    """200 with `retry` and the reason; the same refusal is a status for everybody else."""
    async with running_server(env=ENV) as server:
        token = server.token(user="single", plan="alone")
        url = f"{server.url}{path}token={token}"
        async with streaming(server, "AAPL", token=token), aiohttp.ClientSession() as session:
            waits = []
            for _ in range(3):
                async with session.get(url, headers=BROWSER) as answer:
                    assert (answer.status, answer.content_type) == (200, "text/event-stream")
                    retry, event, data, *_ = (await answer.text()).split("\n")
                assert event == "event: error"
                assert "CONNECTION_LIMIT" in data
                waits.append(int(retry.removeprefix("retry: ")))
            assert waits == sorted(set(waits))
            async with session.get(url) as answer:
                assert answer.status == 429
                assert int(answer.headers["Retry-After"]) > 0


async def test_the_stock_event_source_gets_in_when_there_is_room(node: Node) -> None:
    async with running_server(env=ENV) as server:
        await server.publish(prices=[price("AAPL", 1)])
        token = server.token(user="single", plan="alone")
        async with node.start("comeback.mjs", server.url, token, "events") as script:
            async with streaming(server, "AAPL", token=token):
                await _until(script, "events", "refused")
            await _until(script, "events", "price")
            assert not _seen(script, "events", "given up")


async def test_stock_clients_that_come_during_a_drain_get_in_at_the_next_server(node: Node) -> None:
    """EventSource, and Socket.IO by both transports; a balancer is told by the status to try another one."""
    env = ENV | {"MARKETSTREAM_SERVER__DRAIN_TIMEOUT": "10"}
    async with running_server(env=env) as server, AsyncExitStack() as crowd:
        # Clients are sent away one after the other, which is what keeps the server for a while.
        for _ in range(CLIENTS):
            await (await crowd.enter_async_context(wire(server.port))).upgrade()
        token = server.token()
        os.kill(server.pid, signal.SIGTERM)
        url = f"{server.url}/market-data/stream?symbols=AAPL&token={token}"
        async with aiohttp.ClientSession() as session:
            for headers, status in (({}, 503), (BROWSER, 200), (BROWSER | PASSED_ON, 503)):
                async with session.get(url, headers=headers) as answer:
                    assert answer.status == status
        kinds = ("events", "websocket", "polling")
        async with node.start("comeback.mjs", server.url, token, ",".join(kinds)) as script:
            for kind in kinds:
                await _until(script, kind, "refused")
            await asyncio.to_thread(server.terminate)
            again = {"MARKETSTREAM_JWT_SECRET": server.secret}
            async with running_server(env=ENV | again, port=server.port) as other:
                await other.publish(prices=[price("AAPL", 2)])
                for kind in kinds:
                    await _until(script, kind, "price" if kind == "events" else "connect")
            assert not _seen(script, "events", "given up")


async def _until(script: Script, kind: str, event: str) -> None:
    await eventually(lambda: _seen(script, kind, event), 15, f"{event} at {kind}")
