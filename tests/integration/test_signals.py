"""What signals do to a running server: none but those that ask for it ends it, and SIGHUP reads again."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.server import Server, free_port, running_server

PLANS = "[plans.basic]\nmax_subscriptions = {}\n[plans.pro]\nmax_subscriptions = 100\n"
ROUTES = '[[rules]]\nname = "halts"\nfilter = {{types = ["halt"]}}\nstrategy = "{}"\n'


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The files that a server reads again."""
    found = {name: tmp_path / f"{name}.toml" for name in ("plans", "routes", "config")}
    found["plans"].write_text(PLANS.format(1))
    found["routes"].write_text(ROUTES.format("broadcast_all"))
    found["config"].write_text('[log]\nlevel = "info"\n')
    return found


@asynccontextmanager
async def serving(files: dict[str, Path]) -> AsyncIterator[Server]:
    settings = {
        "MARKETSTREAM_AUTH__PLANS_FILE": str(files["plans"]),
        "MARKETSTREAM_EVENTS__ROUTES_FILE": str(files["routes"]),
        "MARKETSTREAM_CONFIG": str(files["config"]),
    }
    async with running_server(env=settings) as server:
        yield server


async def subscribed(server: Server) -> int:
    """How many of three symbols a newcomer on the plan `basic` may watch."""
    headers = {"Authorization": f"Bearer {server.token(plan='basic')}"}
    url = f"{server.url}/market-data/stream?symbols=A,B,C"
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as stream:
        assert stream.status == 200
        refused = 0
        async for line in stream.content:
            refused += line.count(b"max subscriptions reached")
            if line.startswith(b"data:"):
                break
        return 3 - refused


async def hang_up(server: Server, event: str) -> dict[str, object]:
    """Sends SIGHUP and returns the log entry that says what became of it."""
    before = len(server.events(event))
    os.kill(server.pid, signal.SIGHUP)
    await eventually(lambda: len(server.events(event)) > before, 5, f"another {event}")
    return server.events(event)[-1]


async def test_sighup_reads_plans_and_the_level_again(files: dict[str, Path]) -> None:
    async with serving(files) as server:
        assert await subscribed(server) == 1
        files["plans"].write_text(PLANS.format(2))
        files["config"].write_text('[log]\nlevel = "debug"\n[sse]\nretry_ms = 1\n')
        entry = await hang_up(server, "settings_reloaded")
        assert (entry["plans"], entry["log_level"], entry["restart_for"]) == (2, "debug", ["sse.retry_ms"])
        assert await subscribed(server) == 2


@pytest.mark.parametrize(
    ("name", "text", "path"),
    [
        ("plans", "[plans.basic]\nmax_subscriptions = 0\n", "plans.basic.max_subscriptions"),
        ("plans", "no toml", "auth.plans_file"),
        ("plans", "[plans.pro]\nmax_subscriptions = 9\n", "auth.default_plan"),
        ("routes", ROUTES.format("nonsense"), "rules[0].strategy"),
        ("routes", ROUTES.format("load_balanced") + 'group = "desk"\n', "events.routes_file"),
        ("config", '[log]\nlevel = "loud"\n', "log.level"),
        ("config", "[server]\nprot = 1\n", "server.prot"),
    ],
)
async def test_one_bad_file_keeps_everything_as_it_was(
    files: dict[str, Path], name: str, text: str, path: str
) -> None:
    """Also what is good in the others; the log says which one, and a good one is taken afterwards."""
    async with serving(files) as server:
        good = files[name].read_text()
        files["plans"].write_text(PLANS.format(2))
        files[name].write_text(text)
        entry = await hang_up(server, "settings_kept")
        assert path in str(entry["error"])
        assert await subscribed(server) == 1
        files[name].write_text(good)
        files["plans"].write_text(PLANS.format(2))
        await hang_up(server, "settings_reloaded")
        assert await subscribed(server) == 2


async def test_other_signals_are_ignored_with_a_word(files: dict[str, Path]) -> None:
    async with serving(files) as server:
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
            os.kill(server.pid, number)
        await eventually(lambda: len(server.events("signal_ignored")) == 2, 5, "two ignored signals")
        assert {entry["signal"] for entry in server.events("signal_ignored")} == {"SIGUSR1", "SIGUSR2"}
        assert await subscribed(server) == 1
        assert server.terminate() == 0


async def test_a_server_that_still_looks_for_its_bus_drains_too() -> None:
    """SIGTERM in the middle of the start ends it with 0, and so does another one in the drain."""
    async with running_server("--bus", f"redis://127.0.0.1:{free_port()}/0") as server:
        os.kill(server.pid, signal.SIGTERM)
        os.kill(server.pid, signal.SIGHUP)
        assert server.terminate() == 0


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        (["SIGHUP", "SIGUSR1", "SIGUSR2"], 7),
        (["SIGHUP", "SIGTERM"], 0),
        (["SIGINT"], 0),
    ],
)
def test_no_signal_kills_a_server_before_its_loop_runs(numbers: list[str], code: int) -> None:
    sent = "".join(f"os.kill(os.getpid(), signal.{number});" for number in numbers)
    bridged = "from marketstream import signals; signals.bridge_start()"
    program = f"import os, signal, sys; {bridged}; {sent} sys.exit(7)"
    result = subprocess.run([sys.executable, "-c", program], check=False)
    assert result.returncode == code
