"""Lines of a pipe: one JSON object each, sent as they come, at the latest after a tenth of a second.

So a pipe that trickles is as good as a file. A best price has `bestBid` or `bestAsk`, a quote has `source`.
"""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from marketstream.errors import InvalidMessageError
from marketstream.wire.json import loads

BATCH_LINES = 500
BATCH_BYTES = 256 * 1024
"""A quarter of what a server takes unless told otherwise."""

BATCH_SECONDS = 0.1

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
    """The quote or best price on a line, told apart by its keys; the server checks the rest.

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


def read_batches(stdin: int, reject: Callable[[int, str], None]) -> Iterator[Sequence[Line]]:
    """Good lines together: as many as fit a batch and came within a tenth of a second.

    Args:
        stdin: File descriptor to read until it ends.
        reject: Told the number of each bad line, and why it is bad.
    """
    lines, ended = _read(stdin), False
    while not ended:
        item, until = lines.get(), time.monotonic() + BATCH_SECONDS
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
                item = lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
        else:
            ended = True
        if batch:
            yield batch


def _read(stdin: int) -> "queue.Queue[Raw | None]":
    """Lines as they come, None at the end; by a thread, so that waiting for more never holds any back."""
    lines: queue.Queue[Raw | None] = queue.Queue(maxsize=2 * BATCH_LINES)

    def read() -> None:
        number, rest = 0, b""
        with contextlib.suppress(OSError):  # a closed stdin has no lines
            while chunk := os.read(stdin, 65536):
                *whole, rest = (rest + chunk).split(b"\n")
                for raw in whole:
                    number += 1
                    lines.put((number, raw))
            lines.put((number + 1, rest))
        lines.put(None)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return lines


def _good(item: Raw, reject: Callable[[int, str], None]) -> Line | None:
    number, raw = item
    try:
        return parse_line(number, raw) if raw.strip() else None
    except InvalidMessageError as error:
        reject(number, str(error))
        return None
