"""Requests a second for one cached quote, beside a bare handler that returns the same bytes.

`python -m tests.benchmarks.reading`. Both servers run alone on processor 0, one after the other, several
rounds; 32 connections that stay open ask as fast as they are answered, on processor 1. The bare handler is
aiohttp and nothing else: what remains of the distance to it is token, limits, cache and headers.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import aiohttp

from tests.benchmarks import machine
from tests.benchmarks.contestants import pin
from tests.support.eventually import wait_until
from tests.support.program import clean_environment
from tests.support.server import Server, free_port, serving

CONNECTIONS = 32
PATH = "/api/v1/market/quote/AAPL"
BARE = """
import sys
from aiohttp import web
body = sys.stdin.buffer.read()
async def answer(request):
    return web.Response(body=body, content_type="application/json")
app = web.Application()
app.router.add_get("/api/v1/market/quote/{symbol}", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""


@contextmanager
def bare(body: bytes) -> Iterator[int]:
    """The bare handler; gives its port."""
    port = free_port()
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = ["taskset", "--cpu-list", str(machine.SERVER_CPU), sys.executable, "-c", BARE, str(port)]
        with Path(file.name).open("rb") as stdin:
            process = subprocess.Popen(command, stdin=stdin, env=clean_environment())
        try:
            wait_until(lambda: machine.is_listening(port), 10, "the bare handler")
            yield port
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def marketstream(folder: Path) -> Iterator[Server]:
    """A server whose plan lets one user ask as often as possible."""
    plans = folder / "plans.toml"
    text = (Path(__file__).parents[2] / "config/plans.toml").read_text()
    plans.write_text(
        text.replace("capacity = 100, refill = 10", "capacity = 1000000000, refill = 1000000000")
    )
    env = {"MARKETSTREAM_AUTH__PLANS_FILE": str(plans), "MARKETSTREAM_LOG__LEVEL": "warning"}
    with serving("--dev", env=env) as server:
        os.sched_setaffinity(server.pid, {machine.SERVER_CPU})
        yield server


async def _ask(port: int, request: bytes, until: float, found: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        at = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode(errors="replace"))
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        found.append(time.perf_counter() - at)
    writer.close()


async def load(port: int, token: str, seconds: float) -> tuple[float, float]:
    """Requests a second and the 99th percentile of their milliseconds."""
    lines = (f"GET {PATH} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}", "", "")
    request, found = "\r\n".join(lines).encode(), list[float]()
    until = time.monotonic() + seconds
    await asyncio.gather(*(_ask(port, request, until, found) for _ in range(CONNECTIONS)))
    found.sort()
    return len(found) / seconds, found[len(found) * 99 // 100] * 1_000


async def _body(server: Server, token: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(server.url + PATH) as answer:
        answer.raise_for_status()
        return await answer.read()


def measure(rounds: int, seconds: float) -> None:
    """Prints the figures of each round, and the median of their ratios."""
    ratios = []
    with tempfile.TemporaryDirectory() as folder, marketstream(Path(folder)) as server:
        token = server.token()
        body = asyncio.run(_body(server, token))
        with bare(body) as port:
            pin(machine.LOAD_CPU)
            for _ in range(rounds):
                plain, plain_p99 = asyncio.run(load(port, token, seconds))
                ours, ours_p99 = asyncio.run(load(server.port, token, seconds))
                ratios.append(ours / plain)
                sys.stdout.write(
                    f"bare {plain:8,.0f}/s p99 {plain_p99:5.1f} ms   marketstream {ours:8,.0f}/s "
                    f"p99 {ours_p99:5.1f} ms   ratio {ratios[-1]:.2f}\n"
                )
        hits = asyncio.run(_hit_ratio(server))
    sys.stdout.write(f"median ratio {median(ratios):.2f} (aim: 0.5); cache hit ratio {hits:.3f} (aim: 0.9)\n")


async def _hit_ratio(server: Server) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith("redis_cache_hit_ratio")).split()[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reading", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each server in each round (4)")
    given = parser.parse_args(arguments)
    measure(given.rounds, given.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
