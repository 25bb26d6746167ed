"""Every example runs as its README says, against a server in development mode."""

import asyncio
import http.client
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.raw import raw_socket
from tests.support.eventually import scaled, wait_until
from tests.support.gateways import next_event
from tests.support.node import FOLDER, Node
from tests.support.pages import bundle, serving_folder
from tests.support.program import Program, clean_environment
from tests.support.server import Server, free_port, running_server, serving
from tests.support.valkey import Valkey

EXAMPLES = Path(__file__).parents[2] / "examples"
SDK = EXAMPLES.parent / "sdk/python"
FEED = "synthetic?symbols=EUR/USD,AAPL&rate=20"
MAX_LINES = 60


@pytest.fixture(scope="module")
def page_port() -> int:
    """Where the example page is served; the server lets that origin in."""
    return free_port()


@pytest.fixture(scope="module")
def server(page_port: int) -> Iterator[Server]:
    """What `marketstream serve --dev` is, with two fast symbols."""
    env = {"CORS_ORIGINS": f"http://127.0.0.1:{page_port}"}
    with serving("--dev", env=env, feeds=(FEED,)) as running:
        yield running


@contextmanager
def _running(server: Server, *command: str, cwd: Path = EXAMPLES, redis: str = "") -> Iterator[Program]:
    """An example that runs inside the block, with the console script on its PATH as after an installation."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    extra = {"PATH": path, "MARKETSTREAM_URL": server.url, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(SDK)}
    extra |= {"REDIS_URL": redis} if redis else {}
    with Program(command, env=clean_environment(extra), cwd=cwd) as program:
        yield program


def _prices(program: Program, pattern: str, count: int = 6) -> list[str]:
    """The first lines an example prints that look like a price; waits for them."""

    def seen() -> list[str]:
        found = [line for line in list(program.out) if re.match(pattern, line)]
        return found if len(found) >= count else []

    try:
        return wait_until(seen, 10, f"{count} prices")
    except AssertionError as error:
        error.add_note("\n".join([*program.out[-10:], *program.err[-10:]]))
        raise


def _finished(program: Program) -> list[str]:
    """All that an example printed that ends by itself, and ended well."""
    code = program.wait(15)
    assert code == 0, "\n".join([*program.out, *program.err])
    return program.out


def _publish_events(server: Server, *events: Mapping[str, Any]) -> None:
    """Publishes events, all of which must be good."""
    headers = {"Authorization": f"Bearer {server.token(scopes=('market:publish',))}"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=scaled(10))
    with closing(connection):
        connection.request("POST", "/api/v1/events", json.dumps(events), headers)
        assert json.loads(connection.getresponse().read())["accepted"] == len(events)


def test_curl_reads_the_stream(server: Server) -> None:
    with _running(server, "./sse.sh", "EUR/USD,AAPL") as program:
        prices = _prices(program, r'data: \{"symbol":"(EUR/USD|AAPL)"')
    assert len({line for line in prices if "AAPL" in line}) > 1


def test_the_python_client_gets_prices(server: Server) -> None:
    with _running(server, sys.executable, "python_socketio.py", "EUR/USD") as program:
        prices = _prices(program, r"EUR/USD [\d.]+ [\d.]+ \d{13}$")
    assert len(set(prices)) > 1


def test_the_sdk_streams_quotes(server: Server) -> None:
    with _running(server, sys.executable, "python_basic.py", "EUR/USD") as program:
        prices = _prices(program, r"EUR/USD [\d.]+ [\d.]+ [\d.]+$")
    assert len(set(prices)) > 1


def test_the_sdk_calls_back(server: Server) -> None:
    with _running(server, sys.executable, "python_callback.py", "EUR/USD", "AAPL") as program:
        _prices(program, r"EUR/USD [\d.]+$")
        _prices(program, r"slowly: AAPL [\d.]+$", 2)
        assert "state: connected" in program.out


def test_the_sdk_runs_several_streams_at_once(server: Server) -> None:
    with _running(server, sys.executable, "python_concurrent.py", "EUR/USD", "AAPL") as program:
        lines = _finished(program)
    assert [
        line for line in lines if re.match(r"(EUR/USD|AAPL): \d+ quotes, the newest [\d.]+$", line)
    ] == lines
    assert len(lines) == 2


def test_the_sdk_needs_no_event_loop(server: Server) -> None:
    with _running(server, sys.executable, "python_sync.py", "EUR/USD") as program:
        lines = _finished(program)
    assert sum(bool(re.match(r"EUR/USD [\d.]+ [\d.]+$", line)) for line in lines) == 10


def test_the_sdk_learns_of_events(server: Server) -> None:
    with _running(server, sys.executable, "python_events.py", "EUR/USD") as program:
        _prices(program, r"urgent: HIGH flag EUR/USD$", 1)
        found = _prices(program, r"EUR/USD daily flag", 2)
    # The server may put the more urgent one first; the third was not sure enough.
    assert sorted(found) == ["EUR/USD daily flag 0.7", "EUR/USD daily flag 0.9"]


def test_a_plain_websocket_gets_prices(server: Server) -> None:
    with _running(server, sys.executable, "plain_websocket.py", "AAPL") as program:
        prices = _prices(program, r"AAPL [\d.]+ \S+\+00:00$")
        assert program.out[0] == "watching AAPL"
    assert len(set(prices)) > 1


def test_the_node_client_gets_prices(server: Server, node: Node, tmp_path: Path) -> None:
    """In a folder with the client installed, as the README says."""
    del node  # asked for because it names what is missing where Node is
    (tmp_path / "node_modules").symlink_to(FOLDER / "node_modules")
    (tmp_path / "node_socketio.mjs").write_text((EXAMPLES / "node_socketio.mjs").read_text())
    with _running(server, "node", "node_socketio.mjs", "AAPL", cwd=tmp_path) as program:
        prices = _prices(program, r"AAPL [\d.]+ [\d.]+ \d{13}$")
    assert len(set(prices)) > 1


def test_the_sdk_gets_prices_in_node(server: Server, node: Node, sdk: Path, tmp_path: Path) -> None:
    """In a folder with the SDK installed, as the README says."""
    del node  # asked for because it names what is missing where Node is
    (tmp_path / "node_modules" / "@marketstream").mkdir(parents=True)
    (tmp_path / "node_modules" / "@marketstream" / "client").symlink_to(sdk)
    (tmp_path / "node_sdk.mjs").write_text((EXAMPLES / "node_sdk.mjs").read_text())
    with _running(server, "node", "node_sdk.mjs", "AAPL", cwd=tmp_path) as program:
        prices = _prices(program, r"AAPL [\d.]+ [\d.]+ \d{13}$")
        assert [line.strip() for line in program.err] == ["connecting", "connected"]
    assert len(set(prices)) > 1


def test_the_sdk_gets_events_in_node(server: Server, node: Node, sdk: Path, tmp_path: Path) -> None:
    """In a folder with the SDK installed; events are published until the first one has arrived."""
    del node  # asked for because it names what is missing where Node is
    (tmp_path / "node_modules" / "@marketstream").mkdir(parents=True)
    (tmp_path / "node_modules" / "@marketstream" / "client").symlink_to(sdk)
    (tmp_path / "events_sdk.mjs").write_text((EXAMPLES / "events_sdk.mjs").read_text())
    event = {"type": "pattern", "name": "wedge", "symbol": "AAPL", "data": {"target": 210}}
    with _running(server, "node", "events_sdk.mjs", "pattern", cwd=tmp_path) as program:

        def seen() -> list[str]:
            _publish_events(server, event | {"confidence": 0.4}, event | {"confidence": 0.8})
            return list(program.out)

        lines = wait_until(seen, 10, "an event")
        assert [line.strip() for line in program.err] == ["connecting", "connected"]
    assert set(lines) == {'MEDIUM pattern wedge AAPL {"target":210}'}


async def test_the_react_example_shows_prices_that_move(
    node: Node, chromium: str, sdk: Path, tmp_path: Path
) -> None:
    """Bundled, and served from an origin that the server allows."""
    bundle(sdk, EXAMPLES / "react.tsx", tmp_path)
    with (
        serving_folder(tmp_path) as origin,
        serving("--dev", env={"CORS_ORIGINS": origin}, feeds=(FEED,)) as own,
    ):
        address = f"{origin}/?server={own.url}&symbols=EUR/USD,AAPL"
        script, env = "../integration/example_page.mjs", {"CHROMIUM": chromium}
        [facts] = await node.run(script, address, env=env, timeout=60)
    assert facts == {"symbols": ["EUR/USD", "AAPL"], "note": "connected", "noise": []}


async def test_the_page_shows_prices_that_move(
    server: Server, page_port: int, node: Node, chromium: str
) -> None:
    """Served from an origin that the server allows, as the page itself says."""
    served = ("-m", "http.server", str(page_port), "--bind", "127.0.0.1")
    address = f"http://127.0.0.1:{page_port}/browser.html?server={server.url}&symbols=EUR/USD,AAPL"
    with _running(server, sys.executable, *served) as program:
        wait_until(lambda: any("Serving HTTP" in line for line in list(program.out)), 10, "the page")
        [facts] = await node.run(
            "../integration/example_page.mjs", address, env={"CHROMIUM": chromium}, timeout=60
        )
    assert facts == {"symbols": ["EUR/USD", "AAPL"], "note": "live", "noise": []}


def test_the_command_line_publishes(server: Server) -> None:
    with _running(server, "./publish.sh", "EXAMPLE.CLI") as program:
        _finished(program)
    assert program.err == ["6 published, 0 bad"]


def test_the_standard_library_publishes(server: Server) -> None:
    with _running(server, sys.executable, "publish_http.py", "EXAMPLE.HTTP") as program:
        *good, bad = _finished(program)
    assert good == ["{'accepted': 1, 'rejected': []}"] * 3
    assert "invalid symbol" in bad


def test_a_back_end_publishes_a_pattern_and_an_alert(server: Server) -> None:
    with _running(server, sys.executable, "events_publish.py", "AAPL") as program:
        assert program.wait(10) == 0
    assert [line.split()[0] for line in program.out] == ["pattern", "alert"]


async def test_a_back_end_tells_one_tenant_something(valkey: Valkey) -> None:
    """Its clients hear of it, and those of another tenant do not."""
    async with (
        running_server("--dev", "--bus", valkey.url) as server,
        raw_socket(server.url, token=server.token(tenant="acme")) as ours,
        raw_socket(server.url, token=server.token(tenant="rival")) as theirs,
    ):
        command = (sys.executable, "tenant_broadcast.py", "acme", "back", "at", "noon")
        with _running(server, *command, redis=valkey.url) as program:
            assert await asyncio.to_thread(program.wait, 10) == 0
        assert program.out == ["told acme: back at noon"]
        assert await next_event(ours, "notice") == {"text": "back at noon"}
        await theirs.fence()
        assert "notice" not in dict(theirs.events)


def test_what_was_published_can_be_watched(server: Server) -> None:
    """The two sides meet: a publisher's quotes are a watcher's best price."""
    with _running(server, "./publish.sh", "EXAMPLE.BOTH") as program:
        _finished(program)
    with _running(server, "./sse.sh", "EXAMPLE.BOTH") as program:
        [last] = _prices(program, "data: ", 1)
    assert '"bestBid":{"price":10.03,"size":100,"source":"left"}' in last
    assert '"bestAsk":{"price":10.06,"size":80,"source":"right"}' in last


def test_every_example_fits_on_a_page_and_is_listed() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    files = [path for path in EXAMPLES.iterdir() if path.is_file() and path.name != "README.md"]
    assert [path.name for path in files if len(path.read_text().splitlines()) > MAX_LINES] == []
    assert [path.name for path in files if f"`{path.name}`" not in readme] == []
