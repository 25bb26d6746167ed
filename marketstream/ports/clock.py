"""Time."""

from typing import Protocol


class Clock(Protocol):
    """Time, injected so that tests own it."""

    def now(self) -> float:
        """Monotonic seconds; never goes back; the zero is arbitrary."""
        ...

    def wall_ms(self) -> int:
        """Epoch milliseconds; may be corrected by the machine at any time."""
        ...
