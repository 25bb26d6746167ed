"""The servers that are compared, and how each is started on a processor of its own.

A server is told the same work by its arguments: listen on 127.0.0.1, publish SYM0 to SYM(n-1) so many times
a second. It is ended by its own process id, whatever happens.
"""

import os
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from marketstream.security.jwt import sign_token
from tests.benchmarks.machine import SERVER_CPU, is_listening
from tests.support.program import clean_environment
from tests.support.valkey import running_valkey

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
START_PATIENCE = 20.0
END_PATIENCE = 15.0
LIGHT = 5_000
"""Prices a second that no server has trouble with."""

Shape = Literal["burst", "spread"]


@dataclass(frozen=True, slots=True)
class Work:
    """What a server is asked to do.

    Attributes:
        clients: Connections.
        symbols: Symbols that are published.
        each: Symbols that one client watches.
        rate: Updates a second of each symbol.
        shape: All symbols at the same moments, or evenly over the second.
    """

    clients: int
    symbols: int
    each: int
    rate: float
    shape: Shape


@dataclass(frozen=True, slots=True)
class Contestant:
    """One server.

    Attributes:
        name: Name in the tables.
        command: What starts it; each word is a format string of the names that `_words` gives.
        share: Part of a heavy work's rate that it is given, so that it is not saturated.
        environment: Settings of its own.
        raw: It sends prices right after the upgrade, whatever the client says.
        sse: Its clients read event streams.
        redis: It is given a Valkey of its own, on the readers' processor.
    """

    name: str
    command: Sequence[str]
    share: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)
    raw: bool = False
    sse: bool = False
    redis: bool = False

    def rate(self, work: Work) -> float:
        """Updates a second of each symbol that it is asked for."""
        heavy = work.clients * work.each * work.rate > LIGHT
        return work.rate * self.share if heavy else work.rate


SECRET = secrets.token_hex(32)


def _marketstream(name: str, loop: str, *, redis: bool = False, sse: bool = False) -> Contestant:
    feed = "synthetic?symbols=SYM*{symbols}&rate={rate}&shape={shape}&sources=1"
    return Contestant(
        name,
        [
            *(sys.executable, "-m", "marketstream", "serve"),
            *("--host", "127.0.0.1", "--port", "{port}", "--feed", feed),
            *("--bus", "{bus}"),
        ],
        sse=sse,
        redis=redis,
        environment={"MARKETSTREAM_JWT_SECRET": SECRET, "MARKETSTREAM_SERVER__LOOP": loop},
    )


_ARGUMENTS = ("{port}", "{symbols}", "{rate}", "{shape}")
CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("floor", ["{floor}", "{port}", "{clients}", "{frames}", "{writes}"], raw=True),
        _marketstream("marketstream", "auto"),
        _marketstream("marketstream-sse", "auto", sse=True),
        _marketstream("marketstream-redis", "auto", redis=True),
        _marketstream("marketstream-uvloop", "uvloop"),
        _marketstream("marketstream-asyncio", "asyncio"),
        Contestant(
            "socket.io",
            ["node", str(HERE / "peers/socketio.cjs"), *_ARGUMENTS],
            share=0.5,
            environment={"NODE_PATH": str(ROOT / "tests/node/node_modules")},
        ),
        Contestant(
            "python-socketio",
            [sys.executable, str(HERE / "peers/python_socketio.py"), *_ARGUMENTS],
            share=0.12,
        ),
        Contestant(
            "aiohttp-sse",
            [sys.executable, str(HERE / "peers/aiohttp_event_streams.py"), *_ARGUMENTS],
            share=0.12,
            sse=True,
        ),
    )
}


def token() -> str:
    """What clients present; only marketstream looks at it."""
    return sign_token(
        secret=SECRET,
        tenant="bench",
        user="bench",
        plan="pro",
        scopes=(),
        symbols=(),
        ttl=3600,
        at_ms=time.time_ns() // 1_000_000,
    )


def build_floor(folder: Path) -> Path | None:
    """Compiles the floor; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    program = folder / "floor"
    source = HERE / "peers/floor.c"
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(program), str(source)], check=True)
    return program


def free_port() -> int:
    """A port nobody listens on, below those the system gives to clients."""
    return next(port for port in range(18_080, 19_000) if not is_listening(port))


@contextmanager
def running(contestant: Contestant, work: Work, floor: Path | None) -> Iterator[tuple[int, int]]:
    """A server that listens inside the block, with its output in a file that goes with it.

    Yields:
        Its process id and its port.

    Raises:
        RuntimeError: It did not start; says what it printed last.
    """
    port = free_port()
    with bus(contestant.redis) as url, tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(SERVER_CPU), *_words(contestant, work, port, floor, url)],
            cwd=ROOT,
            env=clean_environment(contestant.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            give_up_at = time.monotonic() + START_PATIENCE
            while not is_listening(port):
                if process.poll() is not None or time.monotonic() > give_up_at:
                    output.seek(0)
                    raise RuntimeError(f"{contestant.name} did not start:\n{output.read()[-2000:]}")
                time.sleep(0.05)
            yield process.pid, port
        finally:
            _end(process)


@contextmanager
def bus(redis: bool) -> Iterator[str]:  # noqa: FBT001  # one of two kinds
    """URL of a bus: one in memory, or a Valkey that runs inside the block, where its parent may run."""
    if not redis:
        yield "memory://"
        return
    with running_valkey() as valkey:
        yield valkey.url


def _words(contestant: Contestant, work: Work, port: int, floor: Path | None, url: str) -> list[str]:
    spread = work.shape == "spread"
    rate = contestant.rate(work)
    values = {
        "port": port,
        "clients": work.clients,
        "symbols": work.symbols,
        "rate": f"{rate:g}",
        "shape": work.shape,
        # The floor has no symbols: prices that come together share a write, others do not.
        "frames": 1 if spread else work.each,
        "writes": rate * work.each if spread else rate,
        "floor": floor,
        "bus": url,
    }
    return [word.format(**values) for word in contestant.command]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def raise_file_limit() -> int:
    """Lets this process and its children open as many files as the system allows; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def pin(cpu: int) -> None:
    """Keeps this process on one processor."""
    os.sched_setaffinity(0, {cpu})
