"""Define the shapes of the reading endpoints.

Names on the wire are camelCase, but for the five that say where an answer came from and how old it is.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from marketstream.core.number import whole
from marketstream.core.query.model import Article, Candle, Interval, Match, Period, ProviderQuote
from marketstream.core.query.overview import Listed, Movement
from marketstream.core.query.sentiment import Sentiment


def _plain(value: object) -> object:
    """Return a number of a query, which is text; a body has it as a number."""
    return whole(value) if isinstance(value, str) else value


Limit = Annotated[int, BeforeValidator(_plain), Field(ge=1, le=50)]


class Shape(BaseModel):
    """A message: never changed once made."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Origin(Shape):
    """Where an answer came from, how old it is, and what is wrong with it."""

    data_source: Annotated[str, Field(alias="data_source", description="a provider, several, or `cache`")]
    status: Literal["ok", "partial_data"]
    last_updated: Annotated[
        str, Field(alias="last_updated", description="ISO 8601", json_schema_extra={"format": "date-time"})
    ]
    age_seconds: Annotated[float, Field(alias="age_seconds", ge=0)]
    retry_attempts: Annotated[int, Field(alias="retry_attempts", ge=0)]
    warning: (
        Literal["external_api_timeout", "all_providers_failed", "stale", "no_feed", "bus_lost"] | None
    ) = None


# Queries and bodies


class MoversQuery(Shape):
    """Which movers."""

    type: Movement = "gainers"


class HistoricalQuery(Shape):
    """How far back, and how fine."""

    period: Period = "1y"
    interval: Interval = "1d"


class NewsQuery(Shape):
    """How many articles."""

    limit: Limit = 10


class SearchBody(Shape):
    """What to look for."""

    query: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
    limit: Limit = 10


# Answers


class Movable(Shape):
    """A price and how it moved since the close before."""

    symbol: str
    price: float
    change: float | None
    change_percent: float | None
    volume: float | None
    timestamp: Annotated[int, Field(description="epoch milliseconds")]


class QuoteBody(Shape):
    """The quote of a symbol, without its origin."""

    symbol: str
    price: float
    change: float | None
    change_percent: float | None
    volume: float | None
    bid: float | None = None
    ask: float | None = None
    timestamp: Annotated[int, Field(description="epoch milliseconds")]


class QuoteAnswer(Origin, QuoteBody):
    """The quote of a symbol."""


class Name(Shape):
    """What people know a symbol by."""

    name: str


class Named(Movable, Name):
    """A price under the name that people know it by."""


class IndicesBody(Shape):
    """Indices in the order of the server's configuration."""

    indices: list[Named]


class IndicesAnswer(Origin, IndicesBody):
    """Indices."""


class SectorsBody(Shape):
    """What stands for each sector."""

    sectors: list[Named]


class SectorsAnswer(Origin, SectorsBody):
    """Sectors."""


class MoversBody(Shape):
    """Popular symbols that moved most, the first the most."""

    type: Movement
    movers: list[Movable]


class MoversAnswer(Origin, MoversBody):
    """Movers."""


class SentimentBody(Shape):
    """The mood of the popular symbols."""

    score: Annotated[float, Field(ge=0, le=100)]
    label: Literal["very bearish", "bearish", "neutral", "bullish", "very bullish"]
    advancers: int
    decliners: int
    unchanged: int
    mean_change_percent: float


class SentimentAnswer(Origin, SentimentBody):
    """The mood and its origin."""


class MoversLists(Shape):
    """All three kinds of movers."""

    gainers: list[Movable]
    losers: list[Movable]
    active: list[Movable]


class OverviewBody(Shape):
    """Everything at once; a part is null when it could not be had."""

    indices: list[Named] | None
    sectors: list[Named] | None
    movers: MoversLists | None
    sentiment: SentimentBody | None


class OverviewAnswer(Origin, OverviewBody):
    """The market as a whole."""


