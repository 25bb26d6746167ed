"""Answer questions from the synthetic market, as a provider.

Promises that its answers fit each other and the synthetic feed: a quote is the newest best price where there
is one, its change is against the last daily candle's close of yesterday, and the candle of today ends where
the quote is. It knows the symbols of its directory, those it was named, and those that have a price.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from marketstream.core.query.history import DAY_MS, interval_ms, period_ms
from marketstream.core.query.model import Article, Candle, History, Match, Profile, ProviderQuote
from marketstream.engine.delivery.quotes import Newest
from marketstream.errors import ProviderUnavailableError, UnavailableError, UnknownSymbolError
from marketstream.feeds.directory import DIRECTORY, entry_of
from marketstream.feeds.instrument import KNOWN
from marketstream.feeds.past import Past
from marketstream.plugins.provider import ProviderContext, ProviderPlugin
from marketstream.ports import Clock, Provider

_NEWS_EVERY_MS = DAY_MS // 4


class SyntheticProvider:
    """See `ports.Provider`.

    Args:
        clock: Time.
        newest: The newest public best price of a symbol, if it has one.
        symbols: Symbols to know besides those of the directory.
        seed: Same seed, same answers at the same time.
    """

    name = "synthetic"
    offers = frozenset({"quote", "historical", "profile", "search", "news"})
    configured = True

    def __init__(
        self,
        *,
        clock: Clock,
        newest: Callable[[str], Awaitable[Newest | None]],
        symbols: Iterable[str] = (),
        seed: int = 7,
    ) -> None:
        self._clock = clock
        self._newest = newest
        self._seed = seed
        self._known = tuple(dict.fromkeys([*DIRECTORY, *KNOWN, *symbols]))

    async def quote(self, symbol: str) -> ProviderQuote:
        """See `ports.Provider.quote`."""
        past, newest = await self._find(symbol)
        return self._quote(symbol, past, newest)

    async def historical(self, symbol: str, period: str, interval: str) -> History:
        """See `ports.Provider.historical`."""
        past, newest = await self._find(symbol)
        now = self._clock.wall_ms()
        step = interval_ms(interval)
        candles = list(past.candles(now - period_ms(period, now), now, step))
        if newest is not None and candles:
            candles[-1] = _ending(candles[-1], newest.price)
        return History(symbol, period, interval, tuple(candles))

    async def profile(self, symbol: str) -> Profile:
        """See `ports.Provider.profile`."""
        past, newest = await self._find(symbol)
        entry = entry_of(symbol)
        price = self._quote(symbol, past, newest).price
        company = entry.type == "equity"
        return Profile(
            symbol=symbol,
            name=entry.name,
            exchange=entry.exchange,
            currency=symbol.partition("/")[2] or "USD",
            sector=entry.sector,
            industry=entry.industry,
            website=None,
            description=f"{entry.name}, as the synthetic market makes it up: no figure here is real.",
            market_cap=round(price * past.shares, 0) if company else None,
            country="United States" if symbol in DIRECTORY and company else None,
        )

    async def search(self, query: str, limit: int) -> Sequence[Match]:
        """See `ports.Provider.search`: symbols and names that hold the words, beginnings first."""
        words = query.casefold().strip()
        ranked = []
        for symbol in self._known:
            entry = entry_of(symbol)
            symbol_at, name_at = symbol.casefold().find(words), entry.name.casefold().find(words)
            if symbol_at >= 0 or name_at >= 0:
                rank = 0 if symbol_at == 0 else 1 if name_at == 0 else 2
                ranked.append((rank, symbol, Match(symbol, entry.name, entry.exchange, entry.type)))
        return [match for _, _, match in sorted(ranked, key=lambda item: item[:2])[:limit]]

    async def news(self, symbol: str, limit: int) -> Sequence[Article]:
        """See `ports.Provider.news`: four a day, each about the day before it."""
        past, _ = await self._find(symbol)
        newest = self._clock.wall_ms() // _NEWS_EVERY_MS * _NEWS_EVERY_MS
        return [self._article(symbol, past, newest - number * _NEWS_EVERY_MS) for number in range(limit)]

    async def aclose(self) -> None:
        """See `ports.Provider.aclose`: there is nothing to let go of."""

    async def _find(self, symbol: str) -> tuple[Past, Newest | None]:
        try:
            newest = await self._newest(symbol)
        except UnavailableError as error:
            # What is known may be old, and to make something up would be worse.
            raise ProviderUnavailableError(self.name, str(error)) from error
        if newest is None and symbol not in self._known:
            raise UnknownSymbolError(f"{symbol}: the synthetic market does not have it")
        return Past(symbol, self._seed), newest

    def _quote(self, symbol: str, past: Past, newest: Newest | None) -> ProviderQuote:
        now, decimals = self._clock.wall_ms(), past.instrument.decimals
        before = past.close_before(now)
        if newest is None:
            price = past.price(now)
            half = past.instrument.spread / 2 / 10**decimals
            newest = Newest(price, round(price - half, decimals), round(price + half, decimals), now)
        change = newest.price - before
        return ProviderQuote(
            symbol=symbol,
            price=newest.price,
            change=round(change, decimals + 1),
            change_percent=round(100 * change / before, 4),
            volume=past.volume(now // DAY_MS * DAY_MS, now),
            bid=newest.bid,
            ask=newest.ask,
            at_ms=newest.at_ms,
            source=self.name,
        )

    def _article(self, symbol: str, past: Past, at_ms: int) -> Article:
        now, before = past.price(at_ms), past.price(at_ms - DAY_MS)
        percent = 100 * (now - before) / before
        moved = "rises" if percent > 0 else "falls"
        return Article(
            id=f"{symbol}-{at_ms}",
            title=f"{entry_of(symbol).name} {moved} {abs(percent):.1f} % within a day",
            url=f"https://example.com/synthetic/{symbol.replace('/', '-').replace('^', '')}/{at_ms}",
            source=self.name,
            published_ms=at_ms,
            summary=f"From {before:g} to {now:g}. This is the synthetic market: nothing happened.",
            symbols=(symbol,),
        )


def _ending(candle: Candle, price: float) -> Candle:
    """Return the same candle, as far as it has come."""
    low, high = min(candle.low, price), max(candle.high, price)
    return Candle(candle.at_ms, candle.open, high, low, price, candle.volume)


_: type[Provider] = SyntheticProvider


def _build(context: ProviderContext) -> SyntheticProvider:
    return SyntheticProvider(clock=context.clock, newest=context.newest, symbols=context.symbols)


PLUGIN = ProviderPlugin(_build)
