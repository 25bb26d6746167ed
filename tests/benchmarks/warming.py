"""How many questions of readers the cache answers while jobs keep the popular symbols fresh.

`python -m tests.benchmarks.warming`. One server with the shipped settings: which symbols are popular, when
jobs run, how long an answer is fresh. Only the quotas of the vendor are lifted: a miss shall cost a question,
not a refusal. The vendor is a server as well and takes its time; every answer of it came over HTTP. Readers
ask for one quote a second each: the popular ones by Zipf's law, and seldom one that nobody keeps fresh. The
server runs alone on processor 0, readers and vendor share processor 1.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from marketstream.settings import Settings
from tests.benchmarks import machine
from tests.benchmarks.contestants import pin
from tests.support.server import Server, running_server
from tests.support.vendors import KEY, Vendors, running_vendors

READERS = 200
THINKS = 1.0
"""Seconds between two questions of a reader, on average."""

SELDOM = 0.05
"""Share of questions about symbols that are not popular."""

OTHERS = 1_000
TAKES = 0.05, 0.4
"""Seconds that an answer of the vendor takes, at least and at most."""

MARKET = Settings().market
POPULAR = MARKET.popular
KEPT = {symbol.split()[0] for symbol in (*MARKET.indices, *MARKET.sectors)}
UNPOPULAR = [f"U{number}" for number in range(OTHERS)]
WEIGHTS = [1 / rank for rank in range(1, len(POPULAR) + 1)]


@dataclass(slots=True)
class Readings:
    """What readers saw of some symbols.

    Attributes:
        took: Milliseconds of each answer.
        waited: Answers for which a vendor was asked.
    """

    took: list[float] = field(default_factory=list)
    waited: int = 0

    def __str__(self) -> str:
        ranked = sorted(self.took)
        p50, p99 = (ranked[len(ranked) * share // 100] for share in (50, 99))
        return (
            f"{len(ranked):,} answers, p50 {p50:.1f}, p99 {p99:.1f}, most {ranked[-1]:.1f} ms; "
            f"{self.waited} waited for the vendor"
        )


Seen = dict[bool, Readings]
"""Readings by whether a symbol is popular."""


async def read(session: aiohttp.ClientSession, token: str, until: float, seen: Seen) -> None:
    """One reader."""
    chance = random.Random(token)
    headers = {"Authorization": f"Bearer {token}"}
    while True:
        await asyncio.sleep(chance.expovariate(1 / THINKS))
        if time.monotonic() >= until:
            return
        popular = chance.random() >= SELDOM
        symbol = chance.choices(POPULAR, WEIGHTS)[0] if popular else chance.choice(UNPOPULAR)
        at = time.perf_counter()
        async with session.get(f"quote/{symbol}", headers=headers) as answer:
            answer.raise_for_status()
            body = await answer.json()
        seen[popular].took.append((time.perf_counter() - at) * 1_000)
        seen[popular].waited += body["retry_attempts"] > 0


async def measure(seconds: float) -> None:
    """Prints what came of it."""
    async with running_vendors() as vendors:
        vendors.known |= {*POPULAR, *KEPT, *UNPOPULAR}
        vendors.pause = lambda: random.uniform(*TAKES)
        env = {
            "MARKETSTREAM_MARKET__PROVIDERS": "fmp",
            "FINANCIAL_MODELING_PREP_API_KEY": KEY,
            "MARKETSTREAM_PROVIDERS__FMP__BASE_URL": vendors.base_url("fmp"),
            "MARKETSTREAM_PROVIDERS__FMP__PER_MINUTE": "0",
            "MARKETSTREAM_PROVIDERS__FMP__PER_DAY": "0",
            "MARKETSTREAM_LOG__LEVEL": "warning",
        }
        async with running_server(env=env) as server:
            os.sched_setaffinity(server.pid, {machine.SERVER_CPU})
            pin(machine.LOAD_CPU)
            await _measure(server, vendors, seconds)


async def _measure(server: Server, vendors: Vendors, seconds: float) -> None:
    seen = {True: Readings(), False: Readings()}
    until = time.monotonic() + seconds
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(f"{server.url}/api/v1/market/", connector=connector) as session:
        tokens = [server.token(user=f"u{number}") for number in range(READERS)]
        await asyncio.gather(*(read(session, token, until, seen) for token in tokens))
        headers = {"Authorization": f"Bearer {server.token(user='root', scopes=('admin',))}"}
        cache = await _get(session, "cache/stats", headers)
        jobs = await _get(session, "jobs/status", headers)
        async with session.get(f"{server.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
    gauge = next(line for line in lines if line.startswith("redis_cache_hit_ratio "))
    runs = {job["name"]: len(job["runs"]) for job in jobs["jobs"] if job["runs"]}
    _tell(seen, vendors, seconds, runs)
    sys.stdout.write(
        f"cache/stats: {cache['hits']} hits, {cache['misses']} misses, hit ratio {cache['hitRatio']:.4f} "
        f"(aim: 0.9); /metrics: {gauge}\n{machine.describe()}\n"
    )


async def _get(session: aiohttp.ClientSession, path: str, headers: dict[str, str]) -> Any:
    async with session.get(path, headers=headers) as answer:
        answer.raise_for_status()
        return await answer.json()


def _tell(seen: Seen, vendors: Vendors, seconds: float, runs: dict[str, int]) -> None:
    about = Counter(query.get("symbol", "") for _, path, query in vendors.asked if path.endswith("/quote"))
    popular, others, views = (sum(about[each] for each in named) for named in (POPULAR, UNPOPULAR, KEPT))
    by_job = runs.get("quotes", 0) * len(POPULAR)
    sys.stdout.write(
        f"{READERS} readers for {seconds:g} s; runs of jobs: "
        f"{', '.join(f'{name} {count}' for name, count in runs.items())}\n"
        f"popular symbols: {seen[True]}\n"
        f"other symbols: {seen[False]}\n"
        f"questions to the vendor: {popular} about popular symbols ({by_job} by the job `quotes`), "
        f"{others} about others, {views} for indices and sectors\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.warming", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="of load (180)")
    given = parser.parse_args(arguments)
    asyncio.run(measure(given.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
