"""Read lines from a pipe and batch them.

So a pipe that trickles is as good as a file. A best price has `bestBid` or `bestAsk`, a quote has `source`.
"""

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from marketstream.errors import InvalidMessageError
from marketstream.wire.json import loads

BATCH_LINES = 500
BATCH_BYTES = 256 * 1024
"""A quarter of what a server takes unless told otherwise."""

BATCH_SECONDS = 0.1

_PIECE = 64 * 1024
_AHEAD = 2
"""Pieces that are read before anybody wants them."""

Raw = tuple[int, bytes]
"""Number of a line, from 1, and its bytes."""


@dataclass(frozen=True, slots=True)
class Line:
    """One good line of the input.

    Attributes:
        number: Its place in the input, from 1.
        value: The object it holds.
        size: Its length in bytes.
    """

    number: int
    value: dict[str, Any]
    size: int

    @property
    def is_price(self) -> bool:
        """Whether it is a best price; otherwise it is a quote."""
        return "bestBid" in self.value or "bestAsk" in self.value


def parse_line(number: int, raw: bytes) -> Line:
    """Return the quote or best price on a line, told apart by its keys; the server checks the rest.

    Raises:
        InvalidMessageError: It is neither.
    """
    if len(raw) > BATCH_BYTES:
        raise InvalidMessageError(f"longer than {BATCH_BYTES} bytes")
    value = loads(raw)
    if not isinstance(value, dict):
        raise InvalidMessageError("not a JSON object")
    line = Line(number, value, len(raw))
    if not line.is_price and "source" not in value:
        raise InvalidMessageError("neither a best price (bestBid, bestAsk) nor a quote (source)")
    return line


async def read_batches(
    stdin: int, reject: Callable[[int, str], None]
) -> AsyncGenerator[Sequence[Line], None]:
    """Good lines together: as many as fit a batch and came within a tenth of a second.

    Args:
        stdin: File descriptor to read until it ends.
        reject: Told the number of each bad line, and why it is bad.
    """
    lines, ended = _Lines(stdin), False
    while not ended:
        item, until = await lines.next(), asyncio.get_running_loop().time() + BATCH_SECONDS
        batch: list[Line] = []
        room = BATCH_BYTES
        while item is not None:
            line = _good(item, reject)
            if line is not None:
                batch.append(line)
                room -= line.size
            if len(batch) == BATCH_LINES or room <= 0:
                break
            try:
                async with asyncio.timeout_at(until):
                    item = await lines.next()
            except TimeoutError:
                break
        else:
            ended = True
        if batch:
            yield batch


class _Lines:
    """Lines of a file descriptor as they come.

    A thread reads them, because an event loop cannot wait for a regular file; and one that a pipe which stays
    open holds up by nothing, because nobody waits for its end.
    """

    def __init__(self, stdin: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[list[Raw] | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self._here: deque[Raw] = deque()
        threading.Thread(target=self._read, args=(stdin,), name="stdin", daemon=True).start()

    async def next(self) -> Raw | None:
        """Return the next line; None after the last."""
        while not self._here:
            piece = await self._pieces.get()
            if piece is None:
                return None
            self._room.release()
            self._here.extend(piece)
        return self._here.popleft()

    def _read(self, stdin: int) -> None:
        number, rest = 0, b""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants more
            with contextlib.suppress(OSError):  # a closed stdin has no lines
                while self._room.acquire() and (piece := os.read(stdin, _PIECE)):
                    *whole, rest = (rest + piece).split(b"\n")
                    self._hand_on(list(enumerate(whole, number + 1)))
                    number += len(whole)
                self._hand_on([(number + 1, rest)])
            self._hand_on(None)

    def _hand_on(self, piece: list[Raw] | None) -> None:
        self._loop.call_soon_threadsafe(self._pieces.put_nowait, piece)


def _good(item: Raw, reject: Callable[[int, str], None]) -> Line | None:
    number, raw = item
    try:
        return parse_line(number, raw) if raw.strip() else None
    except InvalidMessageError as error:
        reject(number, str(error))
        return None
