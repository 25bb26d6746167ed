"""What it costs to be many processes: `python -m tests.benchmarks.bus --help`.

    publish    updates a second that one publisher brings into Redis, heard by nobody and by one process
    latency    how long one price travels, there and back, by Redis and by memory
    idle       processor share of a process that watches none of what is published
    gateways   processor share of publisher, Redis and gateways, from 1 to 4 of these
    symbols    the same with one gateway, from 100 to 10,000 symbols

Fan-out over Redis against fan-out in memory: `python -m tests.benchmarks.fanout --servers
marketstream,marketstream-redis`. All of it needs Linux. Processes are not pinned here: what matters is what
each of them uses, and what others use meanwhile is shown.
"""

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from statistics import median

from marketstream.bus.redis import RedisBus
from marketstream.core.delivery.frame import Frame
from marketstream.observability.clock import SystemClock
from marketstream.plugins.backend import BUS, BusContext
from marketstream.ports import Bus
from marketstream.wire import messages
from tests.benchmarks import machine
from tests.support.builders import best_price
from tests.support.eventually import eventually
from tests.support.valkey import Valkey, running_valkey

BATCH = 100
RATE = 10_000
TURN = 0.01
"""Seconds between two batches of a steady publisher."""


@asynccontextmanager
async def running_bus(url: str) -> AsyncIterator[Bus]:
    """A bus that is connected."""
    bus = BUS.load(url.partition("://")[0], "bus.url")(url, BusContext(SystemClock())).bus
    bus.attach(lambda _: None)
    task = asyncio.create_task(bus.run())
    await eventually(lambda: bus.connected, what="a connection to Valkey")
    try:
        yield bus
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def names(count: int) -> list[str]:
    """So many symbols."""
    return [f"SYM{number}" for number in range(count)]


def frames(symbols: Sequence[str], number: int) -> list[Frame]:
    """One price of each symbol."""
    return [messages.price(best_price(symbol, number % 1_000 + 0.5, number)) for symbol in symbols]


async def flushed(bus: Bus) -> None:
    """Returns when all that was published is in Redis."""
    if isinstance(bus, RedisBus):
        await bus.flushed()


# Each of these runs in a process of its own


def listen(
    url: str, symbols: int, ready: "multiprocessing.synchronize.Event", spread: int = 0, of: int = 1
) -> None:
    """A process that watches symbols and does nothing else; or every so-many-th of them."""
    asyncio.run(_listen(url, names(symbols)[spread::of] if symbols else [], ready))


async def _listen(url: str, symbols: Sequence[str], ready: "multiprocessing.synchronize.Event") -> None:
    async with running_bus(url) as bus:
        for symbol in symbols:
            bus.watch(symbol)
        found = bus.last(symbols, "bench")
        if not isinstance(found, list):
            await found  # type: ignore[misc]  # a Redis bus answers later
        ready.set()
        await asyncio.Event().wait()


def feed(url: str, symbols: int, rate: int) -> None:
    """A process that publishes so many updates a second, evenly."""
    asyncio.run(_feed(url, names(symbols), rate))


async def _feed(url: str, symbols: Sequence[str], rate: int) -> None:
    async with running_bus(url) as bus:
        size, at, number = max(1, round(rate * TURN)), 0, 0
        due = time.monotonic()
        while True:
            batch = [symbols[(at + offset) % len(symbols)] for offset in range(size)]
            at, number = (at + size) % len(symbols), number + 1
            bus.publish(frames(batch, number))
            due += TURN
            await asyncio.sleep(max(0.0, due - time.monotonic()))


@contextmanager
def process(run: Callable[..., None], *arguments: object) -> Iterator[int]:
    """A process that does something inside the block; gives its id."""
    child = multiprocessing.get_context("spawn").Process(target=run, args=arguments)
    child.start()
    assert child.pid is not None
    try:
        yield child.pid
    finally:
        child.kill()
        child.join()


@contextmanager
def listener(url: str, symbols: int, spread: int = 0, of: int = 1) -> Iterator[int]:
    """A process that listens, once it does."""
    ready = multiprocessing.get_context("spawn").Event()
    with process(listen, url, symbols, ready, spread, of) as pid:
        ready.wait()
        yield pid


# Figures


def publish(seconds: float) -> None:
    """See the module."""
    for heard in (False, True):
        with running_valkey() as valkey, ExitStack() as stack:
            if heard:
                stack.enter_context(listener(valkey.url, BATCH))
            rate = asyncio.run(_publish(valkey.url, seconds))
            _say(f"publish  {'one listens' if heard else 'nobody listens':15} {rate:>10,.0f} updates/s")


