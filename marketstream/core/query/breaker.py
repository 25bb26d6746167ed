"""Decide whether a failing provider is left alone (circuit breaker).

A `Breaker` is closed while things go well. A run of failures opens it, and nothing is let through until a
pause has passed; then one caller may try, and what becomes of that decides. It is told the time and each
outcome, and it never lets two tries run at once while it is half open.
"""

from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Counts failures in a row.

    Args:
        failures: How many in a row open it; at least 1.
        pause: Seconds that it stays open before one caller may try.

    Raises:
        ValueError: It could never open, or never close again.
    """

    __slots__ = ("_failed", "_limit", "_pause", "_tried_at", "_until")

    def __init__(self, *, failures: int = 5, pause: float = 30.0) -> None:
        if failures < 1 or not pause > 0:
            raise ValueError(f"a breaker of {failures} failures and a pause of {pause} s protects nobody")
        self._limit = failures
        self._pause = pause
        self._failed = 0
        self._until = 0.0
        self._tried_at: float | None = None

    def state(self, now: float) -> State:
        """Return what it is at some time.

        Args:
            now: Monotonic seconds.
        """
        if self._failed < self._limit:
            return "closed"
        return "open" if now < self._until else "half-open"

    def admit(self, now: float) -> float:
        """Ask to be let through; who is must tell the outcome.

        Args:
            now: Monotonic seconds.

        Returns:
            0.0 for who is let through, else the seconds after which asking again makes sense.
        """
        state = self.state(now)
        if state == "open":
            return self._until - now
        if state == "half-open":
            # A try whose outcome nobody told must not keep everybody out for ever.
            if self._tried_at is not None and now < self._tried_at + self._pause:
                return self._tried_at + self._pause - now
            self._tried_at = now
        return 0.0

    def succeeded(self) -> None:
        """Whoever was let through got what it wanted: the failures before do not count any more."""
        self._failed = 0
        self._tried_at = None

    def failed(self, now: float) -> None:
        """Whoever was let through failed.

        Args:
            now: Monotonic seconds.
        """
        # One that began before it opened and fails late says nothing new: the pause is not drawn out by it.
        if self.state(now) == "open":
            return
        self._failed = min(self._failed + 1, self._limit)
        self._tried_at = None
        if self._failed == self._limit:
            self._until = now + self._pause

    def abandoned(self) -> None:
        """Whoever was let through did not find out; the next one may try."""
        self._tried_at = None
