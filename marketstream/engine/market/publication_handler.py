"""Accept or refuse each item of a publication.

Only one process judges while many share a bus, so that the time of a symbol cannot go back and quotes of all
sources meet. Where there is no such process, prices can still be published as they are, quotes cannot.
"""

import asyncio

from marketstream.core.market.model import BestPrice, Quote
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.market.aggregator import Aggregator
from marketstream.engine.market.ahead import Ahead
from marketstream.engine.market.publisher import Publisher
from marketstream.engine.stats import Stats
from marketstream.errors import FutureTimeError, RequestError, UnavailableError
from marketstream.ports import Clock, LeaderForwarder
from marketstream.wire import publication
from marketstream.wire.json import dumps
from marketstream.wire.publication import Publication

FEED = "http"

SLICE = 200
"""Items that are judged in one turn of the loop: ten thousand at once would hold everybody up."""


class PublicationHandler:
    """Takes publications in this process.

    Args:
        registry: Symbols of this server.
        aggregator: Where quotes go.
        publisher: Where prices go.
        clock: The time that all processes share.
        ahead: How far publishers' times may be ahead of it.
        stats: Counters to keep.
    """

    def __init__(
        self,
        *,
        registry: SymbolRegistry,
        aggregator: Aggregator,
        publisher: Publisher,
        clock: Clock,
        ahead: Ahead,
        stats: Stats,
    ) -> None:
        self._registry = registry
        self._aggregator = aggregator
        self._publisher = publisher
        self._clock = clock
        self._ahead = ahead
        self._stats = stats

    async def submit(self, body: bytes) -> bytes:
        """See `ports.LeaderForwarder.submit`."""
        return await self.take(body)

    async def take(self, body: bytes) -> bytes:
        """Take a publication; a bad item harms no other.

        Args:
            body: JSON {quotes?, prices?, tenantId?}.

        Returns:
            JSON {accepted, rejected: [{index, error}]}.

        Raises:
            InvalidMessageError: The body is not of that shape.
        """
        return await self._judge(publication.parse(body))

    async def take_prices(self, body: bytes) -> bytes:
        """Take a publication while nobody feeds the market.

        Args:
            body: As of `take`.

        Returns:
            As `take`.

        Raises:
            InvalidMessageError: As of `take`.
            UnavailableError: There are quotes in it; nothing was taken.
        """
        batch = publication.parse(body)
        if batch.quotes:
            raise UnavailableError("quotes cannot be taken: no process of role feed or all is running")
        return await self._judge(batch)

    async def _judge(self, batch: Publication) -> bytes:
        accepted, rejected = 0, []
        for index, item in batch.items(self._registry, self._clock.wall_ms()):
            if index % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            error = item if isinstance(item, RequestError) else self._take(item, batch.tenant)
            if error is None:
                accepted += 1
                continue
            if isinstance(error, FutureTimeError):
                self._ahead.note(FEED, error.at_ms, item.source if isinstance(item, Quote) else "")
            else:
                self._stats.rejected["http"] += 1
            rejected.append({"index": index, "error": str(error)})
        return dumps({"accepted": accepted, "rejected": rejected})

    def _take(self, item: BestPrice | Quote, tenant: str | None) -> RequestError | None:
        try:
            self._ahead.check(item.at_ms)
            if isinstance(item, Quote):
                self._aggregator.offer_one(item, FEED, tenant)
            else:
                self._publisher.publish_one(item, tenant)
        except RequestError as error:
            return error
        return None


_: type[LeaderForwarder] = PublicationHandler
