"""Clients that stop reading, among 200 that do not: nobody waits for the slowest.

A tape is played in real time, so that every value is known beforehand, and when it was due. Whoever stops has
a socket that holds next to nothing, like a phone in a tunnel.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.crowd import Crowd, Reader, entered, entered_by_polling
from tests.support.eventually import eventually
from tests.support.figures import memory, metric
from tests.support.pulse import pulse
from tests.support.raw_socket import wire
from tests.support.server import Server, running_server
from tests.support.tape import HEADER, START_MS

SYMBOLS = [f"SYM{number}" for number in range(100)]
READERS = 200
STEP_MS = 10
EACH_STEP = 20
BEFORE = 2.0
AFTER = 2.0
KERNEL = 4096
EVERY_QUEUE = 10
STALE = 500  # of the 2,000 a second that are published while somebody sleeps
MEGABYTE = 1024 * 1024
LATE_MS = 250
CLOSED = 'ws_connections_closed_total{reason="slow_consumer"}'
KINDS = ["every", "websocket", "sse", "polling"]


def write_market(path: Path, seconds: float) -> dict[str, list[float]]:
    """Writes a tape on which each symbol moves twenty times a second; returns the bids of each, in order."""
    bids: dict[str, list[float]] = {symbol: [] for symbol in SYMBOLS}
    with path.open("w") as tape:
        tape.write(",".join(HEADER) + "\n")
        for step in range(int(seconds * 1000 / STEP_MS)):
            for number in range(EACH_STEP):
                symbol = SYMBOLS[(step * EACH_STEP + number) % len(SYMBOLS)]
                bids[symbol].append((10_000 + step) / 100)
                row = START_MS + step * STEP_MS, symbol, "lmax", bids[symbol][-1], 10, 999_999, 10
                tape.write(",".join(map(str, row)) + "\n")
    return bids


def percentile(values: Iterable[float], share: float) -> float:
    """The value that a share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)]


@pytest.mark.parametrize("seconds", [6, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(240)])])
async def test_who_stops_reading_wakes_up_to_the_newest_prices_and_nobody_else_notices(
    tmp_path: Path, seconds: float
) -> None:
    """Of the past a sleeper gets what the kernel held; of the present, the newest price of each symbol."""
    tape = tmp_path / "market.csv"
    bids = write_market(tape, 1 + BEFORE + seconds + AFTER)
    env = {
        "MARKETSTREAM_DELIVERY__SLOW_TIMEOUT": str(2 * seconds),
        "MARKETSTREAM_SERVER__PEER_TIMEOUT": str(3 * seconds),
        "MARKETSTREAM_DELIVERY__EVERY_QUEUE": str(EVERY_QUEUE),
    }
    feed = f"replay:{tape}?speed=1&wait=1"
    async with (
        running_server(env=env, feeds=(feed,)) as server,
        crowd(server) as everybody,
        pulse() as machine,
    ):
        sleepers = everybody.readers[: len(KINDS)]
        others = everybody.readers[len(KINDS) :]
        await everybody.subscribe()
        await asyncio.sleep(BEFORE)

        before, slept_at = memory(server), time.monotonic() * 1000
        for sleeper in sleepers:
            sleeper.sleep()
        await asyncio.sleep(seconds)
        grown, woke_at = memory(server) - before, time.monotonic() * 1000
        now_ms = max(others[0].prices[-1]["timestamp"], others[1].prices[-1]["timestamp"])
        for sleeper in sleepers:
            sleeper.wake()

        newest = {symbol: of_symbol[-1] for symbol, of_symbol in bids.items()}
        for number, reader in enumerate(others):
            symbol = SYMBOLS[number % len(SYMBOLS)]
            await eventually(lambda: reader.latest() == {symbol: newest[symbol]}, 10, "the last price")  # noqa: B023  # asked at once
        for kind, sleeper in zip(KINDS, sleepers, strict=True):
            await eventually(lambda: sleeper.latest() == newest, 10, f"the last prices by {kind}")  # noqa: B023  # as above
            assert_in_order(sleeper)
        assert_complete(sleepers[0], bids)
        for sleeper in sleepers[1:]:
            assert stale(sleeper, woke_at, now_ms) < STALE
        assert grown < 20 * MEGABYTE
        assert await metric(server, CLOSED) == 0

        usual = percentile(lateness(others, 0, slept_at), 0.99)
        meanwhile = percentile(lateness(others, slept_at, woke_at), 0.99)
        assert meanwhile < max(5 * usual, LATE_MS) + machine.longest(slept_at, woke_at)


