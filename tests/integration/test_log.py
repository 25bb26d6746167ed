"""A log that cannot be written is no fault of the server: clients, drain and exit code stay as they are."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import aiohttp
import jwt
import pytest

from tests.support.eventually import eventually, scaled
from tests.support.program import clean_environment
from tests.support.server import free_port

SECRET = "a secret of this test, long enough for HS256"
CLIENTS = 120
LINES_A_CLIENT = 3


class Sufferer:
    """A server whose stdout and stderr are one descriptor of the test's choice."""

    def __init__(self, out: int | IO[Any]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {
            "MARKETSTREAM_JWT_SECRET": SECRET,
            "MARKETSTREAM_LOG__FORMAT": "json",
            "MARKETSTREAM_MARKET__PROVIDERS": "synthetic",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "marketstream", "serve", "--port", str(self.port), "--feed", "synthetic"],
            env=clean_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )

    async def healthy(self) -> bool:
        """Whether `/healthz` answers 200."""
        assert self.process.poll() is None, f"it ended with {self.process.returncode}"
        with suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/healthz") as answer:
                return answer.status == 200
        return False

    async def figure(self, name: str) -> float:
        """A figure of `/metrics`."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as answer:
            text = await answer.text()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    async def serve_clients(self, count: int = CLIENTS) -> None:
        """Let clients come and go, each of whom costs lines of the log; each must get its stream."""
        async with aiohttp.ClientSession() as session:
            for number in range(count):
                claims = {"sub": f"u{number}", "tenantId": "acme", "exp": int(time.time()) + 60}
                token = jwt.encode(claims, SECRET, algorithm="HS256")
                headers = {"Authorization": f"Bearer {token}"}
                stream = f"{self.url}/market-data/stream?symbols=EUR/USD"
                async with session.get(stream, headers=headers) as answer:
                    assert answer.status == 200
                    assert await answer.content.readline()

    async def drain(self) -> int:
        """Ends it by SIGTERM and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, scaled(15))


@contextmanager
def suffering(out: int | IO[Any]) -> Iterator[Sufferer]:
    server = Sufferer(out)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


async def test_a_full_disk_ends_nothing() -> None:
    with open("/dev/full", "wb") as full, suffering(full) as server:  # noqa: PTH123, ASYNC230 - a device
        await eventually(server.healthy, 20, "a healthy server")
        await server.serve_clients()

        async def counted() -> bool:
            return await server.figure("log_lines_dropped_total") > 0

        await eventually(counted, 5, "dropped lines of the log")
        assert await server.drain() == 0


async def test_a_reader_that_has_gone_ends_nothing() -> None:
    reader, out = os.pipe()
    os.close(reader)
    with suffering(out) as server:
        os.close(out)
        await eventually(server.healthy, 20, "a healthy server")
        await server.serve_clients()
        assert await server.drain() == 0


async def test_a_reader_that_stops_reading_stops_nothing() -> None:
    """Not the clients, not the drain, and what it missed is told when it reads on."""
    reader, out = os.pipe()
    # So that the pipe is full after a few clients; the queue behind it holds far more than they cost.
    held = os.write(out, b" " * 60_000 + b"\n")
    with suffering(out) as server:
        await eventually(server.healthy, 20, "a healthy server")
        await server.serve_clients()
        assert await server.figure("log_bytes_waiting") > 0
        assert await server.figure("log_lines_dropped_total") == 0
        read = bytearray()
        while b"websocket_connection_closed" not in read[held:] or len(read) < held + 30_000:
            read += os.read(reader, 65_536)

        async def written() -> bool:
            return await server.figure("log_bytes_waiting") == 0

        await eventually(written, 5, "a log that is written")
        assert await server.drain() == 0
        os.close(out)
        with os.fdopen(reader, "rb") as rest:
            read += rest.read()
    entries = [json.loads(line) for line in bytes(read[held:]).splitlines()]
    assert entries[-1]["event"] == "server_stopped"
    opened = [entry for entry in entries if entry["event"] == "websocket_connection_established"]
    assert len(opened) == CLIENTS


async def test_a_drain_ends_though_nobody_reads_its_last_words() -> None:
    reader, out = os.pipe()
    os.set_blocking(out, False)
    with suppress(BlockingIOError):
        while True:
            os.write(out, b" " * 4_096)
    os.set_blocking(out, True)
    with suffering(out) as server:
        await eventually(server.healthy, 20, "a healthy server")
        await server.serve_clients(10)
        assert await server.drain() == 0
    for end in (reader, out):
        os.close(end)


@pytest.mark.parametrize("command", [["token", "--tenant", "a", "--user", "b"], ["check-config"], ["--help"]])
def test_output_that_cannot_be_written_is_one_plain_line(command: list[str]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        result = subprocess.run(
            [sys.executable, "-m", "marketstream", *command],
            env=clean_environment({"MARKETSTREAM_JWT_SECRET": SECRET}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (result.returncode, result.stderr.splitlines()) == (
        1,
        ["marketstream: cannot write: No space left on device"],
    )


def test_publishing_goes_on_where_complaints_cannot_be_written() -> None:
    """Nobody hears of the bad lines, but every line is looked at and the exit code says it."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        result = subprocess.run(
            [sys.executable, "-m", "marketstream", "publish", "--url", "http://127.0.0.1:9"],
            env=clean_environment({"MARKETSTREAM_TOKEN": "x"}),
            input=b"no json\n" * 3,
            stderr=full,
            check=False,
        )
    assert result.returncode == 1
