"""What may still be asked of someone who counts: so much a minute, so much a day.

A `Quota` counts in whole minutes and whole days of UTC, as vendors do, and knows until when it was told to
keep quiet. It is told the time, and it never grants more than its allowance within one minute or one day.
"""

from dataclasses import dataclass

MINUTE_MS = 60_000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much may be asked; 0 means as much as one likes.

    Attributes:
        per_minute: Questions in a minute.
        per_day: Questions on a day of UTC.
    """

    per_minute: int
    per_day: int


class Quota:
    """Counts what was asked.

    Args:
        allowance: How much may be asked.
    """

    __slots__ = ("_allowance", "_day", "_in_day", "_in_minute", "_minute", "_quiet_until")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._minute = self._day = -1
        self._in_minute = self._in_day = 0
        self._quiet_until = 0.0

    def take(self, now: float, at_ms: int) -> float:
        """Counts one question, if it may be asked.

        Args:
            now: Monotonic seconds.
            at_ms: Epoch milliseconds; a clock that was set back or forward begins new counts.

        Returns:
            0.0 when it may, else the seconds until the next one will, and nothing was counted.
        """
        self._turn(at_ms)
        wait = max(self._quiet_until - now, self._missing(at_ms), 0.0)
        if wait == 0.0:
            self._add()
        return wait

    def count(self, at_ms: int) -> None:
        """Counts a question that somebody else allowed.

        Args:
            at_ms: Epoch milliseconds.
        """
        self._turn(at_ms)
        self._add()

    def spend(self, now: float, seconds: float) -> None:
        """Grants nothing for so many seconds; never shortens what it was told before.

        Args:
            now: Monotonic seconds.
            seconds: How long.
        """
        self._quiet_until = max(self._quiet_until, now + seconds)

    def _turn(self, at_ms: int) -> None:
        minute, day = at_ms // MINUTE_MS, at_ms // DAY_MS
        if minute != self._minute:
            self._minute, self._in_minute = minute, 0
        if day != self._day:
            self._day, self._in_day = day, 0

    def _missing(self, at_ms: int) -> float:
        allowed = self._allowance
        if 0 < allowed.per_day <= self._in_day:
            return (DAY_MS - at_ms % DAY_MS) / 1000
        if 0 < allowed.per_minute <= self._in_minute:
            return (MINUTE_MS - at_ms % MINUTE_MS) / 1000
        return 0.0

    def _add(self) -> None:
        self._in_minute += 1
        self._in_day += 1
