"""How far a reader has to go to follow one thing through the server.

`python -m tests.benchmarks.walks` runs a server in this process, does six things to it from a thread, and
counts what the server's own code does meanwhile: calls, distinct functions, distinct files, and switches, the
times that one call is followed by one in another file. Fewer switches are an easier read; nothing is a time.

The figures of one walk are the median of several. A walk into which the server's heartbeat falls is taken
again: it is work of its own, once a second.
"""

import asyncio
import contextlib
import os
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType

import aiohttp
import jwt
import socketio

import marketstream
from marketstream.app import Server
from marketstream.engine.delivery.heartbeat import Heartbeat
from marketstream.observability.logging import configure
from marketstream.settings import load_settings
from tests.support.server import free_port

TIMES = 5
"""Walks of each kind, of which the median counts."""

SECRET = "the walks of a reader are signed with this"
SETTINGS = {"MARKETSTREAM_MARKET__PROVIDERS": "synthetic", "MARKETSTREAM_JOBS__ENABLED": "false"}
ROOT = str(Path(marketstream.__file__).parent)
SYMBOL = "EUR/USD"
START_MS = 1_700_000_000_000
TAPE_HEADER = "timestamp_ms,symbol,source,bid,bid_size,ask,ask_size\n"
TICK_MS = 400
"""Milliseconds between two prices of the tape: long enough for a walk to be over before the next."""


@dataclass(slots=True)
class Walk:
    """What was called, in order."""

    calls: list[CodeType] = field(default_factory=list)

    def figures(self) -> tuple[int, int, int, int]:
        """Calls, functions, files, switches."""
        files = [code.co_filename for code in self.calls]
        switches = sum(one != other for one, other in pairwise(files))
        return len(self.calls), len(set(self.calls)), len(set(files)), switches


