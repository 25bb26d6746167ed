"""Compute when a job is due, the same moments in every process."""

from dataclasses import dataclass

DAY = 86_400
HOUR = 3_600


@dataclass(frozen=True, slots=True)
class Schedule:
    """Moments at equal distances, counted from the epoch; days and hours are those of UTC.

    Attributes:
        period: Seconds between two of them.
        offset: Seconds by which each is later than a multiple of the period.
    """

    period: int
    offset: int = 0

    def last(self, now_ms: int) -> int:
        """Return the newest moment that is not in the future, epoch milliseconds."""
        period, offset = self.period * 1000, self.offset * 1000
        return (now_ms - offset) // period * period + offset

    def next(self, now_ms: int) -> int:
        """Return the first moment after now, epoch milliseconds."""
        return self.last(now_ms) + self.period * 1000

    def __str__(self) -> str:
        if self.period == DAY:
            hours, seconds = divmod(self.offset, HOUR)
            return f"daily at {hours:02}:{seconds // 60:02} UTC"
        return f"every {self.period} s"


def every(seconds: int) -> Schedule:
    """Return every so many seconds, aligned to the epoch."""
    return Schedule(seconds)


def daily(hour: int) -> Schedule:
    """Once a day, at an hour of UTC from 0 to 23."""
    return Schedule(DAY, hour * HOUR)


def identity(job: str, due_ms: int) -> str:
    """Return the name of a run that was due at a moment: the same in every process."""
    return f"{job}-{due_ms}"
