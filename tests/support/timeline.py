"""Time that passes only when everybody waits for it, so that five seconds take no time and are still five."""

import asyncio
import heapq
from itertools import count

from tests.support.clock import FakeClock

TURNS = 50
"""Turns of the event loop in which nobody slept anew: then everybody waits."""


class Timeline(FakeClock):
    """A clock whose sleepers are woken in the order of their times.

    Attributes:
        slept: Seconds of every sleep that was begun, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()
        self._ticking = False

    async def sleep(self, seconds: float) -> None:
        """Waits in the time of this clock."""
        self.slept.append(seconds)
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._sleepers, (self.now() + seconds, next(self._number), waiting))
        if not self._ticking:
            self._ticking = True
            loop.call_soon(self._turn, TURNS)
        await waiting

    def _turn(self, left: int) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if not self._sleepers:
            self._ticking = False
            return
        if left == 0:
            at, _, waiting = heapq.heappop(self._sleepers)
            self.advance(max(0.0, at - self.now()))
            waiting.set_result(None)
            left = TURNS
        asyncio.get_running_loop().call_soon(self._turn, left - 1)
