"""The command line against real processes: what starts, what refuses to, and what is said about it."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conformance.market import price, quote
from tests.conformance.stream import streaming
from tests.conformance.watcher import watching
from tests.support.eventually import scaled, wait_until
from tests.support.program import Program, clean_environment
from tests.support.server import Server, free_port, serving

SECRET = "a secret of this test, long enough for HS256"
COMMAND = (sys.executable, "-m", "marketstream")


def ran(
    *arguments: str, env: Mapping[str, str] | None = None, given: str = ""
) -> "subprocess.CompletedProcess[str]":
    """A command that has ended."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=clean_environment(env),
        input=given,
        capture_output=True,
        text=True,
        timeout=scaled(20),
        check=False,
    )


def assert_refused(result: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """Exit code 2, nothing on stdout, and one plain sentence after which nothing is wrong."""
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("marketstream: ")
    for word in words:
        assert word in sentence


def test_a_server_without_a_secret_does_not_start() -> None:
    result = ran("serve", "--port", str(free_port()))
    assert_refused(result, "auth.secret: there is no secret and no JWKS", "MARKETSTREAM_JWT_SECRET", "--dev")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "example.com"])  # noqa: S104  # that it is refused is the point
def test_dev_mode_does_not_listen_where_others_could_reach_it(host: str) -> None:
    result = ran("serve", "--dev", "--host", host, "--port", str(free_port()))
    assert_refused(result, "server.host: dev mode gives a token to whoever asks", f"loopback, not {host}")


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ("bloomberg", "there is no feed bloomberg; there are alpaca, none, replay, synthetic, yahoo"),
        ("synthetic?speed=9", "'speed=9' is not a parameter, accepted are symbols, rate"),
        ("replay:/no/such/tape.csv", "there is no file '/no/such/tape.csv'"),
    ],
)
def test_a_feed_that_cannot_be_stops_the_start(feed: str, words: str) -> None:
    result = ran("serve", "--dev", "--port", str(free_port()), "--feed", feed)
    assert_refused(result, "feed: ", words)


def test_a_feed_without_its_keys_stops_the_start_with_the_variable_that_is_missing() -> None:
    empty = {"ALPACA_API_KEY": "", "ALPACA_API_SECRET": ""}
    result = ran("serve", "--dev", "--port", str(free_port()), "--feed", "alpaca", env=empty)
    assert_refused(result, "providers.alpaca_api_key: ", "ALPACA_API_KEY")


def test_a_port_in_use_is_said_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = ran("serve", "--dev", "--port", str(port))
    assert_refused(result, f"server.port: cannot listen on 127.0.0.1 port {port}: ", "in use")


def test_a_server_says_where_it_is_and_in_development_that_it_must_not_be_like_this() -> None:
    """Port 0 is the system's choice, so the log is the only place to learn it from."""
    command = [*COMMAND, "serve", "--dev", "--port", "0"]
    env = clean_environment({"MARKETSTREAM_LOG__FORMAT": "json"})
    with Program(command, env=env, merged=True) as program:
        wait_until(lambda: len(program.out) >= 2 or not program.running, 20, "the first lines")
        entries = {entry["event"]: entry for entry in map(json.loads, program.out)}
        started = entries["server_started"]
        assert started["url"].startswith("http://127.0.0.1:")
        assert started["feeds"] == ["synthetic"]
        assert entries["development_mode"]["level"] == "warning"
        with urlopen(started["url"] + "dev/token", timeout=scaled(5)) as answer:  # noqa: S310  # the server's own address
            token = json.load(answer)["token"]
        assert program.terminate() == 0
        assert not any(token in line for line in program.out)


def test_a_token_of_the_command_line_opens_the_server() -> None:
    env = {"MARKETSTREAM_JWT_SECRET": SECRET}
    printed = ran("token", "--tenant", "acme", "--user", "ada", "--scope", "admin", env=env)
    assert printed.returncode == 0
    with serving(env=env) as server:
        with pytest.raises(OSError, match="401"):
            ask(server, "x" + printed.stdout.strip())
        assert ask(server, printed.stdout.strip()) == 200
        assert not any(printed.stdout.strip() in line for line in server.log)


