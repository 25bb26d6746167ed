"""Parse answers of Financial Modeling Prep.

An empty list is an unknown symbol. A fault is an object with `Error Message`, at times with status 200; only
its words tell a spent quota from a question that the plan does not cover.
"""

from datetime import date
from typing import Any

from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.errors import ProviderError, ProviderQuotaError, ProviderRefusedError
from marketstream.wire.vendors import reading
from marketstream.wire.vendors.candle import DAILY, candle, longer
from marketstream.wire.vendors.candle import history as make_history

NAME = "fmp"


def quote(data: bytes, symbol: str) -> ProviderQuote:
    """Read `/quote`."""
    row = _only(data, symbol)
    return ProviderQuote(
        symbol=symbol,
        price=reading.need(NAME, reading.number(row.get("price")), "price"),
        change=reading.number(row.get("change")),
        change_percent=reading.number(row.get("changePercentage", row.get("changesPercentage"))),
        volume=reading.number(row.get("volume")),
        bid=None,
        ask=None,
        at_ms=reading.need(NAME, reading.moment(row.get("timestamp")), "time"),
        source=NAME,
    )


def history(data: bytes, symbol: str, period: str, interval: str, today: date) -> History:
    """Read `/historical-price-eod/full`, or `/historical-chart/...` for candles shorter than a day."""
    found = [
        candle(
            reading.instant(row.get("date"), reading.NEW_YORK),
            (row.get("open"), row.get("high"), row.get("low"), row.get("close")),
            row.get("volume"),
        )
        for row in _rows(data, "candles")
    ]
    whole = longer(found, interval) if interval in DAILY else found
    return make_history(symbol, period, interval, whole, today)


def profile(data: bytes, symbol: str) -> Profile:
    """Read `/profile`."""
    row = _only(data, symbol)
    return Profile(
        symbol=symbol,
        name=reading.text(row.get("companyName")),
        exchange=reading.text(row.get("exchange")),
        currency=reading.text(row.get("currency")),
        sector=reading.text(row.get("sector")),
        industry=reading.text(row.get("industry")),
        website=reading.link(row.get("website")),
        description=reading.text(row.get("description")),
        market_cap=reading.positive(row.get("marketCap")),
        country=reading.text(row.get("country")),
    )


def matches(data: bytes, limit: int) -> tuple[Match, ...]:
    """Read `/search-symbol` and `/search-name`, which do not say what kind a symbol is of."""
    found = (
        reading.match(row.get("symbol"), row.get("name"), row.get("exchange"), None)
        for row in _rows(data, "matches")
    )
    return tuple(each for each in found if each is not None)[:limit]


def news(data: bytes, limit: int) -> tuple[Article, ...]:
    """Read `/news/stock`."""
    found = (_article(row) for row in _rows(data, "articles"))
    return tuple(each for each in found if each is not None)[:limit]


def _article(row: dict[str, Any]) -> Article | None:
    title, url = reading.text(row.get("title")), reading.link(row.get("url"))
    at_ms = reading.instant(row.get("publishedDate"), reading.NEW_YORK)
    if title is None or url is None or at_ms is None:
        return None
    source = reading.text(row.get("publisher")) or reading.text(row.get("site"))
    about = reading.symbols([row.get("symbol")])
    return Article(url, title, url, source, at_ms, reading.text(row.get("text")), about)


def _only(data: bytes, symbol: str) -> dict[str, Any]:
    found = _rows(data, "rows")
    if not found:
        raise reading.unknown(symbol)
    reading.check_symbol(NAME, found[0].get("symbol"), symbol)
    return found[0]


def _rows(data: bytes, what: str) -> list[dict[str, Any]]:
    value = reading.decode(NAME, data)
    if isinstance(value, dict) and "Error Message" in value:
        raise _fault(str(value["Error Message"]))
    return reading.rows(NAME, value, what)


def _fault(words: str) -> ProviderError:
    if "limit reach" in words.lower():  # other messages speak of the parameter `limit`
        return ProviderQuotaError(NAME, "its quota is spent")
    return ProviderRefusedError(NAME, "it refuses the key or the question")
