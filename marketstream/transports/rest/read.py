"""Serve single answers about the market.

Promises that nobody sees what the plan or the token does not cover: not a symbol, not a view of the market,
and not a live price where the plan shows them late.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, TypeVar

from aiohttp import web
from cachetools import LRUCache

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.session import READ, READERS
from marketstream.core.query.history import ended, too_fine
from marketstream.core.query.model import Answer, Candle, ProviderQuote
from marketstream.core.query.overview import MOVEMENTS, Listed
from marketstream.engine.delivery.quotes import Quotes
from marketstream.engine.query.overview import Overview
from marketstream.engine.query.service import FAILED, QueryService
from marketstream.errors import (
    AllProvidersFailedError,
    InvalidMessageError,
    MarketstreamError,
    NotEntitledError,
    UnavailableError,
)
from marketstream.ports import Clock
from marketstream.transports.rest import schema
from marketstream.transports.rest.endpoint import Answer as Handle
from marketstream.transports.rest.endpoint import Answered, Endpoint, read_body, read_query
from marketstream.transports.rest.openapi import Operation
from marketstream.transports.rest.reply import Body, aged, write
from marketstream.wire.json import loads

T = TypeVar("T")

MOST_BODIES = 1_000
"""Quotes that are kept as they were written."""

CHANNELS = ("indices", "sectors", "movers", "sentiment")


class Reading:
    """Answers readers.

    Args:
        endpoint: Lets callers in.
        quotes: Answers from delayed prices.
        clock: Time.
        queries: Answers about single symbols.
        overview: Answers about the market.
        time: The clock that all processes share: what is too new for a plan goes by it.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        quotes: Quotes,
        clock: Clock,
        queries: QueryService,
        overview: Overview,
        time: Clock,
    ) -> None:
        self._time = time
        self._endpoint = endpoint
        self._quotes = quotes
        self._clock = clock
        self._queries = queries
        self._overview = overview
        self._bodies: LRUCache[bytes, Body] = LRUCache(MOST_BODIES)

    def operations(self) -> list[Operation]:
        """Return every endpoint, in the order in which the document shows them."""
        read = self._operation
        return [
            read("/overview", "The market as a whole.", schema.OverviewAnswer, self.overview),
            read("/indices", "Indices.", schema.IndicesAnswer, self.indices),
            read("/sectors", "What stands for each sector.", schema.SectorsAnswer, self.sectors),
            read(
                "/movers",
                "Popular symbols that moved most.",
                schema.MoversAnswer,
                self.movers,
                query=schema.MoversQuery,
            ),
            read("/sentiment", "The mood of the popular symbols.", schema.SentimentAnswer, self.sentiment),
            read("/quote/{symbol}", "The quote of a symbol.", schema.QuoteAnswer, self.quote),
            read(
                "/historical/{symbol}",
                "Candles of a symbol.",
                schema.HistoricalAnswer,
                self.historical,
                query=schema.HistoricalQuery,
            ),
            read("/profile/{symbol}", "Who is behind a symbol.", schema.ProfileAnswer, self.profile),
            read(
                "/news/{symbol}", "News about a symbol.", schema.NewsAnswer, self.news, query=schema.NewsQuery
            ),
            read(
                "/search",
                "Symbols that fit some words.",
                schema.SearchAnswer,
                self.search,
                body=schema.SearchBody,
            ),
            read("/providers", "Who is asked, in which order.", schema.ProvidersAnswer, self.providers),
        ]

    def _operation(
        self,
        path: str,
        summary: str,
        answer: type[schema.Shape],
        handle: Handle,
        **more: Any,  # noqa: ANN401  # as of Operation
    ) -> Operation:
        method = "POST" if "body" in more else "GET"
        wrapped = self._endpoint.wrap(handle, READ, *READERS)
        return Operation(method, path, summary, READ, answer, wrapped, **more)

    # The market as a whole

    async def overview(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as all of them
        """Return the overview: all views at once."""
        _require_channels(who, *CHANNELS)
        found = await asyncio.gather(
            _or_failure(self._overview.indices()),
            _or_failure(self._overview.sectors()),
            _or_failure(self._overview.sentiment()),
            *(_or_failure(self._overview.movers(movement)) for movement in MOVEMENTS),
        )
        whole = _combined(found)
        indices, sectors, mood, *lists = (each.value if isinstance(each, Answer) else None for each in found)
        answer = schema.OverviewAnswer(
            indices=None if indices is None else schema.named(_seen(indices, who)),
            sectors=None if sectors is None else schema.named(_seen(sectors, who)),
            movers=None
            if None in lists
            else schema.MoversLists(
                **{
                    movement: [schema.movable(quote) for quote in _visible(quotes or (), who)]
                    for movement, quotes in zip(MOVEMENTS, lists, strict=True)
                }
            ),
            sentiment=None if mood is None else schema.mood(mood),
            **self._origin(whole),
        )
        return answer, self._max_age(whole)

    async def indices(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as all of them
        """Answer with the indices."""
        _require_channels(who, "indices")
        found = await self._overview.indices()
        rows = schema.named(_seen(found.value, who))
        return schema.IndicesAnswer(indices=rows, **self._origin(found)), self._max_age(found)

    async def sectors(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as all of them
        """Sectors."""
        _require_channels(who, "sectors")
        found = await self._overview.sectors()
        rows = schema.named(_seen(found.value, who))
        return schema.SectorsAnswer(sectors=rows, **self._origin(found)), self._max_age(found)

    async def movers(self, request: web.Request, who: Principal) -> Answered:
        """Movers of one kind."""
        _require_channels(who, "movers")
        movement = read_query(request, schema.MoversQuery).type
        found = await self._overview.movers(movement)
        rows = [schema.movable(quote) for quote in _visible(found.value, who)]
        answer = schema.MoversAnswer(type=movement, movers=rows, **self._origin(found))
        return answer, self._max_age(found)

    async def sentiment(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as all of them
        """Return the mood."""
        _require_channels(who, "sentiment")
        found = await self._overview.sentiment()
        answer = schema.SentimentAnswer(**schema.mood(found.value).model_dump(), **self._origin(found))
        return answer, self._max_age(found)

    # One symbol

    async def quote(self, request: web.Request, who: Principal) -> Answered:
        """Answer with a quote: of a provider, or the delayed best price where the plan wants that."""
        symbol = self._endpoint.symbol(request, who)
        if who.plan.delay > 0:
            return await self._delayed(symbol, who), 0
        found = await self._queries.quote(symbol, who=who)
        age = self._age(found)
        max_age = _max_age(found, age)
        return aged(self._written(found), age, found.attempts), max_age

    def _written(self, found: Answer[ProviderQuote]) -> Body:
        """Return a quote in JSON; the same bytes of the cache are written once."""
        try:
            return self._bodies[found.body]
        except KeyError:
            body = write(schema.QuoteAnswer(**schema.quoted(found.value), **self._origin(found)))
        if found.body:
            self._bodies[found.body] = body
        return body

    async def historical(self, request: web.Request, who: Principal) -> Answered:
        """Return candles; for a plan that shows prices late only those that ended before."""
        symbol = self._endpoint.symbol(request, who)
        query = read_query(request, schema.HistoricalQuery)
        if too_fine(query.period, query.interval):
            text = f"interval: {query.interval} is too fine for a period of {query.period}"
            raise InvalidMessageError(text, path="interval")
        found = await self._queries.historical(symbol, query.period, query.interval, who)
        candles: Sequence[Candle] = found.value.candles
        if who.plan.delay > 0:
            candles = ended(candles, query.interval, self._seen_by(who))
        answer = schema.HistoricalAnswer(
            symbol=symbol,
            period=query.period,
            interval=query.interval,
            candles=[schema.candle(candle) for candle in candles],
            **self._origin(found),
        )
        return answer, self._max_age(found)

    async def profile(self, request: web.Request, who: Principal) -> Answered:
        """Return who is behind a symbol."""
        found = await self._queries.profile(self._endpoint.symbol(request, who), who)
        given = {name: getattr(found.value, name) for name in schema.ProfileBody.model_fields}
        if who.plan.delay > 0:
            # It is the price of now, times a number that everybody knows.
            given["market_cap"] = None
        return schema.ProfileAnswer(**given, **self._origin(found)), self._max_age(found)

    async def news(self, request: web.Request, who: Principal) -> Answered:
        """Return news about a symbol."""
        symbol = self._endpoint.symbol(request, who)
        found = await self._queries.news(symbol, read_query(request, schema.NewsQuery).limit, who)
        until_ms = self._seen_by(who)
        articles = [schema.article(article) for article in found.value if article.published_ms <= until_ms]
        answer = schema.NewsAnswer(symbol=symbol, articles=articles, **self._origin(found))
        return answer, self._max_age(found)

    # Others

    async def search(self, request: web.Request, who: Principal) -> Answered:
        """Return the symbols that fit some words."""
        body = await read_body(request, schema.SearchBody)
        found = await self._queries.search(body.query, body.limit, who)
        results = [schema.match(match) for match in found.value]
        answer = schema.SearchAnswer(query=body.query, results=results, **self._origin(found))
        return answer, self._max_age(found)

    async def providers(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as all of them
        """Return who is asked."""
        attempts = self._queries.stats.attempts
        rows = [
            schema.ProviderBody(
                name=provider.name,
                status="configured" if provider.configured else "unconfigured",
                offers=sorted(provider.offers),
                requests=sum(count for (name, _), count in attempts.items() if name == provider.name),
                failures=sum(
                    count
                    for (name, outcome), count in attempts.items()
                    if name == provider.name and outcome != "ok"
                ),
            )
            for provider in self._queries.providers
        ]
        return schema.ProvidersAnswer(providers=rows), 0

    async def _delayed(self, symbol: str, who: Principal) -> schema.QuoteAnswer:
        given = loads(await self._quotes.get(symbol, who))
        if given["price"] is None:
            raise UnavailableError(f"{symbol}: nobody quotes it")
        return schema.QuoteAnswer.model_validate(given)

    def _seen_by(self, who: Principal) -> float:
        """Return epoch milliseconds after which a plan that shows prices late shows nothing.

        Infinity for others.
        """
        delay = who.plan.delay
        return self._time.wall_ms() - delay * 1000 if delay > 0 else float("inf")

    def _origin(self, found: Answer[Any]) -> dict[str, Any]:
        return {
            "data_source": found.source,
            "status": "ok" if found.warning is None else "partial_data",
            "last_updated": schema.iso(found.at_ms),
            "age_seconds": self._age(found),
            "retry_attempts": found.attempts,
            "warning": found.warning,
        }

    def _age(self, found: Answer[Any]) -> float:
        return round(max(0.0, (self._clock.wall_ms() - found.at_ms) / 1000), 3)

    def _max_age(self, found: Answer[Any]) -> int:
        return _max_age(found, self._age(found))


def _max_age(found: Answer[Any], age: float) -> int:
    return 0 if found.warning is not None else max(0, int(found.fresh_for - age))


def _require_channels(who: Principal, *channels: str) -> None:
    for channel in channels:
        if not who.plan.allows_channel(channel):
            raise NotEntitledError(f"{channel}: not entitled")


def _visible(quotes: Iterable[ProviderQuote], who: Principal) -> list[ProviderQuote]:
    return [quote for quote in quotes if who.allows_symbol(quote.symbol)]


def _seen(listed: Iterable[Listed], who: Principal) -> list[Listed]:
    return [each for each in listed if who.allows_symbol(each.quote.symbol)]


async def _or_failure(part: Awaitable[Answer[Any]]) -> Answer[Any] | MarketstreamError:
    try:
        return await part
    except AllProvidersFailedError as failure:
        return failure


def _combined(found: Sequence[Answer[Any] | MarketstreamError]) -> Answer[None]:
    """Return the origin of an answer of several parts: as old and as bad as the worst of them.

    Raises:
        AllProvidersFailedError: There is no part at all.
    """
    parts = [each for each in found if isinstance(each, Answer)]
    failures = [each for each in found if isinstance(each, MarketstreamError)]
    if not parts:
        raise failures[0]
    warnings = [part.warning for part in parts if part.warning]
    sources = dict.fromkeys(name for part in parts for name in part.source.split("+"))
    oldest = min(parts, key=lambda part: part.at_ms)
    return Answer(
        None,
        "+".join(sources),
        oldest.at_ms,
        max(part.attempts for part in parts),
        warnings[0] if warnings else FAILED if failures else None,
        min(part.fresh_for for part in parts),
    )
