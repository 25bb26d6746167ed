"""Ask Financial Modeling Prep.

News and candles shorter than a day are not in every plan; it refuses them by status then.
"""

from functools import partial

from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.plugins.provider import ProviderContext, ProviderPlugin
from marketstream.ports import Provider
from marketstream.providers.http import HttpProvider
from marketstream.wire.vendors import fmp
from marketstream.wire.vendors.candle import DAILY, first_day
from marketstream.wire.vendors.naming import require_possible

_CHARTS = {"1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1hour"}


class Fmp(HttpProvider):
    """See `ports.Provider` and `HttpProvider`."""

    name = fmp.NAME

    async def quote(self, symbol: str) -> ProviderQuote:
        """See `ports.Provider.quote`."""
        return await self.ask("/quote", {"symbol": _named(symbol)}, partial(fmp.quote, symbol=symbol))

    async def historical(self, symbol: str, period: str, interval: str) -> History:
        """See `ports.Provider.historical`; candles of weeks and months are made of daily ones."""
        today = self.today()
        daily = interval in DAILY
        path = "/historical-price-eod/full" if daily else f"/historical-chart/{_CHARTS[interval]}"
        params = {
            "symbol": _named(symbol),
            "from": first_day(period, today).isoformat(),
            "to": today.isoformat(),
        }
        read = partial(fmp.history, symbol=symbol, period=period, interval=interval, today=today)
        return await self.ask(path, params, read)

    async def profile(self, symbol: str) -> Profile:
        """See `ports.Provider.profile`."""
        return await self.ask("/profile", {"symbol": _named(symbol)}, partial(fmp.profile, symbol=symbol))

    async def search(self, query: str, limit: int) -> tuple[Match, ...]:
        """See `ports.Provider.search`; words in capitals are taken for the beginning of a symbol."""
        path = "/search-symbol" if query.isupper() else "/search-name"
        return await self.ask(path, {"query": query, "limit": str(limit)}, partial(fmp.matches, limit=limit))

    async def news(self, symbol: str, limit: int) -> tuple[Article, ...]:
        """See `ports.Provider.news`."""
        params = {"symbols": _named(symbol), "limit": str(limit)}
        return await self.ask("/news/stock", params, partial(fmp.news, limit=limit))


def _named(symbol: str) -> str:
    """As it is called there: currency pairs without the slash."""
    return require_possible(symbol).replace("/", "")


_: type[Provider] = Fmp


def _build(context: ProviderContext) -> Fmp:
    return Fmp.of(context, "FINANCIAL_MODELING_PREP_API_KEY", "https://financialmodelingprep.com/stable")


PLUGIN = ProviderPlugin(_build)
