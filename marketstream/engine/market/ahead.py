"""Detect times that lie ahead, and correct or refuse them.

One price of tomorrow would silence its symbol until then, because the time of a symbol never goes back. So no
time is let through that is ahead by more than a little; whose clock it was is said once a minute.
"""

import math

import structlog

from marketstream.engine.stats import Stats
from marketstream.errors import FutureTimeError
from marketstream.ports import Clock

log = structlog.get_logger(__name__)

MAX_AHEAD = 5.0
"""Seconds: clocks that are looked after differ by less."""

SAY_EVERY = 60.0
"""Seconds between two warnings about what comes in by one way."""


class Ahead:
    """See the module.

    Args:
        clock: The time that all processes share.
        stats: Counters to keep.
        seconds: By how much times may be ahead of it.
    """

    def __init__(self, *, clock: Clock, stats: Stats, seconds: float = MAX_AHEAD) -> None:
        self._clock = clock
        self._stats = stats
        self._most_ms = round(seconds * 1000)
        self._quiet_until: dict[str, float] = {}

    def bounds(self) -> tuple[int, int]:
        """Now, and beyond what no time may lie, epoch milliseconds."""
        now_ms = self._clock.wall_ms()
        return now_ms, now_ms + self._most_ms

    def check(self, at_ms: int) -> None:
        """Refuse a time that lies too far ahead.

        Raises:
            FutureTimeError: It does.
        """
        now_ms, latest_ms = self.bounds()
        if at_ms > latest_ms:
            seconds = (at_ms - now_ms) / 1000
            text = f"timestamp: lies {seconds:.0f} s ahead of the server's clock; a clock is wrong"
            raise FutureTimeError(text, at_ms, path="timestamp")

    def note(self, way: str, at_ms: int, source: str = "") -> None:
        """Count a time that lies too far ahead, and say so.

        Args:
            way: By which it came: a feed, `http` or `stream`.
            at_ms: The time, epoch milliseconds.
            source: Whose word it was, where that is known.
        """
        self._stats.rejected["ahead"] += 1
        now = self._clock.now()
        if now >= self._quiet_until.get(way, -math.inf):
            self._quiet_until[way] = now + SAY_EVERY
            seconds = round((at_ms - self._clock.wall_ms()) / 1000)
            log.warning("time_ahead", way=way, source=source, seconds=seconds)
