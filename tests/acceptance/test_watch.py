"""`marketstream watch` as a user runs it: in a terminal, in a pipe, and without what it needs."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.eventually import wait_until
from tests.support.program import Program, clean_environment
from tests.support.server import Server, free_port, serving

ROOT = Path(__file__).parents[2]
PATHS = f"{ROOT}{os.pathsep}{ROOT / 'sdk/python'}"
COMMAND = (sys.executable, "-m", "marketstream", "watch")
NUMBER = r"[\d.]+"
LINE = rf"\d\d:\d\d:\d\d\.\d{{3}}Z (EUR/USD|AAPL) {NUMBER} sim-\d {NUMBER} sim-\d {NUMBER} {NUMBER} {NUMBER}$"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--dev", feeds=("synthetic?symbols=EUR/USD,AAPL&rate=20",)) as running:
        yield running


@contextmanager
def watching(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Program]:
    environ = clean_environment({"PYTHONPATH": PATHS, **(env or {})})
    with Program([*COMMAND, *arguments], env=environ) as program:
        yield program


def test_in_a_pipe_it_is_a_line_for_each_price_until_it_is_interrupted(server: Server) -> None:
    with watching("eur/usd", "AAPL", "--url", server.url) as program:
        wait_until(lambda: len(program.out) >= 10, 15, "ten prices")
        program.process.send_signal(signal.SIGINT)
        assert program.wait(10) == 0
    assert [text for text in program.out if not re.match(LINE, text)] == []
    assert {text.split()[1] for text in program.out} == {"EUR/USD", "AAPL"}
    assert program.err == []


def test_on_a_terminal_it_is_a_table_that_lives(server: Server) -> None:
    ours, theirs = pty.openpty()
    environ = clean_environment({"PYTHONPATH": PATHS, "TERM": "xterm", "COLUMNS": "120", "LINES": "20"})
    environ.pop("NO_COLOR", None)
    command = [*COMMAND, "EUR/USD", "NEVER.HEARD", "--url", server.url]
    with subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = ""
        try:
            while not re.search(
                rf"EUR/USD.*{NUMBER} sim-\d.*NEVER\.HEARD.*-.*connected.*[▲▼]", seen, re.DOTALL
            ):
                seen += os.read(ours, 65_536).decode(errors="replace")
                assert len(seen) < 2_000_000, seen[-4_000:]
            process.send_signal(signal.SIGINT)
            # Whoever writes to a terminal that nobody reads waits.
            while process.poll() is None:
                try:
                    os.read(ours, 65_536)
                except OSError:
                    break
            assert process.wait(10) == 0
        finally:
            process.kill()
            os.close(ours)


def test_a_token_can_be_given_in_the_environment(server: Server) -> None:
    with watching("AAPL", "--url", server.url, env={"MARKETSTREAM_TOKEN": server.token()}) as program:
        wait_until(lambda: program.out, 15, "a price")


def test_a_token_that_is_refused_ends_it_with_a_sentence(server: Server) -> None:
    with watching("AAPL", "--url", server.url, "--token", "a.bad.token") as program:
        assert program.wait(15) == 1
    assert program.out == []
    [sentence] = program.err
    assert sentence.startswith("marketstream: ")
    assert "a.bad.token" not in sentence


def test_a_symbol_that_is_refused_ends_it_when_it_was_the_last(server: Server) -> None:
    token = server.token(symbols=["EUR/*"])
    with watching("AAPL", "--url", server.url, "--token", token) as program:
        assert program.wait(15) == 1
    assert program.err[-1] == "marketstream: AAPL: not entitled"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("AAPL", "--url", "http://127.0.0.1:{port}"), "--token: watching takes a token"),
        (("AAPL", "--url", "127.0.0.1:{port}"), "--url: 127.0.0.1"),
        (("A B", "--url", "http://127.0.0.1:{port}", "--token", "t"), "SYMBOL: 'A B' is not a symbol"),
    ],
)
def test_what_cannot_be_used_is_a_sentence_and_exit_2(arguments: tuple[str, ...], words: str) -> None:
    """No server is needed to find out; there is none here."""
    with watching(*(word.format(port=free_port()) for word in arguments)) as program:
        assert program.wait(15) == 2
    [sentence] = program.err
    assert words in sentence


def test_without_the_sdk_it_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['marketstream_sdk'] = None; from marketstream.cli import main; main()"
    command = [sys.executable, "-c", code, "watch", "AAPL"]
    with Program(command, env=clean_environment({"PYTHONPATH": PATHS})) as program:
        assert program.wait(15) == 2
    [sentence] = program.err
    assert "marketstream-sdk" in sentence
