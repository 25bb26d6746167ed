"""Parse answers of Yahoo Finance to single questions.

None of it is documented by Yahoo. An unknown symbol is an empty `result`, or an `error` whose code is `Not
Found`; a candle without a trade is a null in each list.
"""

from datetime import date
from itertools import chain, repeat
from typing import Any

from marketstream.core.query.model import Article, Candle, History, Match, Profile, ProviderQuote
from marketstream.errors import ProviderRefusedError
from marketstream.wire.vendors import reading
from marketstream.wire.vendors.candle import candle
from marketstream.wire.vendors.candle import history as make_history

NAME = "yahoo"


def quote(data: bytes, symbol: str) -> ProviderQuote:
    """Read `/v7/finance/quote`."""
    row = _first(data, "quoteResponse", symbol)
    found = reading.text(row.get("symbol")) or ""
    # A currency pair is marked there, whether or not it was asked for like that.
    reading.check_symbol(NAME, found.removesuffix("=X"), symbol.removesuffix("=X"))
    return ProviderQuote(
        symbol=symbol,
        price=reading.need(NAME, reading.number(row.get("regularMarketPrice")), "price"),
        change=reading.number(row.get("regularMarketChange")),
        change_percent=reading.number(row.get("regularMarketChangePercent")),
        volume=reading.number(row.get("regularMarketVolume")),
        bid=reading.positive(row.get("bid")),
        ask=reading.positive(row.get("ask")),
        at_ms=reading.need(NAME, reading.moment(row.get("regularMarketTime")), "time"),
        source=NAME,
    )


def history(data: bytes, symbol: str, period: str, interval: str, today: date) -> History:
    """Read `/v8/finance/chart/{symbol}`."""
    row = _first(data, "chart", symbol)
    listed = reading.table(row.get("indicators")).get("quote")
    prices = reading.table(listed[0]) if isinstance(listed, list) and listed else {}
    times = row.get("timestamp")
    return make_history(symbol, period, interval, _candles(times, prices), today)


def profile(data: bytes, symbol: str) -> Profile:
    """Read the modules `assetProfile` and `price` of `/v10/finance/quoteSummary/{symbol}`."""
    row = _first(data, "quoteSummary", symbol)
    price, asset = reading.table(row.get("price")), reading.table(row.get("assetProfile"))
    return Profile(
        symbol=symbol,
        name=reading.text(price.get("longName")) or reading.text(price.get("shortName")),
        exchange=reading.text(price.get("exchangeName")),
        currency=reading.text(price.get("currency")),
        sector=reading.text(asset.get("sector")),
        industry=reading.text(asset.get("industry")),
        website=reading.link(asset.get("website")),
        description=reading.text(asset.get("longBusinessSummary")),
        market_cap=reading.positive(_raw(price.get("marketCap"))),
        country=reading.text(asset.get("country")),
    )


def matches(data: bytes, limit: int) -> tuple[Match, ...]:
    """Read the quotes of `/v1/finance/search`."""
    answer = reading.table(reading.decode(NAME, data))
    found = (
        reading.match(
            row.get("symbol"),
            row.get("longname") or row.get("shortname"),
            row.get("exchDisp") or row.get("exchange"),
            row.get("quoteType"),
        )
        for row in reading.rows(NAME, answer.get("quotes"), "matches")
    )
    return tuple(each for each in found if each is not None)[:limit]


def news(data: bytes, limit: int) -> tuple[Article, ...]:
    """Read the news of `/v1/finance/search`."""
    answer = reading.table(reading.decode(NAME, data))
    found = (_article(row) for row in reading.rows(NAME, answer.get("news"), "articles"))
    return tuple(each for each in found if each is not None)[:limit]


def _candles(times: object, prices: dict[str, Any]) -> list[Candle | None]:
    columns = []
    for name in ("open", "high", "low", "close", "volume"):
        column = prices.get(name)
        columns.append(chain(column if isinstance(column, list) else [], repeat(None)))
    if not isinstance(times, list):
        return []
    return [
        candle(reading.moment(at), (opened, high, low, close), volume)
        for at, opened, high, low, close, volume in zip(times, *columns, strict=False)
    ]


def _article(row: dict[str, Any]) -> Article | None:
    title, url = reading.text(row.get("title")), reading.link(row.get("link"))
    at_ms = reading.moment(row.get("providerPublishTime"))
    if title is None or url is None or at_ms is None:
        return None
    about = reading.symbols(row.get("relatedTickers"))
    source = reading.text(row.get("publisher"))
    return Article(reading.text(row.get("uuid")) or url, title, url, source, at_ms, None, about)


def _first(data: bytes, name: str, symbol: str) -> dict[str, Any]:
    answer = reading.decode(NAME, data)
    outer = reading.table(answer).get(name)
    body = reading.need(NAME, outer if isinstance(outer, dict) else None, name)
    fault = body.get("error")
    if fault is not None:
        if reading.table(fault).get("code") == "Not Found":
            raise reading.unknown(symbol)
        raise ProviderRefusedError(NAME, "it refuses the question")
    found = reading.rows(NAME, body.get("result"), "results")
    if not found:
        raise reading.unknown(symbol)
    return found[0]


def _raw(value: object) -> object:
    """Return a number that Yahoo wraps with a readable form of it, or leaves bare."""
    return value.get("raw") if isinstance(value, dict) else value
