"""Define the clock that the engine expects."""

from typing import Protocol


class Clock(Protocol):
    """Time, injected so that tests own it."""

    def now(self) -> float:
        """Return monotonic seconds; they never go back, and their zero is arbitrary."""
        ...

    def wall_ms(self) -> int:
        """Return epoch milliseconds; may be corrected by the machine at any time."""
        ...
