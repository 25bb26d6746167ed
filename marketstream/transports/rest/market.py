"""`POST /api/v1/market/publish`: quotes and prices of back ends come in by HTTP."""

from aiohttp import web

from marketstream.core.model import BestPrice, Quote
from marketstream.core.symbols import SymbolRegistry
from marketstream.engine.aggregator import Aggregator
from marketstream.engine.publisher import Publisher
from marketstream.engine.stats import Stats
from marketstream.errors import RequestError
from marketstream.ports import Clock
from marketstream.transports.answer import json
from marketstream.transports.rest.guard import Guard
from marketstream.wire import publication

PUBLISH = "/api/v1/market/publish"
SCOPE = "market:publish"
FEED = "http"


class Publishing:
    """Takes publications.

    Args:
        guard: Checks callers.
        registry: Symbols of this server.
        aggregator: Where quotes go.
        publisher: Where prices go.
        clock: Time.
        stats: Counters to keep.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        registry: SymbolRegistry,
        aggregator: Aggregator,
        publisher: Publisher,
        clock: Clock,
        stats: Stats,
    ) -> None:
        self._guard = guard
        self._registry = registry
        self._aggregator = aggregator
        self._publisher = publisher
        self._clock = clock
        self._stats = stats

    def attach(self, app: web.Application) -> None:
        """Adds the route."""
        app.router.add_post(PUBLISH, self.publish)

    async def publish(self, request: web.Request) -> web.Response:
        """Answers {accepted, rejected: [{index, error}]}; a bad item harms no other."""
        await self._guard.require(request, SCOPE)
        batch = publication.parse(await request.read())
        accepted, rejected = 0, []
        for index, item in batch.items(self._registry, self._clock.wall_ms()):
            error = item if isinstance(item, RequestError) else self._take(item, batch.tenant)
            if error is None:
                accepted += 1
                continue
            self._stats.rejected["http"] += 1
            rejected.append({"index": index, "error": str(error)})
        return json({"accepted": accepted, "rejected": rejected})

    def _take(self, item: BestPrice | Quote, tenant: str | None) -> RequestError | None:
        try:
            if isinstance(item, Quote):
                self._aggregator.offer_one(item, FEED, tenant)
            else:
                self._publisher.publish_one(item, tenant)
        except RequestError as error:
            return error
        return None
