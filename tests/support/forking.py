"""Server processes that are forked from one that has imported the server, instead of importing it each time.

Importing is most of what a start costs: about a second of a processor, some hundreds of times in a run of
the tests. A forked server reads its own arguments and environment, and runs and ends as any other. What its
interpreter would read before (`PYTHON...`, limits of resources) is that of the process it comes from, so a
test of these names a `program` and gets a new interpreter.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
# What the command `serve` imports late, beside the command line itself.
IMPORTED = ("marketstream.cli", "marketstream.app", "uvloop", "aiofastnet")
REQUEST_BYTES = 1 << 20


class ForkedProcess:
    """A server process, with the part of `subprocess.Popen` that tests use; its stderr goes to stdout.

    Attributes:
        args: The arguments it was given, with the name of the program first.
        pid: Its process id.
        stdout: What it prints.
        stderr: None: it goes to stdout.
        returncode: Its exit code, or minus the signal that ended it; None while it runs.
    """

    stderr: None = None

    def __init__(self, args: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> None:
        self.args = list(args)
        self.returncode: int | None = None
        self._ended = threading.Event()
        out, out_end = os.pipe()
        status, status_end = os.pipe()
        try:
            self.pid = _fork_server().fork(self.args, env, cwd or Path.cwd(), (out_end, status_end))
        finally:
            os.close(out_end)
            os.close(status_end)
        self.stdout: IO[str] = os.fdopen(out, errors="replace")
        threading.Thread(target=self._await_end, args=(status,), daemon=True).start()

    def _await_end(self, status: int) -> None:
        with os.fdopen(status, "rb") as pipe:
            # Nothing comes when the process that forks is gone, and with it the one that knows.
            self.returncode = int(pipe.read() or -signal.SIGKILL)
        self._ended.set()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended.

        Raises:
            subprocess.TimeoutExpired: It is still running.
        """
        if not self._ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal; a process that has ended takes none."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _ForkServer:
    """The process that forks; it ends when this one closes its socket or ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Its stdout is no terminal, so that the buffers of those who inherit it are those of a pipe.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forking", str(theirs.fileno())],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def fork(self, args: Sequence[str], env: Mapping[str, str], cwd: Path, fds: tuple[int, int]) -> int:
        """Return the process id of a new server; `fds` are its output and where its exit code is written."""
        request = json.dumps({"args": args, "env": dict(env), "cwd": str(cwd)}).encode()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, REQUEST_BYTES)
        with self._lock, suppress(ConnectionError):
            socket.send_fds(self._socket, [request], list(fds))
            return int(self._socket.recv(16))
        raise AssertionError(f"the process that forks servers ended with {self._process.wait()}")


@cache
def _fork_server() -> _ForkServer:
    return _ForkServer()


def _fork_on_request(control: socket.socket) -> None:
    """Fork a process for each request and report how it ended; returns in these processes only."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    children: dict[int, tuple[int, int]] = {}
    while True:
        for fd, _ in poll.poll():
            if fd in children:
                poll.unregister(fd)
                _report(fd, *children.pop(fd))
                continue
            request, fds, *_ = socket.recv_fds(control, REQUEST_BYTES, 2)
            if not request:
                os._exit(0)
            out, status = fds
            pid = os.fork()
            if not pid:
                _take_over(out, **json.loads(request))
                return
            # From here on only the child holds its end, so that its end is the end of the output.
            os.close(out)
            watched = os.pidfd_open(pid)
            children[watched] = pid, status
            poll.register(watched, select.POLLIN)
            control.send(str(pid).encode())


def _report(watched: int, pid: int, status: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(watched)
    with suppress(BrokenPipeError), os.fdopen(status, "wb") as pipe:
        pipe.write(b"%d" % code)


def _take_over(out: int, args: list[str], env: dict[str, str], cwd: str) -> None:
    """Give this process what a new one would have been given."""
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.closerange(3, 1 << 16)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv[:] = args


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    # What is shared stays so: a collection would write to every page.
    gc.freeze()
    _control = socket.socket(fileno=int(sys.argv[1]))
    _fork_on_request(_control)
    _control.detach()
    gc.unfreeze()
    from marketstream.cli import main

    main()