class CandleBody(Shape):
    """One candle; `timestamp` is its beginning."""

    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None


class HistoricalBody(Shape):
    """Candles, oldest first."""

    symbol: str
    period: Period
    interval: Interval
    candles: list[CandleBody]


class HistoricalAnswer(Origin, HistoricalBody):
    """Candles and their origin."""


class ProfileBody(Shape):
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


class ProfileAnswer(Origin, ProfileBody):
    """A profile and its origin."""


class ArticleBody(Shape):
    """One piece of news."""

    id: str
    title: str
    url: str
    source: str | None
    published_at: Annotated[int, Field(description="epoch milliseconds")]
    summary: str | None
    symbols: list[str]


class NewsBody(Shape):
    """News about a symbol, newest first."""

    symbol: str
    articles: list[ArticleBody]


class NewsAnswer(Origin, NewsBody):
    """News and their origin."""


class MatchBody(Shape):
    """One symbol that fits."""

    symbol: str
    name: str
    exchange: str | None
    type: str | None


class SearchResult(Shape):
    """Symbols that fit, best first."""

    query: str
    results: list[MatchBody]


class SearchAnswer(Origin, SearchResult):
    """Matches and their origin."""


class ProviderBody(Shape):
    """One provider, as this process sees it."""

    name: str
    status: Literal["configured", "unconfigured"]
    offers: list[str]
    requests: Annotated[int, Field(description="attempts since this process started")]
    failures: Annotated[int, Field(description="those of them that brought no answer")]


class ProvidersAnswer(Shape):
    """Providers in the order in which they are asked."""

    providers: list[ProviderBody]


class CacheAnswer(Shape):
    """The cache, as this process sees it."""

    backend: Literal["memory", "redis"]
    connected: bool
    entries: Annotated[int | None, Field(description="null where others share it")]
    hits: int
    misses: int
    fallbacks: Annotated[int, Field(description="old values that stood in")]
    hit_ratio: float


class ErrorBody(Shape):
    """What went wrong."""

    code: str
    message: str
    details: dict[str, object] | None = None


class ErrorAnswer(Shape):
    """The body of every status from 400 on."""

    error: ErrorBody


# Values of the engine as these shapes


def movable(quote: ProviderQuote) -> Movable:
    """Return a quote as a row."""
    return Movable(**_moved(quote))


def quoted(quote: ProviderQuote) -> dict[str, Any]:
    """Return the fields of a quote."""
    return _moved(quote) | {"bid": quote.bid, "ask": quote.ask}


def named(listed: Iterable[Listed]) -> list[Named]:
    """Named quotes as rows."""
    return [Named(name=each.name, **_moved(each.quote)) for each in listed]


def candle(given: Candle) -> CandleBody:
    """Return a candle as it is written."""
    return CandleBody(
        timestamp=given.at_ms,
        open=given.open,
        high=given.high,
        low=given.low,
        close=given.close,
        volume=given.volume,
    )


def article(given: Article) -> ArticleBody:
    """Return an article as it is written."""
    return ArticleBody(
        id=given.id,
        title=given.title,
        url=given.url,
        source=given.source,
        published_at=given.published_ms,
        summary=given.summary,
        symbols=list(given.symbols),
    )


def match(given: Match) -> MatchBody:
    """Return a match as it is written."""
    return MatchBody(symbol=given.symbol, name=given.name, exchange=given.exchange, type=given.type)


def mood(given: Sentiment) -> SentimentBody:
    """Return a mood as it is written."""
    return SentimentBody(**{name: getattr(given, name) for name in SentimentBody.model_fields})


def iso(at_ms: int) -> str:
    """Return a time as the protocol writes it: UTC, ISO 8601, milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _moved(quote: ProviderQuote) -> dict[str, Any]:
    return {
        "symbol": quote.symbol,
        "price": quote.price,
        "change": quote.change,
        "change_percent": quote.change_percent,
        "volume": quote.volume,
        "timestamp": quote.at_ms,
    }