@pytest.mark.parametrize("seconds", [2, pytest.param(30, marks=pytest.mark.slow)])
async def test_who_takes_nothing_for_too_long_is_closed_so_that_it_may_come_back(seconds: float) -> None:
    """On every transport; the reason is in the log and among the figures, and the others go on."""
    env = {"MARKETSTREAM_DELIVERY__SLOW_TIMEOUT": str(seconds)}
    feed = f"synthetic?symbols=SYM*{len(SYMBOLS)}&rate=20"
    async with running_server(env=env, feeds=(feed,)) as server, crowd(server, readers=1) as everybody:
        *sleepers, reader = everybody.readers
        await everybody.subscribe()
        for one in everybody.readers:
            await eventually(lambda: one.prices, 10, "the first prices")  # noqa: B023  # asked at once
        slept_at = time.monotonic()
        for sleeper in sleepers:
            sleeper.sleep()

        async def closed() -> bool:
            return await metric(server, CLOSED) == len(KINDS)

        await eventually(closed, seconds + 8, "the end of all that sleep")
        assert time.monotonic() - slept_at > seconds
        entries = await server.logged("websocket_connection_closed", len(KINDS))
        transports = sorted(entry["transport"] for entry in entries)
        assert transports == ["polling", "sse", "websocket", "websocket"]
        assert {entry["reason"] for entry in entries} == {"slow_consumer"}
        assert await metric(server, "outbox_closed_total") == len(KINDS)
        count = len(reader.prices)
        await eventually(lambda: len(reader.prices) > count + 20, 5, "prices for the one that reads")
        for sleeper in sleepers:
            sleeper.wake()
        await eventually(lambda: all(sleeper.ended for sleeper in sleepers), 5, "the end, seen by all")


@asynccontextmanager
async def crowd(server: Server, readers: int = READERS) -> AsyncIterator[Crowd]:
    """One client of each of KINDS that wants all symbols, and others that want one each."""
    async with AsyncExitStack() as stack:
        lossless = await stack.enter_async_context(entered(server, KERNEL))
        latest = await stack.enter_async_context(entered(server, KERNEL))
        stream = await stack.enter_async_context(wire(server.port, KERNEL))
        polling = await stack.enter_async_context(entered_by_polling(server))
        ways = [await stack.enter_async_context(entered(server)) for _ in range(readers)]
        everybody = Crowd(server)
        stack.push_async_callback(everybody.leave)
        # The tape begins with the first subscriber: who wants every value must be first.
        everybody.on_socket(lossless, SYMBOLS, "every")
        everybody.on_socket(latest, SYMBOLS)
        everybody.on_stream(stream, SYMBOLS)
        everybody.on_polls(polling, SYMBOLS)
        for number, way in enumerate(ways):
            everybody.on_socket(way, [SYMBOLS[number % len(SYMBOLS)]])
        yield everybody


def assert_in_order(reader: Reader) -> None:
    """No price is older than one of the same symbol before it."""
    newest: dict[str, int] = {}
    for price in reader.prices:
        assert price["timestamp"] >= newest.get(price["symbol"], 0)
        newest[price["symbol"]] = price["timestamp"]


def assert_complete(reader: Reader, bids: dict[str, list[float]]) -> None:
    """Every price of each symbol came or is among those it was told it missed; some of either."""
    came = Counter(price["symbol"] for price in reader.prices)
    assert reader.missed.total() > 0
    for symbol, of_symbol in bids.items():
        assert came[symbol] + reader.missed[symbol] == len(of_symbol), symbol


def stale(reader: Reader, woke_at: float, now_ms: int) -> int:
    """How many prices came after waking up that were a second old or more when it did."""
    return sum(
        at >= woke_at and price["timestamp"] < now_ms - 1000
        for at, price in zip(reader.at, reader.prices, strict=True)
    )


def lateness(readers: Iterable[Reader], since: float, until: float) -> list[float]:
    """Milliseconds by which prices came later than the earliest of all of them did."""
    readers = list(readers)
    best = min(min(reader.lateness(0, until)) for reader in readers)
    return [late - best for reader in readers for late in reader.lateness(since, until)]
