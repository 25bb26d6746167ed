"""A sink that keeps what feeds offer, for tests to look at."""

import asyncio
from collections.abc import Sequence

from marketstream.core.model import Quote
from marketstream.ports import QuoteSink


class RecordingSink:
    """Takes every quote, is ready at once, and wants a symbol when a test says so.

    Attributes:
        offers: What each call of `offer` brought, in order.
        waits: How many quotes had been offered at each call of `ready`.
        asked: The symbols of each call of `wanted`.
    """

    def __init__(self) -> None:
        self.offers: list[tuple[Quote, ...]] = []
        self.waits: list[int] = []
        self.asked: list[frozenset[str]] = []
        self._asked = asyncio.Event()
        self._count = 0
        self._demand: set[str] = set()
        self._changed = asyncio.Condition()
        self._wakers: list[tuple[int, asyncio.Event]] = []

    @property
    def quotes(self) -> list[Quote]:
        """Every quote offered so far, in order."""
        return [quote for offer in self.offers for quote in offer]

    def offer(self, quotes: Sequence[Quote]) -> None:
        """Keeps a copy of what is offered."""
        self.offers.append(tuple(quotes))
        self._count += len(quotes)
        for count, event in self._wakers:
            if self._count >= count:
                event.set()

    async def ready(self) -> None:
        """Notes that a feed waited; lets other tasks run, as a real sink may."""
        self.waits.append(self._count)
        await asyncio.sleep(0)

    async def wanted(self, symbols: frozenset[str]) -> None:
        """Waits until `want` named one of the symbols."""
        self.asked.append(symbols)
        self._asked.set()
        async with self._changed:
            await self._changed.wait_for(lambda: not self._demand.isdisjoint(symbols))

    async def want(self, symbol: str) -> None:
        """A client subscribes to a symbol."""
        async with self._changed:
            self._demand.add(symbol)
            self._changed.notify_all()

    async def until_asked(self) -> None:
        """Waits until a feed asked whether its symbols are wanted."""
        await self._asked.wait()

    async def until(self, count: int, *, seconds: float = 10) -> None:
        """Waits until that many quotes were offered.

        Raises:
            TimeoutError: They were not, in the given time.
        """
        event = asyncio.Event()
        if self._count >= count:
            event.set()
        self._wakers.append((count, event))
        async with asyncio.timeout(seconds):
            await event.wait()


_: type[QuoteSink] = RecordingSink
