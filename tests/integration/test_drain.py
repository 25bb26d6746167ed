"""How a server goes down, and how it notices that clients went down: by signals, as on a real machine."""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest
import socketio

from tests.conformance.raw import poller
from tests.conformance.stream import streaming
from tests.support.crowd import entered, entered_by_polling
from tests.support.eventually import eventually
from tests.support.figures import metric
from tests.support.node import Node
from tests.support.raw_socket import Wire, head, wire
from tests.support.server import Server, free_port, running_server

CLIENTS = 300
NAMESPACE = "/market-data"
SCRIPT = Path(__file__).with_name("drain.mjs")
BRIEF = {"MARKETSTREAM_SERVER__DRAIN_TIMEOUT": "2"}


def closings(server: Server, reason: str) -> list[str]:
    """The transports of the connections that ended for a reason."""
    entries = server.events("websocket_connection_closed")
    return [entry["transport"] for entry in entries if entry["reason"] == reason]


async def exit_code(server: Server) -> int:
    """Waits until the server has ended by itself."""
    code = await asyncio.to_thread(server._program.wait, 15)
    await eventually(lambda: server.events("server_stopped"), what="the last words in the log")
    return code


async def time_of_end(way: Wire) -> float:
    """Reads until the server closes; returns when it did."""
    while await way.packet() is not None:
        pass
    return time.monotonic()


async def test_clients_are_sent_away_in_slices_while_nobody_new_comes_in() -> None:
    """Over a time; meanwhile not ready but alive, and new clients are turned away.

    Without a close frame: after one, Java's client hears nothing more and notices nothing for 45 s.
    """
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        ways = [await stack.enter_async_context(entered(server)) for _ in range(CLIENTS)]
        early = await stack.enter_async_context(wire(server.port))
        http = await stack.enter_async_context(aiohttp.ClientSession(server.url))
        ends = [asyncio.create_task(time_of_end(way)) for way in ways]
        os.kill(server.pid, signal.SIGTERM)
        await eventually(lambda: server.events("server_draining"), 5, "the drain")

        async with http.get("/readyz") as answer:
            assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
            assert (await answer.json())["reasons"] == ["the server is going down"]
        async with http.get("/healthz") as answer:
            assert answer.status == HTTPStatus.OK
        query = {"EIO": "4", "transport": "polling"}
        async with http.get("/socket.io/", params=query) as answer:
            assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        headers = {"Authorization": f"Bearer {server.token()}"}
        async with http.get("/market-data/stream", params={"symbols": "A"}, headers=headers) as answer:
            assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        await early.send(head())
        assert (await early.read_head()).startswith(b"HTTP/1.1 503 ")

        times = sorted(await asyncio.gather(*ends))
        assert {way.close_code for way in ways} == {None}
        # 500 a second at most, so that they do not all come back to the other processes at once.
        assert times[-1] - times[0] > CLIENTS / 500 / 2
        assert await exit_code(server) == 0
        assert closings(server, "drain") == ["websocket"] * CLIENTS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_with_0_in_time_whatever_clients_do(number: signal.Signals) -> None:
    """One of every kind, also those that stay for ever: that read no more, or were never verified."""
    feed = "synthetic?symbols=SYM*100&rate=20"
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server(env=BRIEF, feeds=(feed,)))
        stuck = await stack.enter_async_context(entered(server, 4096))
        await stuck.subscribe([f"SYM{n}" for n in range(100)])
        await (await stack.enter_async_context(wire(server.port))).upgrade()
        await (await stack.enter_async_context(wire(server.port))).send(head()[:30])
        reader = await stack.enter_async_context(streaming(server, "SYM1"))
        idle = await stack.enter_async_context(poller(server.url))
        poll = asyncio.create_task(idle.poll())
        await stack.enter_async_context(entered_by_polling(server))

        os.kill(server.pid, number)
        while await reader.read() is not None:
            pass
        assert await poll in (["1"], ["6"])
        assert await exit_code(server) == 0
        assert sorted(closings(server, "drain")) == ["polling", "sse", "websocket"]


@pytest.mark.parametrize("way", ["websocket", "polling"])
async def test_the_javascript_client_comes_back_after_a_drain(node: Node, way: str) -> None:
    """It is told by its transport, not by a Socket.IO disconnect, after which it would stay away."""
    async with (
        running_server() as server,
        node.start(str(SCRIPT), server.url, server.token(), way) as script,
    ):
        await eventually(lambda: "subscribed" in script.messages, 10, "the subscription")
        os.kill(server.pid, signal.SIGTERM)
        told = (await script.finished())[-1]
        # A poll is only told by the next one, which nobody answers any more.
        reasons = ["transport close"] if way == "websocket" else ["transport close", "transport error"]
        assert told["reason"] in reasons
        assert told["active"] is True


async def test_a_client_that_was_killed_is_noticed(node: Node) -> None:
    """The system closes a dead process's websocket; a poll that nobody will make is missed after a while."""
    env = {"MARKETSTREAM_DELIVERY__SLOW_TIMEOUT": "1", "MARKETSTREAM_SOCKETIO__PING_INTERVAL": "1"}
    async with running_server(env=env, feeds=("synthetic?symbols=EUR/USD&rate=10",)) as server:
        for way, reason in (("websocket", "client_left"), ("polling", "slow_consumer")):
            async with node.start(str(SCRIPT), server.url, server.token(), way) as script:
                await eventually(
                    lambda: "subscribed" in script.messages, 10, "the subscription"
                )  # asked at once
                assert await metric(server, f'websocket_active_connections{{transport="{way}"}}') == 1
            await eventually(lambda: way in closings(server, reason), 10, f"the end of {way}")  # noqa: B023  # as above
            assert await metric(server, f'websocket_active_connections{{transport="{way}"}}') == 0


@pytest.mark.parametrize("transports", [["websocket"], ["polling"]], ids=["websocket", "polling"])
async def test_the_stock_python_client_comes_back_after_a_drain(transports: list[str]) -> None:
    """It takes the end of its transport for a lost connection, close frame or not."""
    port = free_port()
    secret = {"MARKETSTREAM_JWT_SECRET": "s" * 32}
    seen: list[str] = []
    async with aiohttp.ClientSession() as session:
        client = socketio.AsyncClient(
            http_session=session, reconnection_delay=0.05, reconnection_delay_max=0.2
        )
        client.on("connect", lambda: seen.append("connect"), namespace=NAMESPACE)
        client.on("disconnect", seen.append, namespace=NAMESPACE)
        async with running_server(port=port, env=secret) as server:
            auth = {"token": server.token()}
            await client.connect(server.url, auth=auth, namespaces=[NAMESPACE], transports=transports)
            assert await asyncio.to_thread(server.terminate) == 0
        await eventually(lambda: len(seen) > 1, 30, "the end of the connection")
        assert seen[1] == client.reason.TRANSPORT_ERROR
        async with running_server(port=port, env=secret):
            await eventually(lambda: seen[-1] == "connect", 20, "the connection to the next server")
            await client.disconnect()
