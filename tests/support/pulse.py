"""Measure how long the machine kept this process waiting, which no server under test can help."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

BEAT = 0.01


class Pulse:
    """Beats a hundred times a second, and notes how late each beat was."""

    def __init__(self) -> None:
        self._beats: list[tuple[float, float]] = []

    def longest(self, since: float, until: float) -> float:
        """The longest wait of a stretch of time, in milliseconds; the stretch too, by the monotonic clock."""
        return max((late for at, late in self._beats if since <= at < until), default=0.0)

    async def beat(self) -> None:
        """Beats until cancelled."""
        while True:
            due = time.monotonic() + BEAT
            await asyncio.sleep(BEAT)
            now = time.monotonic()
            self._beats.append((now * 1000, (now - due) * 1000))


@asynccontextmanager
async def pulse() -> AsyncIterator[Pulse]:
    """One that beats inside the block."""
    found = Pulse()
    beating = asyncio.create_task(found.beat())
    try:
        yield found
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
