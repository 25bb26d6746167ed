"""Count useless messages of a vendor, and measure the offset of its clock.

What goes on for hours is said once, or once a minute, and counted all the time. It decides nothing: times too
far ahead are refused where messages are read, times that lie back are taken.
"""

import math
from collections.abc import Sequence

import structlog

from marketstream.errors import FutureTimeError, InvalidMessageError
from marketstream.ports import Clock

log = structlog.get_logger(__name__)

SAY_EVERY = 60.0
"""Seconds between two warnings about a clock."""


class Reception:
    """See the module.

    Args:
        source: Name of the source for the log.
        clock: Ours.
        behind: Seconds that a price may be old when it comes; beyond them the vendor's clock is doubted. None
            where old prices are nothing unusual.

    Attributes:
        skipped: Messages that made no sense.
        ahead: Those of them whose time lies too far ahead.
        offset_ms: Milliseconds by which the vendor's last time was ahead of our clock; None before the first.
    """

    def __init__(self, source: str, clock: Clock, behind: float | None = None) -> None:
        self.skipped = 0
        self.ahead = 0
        self.offset_ms: int | None = None
        self._source = source
        self._clock = clock
        self._oldest_ms = -math.inf if behind is None else -1000 * behind
        self._quiet_until = -math.inf
        self._said = False

    def refuse(self, faults: Sequence[InvalidMessageError]) -> None:
        """Note messages that made no sense; the first one ever is shown."""
        for fault in faults:
            self.skipped += 1
            if isinstance(fault, FutureTimeError):
                self.ahead += 1
                self._suspect(self._compare(fault.at_ms))
            elif not self._said:
                self._said = True
                log.warning("feed_message_skipped", source=self._source, reason=str(fault))

    def take(self, at_ms: int) -> None:
        """Note the time of a price that was of use, epoch milliseconds."""
        offset_ms = self._compare(at_ms)
        if offset_ms < self._oldest_ms:
            self._suspect(offset_ms)

    def _compare(self, at_ms: int) -> int:
        self.offset_ms = offset_ms = at_ms - self._clock.wall_ms()
        return offset_ms

    def _suspect(self, offset_ms: int) -> None:
        now = self._clock.now()
        if now >= self._quiet_until:
            self._quiet_until = now + SAY_EVERY
            log.warning("feed_clock_off", source=self._source, seconds=round(offset_ms / 1000))
