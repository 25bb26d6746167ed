"""A real server process for tests to talk to, and the few things they all do to it.

The process does what `python -m marketstream serve` does, on a free port with a secret of its own, JSON
logs, no periodic jobs, and the plans of `plans.toml`: those that are shipped, and some for tests. A server
that printed a traceback, or left a coroutine or a task behind, fails the test that used it.
"""

import asyncio
import json
import os
import random
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
import jwt

from tests.support.eventually import eventually, scaled, wait_until
from tests.support.forking import ForkedProcess
from tests.support.program import Program, clean_environment

PLANS = Path(__file__).with_name("plans.toml")
UNLIMITED = "unlimited"
"""Plan of a caller who asks as often as a test waits: whoever polls what is limited takes this one."""

JOBS = {"MARKETSTREAM_JOBS__ENABLED": "true"}
"""For a server whose jobs are what a test is about; they run when the clock says so, also in its middle."""

FAULTS = ("Traceback (most recent call last)", "was never awaited", "Task was destroyed but it is pending")
PROGRAM = ("-m", "marketstream")
START_TIMEOUT = 20.0
LOG_TAIL = 40


class Server:
    """A server process under test.

    Attributes:
        port: Port it listens on, on 127.0.0.1.
        url: `http://127.0.0.1:port`, without a slash at the end.
        secret: The HS256 secret it checks tokens with.
    """

    def __init__(
        self,
        flags: Sequence[str],
        env: Mapping[str, str] | None,
        feeds: Sequence[str],
        program: Sequence[str] | None = None,
        port: int | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self.url = f"http://127.0.0.1:{self.port}"
        self.secret = (env or {}).get("MARKETSTREAM_JWT_SECRET") or secrets.token_hex(32)
        own = {
            "MARKETSTREAM_JWT_SECRET": self.secret,
            "MARKETSTREAM_LOG__FORMAT": "json",
            "MARKETSTREAM_AUTH__PLANS_FILE": str(PLANS),
            "MARKETSTREAM_MARKET__PROVIDERS": "synthetic",
            # They ask providers and tell channels at full minutes, which may fall into any test.
            "MARKETSTREAM_JOBS__ENABLED": "false",
        }
        environ = clean_environment(own | dict(env or {}))
        command = [
            *(sys.executable, *(program or PROGRAM), "serve", "--host", "127.0.0.1"),
            *("--port", str(self.port)),
            *(word for feed in feeds for word in ("--feed", feed)),
            *flags,
        ]
        forked = ForkedProcess(command[len(PROGRAM) :], environ) if program is None else None
        self._program = Program(command, env=environ, merged=True, process=forked)

    @property
    def log(self) -> list[str]:
        """Every line it has printed so far."""
        return self._program.out

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._program.process.pid

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log entries of one event so far, such as `server_started`."""
        entries = [json.loads(line) for line in list(self.log) if line.startswith("{")]
        return [entry for entry in entries if entry.get("event") == name]

    async def logged(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """The log entries of one event once there are so many: a line is written after what it tells of."""
        what = f"{count} of {name} in the log"
        await eventually(lambda: len(self.events(name)) >= count, what=what)
        return self.events(name)

    def token(
        self,
        tenant: str = "acme",
        user: str = "u1",
        plan: str | None = "pro",
        scopes: Sequence[str] = (),
        symbols: Sequence[str] = (),
        ttl: float = 3600,
    ) -> str:
        """Signs a token that this server trusts.

        Args:
            tenant: Claim `tenantId`.
            user: Claim `sub`.
            plan: Claim `plan`; left out when None.
            scopes: Claim `scope`; left out when empty.
            symbols: Claim `symbols`; left out when empty.
            ttl: Seconds until it ends; negative for one that has ended.
        """
        claims: dict[str, Any] = {"sub": user, "tenantId": tenant, "exp": int(time.time() + ttl)}
        optional = {"plan": plan, "scope": " ".join(scopes), "symbols": list(symbols)}
        claims |= {name: value for name, value in optional.items() if value}
        return jwt.encode(claims, self.secret, algorithm="HS256")

    async def publish(
        self,
        *,
        quotes: Sequence[Mapping[str, Any]] = (),
        prices: Sequence[Mapping[str, Any]] = (),
        tenant: str | None = None,
    ) -> dict[str, Any]:
        """Publishes quotes and best prices in their wire shape and returns the server's answer.

        Raises:
            AssertionError: The server did not answer 200.
        """
        body = {"quotes": list(quotes), "prices": list(prices), "tenantId": tenant}
        headers = {"Authorization": f"Bearer {self.token(user='publisher', scopes=('market:publish',))}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(
                f"{self.url}/api/v1/market/publish",
                json={name: value for name, value in body.items() if value},
            ) as response,
        ):
            text = await response.text()
            assert response.status == 200, f"{response.status} {text}"
            answer: dict[str, Any] = json.loads(text)
            return answer

    def healthy(self) -> bool:
        """Whether `/healthz` answers 200.

        Raises:
            AssertionError: The process has ended.
        """
        if not self._program.running:
            raise AssertionError(f"the server ended with {self.terminate()} instead of starting")
        # By hand: http.client leaves a response that does not come in time behind, with its socket.
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=scaled(1)) as connection,
        ):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
        return False

    def terminate(self) -> int:
        """Ends it by SIGTERM and returns its exit code.

        Raises:
            AssertionError: It had not drained after 15 s and was killed.
        """
        return self._program.terminate(15)

    def kill(self) -> None:
        """Ends it by SIGKILL, as a crash would."""
        self._program.kill()

    def tail(self) -> str:
        """The end of its log, for the message of a failure."""
        return "\n".join(["the server printed last:", *self.log[-LOG_TAIL:]])

    def check(self) -> None:
        """Ends it if it still runs and looks for what a healthy server never prints.

        Raises:
            AssertionError: The log holds a traceback, or it did not end in time.
        """
        self.terminate()
        bad = [line for line in self.log if any(fault in line for fault in FAULTS)]
        assert not bad, f"the server's log holds {bad[0]!r}\n{self.tail()}"


@contextmanager
def serving(
    *flags: str, env: Mapping[str, str] | None = None, feeds: Sequence[str] = ("none",)
) -> Iterator[Server]:
    """A server that is up inside the block, for code without an event loop."""
    server = Server(flags, env, feeds)
    try:
        wait_until(server.healthy, START_TIMEOUT, "a healthy server")
        yield server
    except BaseException as error:
        server.kill()
        error.add_note(server.tail())
        raise
    server.check()


@asynccontextmanager
async def running_server(
    *flags: str,
    env: Mapping[str, str] | None = None,
    feeds: Sequence[str] = ("none",),
    program: Sequence[str] | None = None,
    port: int | None = None,
) -> AsyncIterator[Server]:
    """A server that is up inside the block.

    Args:
        *flags: Further flags of `serve`, such as `--dev`.
        env: Settings by their environment names, on top of a clean environment.
        feeds: Feed specs, each passed as `--feed`.
        program: What a new Python runs; None for a fork of one that has imported the server.
        port: Where it listens; None for any free one.
    """
    server = Server(flags, env, feeds, program, port)
    try:
        await eventually(lambda: asyncio.to_thread(server.healthy), START_TIMEOUT, "a healthy server")
        yield server
    except BaseException as error:
        server.kill()
        error.add_note(server.tail())
        raise
    await asyncio.to_thread(server.check)


# Below what the system gives to outgoing connections, and apart for each worker: a port that was found free
# stays so until whoever asked listens on it.
_FIRST, _EACH = 20_000, 3_000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_OWN = range(_FIRST + _WORKER * _EACH, _FIRST + (_WORKER + 1) * _EACH)
_ports: Iterator[int] = cycle([*_OWN[(start := random.randrange(_EACH)) :], *_OWN[:start]])


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment, and nobody else here will be given."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("a cycle has no end")
