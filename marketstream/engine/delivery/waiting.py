"""Bound the bytes of everything that waits: calls, tokens, bodies.

What is waited for, such as a Redis or a key set, may not come for long, and whoever sends goes on sending. So
what finds no room is refused at once. Callers who are not verified yet get a part of it only: they cannot
take it from those who are.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutine
from typing import TypeVar

import structlog

from marketstream.errors import UnavailableError
from marketstream.ports import Clock

log = structlog.get_logger(__name__)

OVERHEAD = 512
"""Bytes that anything takes while it waits, however short it is."""

STRANGERS = 4
"""One part in so many is for callers who are not verified."""

QUIET = 60.0
"""Seconds between two log entries about what found no room."""

T = TypeVar("T")


class Waiting:
    """See the module.

    Args:
        capacity: Bytes in all.
        clock: What the time is.

    Attributes:
        bytes: What is taken.
        refused: How often there was no room, since the start.
    """

    def __init__(self, capacity: int, clock: Clock) -> None:
        self.bytes = 0
        self.refused = 0
        self._capacity = capacity
        self._clock = clock
        self._strangers = 0
        self._quiet_until = float("-inf")
        self._high = False

    def take(self, size: int, *, stranger: bool = False) -> bool:
        """Take room for something that waits from now on; False when there is none."""
        full = self.bytes + size > self._capacity
        if full or (stranger and self._strangers + size > self._capacity // STRANGERS):
            self._refuse()
            return False
        self.bytes += size
        self._high = self._high or 4 * self.bytes > self._capacity
        if stranger:
            self._strangers += size
        return True

    def give(self, size: int, *, stranger: bool = False) -> None:
        """Give back what was taken."""
        self.bytes -= size
        if stranger:
            self._strangers -= size

    def ebbed(self) -> bool:
        """Return whether much waited, and hardly anything does now. True once each time."""
        over = self._high and 16 * self.bytes < self._capacity
        self._high = self._high and not over
        return over

    @contextmanager
    def hold(self, size: int, *, stranger: bool = False) -> Iterator[None]:
        """Take room for the time of a block.

        Raises:
            UnavailableError: There is none; try again later.
        """
        taken = size + OVERHEAD
        if not self.take(taken, stranger=stranger):
            raise UnavailableError("too much waits here; try again in a moment")
        try:
            yield
        finally:
            self.give(taken, stranger=stranger)

    async def of_stranger(self, found: Awaitable[T], size: Callable[[], int]) -> T:
        """Wait for something in the name of a caller who is not verified.

        Args:
            found: What is waited for; not begun where there is no room.
            size: Bytes that are held meanwhile.

        Raises:
            UnavailableError: There is no room.
        """
        try:
            with self.hold(size(), stranger=True):
                return await found
        finally:
            if iscoroutine(found):
                found.close()

    def _refuse(self) -> None:
        self.refused += 1
        now = self._clock.now()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            log.warning("waiting_refused", bytes=self.bytes, refused=self.refused)
