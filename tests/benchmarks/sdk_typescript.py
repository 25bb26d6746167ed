"""A thousand symbols through one client of the TypeScript SDK: memory, prices a second, lateness.

`python -m tests.benchmarks.sdk_typescript`. The server has a plan for so many symbols and a feed that makes
each of them move; server and client each have a processor of their own.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks import machine
from tests.support.node import find_node
from tests.support.sdk import find_sdk
from tests.support.server import running_server

PLANS = Path(__file__).parents[2] / "config" / "plans.toml"
SYMBOLS = 1_000


async def measure(transport: str, rate: float, seconds: int) -> Mapping[str, Any]:
    """What one client saw and used.

    Args:
        transport: `socketio` or `sse`.
        rate: Updates a second and symbol.
        seconds: How long is counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        plans = Path(folder) / "plans.toml"
        plans.write_text(
            PLANS.read_text().replace("max_subscriptions = 100", f"max_subscriptions = {SYMBOLS}")
        )
        env = {"MARKETSTREAM_AUTH__PLANS_FILE": str(plans)}
        feed = f"synthetic?symbols=SYM*{SYMBOLS}&rate={rate:g}&sources=1&shape=spread"
        async with running_server(env=env, feeds=(feed,)) as server:
            os.sched_setaffinity(server.pid, {machine.SERVER_CPU})
            script = (
                "--expose-gc",
                "../benchmarks/sdk_typescript.mjs",
                server.url,
                server.token(),
                transport,
            )
            told = await find_node().run(*script, str(SYMBOLS), str(seconds), timeout=seconds + 60)
    [facts] = told
    return dict(facts)


def say(line: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measures both transports and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=5, help="updates a second and symbol")
    parser.add_argument("--seconds", type=int, default=60, help="how long is counted")
    parser.add_argument("--transport", choices=("socketio", "sse"), action="append")
    arguments = parser.parse_args()
    find_sdk()
    say(machine.describe())
    say("transport  prices/s  CPU  late p50/p99/max  heap empty/start/end  RSS empty/start/end  back")
    for transport in arguments.transport or ("socketio",):
        facts = asyncio.run(measure(transport, arguments.rate, arguments.seconds))
        phases = [facts[phase] for phase in ("empty", "start", "end")]
        late = "/".join(str(facts["lateness"][name]) for name in ("p50", "p99", "max"))
        heap, rss = ("/".join(f"{phase[kind]:g}" for phase in phases) for kind in ("heap", "rss"))
        say(
            f"{transport:9}  {facts['perSecond']:8}  {facts['cpu']:2}%  {late:>13} ms"
            f"  {heap:>17} MB  {rss:>16} MB  {facts['backwards']}"
        )


if __name__ == "__main__":
    main()
