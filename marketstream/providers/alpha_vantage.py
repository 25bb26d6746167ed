"""Ask Alpha Vantage.

Its quotes bear a day and no time, and few of them are free: a last resort. Currency pairs, indices and
futures are refused without asking.
"""

import re
from functools import partial

from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.errors import ProviderRefusedError
from marketstream.plugins.provider import ProviderContext, ProviderPlugin
from marketstream.ports import Provider
from marketstream.providers.http import HttpProvider
from marketstream.wire.vendors import alpha_vantage
from marketstream.wire.vendors.candle import DAILY
from marketstream.wire.vendors.naming import require_possible

_SHARE = re.compile(r"[A-Z0-9.\-]+")
_SERIES = {"1d": "TIME_SERIES_DAILY", "1wk": "TIME_SERIES_WEEKLY", "1mo": "TIME_SERIES_MONTHLY"}
_CHARTS = {"1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "60min"}
_COMPACT = frozenset(("1d", "5d", "1mo", "3mo"))  # a hundred candles are free, and enough for these


class AlphaVantage(HttpProvider):
    """See `ports.Provider` and `HttpProvider`."""

    name = alpha_vantage.NAME

    async def quote(self, symbol: str) -> ProviderQuote:
        """See `ports.Provider.quote`."""
        params = {"function": "GLOBAL_QUOTE", "symbol": _named(symbol)}
        return await self.ask("/query", params, partial(alpha_vantage.quote, symbol=symbol))

    async def historical(self, symbol: str, period: str, interval: str) -> History:
        """See `ports.Provider.historical`; long periods and short intervals need a paid plan."""
        size = {"outputsize": "compact" if period in _COMPACT and interval == "1d" else "full"}
        if interval in DAILY:
            params = {"function": _SERIES[interval]} | (size if interval == "1d" else {})
        else:
            params = {"function": "TIME_SERIES_INTRADAY", "interval": _CHARTS[interval], **size}
        read = partial(
            alpha_vantage.history, symbol=symbol, period=period, interval=interval, today=self.today()
        )
        return await self.ask("/query", {"symbol": _named(symbol), **params}, read)

    async def profile(self, symbol: str) -> Profile:
        """See `ports.Provider.profile`."""
        params = {"function": "OVERVIEW", "symbol": _named(symbol)}
        return await self.ask("/query", params, partial(alpha_vantage.profile, symbol=symbol))

    async def search(self, query: str, limit: int) -> tuple[Match, ...]:
        """See `ports.Provider.search`."""
        params = {"function": "SYMBOL_SEARCH", "keywords": query}
        return await self.ask("/query", params, partial(alpha_vantage.matches, limit=limit))

    async def news(self, symbol: str, limit: int) -> tuple[Article, ...]:
        """See `ports.Provider.news`."""
        params = {"function": "NEWS_SENTIMENT", "tickers": _named(symbol), "limit": str(limit)}
        return await self.ask("/query", params, partial(alpha_vantage.news, symbol=symbol, limit=limit))


def _named(symbol: str) -> str:
    if not _SHARE.fullmatch(symbol):
        raise ProviderRefusedError(alpha_vantage.NAME, "it is asked for shares and funds only")
    return require_possible(symbol)


_: type[Provider] = AlphaVantage


def _build(context: ProviderContext) -> AlphaVantage:
    return AlphaVantage.of(context, "ALPHA_VANTAGE_API_KEY", "https://www.alphavantage.co")


PLUGIN = ProviderPlugin(_build)
