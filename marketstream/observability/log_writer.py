"""Write the log on a thread of its own, so that a slow reader blocks nothing.

A disk that is full, a reader that has gone and one that stopped reading are faults of the log, never of
the server: `write` neither raises nor waits. What waits is bounded in bytes; what finds no room, or cannot be
written, is counted, and the log itself says how much is missing once it can be written again.
"""

import atexit
import io
import os
import queue
import select
import sys
import threading
from collections.abc import Callable
from typing import Final

ROOM: Final = 1024 * 1024
"""Bytes that may wait to be written."""

BATCH: Final = 64 * 1024
"""Bytes that are written at once, about."""

PAUSE: Final = 1.0
"""Seconds until a log that cannot be written is tried again."""

LAST_WORDS: Final = 1.0
"""Seconds that the end of the process waits for what has not been written."""


class LogWriter(io.TextIOBase):
    """A text stream over a file descriptor that never blocks and never raises.

    Args:
        fd: Where it writes; stays open.
        room: Bytes that may wait.
        pause: Seconds between two attempts while it cannot be written.
    """

    def __init__(self, fd: int, *, room: int = ROOM, pause: float = PAUSE) -> None:
        self._fd = fd
        self._room = room
        self._pause = pause
        # Both may be entered again by the same thread: the garbage collector runs anywhere, and what it
        # destroys may warn.
        self._lock = threading.RLock()
        self.on_recovery: Callable[[int], None] = _ignore
        """Told, in the thread that writes, how many lines are missing once there is room for more."""
        self._entries: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        self._untold = 0
        self._torn = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Lines that were not written and never will be."""

    @property
    def waiting(self) -> int:
        """Bytes that wait to be written."""
        return self._waiting

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """How text becomes bytes."""
        return "utf-8"

    def writable(self) -> bool:
        """Return whether it can be written: always."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether a person reads it."""
        return os.isatty(self._fd)

    def write(self, text: str) -> int:
        """Take text to be written soon; return its length, whatever becomes of it."""
        entry = text.encode("utf-8", "backslashreplace")
        with self._lock:
            if self._waiting + len(entry) > self._room:
                self._drop(entry)
                return len(text)
            self._waiting += len(entry)
            self._entries.put(entry)
            if self._thread is None:
                # A process that says nothing needs no thread.
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
        return len(text)

    def drain(self, timeout: float = LAST_WORDS) -> None:
        """Write what waits, for so many seconds at most, and end."""
        self._ending.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._entries.put(None)
            thread.join(timeout)

    def _run(self) -> None:
        more = True
        while more and (entry := self._entries.get()) is not None:
            batch, more = self._gather(entry)
            unwritten = self._write(batch)
            with self._lock:
                self._waiting -= len(batch)
                self._drop(unwritten)
                untold, self._untold = (self._untold, 0) if not unwritten else (0, self._untold)
            if unwritten:
                self._ending.wait(self._pause)
            elif untold and more:
                self.on_recovery(untold)

    def _gather(self, first: bytes) -> tuple[bytes, bool]:
        """Return what waits, up to a batch, and whether anything may come after it."""
        entries, size = [first], len(first)
        while size < BATCH:
            try:
                entry = self._entries.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                return b"".join(entries), False
            entries.append(entry)
            size += len(entry)
        return b"".join(entries), True

    def _write(self, data: bytes) -> bytes:
        """Write data; return what of it could not be written."""
        # What was cut off in the middle of a line must not run into the next one.
        left = b"\n" + data if self._torn else data
        while left:
            try:
                written = os.write(self._fd, left)
            except BlockingIOError:
                # Somebody who shares the descriptor has made it non-blocking.
                select.select([], [self._fd], [], self._pause)
            except OSError:
                return left
            else:
                self._torn = left[written - 1] != ord("\n")
                left = left[written:]
        return left

    def _drop(self, entry: bytes) -> None:
        lines = entry.count(b"\n")
        self.dropped += lines
        self._untold += lines


def _ignore(_lines: int) -> None:
    """Say nothing of what is missing."""


STDERR: Final = LogWriter(2)
"""The log of this process."""


def install() -> None:
    """Let everything that this process says on stderr go through `STDERR`, and its last words at its end."""
    _occupy()
    sys.stderr = STDERR
    atexit.register(STDERR.drain)


def install_stdout() -> None:
    """Do the same to stdout, for a command that runs on whether anybody reads what it says there or not.

    Only the stream of the process itself is replaced: who has put another in its place wants it there.
    """
    if sys.stdout is sys.__stdout__:
        writer = LogWriter(1)
        sys.stdout = writer
        atexit.register(writer.drain)


def _occupy() -> None:
    """Open what was closed of the standard descriptors: a socket in the place of one would get the log."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR.fileno():
        pass
    os.close(fd)
