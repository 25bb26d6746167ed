"""Ask Tiingo.

Classes of shares are written with a hyphen there. Currency pairs, indices and futures are refused without
asking. News are not in every plan; it refuses them by status then.
"""

import re
from collections.abc import Mapping
from functools import partial

from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.errors import ProviderRefusedError
from marketstream.plugins.provider import ProviderContext, ProviderPlugin
from marketstream.ports import Provider
from marketstream.providers.http import HttpProvider, Question
from marketstream.wire.vendors import tiingo
from marketstream.wire.vendors.candle import DAILY, first_day
from marketstream.wire.vendors.naming import require_possible

_SHARE = re.compile(r"[A-Z0-9][A-Z0-9.\-]*")
_SAMPLES = {"1d": "daily", "1wk": "weekly", "1mo": "monthly"}
_CHARTS = {"1m": "1min", "5m": "5min", "15m": "15min", "30m": "30min", "1h": "1hour"}


class Tiingo(HttpProvider):
    """See `ports.Provider` and `HttpProvider`."""

    name = tiingo.NAME

    async def quote(self, symbol: str) -> ProviderQuote:
        """See `ports.Provider.quote`."""
        return await self.ask(f"/iex/{_named(symbol)}", {}, partial(tiingo.quote, symbol=symbol))

    async def historical(self, symbol: str, period: str, interval: str) -> History:
        """See `ports.Provider.historical`."""
        today = self.today()
        start = {"startDate": first_day(period, today).isoformat()}
        if interval in DAILY:
            path, params = f"/tiingo/daily/{_named(symbol)}/prices", {"resampleFreq": _SAMPLES[interval]}
        else:
            path = f"/iex/{_named(symbol)}/prices"
            params = {"resampleFreq": _CHARTS[interval], "columns": "open,high,low,close,volume"}
        read = partial(tiingo.history, symbol=symbol, period=period, interval=interval, today=today)
        return await self.ask(path, start | params, read)

    async def profile(self, symbol: str) -> Profile:
        """See `ports.Provider.profile`."""
        return await self.ask(f"/tiingo/daily/{_named(symbol)}", {}, partial(tiingo.profile, symbol=symbol))

    async def search(self, query: str, limit: int) -> tuple[Match, ...]:
        """See `ports.Provider.search`."""
        params = {"query": query, "limit": str(limit)}
        return await self.ask("/tiingo/utilities/search", params, partial(tiingo.matches, limit=limit))

    async def news(self, symbol: str, limit: int) -> tuple[Article, ...]:
        """See `ports.Provider.news`."""
        params = {"tickers": _named(symbol), "limit": str(limit)}
        return await self.ask("/tiingo/news", params, partial(tiingo.news, symbol=symbol, limit=limit))

    def _question(self, path: str, params: Mapping[str, str], key: str) -> Question:
        headers = {"Authorization": f"Token {key}"}
        return Question(self._base_url + path, params, headers, reads_not_found=True)


def _named(symbol: str) -> str:
    """As it is called there; what is let through is safe in a path."""
    if not _SHARE.fullmatch(symbol):
        raise ProviderRefusedError(tiingo.NAME, "it is asked for shares and funds only")
    return require_possible(symbol).replace(".", "-")


_: type[Provider] = Tiingo


def _build(context: ProviderContext) -> Tiingo:
    return Tiingo.of(context, "TIINGO_API_KEY", "https://api.tiingo.com")


PLUGIN = ProviderPlugin(_build)
