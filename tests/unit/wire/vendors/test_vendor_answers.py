"""Each vendor's answers, as recorded, and its ways to say that there is none."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial

import pytest

from marketstream.core.query.model import Article, Candle, Match, Profile, ProviderQuote
from marketstream.errors import (
    MarketstreamError,
    ProviderDataError,
    ProviderQuotaError,
    ProviderRefusedError,
    UnknownSymbolError,
)
from marketstream.wire.vendors import alpha_vantage, fmp, tiingo, yahoo_rest
from tests.support.vendors import KEY, recorded

TODAY = date(2025, 2, 5)
APPLE_DOES = "Makes telephones, computers and services for them."


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            fmp.quote(recorded("fmp", "quote"), "AAPL"),
            ProviderQuote("AAPL", 232.8, 4.79, 2.1008, 44489128, None, None, 1738702801000, "fmp"),
        ),
        (
            fmp.quote(recorded("fmp", "quote_pair"), "EUR/USD"),
            ProviderQuote("EUR/USD", 1.03792, 0.00339, 0.3277, 88342, None, None, 1738702795000, "fmp"),
        ),
        (
            alpha_vantage.quote(recorded("alpha_vantage", "quote"), "IBM"),
            ProviderQuote(
                "IBM", 264.46, 4.02, 1.5435, 4015287, None, None, ms("2025-02-04"), "alpha_vantage"
            ),
        ),
        (
            tiingo.quote(recorded("tiingo", "quote"), "AAPL"),
            ProviderQuote("AAPL", 232.79, 4.78, 2.0964, 716213, 232.78, 232.82, 1738702799916, "tiingo"),
        ),
        (
            tiingo.quote(recorded("tiingo", "quote_closed"), "AAPL"),
            ProviderQuote("AAPL", 232.8, 4.79, 2.1008, 45067301, None, None, 1738702800000, "tiingo"),
        ),
        (
            yahoo_rest.quote(recorded("yahoo", "quote"), "AAPL"),
            ProviderQuote("AAPL", 232.8, 4.79, 2.1007888, 44897325, 232.74, 232.9, 1738702801000, "yahoo"),
        ),
    ],
    ids=lambda value: value.source,
)
def test_a_quote_is_read(found: ProviderQuote, expected: ProviderQuote) -> None:
    assert found == expected


def test_daily_candles_come_oldest_first_and_only_those_of_the_period() -> None:
    found = fmp.history(recorded("fmp", "daily"), "AAPL", "1mo", "1d", date(2025, 3, 6))
    assert found.candles == (
        Candle(ms("2025-02-03"), 229.99, 231.83, 225.7, 228.01, 73063301),
        Candle(ms("2025-02-04"), 227.2, 233.13, 226.65, 232.8, 44489128),
    )
    assert (found.symbol, found.period, found.interval) == ("AAPL", "1mo", "1d")


def test_weeks_and_months_are_made_of_days() -> None:
    weeks = fmp.history(recorded("fmp", "daily"), "AAPL", "1mo", "1wk", TODAY).candles
    assert weeks == (
        Candle(ms("2025-01-31"), 247.19, 247.19, 233.44, 236, 101075128),
        Candle(ms("2025-02-03"), 229.99, 233.13, 225.7, 232.8, 117552429),
    )
    months = fmp.history(recorded("fmp", "daily"), "AAPL", "1mo", "1mo", TODAY).candles
    assert months == weeks


def test_short_candles_bear_new_yorks_clock_and_a_day_is_the_newest_that_traded() -> None:
    found = fmp.history(recorded("fmp", "chart"), "AAPL", "1d", "5m", TODAY)
    assert found.candles == (
        Candle(ms("2025-02-04T20:50"), 232.33, 232.51, 232.11, 232.25, 840201),
        Candle(ms("2025-02-04T20:55"), 232.25, 232.84, 232.18, 232.79, 1555040),
    )
    assert len(fmp.history(recorded("fmp", "chart"), "AAPL", "5d", "5m", TODAY).candles) == 3


@pytest.mark.parametrize(
    ("name", "interval", "first"),
    [("daily", "1d", "2025-02-03"), ("weekly", "1wk", "2025-01-31"), ("chart", "5m", "2025-02-05T00:50")],
)
def test_alpha_vantages_series_are_read_whatever_they_are_called(
    name: str, interval: str, first: str
) -> None:
    found = alpha_vantage.history(recorded("alpha_vantage", name), "IBM", "1mo", interval, TODAY)
    assert found.candles[0].at_ms == ms(first)
    assert len(found.candles) == 2


@pytest.mark.parametrize(("name", "interval", "close"), [("daily", "1d", 232.8), ("chart", "5m", 232.79)])
def test_tiingos_candles_are_read(name: str, interval: str, close: float) -> None:
    found = tiingo.history(recorded("tiingo", name), "AAPL", "5d", interval, TODAY)
    assert len(found.candles) == 2
    assert found.candles[-1].close == close


def test_a_minute_without_a_trade_is_no_candle_of_yahoos() -> None:
    found = yahoo_rest.history(recorded("yahoo", "chart"), "AAPL", "1d", "5m", TODAY)
    assert found.candles == (
        Candle(1738702200000, 232.33, 232.51, 232.11, 232.25, 840201),
        Candle(1738702500000, 232.25, 232.84, 232.18, 232.79, 1555040),
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            fmp.profile(recorded("fmp", "profile"), "AAPL"),
            Profile(
                *("AAPL", "Apple Inc.", "NASDAQ", "USD", "Technology", "Consumer Electronics"),
                *("https://www.apple.com", APPLE_DOES, 3500823120000, "US"),
            ),
        ),
        (
            alpha_vantage.profile(recorded("alpha_vantage", "profile"), "IBM"),
            Profile(
                *("IBM", "International Business Machines", "NYSE", "USD", "TECHNOLOGY"),
                *("COMPUTER & OFFICE EQUIPMENT", "https://www.ibm.com", "Sells computers and advice."),
                *(244527129000, "USA"),
            ),
        ),
        (
            tiingo.profile(recorded("tiingo", "profile"), "AAPL"),
            Profile("AAPL", "Apple Inc", "NASDAQ", None, None, None, None, APPLE_DOES, None, None),
        ),
        (
            yahoo_rest.profile(recorded("yahoo", "profile"), "AAPL"),
            Profile(
                *("AAPL", "Apple Inc.", "NasdaqGS", "USD", "Technology", "Consumer Electronics"),
                *("https://www.apple.com", APPLE_DOES, 3497225347072, "United States"),
            ),
        ),
    ],
    ids=["fmp", "alpha_vantage", "tiingo", "yahoo"],
)
def test_a_profile_is_read(found: Profile, expected: Profile) -> None:
    assert found == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            fmp.matches(recorded("fmp", "search"), 10),
            (Match("AAPL", "Apple Inc.", "NASDAQ", None), Match("APC.DE", "Apple Inc.", "XETRA", None)),
        ),
        (
            alpha_vantage.matches(recorded("alpha_vantage", "search"), 1),
            (Match("TSCO.LON", "Tesco PLC", "United Kingdom", "Equity"),),
        ),
        (tiingo.matches(recorded("tiingo", "search"), 10), (Match("AAPL", "Apple Inc", None, "Stock"),)),
        (
            yahoo_rest.matches(recorded("yahoo", "search"), 10),
            (
                Match("AAPL", "Apple Inc.", "NASDAQ", "EQUITY"),
                Match("AAPL.NE", "APPLE CDR (CAD HEDGED)", "NEO", "EQUITY"),
            ),
        ),
    ],
    ids=["fmp", "alpha_vantage", "tiingo", "yahoo"],
)
def test_matches_are_read_and_no_more_than_were_asked_for(
    found: tuple[Match, ...], expected: tuple[Match, ...]
) -> None:
    assert found == expected


TITLE, TEXT = "Tariffs and telephones", "What tariffs may cost."
ZACKS = "https://www.zacks.com/stock/news/2408814/tariffs"
EXAMPLE = "https://www.example.com/75014121"
IBM = "https://www.example.com/news/ibm"
YAHOO = "https://finance.yahoo.com/news/tariffs-1.html"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            fmp.news(recorded("fmp", "news"), 10),
            Article(
                *(ZACKS, TITLE, ZACKS, "Zacks Investment Research"),
                ms("2025-02-04T02:05:14"),
                TEXT,
                ("AAPL",),
            ),
        ),
        (
            alpha_vantage.news(recorded("alpha_vantage", "news"), "IBM", 10),
            Article(
                *(IBM, "A quarter better than feared", IBM, "Example News", ms("2025-02-04T12:30")),
                *("Sales of software rose.", ("IBM", "FOREX:USD")),
            ),
        ),
        (
            tiingo.news(recorded("tiingo", "news"), "AAPL", 10),
            Article(
                *("75014121", TITLE, EXAMPLE, "example.com", ms("2025-02-04T14:05"), TEXT, ("AAPL", "MSFT"))
            ),
        ),
        (
            yahoo_rest.news(recorded("yahoo", "search"), 10),
            Article(
                *("0b3f2c6e-0000-3000-8000-000000000001", TITLE, YAHOO, "Example News"),
                *(1738677900000, None, ("AAPL", "^GSPC")),
            ),
        ),
    ],
    ids=["fmp", "alpha_vantage", "tiingo", "yahoo"],
)
def test_news_are_read(found: tuple[Article, ...], expected: Article) -> None:
    assert found == (expected,)


Read = Callable[[bytes], object]
FMP: Read = partial(fmp.quote, symbol="AAPL")
ALPHA: Read = partial(alpha_vantage.quote, symbol="IBM")
TIINGO: Read = partial(tiingo.quote, symbol="AAPL")
YAHOOS: Read = partial(yahoo_rest.quote, symbol="AAPL")
CHART: Read = partial(yahoo_rest.history, symbol="AAPL", period="1d", interval="5m", today=TODAY)


@pytest.mark.parametrize(
    ("vendor", "name", "read", "error"),
    [
        ("fmp", "unknown", FMP, UnknownSymbolError),
        ("fmp", "quota", FMP, ProviderQuotaError),
        ("fmp", "bad_key", FMP, ProviderRefusedError),
        ("fmp", "premium", FMP, ProviderRefusedError),
        ("alpha_vantage", "unknown", ALPHA, UnknownSymbolError),
        (
            "alpha_vantage",
            "unknown_profile",
            partial(alpha_vantage.profile, symbol="X"),
            UnknownSymbolError,
        ),
        ("alpha_vantage", "unknown_series", ALPHA, UnknownSymbolError),
        ("alpha_vantage", "unknown_news", ALPHA, UnknownSymbolError),
        ("alpha_vantage", "unknown_news", partial(alpha_vantage.matches, limit=5), ProviderRefusedError),
        ("alpha_vantage", "note", ALPHA, ProviderQuotaError),
        ("alpha_vantage", "quota", ALPHA, ProviderQuotaError),
        ("alpha_vantage", "premium", ALPHA, ProviderRefusedError),
        ("alpha_vantage", "bad_key", ALPHA, ProviderRefusedError),
        ("tiingo", "unknown", TIINGO, UnknownSymbolError),
        ("tiingo", "not_found", TIINGO, UnknownSymbolError),
        ("tiingo", "quota", TIINGO, ProviderQuotaError),
        ("tiingo", "bad_key", TIINGO, ProviderRefusedError),
        ("yahoo", "unknown", YAHOOS, UnknownSymbolError),
        ("yahoo", "unknown_chart", CHART, UnknownSymbolError),
        ("yahoo", "bad_range", CHART, ProviderRefusedError),
    ],
)
def test_a_vendors_way_to_say_no_is_understood(
    vendor: str, name: str, read: Read, error: type[MarketstreamError]
) -> None:
    with pytest.raises(error) as refused:
        read(recorded(vendor, name))
    assert type(refused.value) is error
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "read", [FMP, ALPHA, TIINGO, YAHOOS], ids=["fmp", "alpha_vantage", "tiingo", "yahoo"]
)
@pytest.mark.parametrize("body", [b"", b"<html>THEKEY123", b"\xff", b"null", b"17", b'"text"', b"[1]"])
def test_nonsense_is_told_as_such_without_being_quoted(read: Read, body: bytes) -> None:
    with pytest.raises(ProviderDataError) as refused:
        read(body)
    assert KEY not in str(refused.value)


def test_an_answer_about_another_symbol_is_not_taken() -> None:
    with pytest.raises(ProviderDataError, match="another symbol"):
        fmp.quote(recorded("fmp", "quote"), "MSFT")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://example.com", "", None, "/news"])
def test_a_link_that_no_browser_should_follow_is_not_handed_on(url: str | None) -> None:
    written = "null" if url is None else f'"{url}"'
    body = f'[{{"title": "T", "url": {written}, "publishedDate": "2025-02-03 21:05:14"}}]'
    assert fmp.news(body.encode(), 10) == ()


def test_no_candle_at_all_is_an_unknown_symbol() -> None:
    with pytest.raises(UnknownSymbolError):
        tiingo.history(b"[]", "NOPE", "1y", "1d", TODAY)
