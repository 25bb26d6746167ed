"""Compute the pause before the next attempt."""

STEPS = (2.0, 4.0, 8.0, 16.0, 32.0)
HEALTHY_AFTER = 60.0
JITTER = 0.1


class Backoff:
    """2, 4, 8, 16, 32, 32, ... seconds, with up to a tenth more so that many do not come back together.

    Args:
        steps: Other seconds than these; the last one is repeated.
    """

    __slots__ = ("_attempt", "_steps")

    def __init__(self, steps: tuple[float, ...] = STEPS) -> None:
        self._attempt = 0
        self._steps = steps

    def next(self, lasted: float, chance: float) -> float:
        """Return seconds to wait now.

        Args:
            lasted: Seconds the last attempt was up; a minute of health starts the count over.
            chance: Random number from 0 to 1 for the jitter.
        """
        if lasted >= HEALTHY_AFTER:
            self._attempt = 0
        step = self._steps[min(self._attempt, len(self._steps) - 1)]
        self._attempt += 1
        return step * (1 + JITTER * chance)