class Recorder:
    """Notes the calls of one thread while it is told to.

    Args:
        loop: The loop of that thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._walk = Walk()

    @contextmanager
    def recording(self) -> Iterator[Walk]:
        """Record what is called inside the block; used from another thread."""
        self._on_loop(self._begin)
        try:
            yield self._walk
        finally:
            self._on_loop(lambda: sys.setprofile(None))

    def _begin(self) -> None:
        self._walk.calls.clear()
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        # Comprehensions and lambdas belong to the function they stand in.
        if event == "call" and frame.f_code.co_filename.startswith(ROOT) and frame.f_code.co_name[0] != "<":
            self._walk.calls.append(frame.f_code)

    def _on_loop(self, call: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            call()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait()


class Client:
    """One of everything that walks need, on the address of the server."""

    def __init__(self, url: str) -> None:
        self.url = url
        claims = {"sub": "u1", "tenantId": "acme", "plan": "pro", "scope": "market:read market:publish"}
        self.token = jwt.encode({**claims, "exp": int(time.time()) + 3600}, SECRET, algorithm="HS256")
        self.headers = {"Authorization": f"Bearer {self.token}"}

    async def connect(self) -> socketio.AsyncSimpleClient:
        """Connect over a websocket."""
        client = socketio.AsyncSimpleClient()
        await client.connect(
            self.url, namespace="/market-data", auth={"token": self.token}, transports=["websocket"]
        )
        return client


async def handshake(client: Client, recorder: Recorder) -> Walk:
    """A client connects and is let in."""
    with recorder.recording() as walk:
        connected = await client.connect()
        await received(connected, "connected")
    await connected.disconnect()
    return walk


async def subscribe(client: Client, recorder: Recorder) -> Walk:
    """A client asks for a symbol and gets its snapshot."""
    connected = await client.connect()
    await received(connected, "connected")
    with recorder.recording() as walk:
        await connected.call("subscribe", {"symbols": ["WALK"]})
        await received(connected, "snapshot")
    await connected.disconnect()
    return walk


async def price(client: Client, recorder: Recorder) -> Walk:
    """A quote of the tape reaches a client as a price."""
    connected = await client.connect()
    await connected.call("subscribe", {"symbols": [SYMBOL]})
    await received(connected, "price")
    with recorder.recording() as walk:
        await received(connected, "price")
    await connected.disconnect()
    return walk


async def event(client: Client, recorder: Recorder) -> Walk:
    """An event of a back end reaches the user who wants it."""
    connected = await client.connect()
    wanted = {"name": "walks", "filter": {"symbols": ["AAPL"]}}
    answer = await connected.call("subscribe_events", wanted)
    assert "error" not in answer, answer
    one = {"type": "pattern", "name": "double-bottom", "symbol": "AAPL", "priority": "CRITICAL"}
    # The answer comes before the process has read its subscriptions again: no part of the event's way.
    await asyncio.sleep(0.1)
    async with aiohttp.ClientSession(headers=client.headers) as session:
        with recorder.recording() as walk:
            async with session.post(f"{client.url}/api/v1/events", json={"events": [one]}) as answer:
                assert answer.status == 200, await answer.text()
            await received(connected, "events")
    await connected.disconnect()
    return walk


async def cached_get(client: Client, recorder: Recorder) -> Walk:
    """A quote is asked for that is in the cache."""
    return await get(client, recorder, "/api/v1/market/quote/MSFT", warm=True)


async def cold_get(client: Client, recorder: Recorder) -> Walk:
    """A quote is asked for that no cache has."""
    symbol = f"WALK{time.time_ns() % 1_000_000}"
    return await get(client, recorder, f"/api/v1/market/quote/{symbol}", warm=False)


async def get(client: Client, recorder: Recorder, path: str, *, warm: bool) -> Walk:
    """Ask for a path on a connection that is open already."""
    async with aiohttp.ClientSession(headers=client.headers) as session:
        for _ in range(2):
            async with session.get(client.url + (path if warm else "/healthz")) as answer:
                assert answer.status == 200, await answer.text()
        with recorder.recording() as walk:
            async with session.get(client.url + path) as answer:
                await answer.read()
    return walk


async def received(client: socketio.AsyncSimpleClient, name: str) -> None:
    """Wait for an event of some name."""
    while (await client.receive(timeout=10))[0] != name:
        pass


WALKS: dict[str, Callable[[Client, Recorder], Awaitable[Walk]]] = {
    "price": price,
    "subscribe": subscribe,
    "handshake": handshake,
    "event": event,
    "cached GET": cached_get,
    "cold GET": cold_get,
}


def say(line: str) -> None:
    """Print a line of the table at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def measure(client: Client, recorder: Recorder) -> None:
    """Take every walk a few times and print the table."""
    say(f"{'walk':12}{'calls':>7}{'functions':>11}{'files':>7}{'switches':>10}")
    for name, walk in WALKS.items():
        await walk(client, recorder)
        taken: list[tuple[int, int, int, int]] = []
        while len(taken) < TIMES:
            walked = await walk(client, recorder)
            if Heartbeat.beat.__code__ not in walked.calls:
                taken.append(walked.figures())
        calls, functions, files, switches = (
            int(statistics.median(each)) for each in zip(*taken, strict=True)
        )
        say(f"{name:12}{calls:7}{functions:11}{files:7}{switches:10}")


def main() -> None:
    """Run the server on the main thread and the walks on another."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        tape = Path(folder, "walk.csv")
        rows = [
            f"{START_MS + number * TICK_MS},{SYMBOL},a,{1 + number / 1000},1,{2 + number / 1000},1\n"
            for number in range(1_000)
        ]
        tape.write_text(TAPE_HEADER + "".join(rows))
        flags = {
            "server.port": port,
            "feeds.specs": [f"replay:{tape}?speed=1&wait=1&loop=1"],
            "dev": None,
        }
        settings = load_settings(flags, None, {"MARKETSTREAM_JWT_SECRET": SECRET, **SETTINGS}).settings
        configure("error", "json")
        asyncio.run(serve(Server(settings), port))


async def serve(server: Server, port: int) -> None:
    """Serve until the walks are over."""
    recorder = Recorder(asyncio.get_running_loop())
    client = Client(f"http://127.0.0.1:{port}")

    def walk() -> None:
        try:
            wait_for_port(port)
            asyncio.run(measure(client, recorder))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    walking = threading.Thread(target=walk)
    walking.start()
    await server.run()
    walking.join()


def wait_for_port(port: int) -> None:
    """Return when something listens."""
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


if __name__ == "__main__":
    main()
