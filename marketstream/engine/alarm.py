"""Serve many deadlines with one timer."""

import asyncio
from collections.abc import Callable

from marketstream.ports import Clock


class Alarm:
    """See the module.

    Args:
        clock: Time.
        ring: Called when a deadline has passed; may set the next one.
        least: Seconds of the shortest wait; timers below a millisecond fire too early on some loops.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None], least: float = 0.0) -> None:
        self._clock = clock
        self._ring = ring
        self._least = least
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0

    def set(self, at: float) -> None:
        """Fire at `at`, monotonic seconds, or at an earlier deadline that was set before."""
        if self._timer is not None:
            if self._at <= at:
                return
            self._timer.cancel()
        self._at = at
        wait = max(self._least, at - self._clock.now())
        self._timer = asyncio.get_running_loop().call_later(wait, self._go_off)

    def stop(self) -> None:
        """Cancel what was set."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_off(self) -> None:
        self._timer = None
        self._ring()
