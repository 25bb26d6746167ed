"""Do each job: refresh answers, and tell the channels of the market.

Promises that no more than a few questions are asked at a time, and that a symbol which nobody knows is not
asked for again within the hour: it would eat up quotas minute by minute.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from marketstream.core.jobs.schedule import HOUR, daily, every
from marketstream.core.query.model import Answer
from marketstream.core.query.overview import MOVEMENTS
from marketstream.engine.jobs.scheduler import Job
from marketstream.engine.market.interest import Interest
from marketstream.engine.query.overview import Overview
from marketstream.engine.query.service import QueryService
from marketstream.errors import AllProvidersFailedError, UnknownSymbolError
from marketstream.ports import Bus, Clock
from marketstream.wire import messages

MOST = 200
"""Symbols whose quotes are kept fresh: the popular ones first."""

TOGETHER = 8
"""Questions at a time."""

PERIOD, INTERVAL = "1y", "1d"
"""Of the history that is kept warm: what is answered to those who do not say."""

Show = Callable[[str, Any], object]
"""Makes of a channel's name and what was found the data that listeners get."""


class JobActions:
    """See the module.

    Args:
        queries: Answers about single symbols.
        overview: Answers about the market.
        interest: Knows what is watched.
        bus: Carries updates of channels.
        clock: Time.
        popular: Symbols that are kept warm.
        show: What listeners of a channel get.
        clean_up: What lets go of what is over.
    """

    def __init__(
        self,
        *,
        queries: QueryService,
        overview: Overview,
        interest: Interest,
        bus: Bus,
        clock: Clock,
        popular: Sequence[str],
        show: Show,
        clean_up: Sequence[Callable[[], object]] = (),
    ) -> None:
        self._queries = queries
        self._overview = overview
        self._interest = interest
        self._bus = bus
        self._clock = clock
        self._popular = tuple(popular)
        self._show = show
        self._clean_up = list(clean_up)
        self._unknown: dict[str, float] = {}

    def jobs(self) -> list[Job]:
        """Return every job."""
        return [
            Job("quotes", every(60), self.quotes),
            Job("indices", every(120), self.indices),
            Job("sectors", every(300), self.sectors),
            Job("movers", every(300), self.movers),
            Job("sentiment", every(300), self.sentiment),
            Job("warm_cache", every(6 * HOUR), self.warm_cache),
            Job("clean_up", daily(2), self.clean_up, shared=False),
        ]

    def also_clean(self, forget: Callable[[], object]) -> None:
        """Have something else done when this process cleans up."""
        self._clean_up.append(forget)

    async def quotes(self) -> None:
        """Renew the quotes of what is popular, and of what is watched as far as there is room."""
        wanted = [*self._popular, *sorted(self._interest.current())]
        now = self._clock.now()
        self._unknown = {symbol: until for symbol, until in self._unknown.items() if until > now}
        chosen = [symbol for symbol in dict.fromkeys(wanted) if symbol not in self._unknown][:MOST]
        await self._ask(chosen, lambda symbol: self._queries.quote(symbol, renew=True))

    async def warm_cache(self) -> None:
        """See to it that what is asked of popular symbols is at hand."""
        await self._ask(self._popular, self._queries.quote)
        await self._ask(self._popular, self._queries.profile)
        await self._ask(self._popular, lambda symbol: self._queries.historical(symbol, PERIOD, INTERVAL))

    async def indices(self) -> None:
        """Work the indices out anew, and tell listeners."""
        self._push("indices", (await self._overview.indices(renew=True)).value)

    async def sectors(self) -> None:
        """As `indices`."""
        self._push("sectors", (await self._overview.sectors(renew=True)).value)

    async def movers(self) -> None:
        """As `indices`, all three kinds in one update."""
        found = await asyncio.gather(*(self._overview.movers(each, renew=True) for each in MOVEMENTS))
        self._push("movers", {name: each.value for name, each in zip(MOVEMENTS, found, strict=True)})

    async def sentiment(self) -> None:
        """As `indices`."""
        self._push("sentiment", (await self._overview.sentiment(renew=True)).value)

    async def clean_up(self) -> None:
        """Let go of what is over in the memory of this process."""
        for forget in self._clean_up:
            forget()

    def _push(self, channel: str, found: Any) -> None:  # noqa: ANN401  # each channel has its own
        data = self._show(channel, found)
        self._bus.publish([messages.channel_update(channel, data, self._clock.wall_ms())])

    async def _ask(self, symbols: Iterable[str], ask: Callable[[str], Awaitable[Answer[Any]]]) -> None:
        """Ask about symbols.

        Raises:
            AllProvidersFailedError: Not one answer could be had, though there must be some.
        """
        gate = asyncio.Semaphore(TOGETHER)

        async def one(symbol: str) -> AllProvidersFailedError | None:
            async with gate:
                try:
                    await ask(symbol)
                except UnknownSymbolError:
                    self._unknown[symbol] = self._clock.now() + HOUR
                except AllProvidersFailedError as failure:
                    return failure
            return None

        failures = await asyncio.gather(*map(one, symbols))
        if failures and all(failures):
            raise AllProvidersFailedError("no provider answered")
