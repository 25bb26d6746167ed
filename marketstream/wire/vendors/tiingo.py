"""Parse answers of Tiingo.

An unknown symbol is an empty list of prices, or status 404. A bid or an ask of 0 means that there is none.
"""

from datetime import date
from typing import Any

from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.errors import MarketstreamError, ProviderQuotaError, ProviderRefusedError
from marketstream.wire.vendors import reading
from marketstream.wire.vendors.candle import candle
from marketstream.wire.vendors.candle import history as make_history

NAME = "tiingo"


def quote(data: bytes, symbol: str) -> ProviderQuote:
    """Read `/iex/{symbol}`; how far the price moved is worked out from the close before."""
    found = reading.rows(NAME, _answer(data, symbol), "prices")
    if not found:
        raise reading.unknown(symbol)
    row = found[0]
    reading.check_symbol(NAME, row.get("ticker"), symbol)
    last = reading.number(row.get("tngoLast"))
    price = reading.need(NAME, reading.number(row.get("last")) if last is None else last, "price")
    change, percent = reading.moved(price, reading.number(row.get("prevClose")))
    return ProviderQuote(
        symbol=symbol,
        price=price,
        change=change,
        change_percent=percent,
        volume=reading.number(row.get("volume")),
        bid=reading.positive(row.get("bidPrice")),
        ask=reading.positive(row.get("askPrice")),
        at_ms=reading.need(NAME, reading.instant(row.get("timestamp")), "time"),
        source=NAME,
    )


def history(data: bytes, symbol: str, period: str, interval: str, today: date) -> History:
    """Read `/tiingo/daily/{symbol}/prices`, or `/iex/{symbol}/prices` for candles shorter than a day."""
    found = [
        candle(
            reading.instant(row.get("date")),
            (row.get("open"), row.get("high"), row.get("low"), row.get("close")),
            row.get("volume"),
        )
        for row in reading.rows(NAME, _answer(data, symbol), "candles")
    ]
    return make_history(symbol, period, interval, found, today)


def profile(data: bytes, symbol: str) -> Profile:
    """Read `/tiingo/daily/{symbol}`, which knows little of who is behind a symbol."""
    answer = _answer(data, symbol)
    row = reading.need(NAME, answer if isinstance(answer, dict) else None, "object")
    reading.check_symbol(NAME, row.get("ticker"), symbol)
    return Profile(
        symbol=symbol,
        name=reading.text(row.get("name")),
        exchange=reading.text(row.get("exchangeCode")),
        currency=None,
        sector=None,
        industry=None,
        website=None,
        description=reading.text(row.get("description")),
        market_cap=None,
        country=None,
    )


def matches(data: bytes, limit: int) -> tuple[Match, ...]:
    """Read `/tiingo/utilities/search`; what is not traded any more is left out."""
    found = (
        reading.match(row.get("ticker"), row.get("name"), None, row.get("assetType"))
        for row in reading.rows(NAME, _answer(data, ""), "matches")
        if row.get("isActive") is not False
    )
    return tuple(each for each in found if each is not None)[:limit]


def news(data: bytes, symbol: str, limit: int) -> tuple[Article, ...]:
    """Read `/tiingo/news`."""
    found = (_article(row) for row in reading.rows(NAME, _answer(data, symbol), "articles"))
    return tuple(each for each in found if each is not None)[:limit]


def _article(row: dict[str, Any]) -> Article | None:
    title, url = reading.text(row.get("title")), reading.link(row.get("url"))
    at_ms, number = reading.instant(row.get("publishedDate")), row.get("id")
    if title is None or url is None or at_ms is None:
        return None
    return Article(
        str(number) if isinstance(number, int | str) else url,
        title,
        url,
        reading.text(row.get("source")),
        at_ms,
        reading.text(row.get("description")),
        reading.symbols(row.get("tickers")),
    )


def _answer(data: bytes, symbol: str) -> Any:  # noqa: ANN401  # an object or a list, by the question
    answer = reading.decode(NAME, data)
    if isinstance(answer, dict) and "detail" in answer:
        raise _fault(str(answer["detail"]).lower(), symbol)
    return answer


def _fault(words: str, symbol: str) -> MarketstreamError:
    if "allocation" in words or "limit" in words:
        return ProviderQuotaError(NAME, "its quota is spent")
    if "not found" in words and symbol:
        return reading.unknown(symbol)
    return ProviderRefusedError(NAME, "it refuses the key or the question")
