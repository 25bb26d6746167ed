"""Time that a test moves, and that wakes who sleeps until then."""

import asyncio

from tests.support.clock import FakeClock


class AlarmClock(FakeClock):
    """A clock whose `sleep` ends when the test has let that much time pass, and not before."""

    def __init__(self, *, now: float = 1_000.0, wall_ms: int = 1_700_000_000_000) -> None:
        super().__init__(now=now, wall_ms=wall_ms)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def advance(self, seconds: float) -> None:
        """Lets time pass and wakes those whose time has come."""
        super().advance(seconds)
        for until, sleeper in self._sleepers:
            if until <= self.now() and not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, seconds: float) -> None:
        """Waits until the test has let that much time pass."""
        entry = self.now() + seconds, asyncio.get_running_loop().create_future()
        self._sleepers.append(entry)
        try:
            await entry[1]
        finally:
            self._sleepers.remove(entry)
