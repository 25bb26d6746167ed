"""A sink that keeps what feeds offer, for tests to look at."""

import asyncio
from collections.abc import Sequence

from marketstream.core.market.model import Quote
from marketstream.ports import QuoteSink
from tests.support.eventually import scaled


class RecordingSink:
    """Takes every quote, is ready at once, and wants a symbol when a test says so.

    Attributes:
        offers: What each call of `offer` brought, in order.
        waits: How many quotes had been offered at each call of `ready`.
        asked: What was known at each call of `interest`.
        signs: How often the source was said to be there.
        resting: The symbols of the last call of `rest`.
        lacking: The symbols of the last call of `lack`.
    """

    def __init__(self) -> None:
        self.offers: list[tuple[Quote, ...]] = []
        self.waits: list[int] = []
        self.asked: list[frozenset[str]] = []
        self.signs = 0
        self.resting: frozenset[str] = frozenset()
        self.lacking: frozenset[str] = frozenset()
        self._count = 0
        self._interest: set[str] = set()
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

    async def interest(self, known: frozenset[str]) -> frozenset[str]:
        """Waits until what `want` and `unwant` came to differs from what is known."""
        self.asked.append(known)
        async with self._changed:
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._interest != known)
            return frozenset(self._interest)

    def alive(self) -> None:
        """Counts the sign of life."""
        self.signs += 1

    def rest(self, symbols: frozenset[str]) -> None:
        """Keeps the symbols that may be silent."""
        self.resting = symbols

    def lack(self, symbols: frozenset[str]) -> None:
        """Keeps the symbols that cannot be had."""
        self.lacking = symbols

    async def want(self, *symbols: str) -> None:
        """Clients subscribe to symbols."""
        async with self._changed:
            self._interest.update(symbols)
            self._changed.notify_all()

    async def unwant(self, *symbols: str) -> None:
        """The last clients of symbols have been gone for long enough."""
        async with self._changed:
            self._interest.difference_update(symbols)
            self._changed.notify_all()

    async def until_asked(self, known: frozenset[str] = frozenset()) -> None:
        """Waits until a feed knows this of the interest, and waits for something else."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.asked[-1:] == [known])

    async def until(self, count: int, *, seconds: float = 10) -> None:
        """Waits until that many quotes were offered.

        Raises:
            TimeoutError: They were not, in the given time.
        """
        event = asyncio.Event()
        if self._count >= count:
            event.set()
        self._wakers.append((count, event))
        async with asyncio.timeout(scaled(seconds)):
            await event.wait()


_: type[QuoteSink] = RecordingSink
