"""Time that stands still until a test moves it."""

import asyncio

from marketstream.ports import Clock


class FakeClock:
    """A clock a test owns: monotonic and wall time move together, and only when told to.

    Args:
        now: Monotonic seconds at the start.
        wall_ms: Epoch milliseconds at the start.
    """

    def __init__(self, *, now: float = 1_000.0, wall_ms: int = 1_700_000_000_000) -> None:
        self._now = now
        self._wall_ms = float(wall_ms)

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def wall_ms(self) -> int:
        """Epoch milliseconds."""
        # A thousand tenths of a second must make a hundred seconds, not a millisecond less.
        return int(self._wall_ms + 0.001)

    def advance(self, seconds: float) -> None:
        """Lets time pass; refuses to go back."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now += seconds
        self._wall_ms += seconds * 1000

    def correct_wall(self, milliseconds: int) -> None:
        """Set the wall clock forward or back, as a machine may; the monotonic clock does not notice."""
        self._wall_ms += milliseconds

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once, and give other tasks their turn: an injected `sleep` for tests."""
        self.advance(max(0.0, seconds))
        await asyncio.sleep(0)


class PatientClock(FakeClock):
    """A clock whose `sleep` waits until a test has let that much time pass."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def advance(self, seconds: float) -> None:
        """Lets time pass, and wakes those who have slept long enough."""
        super().advance(seconds)
        for due, woken in self._sleepers:
            if due <= self.now():
                woken.set()

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has let that many seconds pass."""
        sleeper = (self.now() + seconds, asyncio.Event())
        self._sleepers.append(sleeper)
        try:
            await sleeper[1].wait()
        finally:
            self._sleepers.remove(sleeper)


_: type[Clock] = FakeClock
