"""Define what providers answer: quotes, candles, profiles, matches, articles.

All providers speak in these. Prices are in the symbol's currency, percentages are percent (1.5 is 1.5 %),
times are epoch milliseconds; what a provider does not have is None. Nothing here is ever changed.
"""

from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar, get_args

T = TypeVar("T")

Period = Literal["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"]
"""How far a history goes back."""

Interval = Literal["1m", "5m", "15m", "30m", "1h", "1d", "1wk", "1mo"]
"""Length of one candle of a history."""

PERIODS: Final[tuple[str, ...]] = get_args(Period)
INTERVALS: Final[tuple[str, ...]] = get_args(Interval)


@dataclass(frozen=True, slots=True)
class ProviderQuote:
    """The price of a symbol and how it moved since the close before.

    Attributes:
        symbol: Upper-case symbol.
        price: Newest price.
        change: Price minus the close before.
        change_percent: The same in percent of that close.
        volume: Traded today.
        bid: Best bid.
        ask: Best ask.
        at_ms: Time of the price.
        source: Name of the provider.
    """

    symbol: str
    price: float
    change: float | None
    change_percent: float | None
    volume: float | None
    bid: float | None
    ask: float | None
    at_ms: int
    source: str


@dataclass(frozen=True, slots=True)
class Candle:
    """How a price moved from one moment to the beginning of the next candle."""

    at_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None


@dataclass(frozen=True, slots=True)
class History:
    """Candles, oldest first.

    Attributes:
        symbol: Upper-case symbol.
        period: One of `PERIODS`.
        interval: One of `INTERVALS`.
        candles: With rising times.
    """

    symbol: str
    period: str
    interval: str
    candles: tuple[Candle, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """Who is behind a symbol."""

    symbol: str
    name: str | None
    exchange: str | None
    currency: str | None
    sector: str | None
    industry: str | None
    website: str | None
    description: str | None
    market_cap: float | None
    country: str | None


@dataclass(frozen=True, slots=True)
class Match:
    """One answer of a search; `type` is a word of the provider's, such as `equity`."""

    symbol: str
    name: str
    exchange: str | None
    type: str | None


@dataclass(frozen=True, slots=True)
class Article:
    """One piece of news.

    Attributes:
        id: The provider's name of it.
        title: Headline.
        url: Where it is.
        source: Who wrote it.
        published_ms: When.
        summary: A few sentences.
        symbols: Upper-case symbols that it is about.
    """

    id: str
    title: str
    url: str
    source: str | None
    published_ms: int
    summary: str | None
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """An answer and how good it is.

    Attributes:
        value: The answer.
        source: Who gave it: a provider, several joined by `+`, or `cache` for one that only stands in.
        at_ms: When it was given, epoch milliseconds.
        attempts: How often providers were asked for it now; 0: it was remembered.
        warning: None, `external_api_timeout` or `all_providers_failed`.
        fresh_for: Seconds after `at_ms` for which there will be no newer one.
        body: The bytes that the cache keeps of value, source, time and warning; empty where it keeps none.
    """

    value: T
    source: str
    at_ms: int
    attempts: int = 0
    warning: str | None = None
    fresh_for: float = 0.0
    body: bytes = b""
