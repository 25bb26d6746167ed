"""Requests a second for one cached quote, beside a bare handler that returns the same bytes.

`python -m tests.benchmarks.reading`. Both servers run alone on processor 0, one after the other, several
rounds; 32 connections that stay open ask as fast as they are answered, on processor 1. The bare handler is
aiohttp and nothing else: what remains of the distance to it is token, limits, cache and headers. Beside the
rates stands the processor time of an answer, which tells more where others use the machine too.
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
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp

from tests.benchmarks import machine
from tests.benchmarks.contestants import pin
from tests.support.eventually import wait_until
from tests.support.program import clean_environment
from tests.support.server import Server, free_port, serving

CONNECTIONS = 32
DISTURBED = 0.1
"""Of one processor, what others may take at most in a round that counts."""

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


@dataclass(frozen=True, slots=True)
class Load:
    """What came of asking a server for a while.

    Attributes:
        answers: How many there were, each with status 200.
        rate: Answers a second.
        p99_ms: The 99th percentile of the milliseconds that one took.
        cost_us: Processor time of the server for one, in microseconds.
        others: Processors that had nothing to do with it, all the while.
    """

    answers: int
    rate: float
    p99_ms: float
    cost_us: float
    others: float

    def __str__(self) -> str:
        return f"{self.rate:8,.0f}/s  p99 {self.p99_ms:5.1f} ms  cpu {self.cost_us:5.1f} us"


@contextmanager
def bare(body: bytes) -> Iterator[tuple[int, int]]:
    """The bare handler; gives its process and its port."""
    port = free_port()
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = ["taskset", "--cpu-list", str(machine.SERVER_CPU), sys.executable, "-c", BARE, str(port)]
        with Path(file.name).open("rb") as stdin:
            process = subprocess.Popen(command, stdin=stdin, env=clean_environment())
        try:
            wait_until(lambda: machine.is_listening(port), 10, "the bare handler")
            yield process.pid, port
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


def _busy_with_others() -> float:
    """Seconds that both processors have been busy with anything but this process."""
    both = sum(machine.busy_seconds(each) for each in (machine.SERVER_CPU, machine.LOAD_CPU))
    return both - time.process_time()


async def load(pid: int, port: int, token: str, seconds: float) -> Load:
    """Asks a server as fast as it answers."""
    lines = (f"GET {PATH} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}", "", "")
    request, found = "\r\n".join(lines).encode(), list[float]()
    used, busy = machine.cpu_seconds(pid), _busy_with_others()
    until = time.monotonic() + seconds
    await asyncio.gather(*(_ask(port, request, until, found) for _ in range(CONNECTIONS)))
    used = machine.cpu_seconds(pid) - used
    others = _busy_with_others() - busy - used
    found.sort()
    count = len(found)
    return Load(
        count, count / seconds, found[count * 99 // 100] * 1_000, used / count * 1e6, others / seconds
    )


async def _body(server: Server, token: str) -> bytes:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(server.url + PATH) as answer:
        answer.raise_for_status()
        return await answer.read()


def measure(rounds: int, seconds: float, patience: float) -> None:
    """Prints the figures of each round and the medians of their ratios; of quiet rounds, if there are any."""
    found, answers = list[tuple[Load, Load]](), 0
    with tempfile.TemporaryDirectory() as folder, marketstream(Path(folder)) as server:
        token = server.token()
        with bare(asyncio.run(_body(server, token))) as (pid, port):
            pin(machine.LOAD_CPU)
            for number in range(rounds + 1):
                # The first round warms both up and does not count.
                lasts = seconds if number else min(1.0, seconds)
                machine.wait_until_quiet(patience if number else 0)
                plain = asyncio.run(load(pid, port, token, lasts))
                ours = asyncio.run(load(server.pid, server.port, token, lasts))
                answers += ours.answers
                if number:
                    found.append((plain, ours))
                    sys.stdout.write(f"bare {plain}   marketstream {ours}   {_compared(plain, ours)}\n")
        hits = asyncio.run(_hit_ratio(server))
    _tell(found)
    sys.stdout.write(
        f"{answers:,} answers of marketstream, cache hit ratio {hits:.4f}\n{machine.describe()}\n"
    )


def _compared(plain: Load, ours: Load) -> str:
    return f"ratio {ours.rate / plain.rate:.2f}  others {max(plain.others, ours.others):4.0%}"


def _tell(found: Sequence[tuple[Load, Load]]) -> None:
    quiet = [each for each in found if max(load.others for load in each) < DISTURBED]
    counted = quiet or found
    by_rate = median(ours.rate / plain.rate for plain, ours in counted)
    by_cost = median(plain.cost_us / ours.cost_us for plain, ours in counted)
    sys.stdout.write(
        f"{len(quiet)} of {len(found)} rounds were quiet; median ratio {by_rate:.2f} by requests a second "
        f"(aim: 0.5), {by_cost:.2f} by processor time\n"
    )


async def _hit_ratio(server: Server) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return float(next(line for line in lines if line.startswith("redis_cache_hit_ratio")).split()[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reading", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each server in each round (4)")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds to wait for a quiet one (30)")
    given = parser.parse_args(arguments)
    measure(given.rounds, given.seconds, given.patience)
    return 0


if __name__ == "__main__":
    sys.exit(main())
