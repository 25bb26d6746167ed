"""Stock JavaScript clients, run by the real Node against a real server.

A script lives in `tests/node`, takes what it needs from its arguments and environment, and prints one
JSON value a line. A machine without Node, or without the packages, fails the test: `make test` installs both.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.program import Program

FOLDER = Path(__file__).parents[1] / "node"


class Script:
    """A Node script that is running."""

    def __init__(self, program: Program) -> None:
        self._program = program

    @property
    def messages(self) -> list[Any]:
        """The JSON values it has printed so far, in order."""
        return [json.loads(line) for line in list(self._program.out) if line.strip()]

    @property
    def running(self) -> bool:
        """Whether it is still there."""
        return self._program.running

    async def finished(self, timeout: float = 30.0) -> list[Any]:  # noqa: ASYNC109  # scaled, and named in the failure
        """Waits for it to end by itself and returns all it printed.

        Args:
            timeout: Limit in seconds before scaling.

        Raises:
            AssertionError: It failed, or was still running; its stderr is in the message.
        """
        try:
            await eventually(lambda: not self.running, timeout, "the end of the script")
        except AssertionError as error:
            error.add_note(self._printed())
            raise
        code = await asyncio.to_thread(self._program.wait, 5)
        assert code == 0, f"the script ended with {code}\n{self._printed()}"
        return self.messages

    def _printed(self) -> str:
        return "\n".join(["the script printed last:", *self._program.out[-10:], *self._program.err[-20:]])


class Node:
    """Runs the scripts of `tests/node`.

    Args:
        executable: Path of the Node binary.
    """

    def __init__(self, executable: str) -> None:
        self.executable = executable

    async def run(
        self,
        script: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        timeout: float = 30.0,  # noqa: ASYNC109  # scaled, and named in the failure
    ) -> list[Any]:
        """Runs a script to its end and returns the JSON values it printed.

        Raises:
            AssertionError: It failed, or was still running after the limit.
        """
        async with self.start(script, *args, env=env) as running:
            return await running.finished(timeout)

    @asynccontextmanager
    async def start(
        self, script: str, *args: str, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[Script]:
        """A script that runs inside the block and is killed at its end."""
        program = Program([self.executable, script, *args], env=os.environ | dict(env or {}), cwd=FOLDER)
        with program:
            yield Script(program)


def find_node() -> Node:
    """The Node beside this Python, or else the one on PATH; fails the test when it cannot do the job."""
    beside = Path(sys.executable).parent / "node"
    executable = str(beside) if beside.exists() else shutil.which("node")
    if executable is None:
        pytest.fail("there is no `node` on PATH; `make setup` installs one", pytrace=False)
    if not (FOLDER / "node_modules").is_dir():
        pytest.fail("the Node packages of the tests are missing; `make setup` installs them", pytrace=False)
    return Node(executable)
