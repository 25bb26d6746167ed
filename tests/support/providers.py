"""Providers that answer by a script, and the read side around them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from marketstream.cache.memory import MemoryCache
from marketstream.core.query.model import Answer, Article, Candle, History, Match, Profile, ProviderQuote
from marketstream.engine.query.inquiry import Inquiry
from marketstream.engine.query.service import QueryService
from marketstream.engine.query.single_flight import Spawn
from marketstream.engine.stats import ReadStats
from marketstream.errors import (
    ProviderQuotaError,
    ProviderUnavailableError,
    UnknownSymbolError,
)
from marketstream.ports import Cache, Clock, Provider
from tests.support.timeline import Timeline

ALL = frozenset({"quote", "historical", "profile", "search", "news"})
AT_MS = 1_700_000_000_000


def given_quote(
    symbol: str = "AAPL",
    price: float = 150.0,
    change: float | None = 1.5,
    percent: float | None = 1.0101,
    volume: float | None = 1_000.0,
    source: str = "yahoo",
) -> ProviderQuote:
    """A quote as a provider gives it."""
    return ProviderQuote(symbol, price, change, percent, volume, 149.9, 150.1, AT_MS, source)


class ScriptedProvider:
    """Answers what it was told to, one thing after another; the last one for ever.

    Args:
        name: Its name.
        script: Exceptions to raise, seconds to take before answering, or None for an answer at once.
        sleep: Waits that many seconds.
        offers: What it can be asked.
        configured: Whether it has its key.

    Attributes:
        asked: What it was asked, in order.
        prices: Quotes by symbol; others are made up.
    """

    def __init__(
        self,
        name: str,
        *script: Exception | float | None,
        sleep: Callable[[float], Awaitable[None]],
        offers: frozenset[str] = ALL,
        configured: bool = True,
    ) -> None:
        self.name = name
        self.offers = offers
        self.configured = configured
        self.asked: list[str] = []
        self.prices: dict[str, ProviderQuote] = {}
        self.candles: tuple[Candle, ...] = (
            Candle(AT_MS, 1.0, 2.0, 0.5, 1.5, 10.0),
            Candle(AT_MS + 86_400_000, 1.5, 3.0, 1.5, 2.0, None),
        )
        self.script = list(script) or [None]
        self._sleep = sleep

    async def aclose(self) -> None:
        """See `ports.Provider.aclose`."""

    async def quote(self, symbol: str) -> ProviderQuote:
        """See `ports.Provider.quote`."""
        await self._play(f"quote {symbol}")
        return self.prices.get(symbol) or given_quote(symbol, source=self.name)

    async def historical(self, symbol: str, period: str, interval: str) -> History:
        """See `ports.Provider.historical`."""
        await self._play(f"historical {symbol}")
        return History(symbol, period, interval, self.candles)

    async def profile(self, symbol: str) -> Profile:
        """See `ports.Provider.profile`."""
        await self._play(f"profile {symbol}")
        return Profile(
            symbol,
            "Apple Inc.",
            "NASDAQ",
            "USD",
            "Technology",
            None,
            "https://apple.example",
            None,
            3e12,
            "US",
        )

    async def search(self, query: str, limit: int) -> Sequence[Match]:
        """See `ports.Provider.search`."""
        await self._play(f"search {query}")
        return [Match("AAPL", "Apple Inc.", "NASDAQ", "equity")][:limit]

    async def news(self, symbol: str, limit: int) -> Sequence[Article]:
        """See `ports.Provider.news`."""
        await self._play(f"news {symbol}")
        return [Article("1", "It rose", "https://news.example/1", "wire", AT_MS, None, (symbol,))][:limit]

    async def _play(self, question: str) -> None:
        self.asked.append(question)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        if step is not None:
            await self._sleep(step)


_: type[Provider] = ScriptedProvider


def down(name: str) -> ProviderUnavailableError:
    """A provider that is out of order."""
    return ProviderUnavailableError(name, "HTTP 503")


def exhausted(name: str) -> ProviderQuotaError:
    """A provider that was asked too often."""
    return ProviderQuotaError(name, "HTTP 429", 60)


def unknown() -> UnknownSymbolError:
    """A provider that does not have a symbol."""
    return UnknownSymbolError("no such symbol")


class Reader:
    """The read side over scripted providers, in the time of a `Timeline`.

    Attributes:
        clock: The time.
        providers: By name.
        service: What is tested.
        cache: Where it keeps answers.
        stats: Its counters.
        known: The newest quotes, as whoever shows prices sees them.
    """

    def __init__(
        self,
        *providers: str,
        spawn: Spawn | None = None,
        cache: Cache | None = None,
        clock: Timeline | None = None,
    ) -> None:
        self.clock = clock or Timeline()
        self.providers = {name: ScriptedProvider(name, sleep=self.clock.sleep) for name in providers}
        self.cache = cache or MemoryCache(clock=self.clock)
        self.stats = ReadStats()
        self.known: dict[str, Answer[ProviderQuote]] = {}
        self.service = build(self, self.clock, spawn or asyncio.ensure_future)

    def __getitem__(self, name: str) -> ScriptedProvider:
        return self.providers[name]

    def script(self, name: str, *steps: Exception | float | None) -> None:
        """Tells a provider what to do from now on."""
        self.providers[name].script = list(steps)


def build(reader: Reader, clock: Clock, spawn: Spawn) -> QueryService:
    """The service that a reader tests; a chance of a half is no jitter at all."""
    inquiry = Inquiry(
        providers=list(reader.providers.values()),
        clock=clock,
        chance=lambda: 0.5,
        stats=reader.stats,
        sleep=reader.clock.sleep,
    )
    return QueryService(
        inquiry=inquiry, cache=reader.cache, clock=clock, spawn=spawn, stats=reader.stats, known=reader.known
    )