def ask(server: Server, token: str) -> int:
    """The status of a question that only an admin may ask."""
    with urlopen(f"{server.url}/api/v1/market/ws/stats?token={token}", timeout=scaled(5)) as answer:  # noqa: S310  # as above
        status: int = answer.status
        return status


def publishing(
    server: Server, given: str, scope: str = "market:publish"
) -> "subprocess.CompletedProcess[str]":
    """`marketstream publish` with lines on its stdin."""
    token = server.token(user="publisher", scopes=(scope,))
    return ran("publish", "--url", server.url, env={"MARKETSTREAM_TOKEN": token}, given=given)


async def test_lines_are_published_and_bad_ones_are_named(server: Server) -> None:
    """Exit code 1 when any was bad; the good ones are with the clients, quotes by way of the aggregation."""
    lines = [
        json.dumps(quote("PIPE/A", "alpha", 1.0, 1.4, 1)),
        "not JSON",
        json.dumps(price("PIPE/B", 7)),
        "",
        json.dumps(quote("PIPE/A", "beta", 1.1, 1.5, 2)),
        json.dumps(quote("no symbol!", "beta", 1.1, 1.5, 2)),
        json.dumps({"symbol": "PIPE/A"}),
        json.dumps(price("PIPE/B", 3)),
        "[]",
    ]
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": ["PIPE/A", "PIPE/B"]})
        result = publishing(server, "\n".join(lines))
        assert result.returncode == 1
        assert result.stdout == ""
        *bad, summary = result.stderr.splitlines()
        assert sorted(line.partition(":")[0] for line in bad) == [f"line {n}" for n in (2, 6, 7, 8, 9)]
        assert summary == "3 published, 5 bad"
        await watcher.fence()
        last = {best["symbol"]: best for best in watcher.named("price")}
        assert (last["PIPE/A"]["bestBid"]["source"], last["PIPE/A"]["bestAsk"]["source"]) == ("beta", "alpha")
        assert last["PIPE/B"]["midPrice"] == 7


async def test_many_good_lines_end_with_0(server: Server) -> None:
    given = "".join(json.dumps(price("PIPE/MANY", number)) + "\n" for number in range(1, 1_501))
    result = publishing(server, given)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "1500 published, 0 bad\n")
    async with streaming(server, "PIPE/MANY") as reader:
        assert (await reader.event()).number == 1_500


async def test_a_line_is_published_while_the_pipe_is_still_open(server: Server) -> None:
    token = server.token(user="publisher", scopes=("market:publish",))
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "publish", "--url", server.url),
        env=clean_environment({"MARKETSTREAM_TOKEN": token}),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": ["PIPE/SLOW"]})
        for number in (1, 2):
            process.stdin.write(json.dumps(price("PIPE/SLOW", number)).encode() + b"\n")
            prices = await watcher.until("price", number)
            assert prices[-1]["midPrice"] == number
    _, printed = await process.communicate(b"")
    assert (process.returncode, printed) == (0, b"2 published, 0 bad\n")


def test_publishing_without_the_right_to_ends_with_a_sentence(server: Server) -> None:
    result = publishing(server, json.dumps(price("PIPE/NO", 1)), "market:read")
    assert result.returncode == 1
    assert "the token does not allow publishing: it needs the scope market:publish" in result.stderr
    assert "Traceback" not in result.stderr


def test_publishing_to_nobody_ends_with_a_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = ran("publish", "--url", url, env={"MARKETSTREAM_TOKEN": "x"}, given=json.dumps(price("A", 1)))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_a_setting_that_nobody_knows_stops_the_start(tmp_path: Path) -> None:
    """With the place it stands in; secrets that were given beside it are not shown."""
    config = tmp_path / "own.toml"
    config.write_text("[server]\nprot = 9000\n")
    env = {"MARKETSTREAM_JWT_SECRET": SECRET} | {name: os.environ[name] for name in ("PATH",)}
    result = ran("serve", "--config", str(config), env=env)
    assert_refused(result, "server.prot: unknown key", "server.port", str(config))
    assert SECRET not in result.stderr
