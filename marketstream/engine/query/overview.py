"""Answer views of the market from the quotes of configured symbols.

A quote that cannot be had is left out and the answer says so; only when none can be had is there none. Who
has nothing but old quotes gets an answer made of them, with their warning.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from marketstream.core.query.cache_policy import INDICES, MOVERS, SECTORS, SENTIMENT, CachePolicy
from marketstream.core.query.model import Answer, ProviderQuote
from marketstream.core.query.overview import Listed, Movement, movers
from marketstream.core.query.sentiment import Sentiment, sentiment
from marketstream.engine.query.service import FAILED, QueryService, Question
from marketstream.errors import AllProvidersFailedError, MarketstreamError, UnknownSymbolError
from marketstream.ports import Clock
from marketstream.wire import answers as wire
from marketstream.wire import keys

T = TypeVar("T")

Named = tuple[str, str]
"""A symbol and the name that people know it by."""


class Overview:
    """See the module.

    Args:
        queries: Answers about single symbols.
        clock: Time.
        popular: Symbols that movers and mood are made of.
        indices: Indices of the market.
        sectors: A symbol that stands for each sector, with the sector's name.
    """

    def __init__(
        self,
        *,
        queries: QueryService,
        clock: Clock,
        popular: Sequence[str],
        indices: Sequence[Named],
        sectors: Sequence[Named],
    ) -> None:
        self._queries = queries
        self._clock = clock
        self._popular = tuple(popular)
        self._indices = tuple(indices)
        self._sectors = tuple(sectors)

    async def indices(self, *, renew: bool = False) -> Answer[tuple[Listed, ...]]:
        """Return the indices, in the order of the configuration.

        Args:
            renew: Whether to work them out though they are remembered.

        Raises:
            AllProvidersFailedError: Not one quote can be had.
        """
        return await self._listed("indices", INDICES, self._indices, renew=renew)

    async def sectors(self, *, renew: bool = False) -> Answer[tuple[Listed, ...]]:
        """Return what stands for each sector, in the order of the configuration; raise as `indices`."""
        return await self._listed("sectors", SECTORS, self._sectors, renew=renew)

    async def movers(self, movement: Movement, *, renew: bool = False) -> Answer[tuple[ProviderQuote, ...]]:
        """Return who moved most of the popular symbols; raise as `indices`."""
        return await self._view(
            keys.market("movers", movement),
            MOVERS,
            self._popular,
            lambda quotes: movers(quotes, movement),
            wire.read_quotes,
            renew=renew,
        )

    async def sentiment(self, *, renew: bool = False) -> Answer[Sentiment]:
        """Return the mood of the popular symbols; raise as `indices`."""
        return await self._view(
            keys.market("sentiment"), SENTIMENT, self._popular, _mood, wire.read_sentiment, renew=renew
        )

    async def _listed(
        self, name: str, policy: CachePolicy, named: Sequence[Named], *, renew: bool
    ) -> Answer[tuple[Listed, ...]]:
        names = dict(named)

        def make(quotes: Sequence[ProviderQuote]) -> tuple[Listed, ...]:
            return tuple(Listed(names[quote.symbol], quote) for quote in quotes)

        return await self._view(keys.market(name), policy, list(names), make, wire.read_listed, renew=renew)

    async def _view(
        self,
        key: str,
        policy: CachePolicy,
        symbols: Sequence[str],
        make: Callable[[Sequence[ProviderQuote]], T],
        read: wire.Read[T],
        *,
        renew: bool,
    ) -> Answer[T]:
        async def find() -> Answer[T]:
            return await self._collect(symbols, make)

        return await self._queries.answer(Question(key, key, policy, find, read), renew=renew)

    async def _collect(
        self, symbols: Sequence[str], make: Callable[[Sequence[ProviderQuote]], T]
    ) -> Answer[T]:
        found = await asyncio.gather(*map(self._quote, symbols))
        quotes = [each for each in found if isinstance(each, Answer)]
        failures = [each for each in found if isinstance(each, AllProvidersFailedError)]
        if not quotes:
            raise failures[0] if failures else AllProvidersFailedError("no symbol of this view is known")
        warnings = [quote.warning for quote in quotes if quote.warning]
        return Answer(
            make([quote.value for quote in quotes]),
            "+".join(dict.fromkeys(quote.source for quote in quotes)),
            self._clock.wall_ms(),
            max(quote.attempts for quote in quotes),
            warnings[0] if warnings else FAILED if failures else None,
        )

    async def _quote(self, symbol: str) -> Answer[ProviderQuote] | MarketstreamError:
        try:
            return await self._queries.quote(symbol)
        except (UnknownSymbolError, AllProvidersFailedError) as error:
            return error


def _mood(quotes: Sequence[ProviderQuote]) -> Sentiment:
    changes = [quote.change_percent for quote in quotes if quote.change_percent is not None]
    if not changes:
        raise AllProvidersFailedError("no provider knows how the symbols moved")
    return sentiment(changes)