async def _publish(url: str, seconds: float) -> float:
    ready = [frames(names(BATCH), number) for number in range(1, 200)]
    async with running_bus(url) as bus:
        began, done, number = time.monotonic(), 0, 0
        while time.monotonic() - began < seconds:
            # A few batches under way, as a busy feed has them; never more than the queue keeps in order.
            for _ in range(10):
                bus.publish([_again(frame, number) for frame in ready[number % len(ready)]])
                number += 1
            await flushed(bus)
            done += 10 * BATCH
        return done / (time.monotonic() - began)


def _again(frame: Frame, number: int) -> Frame:
    """The same price at a later time, so that it is not left out."""
    return Frame(frame.event, frame.body, key=frame.key, symbol=frame.symbol, at_ms=number + 1)


def latency(seconds: float) -> None:
    """See the module."""
    with running_valkey() as valkey:
        for kind, url in (("memory", "memory://"), ("redis", valkey.url)):
            found = sorted(asyncio.run(_latency(url, seconds)))
            p50, p99 = found[len(found) // 2] * 1_000, found[len(found) * 99 // 100] * 1_000
            _say(f"latency  {kind:15} p50 {p50:7.3f} ms   p99 {p99:7.3f} ms   of {len(found)}")


async def _latency(url: str, seconds: float) -> list[float]:
    found: list[float] = []
    async with running_bus(url) as bus:
        bus.watch("SYM0")
        known = bus.last(["SYM0"], "bench")
        if not isinstance(known, list):
            await known  # type: ignore[misc]  # a Redis bus answers later
        came = asyncio.Event()
        bus.attach(lambda _: came.set())
        began, number = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            number += 1
            came.clear()
            at = time.perf_counter()
            bus.publish(frames(["SYM0"], number))
            await came.wait()
            found.append(time.perf_counter() - at)
            await asyncio.sleep(0.002)
    return found


def idle(seconds: float) -> None:
    """See the module."""
    with (
        running_valkey() as valkey,
        listener(valkey.url, 0) as none,
        listener(valkey.url, 1) as one,
        process(feed, valkey.url, 100, RATE) as publisher,
    ):
        time.sleep(2)
        pids = {"watches nothing": none, "watches 1 of 100": one, "publishes": publisher}
        used = _shares(pids, seconds)
    _show(f"idle     {RATE:,} updates/s of 100 symbols", used)


def gateways(seconds: float) -> None:
    """See the module."""
    for count in (1, 2, 4):
        with running_valkey() as valkey, ExitStack() as stack:
            heard = [stack.enter_context(listener(valkey.url, 100)) for _ in range(count)]
            used = _market(valkey, 100, heard, seconds)
        _show(f"gateways {count}, each watches all of 100 symbols, {RATE:,} updates/s", used)


def symbols(seconds: float) -> None:
    """See the module."""
    for count in (100, 1_000, 10_000):
        with running_valkey() as valkey, listener(valkey.url, count) as heard:
            used = _market(valkey, count, [heard], seconds)
        _show(f"symbols  {count:,}, one gateway watches all, {RATE:,} updates/s", used)


def _market(valkey: Valkey, count: int, heard: Sequence[int], seconds: float) -> dict[str, float]:
    with process(feed, valkey.url, count, RATE) as publisher:
        time.sleep(3)
        pids = {"publishes": publisher, "redis": valkey.pid}
        return _shares(pids | {f"gateway {n}": pid for n, pid in enumerate(heard, 1)}, seconds)


def _shares(pids: dict[str, int], seconds: float) -> dict[str, float]:
    """Part of a processor that each process used, and what others did."""
    before = {name: machine.cpu_seconds(pid) for name, pid in pids.items()}
    busy = sum(machine.busy_seconds(cpu) for cpu in range(os.cpu_count() or 1))
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    used = {name: (machine.cpu_seconds(pid) - before[name]) / took for name, pid in pids.items()}
    busy = (sum(machine.busy_seconds(cpu) for cpu in range(os.cpu_count() or 1)) - busy) / took
    return used | {"others": max(0.0, busy - sum(used.values()))}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _show(title: str, used: dict[str, float]) -> None:
    shares = [share for name, share in used.items() if name.startswith("gateway")]
    shown = {name: share for name, share in used.items() if not name.startswith("gateway")}
    if shares:
        shown["each gateway"] = median(shares)
    _say(f"{title}: " + ", ".join(f"{name} {share:.1%}" for name, share in shown.items()))


FIGURES = {figure.__name__: figure for figure in (publish, latency, idle, gateways, symbols)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bus",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; none: all")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.figures if name not in FIGURES]
    if unknown:
        parser.error(f"there is no figure {unknown[0]}; there are {', '.join(FIGURES)}")
    for name in given.figures or FIGURES:
        FIGURES[name](given.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
