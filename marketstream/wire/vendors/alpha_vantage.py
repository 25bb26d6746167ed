"""Parse answers of Alpha Vantage.

A fault is one of the keys `Note`, `Information` and `Error Message`; only the words tell which, and a spent
quota is the commonest. An empty object is an unknown symbol. A quote bears a day, not a time.
"""

from datetime import UTC, date
from typing import Any

from marketstream.core.query.model import Article, Candle, History, Match, Profile, ProviderQuote
from marketstream.errors import MarketstreamError, ProviderQuotaError, ProviderRefusedError
from marketstream.wire.vendors import reading
from marketstream.wire.vendors.candle import candle
from marketstream.wire.vendors.candle import history as make_history

NAME = "alpha_vantage"

_SPENT = ("rate limit", "call frequency", "requests per", "calls per")
_UNKNOWN = ("invalid api call", "invalid inputs")
_ZONES = {"US/Eastern": reading.NEW_YORK, "UTC": UTC}


def quote(data: bytes, symbol: str) -> ProviderQuote:
    """Read GLOBAL_QUOTE; the time is the beginning of the trading day that it names."""
    row = _answer(data, symbol).get("Global Quote")
    if row == {}:
        raise reading.unknown(symbol)
    row = reading.table(row)
    reading.check_symbol(NAME, row.get("01. symbol"), symbol)
    return ProviderQuote(
        symbol=symbol,
        price=reading.need(NAME, reading.number(row.get("05. price")), "price"),
        change=reading.number(row.get("09. change")),
        change_percent=reading.number(row.get("10. change percent")),
        volume=reading.number(row.get("06. volume")),
        bid=None,
        ask=None,
        at_ms=reading.need(NAME, reading.instant(row.get("07. latest trading day")), "day"),
        source=NAME,
    )


def history(data: bytes, symbol: str, period: str, interval: str, today: date) -> History:
    """Read TIME_SERIES_DAILY, _WEEKLY, _MONTHLY and _INTRADAY."""
    answer = _answer(data, symbol)
    series = next((value for key, value in answer.items() if "Time Series" in key), None)
    meta = reading.table(answer.get("Meta Data"))
    zone = next((value for key, value in meta.items() if key.endswith("Time Zone")), "US/Eastern")
    where = reading.need(NAME, _ZONES.get(zone) if isinstance(zone, str) else None, "time zone")
    found = [
        _candle(reading.instant(at, where), reading.table(row))
        for at, row in reading.need(NAME, series if isinstance(series, dict) else None, "candles").items()
    ]
    return make_history(symbol, period, interval, found, today)


def profile(data: bytes, symbol: str) -> Profile:
    """Read OVERVIEW."""
    row = _answer(data, symbol)
    if not row:
        raise reading.unknown(symbol)
    reading.check_symbol(NAME, row.get("Symbol"), symbol)
    return Profile(
        symbol=symbol,
        name=reading.text(row.get("Name")),
        exchange=reading.text(row.get("Exchange")),
        currency=reading.text(row.get("Currency")),
        sector=reading.text(row.get("Sector")),
        industry=reading.text(row.get("Industry")),
        website=reading.link(row.get("OfficialSite")),
        description=reading.text(row.get("Description")),
        market_cap=reading.positive(row.get("MarketCapitalization")),
        country=reading.text(row.get("Country")),
    )


def matches(data: bytes, limit: int) -> tuple[Match, ...]:
    """Read SYMBOL_SEARCH, which names a region where others name an exchange."""
    listed = reading.rows(NAME, _answer(data, "").get("bestMatches"), "matches")
    found = (
        reading.match(row.get("1. symbol"), row.get("2. name"), row.get("4. region"), row.get("3. type"))
        for row in listed
    )
    return tuple(each for each in found if each is not None)[:limit]


def news(data: bytes, symbol: str, limit: int) -> tuple[Article, ...]:
    """Read NEWS_SENTIMENT."""
    found = (_article(row) for row in reading.rows(NAME, _answer(data, symbol).get("feed"), "articles"))
    return tuple(each for each in found if each is not None)[:limit]


def _candle(at_ms: int | None, row: dict[str, Any]) -> Candle | None:
    values = (row.get("1. open"), row.get("2. high"), row.get("3. low"), row.get("4. close"))
    return candle(at_ms, values, row.get("5. volume"))


def _article(row: dict[str, Any]) -> Article | None:
    title, url = reading.text(row.get("title")), reading.link(row.get("url"))
    at_ms = reading.instant(row.get("time_published"))
    if title is None or url is None or at_ms is None:
        return None
    listed = row.get("ticker_sentiment")
    about = reading.symbols(
        [reading.table(each).get("ticker") for each in listed] if isinstance(listed, list) else []
    )
    source = reading.text(row.get("source"))
    return Article(url, title, url, source, at_ms, reading.text(row.get("summary")), about)


def _answer(data: bytes, symbol: str) -> dict[str, Any]:
    value = reading.decode(NAME, data)
    answer = reading.need(NAME, value if isinstance(value, dict) else None, "object")
    for key in ("Error Message", "Information", "Note"):
        if key in answer:
            raise _fault(key, str(answer[key]).lower(), symbol)
    return answer


def _fault(key: str, words: str, symbol: str) -> MarketstreamError:
    """Return what a message means.

    Those about quotas may repeat the key, and praise the premium plans too.
    """
    if key == "Note" or any(each in words for each in _SPENT):
        return ProviderQuotaError(NAME, "its quota is spent")
    if symbol and any(each in words for each in _UNKNOWN):
        return reading.unknown(symbol)
    return ProviderRefusedError(NAME, "it refuses the key or the question")
