"""At the limit of file descriptors: nobody new for a while, everybody else as before, and no noise."""

import asyncio
import contextlib
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.figures import metric
from tests.support.server import PROGRAM, Server, running_server
from tests.support.valkey import Valkey

LOOPS = ("auto", "uvloop", "asyncio")
ROOM = 100
"""Descriptors that the server has beside those it starts with."""


def descriptors(server: Server) -> int:
    """Files that the server has open."""
    return sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())


def spent(server: Server) -> float:
    """Seconds of CPU that the server has used."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def crowd(server: Server, size: int) -> Iterator[None]:
    """Connections that say nothing; those that are not accepted wait in the kernel."""
    sockets = []
    try:
        for _ in range(size):
            each = socket.socket()
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                each.connect(("127.0.0.1", server.port))
            sockets.append(each)
        yield
    finally:
        for each in sockets:
            each.close()


@asynccontextmanager
async def short_of(loop: str, valkey: Valkey) -> AsyncIterator[Server]:
    """A server that may open few files more than it has."""
    env = {"MARKETSTREAM_SERVER__LOOP": loop}
    async with running_server(
        "--bus", valkey.url, env=env, feeds=["synthetic?symbols=EUR/USD&rate=20"]
    ) as server:
        limit = descriptors(server) + ROOM
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        yield server


@asynccontextmanager
async def prices(server: Server) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
    """An open stream; what is yielded waits for the next price."""
    url = f"{server.url}/market-data/stream?symbols=EUR/USD&token={server.token()}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:

        async def next_price() -> bytes:
            async for line in response.content:
                if line.startswith(b"event: price"):
                    return line
            raise AssertionError("the stream ended")

        yield next_price


def cut(valkey: Valkey) -> None:
    """Ends all connections to Redis but this one."""
    with valkey.client() as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_server_without_descriptors_lets_clients_wait(loop: str, valkey: Valkey) -> None:
    async with short_of(loop, valkey) as server:
        async with prices(server) as next_price:
            lines = len(server.log)
            with crowd(server, ROOM * 3):
                await eventually(lambda: len(server.events("accepting_paused")) == 1, what="a pause")
                used = spent(server)
                for _ in range(40):
                    await next_price()
                assert spent(server) - used < 1, "two seconds of prices for one client cost next to nothing"
                assert descriptors(server) < resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0]
                cut(valkey)
                await eventually(lambda: server.events("bus_reconnected"), 20, "the bus, from the reserve")
                await next_price()
                assert len(server.events("accepting_paused")) == 1
                assert len(server.log) - lines < 40
        assert await eventually(lambda: asyncio.to_thread(server.healthy), 20, "somebody new to get in")
        assert await metric(server, "accept_pauses_total") >= 1
        assert await metric(server, "accepting_connections") == 1


@pytest.mark.parametrize("loop", LOOPS)
async def test_without_a_single_descriptor_the_process_goes_on(loop: str, valkey: Valkey) -> None:
    """Somebody else may have taken the reserve: then the bus waits too."""
    async with short_of(loop, valkey) as server, prices(server) as next_price:
        with crowd(server, ROOM * 3):
            await eventually(lambda: server.events("accepting_paused"), what="a pause")
            hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
            taken = descriptors(server)
            # The next number is the lowest that is free: at or below the limit none is.
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (taken - 5, hard))
            cut(valkey)
            await eventually(lambda: server.events("bus_disconnected"), 20, "the loss to be noticed")
            used, lines, since = spent(server), len(server.log), time.monotonic()
            for _ in range(40):
                await next_price()
            # They may stay away until the bus is back; whoever tries at every turn costs a whole core.
            assert spent(server) - used < 0.5 + 0.25 * (time.monotonic() - since)
            assert len(server.log) - lines < 40
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
            await eventually(lambda: server.events("bus_reconnected"), 30, "the bus")
        await eventually(lambda: asyncio.to_thread(server.healthy), 20, "somebody new to get in")


async def test_the_limit_is_raised_as_far_as_it_goes() -> None:
    """Shells give a process a thousand descriptors where the system has many more for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        # A new process, for what it is given of this one.
        async with running_server(program=PROGRAM) as server:
            assert resource.prlimit(server.pid, resource.RLIMIT_NOFILE) == (hard, hard)
            assert server.events("server_started")[0]["descriptors"] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
