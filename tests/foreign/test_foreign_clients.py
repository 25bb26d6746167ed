"""Clients of other languages, as they come from their registries: they hear a whole tape and survive a crash.

Each is a few lines over a library that others wrote: Socket.IO from Java, server-sent events from Go, a plain
WebSocket from Rust. They are built here, which needs their compilers and the network.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually, scaled
from tests.support.program import Program, clean_environment
from tests.support.server import Server, free_port, running_server
from tests.support.tape import HEADER, START_MS

HERE = Path(__file__).parent
BUILT = HERE.parent / "artifacts" / "foreign"
ROWS = 500
SECRET = "of a server that is started again " * 2
SPEC = "replay:{tape}?wait=1&speed=5"


@dataclass(frozen=True)
class Language:
    """How clients of one language are made and run.

    Attributes:
        name: Its folder.
        tools: What must be installed.
        build: Commands, in a copy of the folder.
        run: What is started; the server's address, a token and a symbol are added.
        bid: The bid in what it prints.
    """

    name: str
    tools: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    run: tuple[str, ...]
    bid: Callable[[Any], float]


LANGUAGES = [
    Language(
        "java",
        ("mvn", "javac", "java"),
        (
            ("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"),
            ("javac", "-cp", "lib/*", "Client.java"),
        ),
        ("java", "-cp", ".:lib/*", "Client"),
        lambda price: float(price["bestBid"]["price"]),
    ),
    Language(
        "go",
        ("go",),
        (("go", "build", "-o", "client", "."),),
        ("./client",),
        lambda price: float(price["bestBid"]["price"]),
    ),
    Language(
        "rust",
        ("cargo",),
        (("cargo", "build", "--quiet", "--locked"),),
        ("target/debug/client",),
        lambda price: float(price["bid"]),
    ),
]


def build(language: Language) -> Path:
    """Builds the client of a language; returns the folder it runs in."""
    for tool in language.tools:
        if shutil.which(tool) is None:
            pytest.fail(
                f"the client in {language.name} cannot be built: {tool} is not installed on this machine"
            )
    folder = BUILT / language.name
    shutil.copytree(HERE / language.name, folder, dirs_exist_ok=True)
    for command in language.build:
        done = subprocess.run(
            command, check=False, cwd=folder, capture_output=True, text=True, timeout=scaled(600)
        )
        if done.returncode:
            said = f"{done.stdout}\n{done.stderr}".strip()[-2_000:]
            pytest.fail(f"the client in {language.name} cannot be built, `{' '.join(command)}` says: {said}")
    return folder


def write_tape(path: Path) -> list[float]:
    """Writes a tape on which a symbol rises; returns its bids."""
    bids = [100 + row / 100 for row in range(ROWS)]
    with path.open("w") as tape:
        tape.write(",".join(HEADER) + "\n")
        for row, bid in enumerate(bids):
            tape.write(f"{START_MS + 10 * row},TAPE,lmax,{bid},10,999,10\n")
    return bids


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
async def test_a_client_receives_a_whole_tape_and_another_after_a_crash(
    tmp_path: Path, language: Language
) -> None:
    """Every value, in order, none twice and none older; then again from a server that took the place."""
    folder = build(language)
    bids = write_tape(tmp_path / "tape.csv")
    feeds, port = [SPEC.format(tape=tmp_path / "tape.csv")], free_port()
    env = {"MARKETSTREAM_JWT_SECRET": SECRET}
    async with running_server(feeds=feeds, port=port, env=env) as server:
        client = start(language, folder, server)
        try:
            await eventually(lambda: len(client.out) >= ROWS, 60, "a whole tape")
            assert heard(language, client) == bids
            server.kill()
            async with running_server(feeds=feeds, port=port, env=env):
                await eventually(lambda: len(client.out) >= 2 * ROWS, 90, "a whole tape after the crash")
                assert heard(language, client) == bids + bids
        except AssertionError as error:
            error.add_note("\n".join(["the client printed last:", *client.out[-3:], *client.err[-10:]]))
            raise
        finally:
            client.kill()


def start(language: Language, folder: Path, server: Server) -> Program:
    """Runs a client."""
    command = [*language.run, server.url, server.token(), "TAPE"]
    return Program(command, env=clean_environment(), cwd=folder)


def heard(language: Language, client: Program) -> list[float]:
    """The bids that a client has printed."""
    return [language.bid(json.loads(line)) for line in list(client.out)]
