"""A program that a test runs beside itself: what it prints is kept, and it never outlives the test.

Threads do the reading, so a program can be shared by tests that each have their own event loop. Its
process is only ever ended by its own id.
"""

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.eventually import scaled
from tests.support.forking import ForkedProcess

SETTINGS = ("MARKETSTREAM_", "REDIS_URL", "CORS_ORIGINS", "ALPACA_API_", "TIINGO_API_", "ALPHA_VANTAGE_API_")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without anything that the server would read as a setting, plus what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return kept | dict(extra or {})


class Program:
    """A running process and the lines it has printed so far.

    It runs the command, or is the `process` that was made of it already.

    Attributes:
        out: Lines of stdout, without their ends; of stderr too when they were asked to be merged.
        err: Lines of stderr.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        merged: bool = False,
        process: subprocess.Popen[str] | ForkedProcess | None = None,
    ) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.process = process or subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._readers = [
            threading.Thread(target=_collect, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        """Whether the process is still there."""
        return self.process.poll() is None

    def wait(self, timeout: float) -> int:
        """Waits for the program to end by itself; returns its exit code once all it printed is read.

        Args:
            timeout: Limit in seconds before scaling.

        Raises:
            subprocess.TimeoutExpired: It is still running.
        """
        code = self.process.wait(scaled(timeout))
        for reader in self._readers:
            reader.join()
        return code

    def terminate(self, timeout: float = 15.0) -> int:
        """Asks the program to end (SIGTERM) and returns its exit code; a dead program is left as it is.

        Raises:
            AssertionError: It had to be killed because the limit passed.
        """
        if self.running:
            self.process.terminate()
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            text = f"{self.process.args!r} did not end within {scaled(timeout):g} s of SIGTERM"
            raise AssertionError(text) from None

    def kill(self) -> None:
        """Ends the program on the spot (SIGKILL); does nothing to a dead one."""
        if self.running:
            self.process.kill()
        self.wait(5)


def _collect(stream: IO[str], lines: list[str]) -> None:
    with stream:
        lines.extend(line.rstrip("\n") for line in stream)
