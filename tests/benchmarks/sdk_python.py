"""What many symbols through one client of the Python SDK cost.

`python -m tests.benchmarks.sdk_python` starts a server with a synthetic market and watches all of it with one
callback. Printed are the client's memory at the start and afterwards, prices a second, processor time, and
how late prices are: from the source's time to the callback, on one clock. Nothing passes or fails.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from marketstream_sdk import MarketDataClient, Quote
from tests.benchmarks import machine
from tests.benchmarks.contestants import pin
from tests.support.server import Server, running_server

PLAN = "[plans.pro]\nmax_subscriptions = {count}\n[plans.basic]\n"
MIB = 1 << 20
REPORTS = 4


class Counter:
    """A callback that notes how late each price is.

    Attributes:
        late_ms: Milliseconds, one for each price.
    """

    def __init__(self) -> None:
        self.late_ms = array("d")

    def __call__(self, quote: Quote) -> None:
        """Takes a price."""
        self.late_ms.append(time.time() * 1000 - quote.timestamp)

    def quantile(self, share: float) -> float:
        """The lateness that this share of all prices stays below."""
        ordered = sorted(self.late_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure(
    server: Server, symbols: Sequence[str], seconds: float, way: Literal["socketio", "sse"]
) -> None:
    """Runs one client and prints what it cost."""
    pid = os.getpid()
    counter = Counter()
    say(f"rss before connecting  {machine.resident_bytes(pid) / MIB:8.1f} MiB")
    async with MarketDataClient(server.url, token=server.token(), transport=way) as client:
        taken = await client.subscribe(symbols, counter)
        await asyncio.sleep(seconds / 20)  # snapshots and imports are not what is measured
        say(f"rss at the start       {machine.resident_bytes(pid) / MIB:8.1f} MiB  ({len(taken)} symbols)")
        counter.late_ms = array("d")
        used, began = machine.cpu_seconds(pid), time.monotonic()
        for part in range(1, REPORTS + 1):
            await asyncio.sleep(seconds / REPORTS)
            grown = machine.resident_bytes(pid) - counter.late_ms.itemsize * len(counter.late_ms)
            say(f"rss after {seconds * part / REPORTS:5.0f} s      {grown / MIB:8.1f} MiB")
        lasted = time.monotonic() - began
        used = machine.cpu_seconds(pid) - used
    count = len(counter.late_ms)
    say(f"prices                 {count / lasted:8.0f} a second")
    say(f"processor              {100 * used / lasted:8.1f} % of one, {1e6 * used / count:.0f} us a price")
    say(f"lateness               {counter.quantile(0.5):8.2f} ms p50, {counter.quantile(0.99):.2f} ms p99")


def say(text: str) -> None:
    """Prints a line at once."""
    print(text, flush=True)  # noqa: T201 - figures are what it is for


async def run(options: argparse.Namespace) -> None:
    """Starts a server and measures."""
    with tempfile.TemporaryDirectory() as folder:
        plans = Path(folder) / "plans.toml"
        plans.write_text(PLAN.format(count=options.symbols))
        feed = f"synthetic?symbols=SYM*{options.symbols}&rate={options.rate}&shape=spread"
        env = {"MARKETSTREAM_AUTH__PLANS_FILE": str(plans)}
        async with running_server(env=env, feeds=(feed,)) as server:
            os.sched_setaffinity(server.pid, {machine.SERVER_CPU})
            names = [f"SYM{number}" for number in range(options.symbols)]
            await measure(server, names, options.seconds, options.way)


def main(arguments: Sequence[str]) -> None:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2, help="updates a second and symbol")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--way", choices=["socketio", "sse"], default="socketio")
    options = parser.parse_args(arguments)
    pin(machine.LOAD_CPU)
    say(machine.describe())
    asyncio.run(run(options))


if __name__ == "__main__":
    main(sys.argv[1:])
