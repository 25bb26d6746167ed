"""How late a price is for one client, and for the others while one does not read.

`python -m tests.benchmarks.latency high-frequency` publishes 100 prices a second over HTTP to one stock
Socket.IO client and notes for every one the time from before the request to the client's handler.
`python -m tests.benchmarks.latency slow-reader` compares the lateness of 200 readers before and while
another client reads nothing, and the server's memory. Verdicts are printed, not asserted.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import socketio

from tests.benchmarks import machine
from tests.benchmarks.contestants import pin
from tests.benchmarks.fanout import Usage, say
from tests.benchmarks.readers import Readers, watch_lists
from tests.support.eventually import eventually
from tests.support.server import Server, serving

NAMESPACE = "/market-data"
SYMBOL = "EUR/USD"
RATE = 100
READERS, SYMBOLS, EACH, SYMBOL_RATE = 200, 100, 20, 5
SMALL_BUFFER = 4_096
CATCHING_UP = 1.0
MAX_SECONDS = 120.0
TARGETS_MS = {"average": 25.0, "p95": 50.0, "max": 100.0}


class Publisher:
    """Publishes a rising price over HTTP and remembers when.

    Attributes:
        sent: Monotonic seconds at which the request with each bid began.
    """

    def __init__(self, server: Server) -> None:
        self.sent: dict[float, float] = {}
        self._url = f"{server.url}/api/v1/market/publish"
        token = server.token(user="publisher", scopes=("market:publish",))
        self._headers = {"Authorization": f"Bearer {token}"}

    async def run(self, count: int) -> None:
        """Publishes so many prices, `RATE` a second."""
        async with aiohttp.ClientSession(headers=self._headers) as session:
            started = time.monotonic()
            for index in range(count):
                await asyncio.sleep(started + index / RATE - time.monotonic())
                bid = round(1.0 + index / 100_000, 5)
                self.sent[bid] = time.monotonic()
                async with session.post(self._url, json={"prices": [_price(bid)]}) as response:
                    response.raise_for_status()


class Client:
    """A stock Socket.IO client on a websocket that watches one symbol.

    Attributes:
        got: Monotonic seconds at which its handler was called with each bid.
        last: The newest bid.
    """

    def __init__(self) -> None:
        self.got: dict[float, float] = {}
        self.last = 0.0
        self._sio = socketio.AsyncClient()
        self._sio.on("price", self._take, namespace=NAMESPACE)

    async def connect(self, server: Server) -> None:
        """Connects and subscribes."""
        await self._sio.connect(
            server.url, auth={"token": server.token()}, namespaces=[NAMESPACE], transports=["websocket"]
        )
        answer = await self._sio.call("subscribe", {"symbols": [SYMBOL]}, namespace=NAMESPACE)
        if answer.get("subscribed") != [SYMBOL]:
            raise RuntimeError(f"not subscribed: {answer}")

    async def close(self) -> None:
        """Leaves."""
        await self._sio.disconnect()

    def _take(self, price: dict[str, Any]) -> None:
        self.last = price["bestBid"]["price"]
        self.got.setdefault(self.last, time.monotonic())


def _price(bid: float) -> dict[str, Any]:
    return {
        "symbol": SYMBOL,
        "bestBid": {"price": bid, "size": 1_000_000, "source": "bench"},
        "bestAsk": {"price": round(bid + 0.0001, 5), "size": 1_000_000, "source": "bench"},
        "midPrice": round(bid + 0.00005, 6),
        "spread": 0.0001,
        "spreadBps": 1.0,
        "timestamp": time.time_ns() // 1_000_000,
    }


async def high_frequency(server: Server, seconds: float) -> bool:
    """Measures one client; returns whether all targets are met."""
    client, publisher = Client(), Publisher(server)
    await client.connect(server)
    await publisher.run(round(seconds * RATE))
    last = max(publisher.sent)
    with suppress(AssertionError):
        await eventually(lambda: client.last == last, 2, "the last price")
    await client.close()
    times = sorted((client.got[bid] - publisher.sent[bid]) * 1000 for bid in client.got)
    found = {
        "average": sum(times) / len(times),
        "p95": times[max(0, round(0.95 * len(times)) - 1)],
        "max": times[-1],
    }
    say(f"{len(publisher.sent)} prices in {seconds:g} s over HTTP, {len(times)} arrived")
    for name, value in found.items():
        say(f"  {name:8}{value:8.2f} ms, target below {TARGETS_MS[name]:g} ms: {_verdict(value, name)}")
    exact = client.last == last
    say(f"  last price {client.last}, published {last}: {'PASS' if exact else 'FAIL'}")
    return exact and all(value < TARGETS_MS[name] for name, value in found.items())


def _verdict(value: float, name: str) -> str:
    return "PASS" if value < TARGETS_MS[name] else "FAIL"


def slow_reader(server: Server, seconds: float) -> None:
    """Measures many clients before and while one more does not read."""
    token = server.token()
    everything = watch_lists(1, SYMBOLS, SYMBOLS)
    with (
        Readers(server.port, watch_lists(READERS, SYMBOLS, EACH), token) as readers,
        Readers(server.port, everything, token, receive_buffer=SMALL_BUFFER) as asleep,
    ):
        readers.connect(30)
        readers.read(2)
        before = _described(server, readers, seconds)
        asleep.connect(30)
        meanwhile = _described(server, readers, seconds)
        awake = asleep.read(CATCHING_UP)
    say(f"{READERS} readers, {SYMBOLS} symbols, {EACH} each, {SYMBOL_RATE}/s in bursts")
    say(f"  before:                {before}")
    say(f"  one reads nothing:     {meanwhile}")
    published = SYMBOLS * SYMBOL_RATE * (seconds + CATCHING_UP)
    say(f"  it wakes up: {awake.prices} prices in {CATCHING_UP:g} s, of {published:.0f} published meanwhile")
    say(f"  it was closed: {'yes' if asleep.closed_by_server else 'no'}")


def _described(server: Server, readers: Readers, seconds: float) -> str:
    """Reads for some time and says how late prices were, how large the server is, and how noisy it was."""
    start = Usage.of(server.pid)
    window = readers.read(seconds)
    others = Usage.of(server.pid).since(start).others / window.seconds
    return (
        f"p50 {window.quantile(0.5):3.0f} ms, p99 {window.quantile(0.99):3.0f} ms, "
        f"{window.prices / window.seconds:.0f} prices/s; "
        f"server {machine.resident_bytes(server.pid) / 1e6:.1f} MB; {others:.0%} used by others"
    )


def parse_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.latency", description="How late prices are, measured at clients."
    )
    parser.add_argument("what", choices=["high-frequency", "slow-reader"])
    parser.add_argument("--seconds", type=float, default=10, help=f"1 to {MAX_SECONDS:g}")
    parser.add_argument(
        "--lowat",
        type=int,
        default=16_384,
        help="bytes the kernel may hold unsent for a client (slow-reader)",
    )
    options = parser.parse_args(words)
    if not 1 <= options.seconds <= MAX_SECONDS:
        parser.error("seconds are out of bounds")
    return options


def main() -> int:
    """Measures what the command line asks for; returns the exit code, 1 when a target is missed."""
    options = parse_options()
    pin(machine.SERVER_CPU)  # the server inherits it
    feed = f"synthetic?symbols=SYM*{SYMBOLS}&rate={SYMBOL_RATE}&shape=burst&sources=1"
    high = options.what == "high-frequency"
    env = {"MARKETSTREAM_DELIVERY__NOTSENT_LOWAT": str(options.lowat)}
    with serving(feeds=["none" if high else feed], env=env) as server:
        pin(machine.LOAD_CPU)
        say(machine.describe())
        if high:
            return 0 if asyncio.run(high_frequency(server, options.seconds)) else 1
        slow_reader(server, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
