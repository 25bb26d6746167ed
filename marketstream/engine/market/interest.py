"""Tell feeds which symbols to subscribe to: those watched here or elsewhere.

It knows the symbols of its own process at every moment, and those of others as far as it is told. A feed that
waits is woken at most once every few hundredths of a second, however many clients come and go meanwhile.
There is no task and no timer while nobody waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

import structlog

from marketstream.core.market.interest import LINGER, InterestCounts
from marketstream.ports import Clock

log = structlog.get_logger(__name__)

SETTLE = 0.02
"""Seconds by which a feed hears of a change later, so that it hears of many at once."""

_HERE = ""
"""The holder that is this process; others have names."""


class Interest:
    """See the module; `len` is the number of wanted symbols.

    Args:
        clock: Time.
        linger: Seconds that a symbol stays wanted after the last one let go of it.
        sleep: Waits that many seconds.

    Attributes:
        on_local: Called with each symbol that is watched here now, or is no longer.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        linger: float = LINGER,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.on_local: Callable[[str], None] = _ignore
        self._clock = clock
        self._sleep = sleep
        self._counts = InterestCounts(linger)
        # Live clients of a symbol and those of each delay are rooms of their own.
        self._rooms: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._symbols: frozenset[str] = frozenset()
        self._known_changes = 0

    def __len__(self) -> int:
        self._counts.expire(self._clock.now())
        return len(self._counts)

    def current(self) -> frozenset[str]:
        """Return every symbol that is wanted, here or elsewhere, by what is known here."""
        return self._current()

    # This process

    @property
    def local(self) -> Collection[str]:
        """Return the symbols that clients of this process watch; changes as they come and go."""
        return self._rooms.keys()

    def watch(self, symbol: str) -> None:
        """Note that there is somebody in a room of a symbol; counted."""
        count = self._rooms[symbol] = self._rooms.get(symbol, 0) + 1
        if count == 1:
            self.change(_HERE, (symbol,), ())
            self.on_local(symbol)

    def unwatch(self, symbol: str) -> None:
        """Take one `watch` back."""
        self._rooms[symbol] -= 1
        if self._rooms[symbol] == 0:
            del self._rooms[symbol]
            self.change(_HERE, (), (symbol,))
            self.on_local(symbol)

    # Others

    def change(self, holder: str, added: Iterable[str], dropped: Iterable[str]) -> None:
        """Note what a holder watches now, and what it does not watch any more."""
        now = self._clock.now()
        self._counts.hold(holder, added)
        self._counts.release(holder, dropped, now)
        self._note(now)

    def replace(self, holder: str, symbols: Iterable[str]) -> None:
        """Note that a holder watches these symbols and no others."""
        now = self._clock.now()
        self._counts.replace(holder, symbols, now)
        self._note(now)

    def forget(self, holder: str) -> None:
        """Note that a holder is gone."""
        now = self._clock.now()
        self._counts.forget(holder, now)
        self._note(now)

    # Feeds

    async def differs(self, known: frozenset[str]) -> frozenset[str]:
        """See `ports.QuoteSink.interest`."""
        while True:
            await self._sleep(SETTLE)
            symbols = self._current()
            if symbols != known:
                return symbols
            await self._next_change()

    def _current(self) -> frozenset[str]:
        self._counts.expire(self._clock.now())
        if self._known_changes != self._counts.changes:
            self._known_changes = self._counts.changes
            self._symbols = self._counts.symbols()
            log.debug("demand_changed", symbols=len(self._symbols))
        return self._symbols

    async def _next_change(self) -> None:
        """Return when something was told, or a symbol that nobody holds has been waited for long enough."""
        ends_at = self._counts.ends_at
        try:
            async with asyncio.timeout(None if ends_at is None else ends_at - self._clock.now()):
                await self._changed.wait()
        except TimeoutError:
            return

    def _note(self, now: float) -> None:
        # Also while no feed asks: what was let go must not pile up.
        self._counts.expire(now)
        self._changed.set()
        self._changed.clear()


def _ignore(_symbol: str) -> None:
    """Nobody else needs to know."""
