"""Answers to single questions: from the cache, else from the first provider that answers, else what is left.

Promises an answer within 5 s and a little for the cache: what a provider says now, what the cache still has,
or the reason why there is nothing. Those who ask the same at the same time share one answer. It refuses to
hide where an answer came from: each one says so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.memo import Memo
from marketstream.core.query.cache_policy import (
    HISTORICAL,
    NEWS,
    PROFILE,
    QUOTE,
    SEARCH,
    UNKNOWN_TTL,
    CachePolicy,
)
from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.engine.query.inquiry import Inquiry
from marketstream.engine.query.single_flight import SingleFlight, Spawn
from marketstream.engine.stats import ReadStats
from marketstream.errors import AllProvidersFailedError, ShareSpentError, UnknownSymbolError
from marketstream.ports import Cache, Clock, Provider
from marketstream.wire import answers as wire
from marketstream.wire import keys
from marketstream.wire.answers import Stored

log = structlog.get_logger(__name__)

T = TypeVar("T")

TIMEOUT = "external_api_timeout"
FAILED = "all_providers_failed"
CACHE = "cache"
MOST_KNOWN = 10_000
KNOWN_FOR = 3_600.0
"""Seconds: the close before is the same for a day, but nobody here knows when a day of a market begins."""

PATIENCE = 3
"""How often a question is asked together with others before it is asked alone."""

PARTIAL_TTL = 15.0
"""Seconds for which an answer with holes is given out: soon there may be a better one."""


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


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """What is asked.

    Attributes:
        key: Its name in the cache.
        about: What it is about, for the error that nobody knows it.
        shelf: How long an answer is good.
        find: Finds the answer; raises `UnknownSymbolError` or `AllProvidersFailedError`.
        read: Reads an answer in the cache.
        user: Tenant and user who asks; None: the server itself.
    """

    key: str
    about: str
    policy: CachePolicy
    find: Callable[[], Awaitable[Answer[T]]]
    read: wire.Read[T]
    user: tuple[str, str] | None = None


class QueryService:
    """See the module.

    Args:
        providers: In the order in which they are asked.
        cache: Where answers are kept.
        clock: Time.
        spawn: Starts the work on a question, as a task of the process.
        chance: Random numbers from 0 to 1.
        stats: Counters to keep.
        sleep: Waits that many seconds.
        listed: Symbols that are known to exist from the beginning.
    """

    def __init__(
        self,
        *,
        providers: Sequence[Provider],
        cache: Cache,
        clock: Clock,
        spawn: Spawn,
        chance: Callable[[], float],
        stats: ReadStats,
        sleep: Callable[[float], Coroutine[None, None, None]] = asyncio.sleep,
        listed: Collection[str] = (),
    ) -> None:
        self.providers = tuple(providers)
        self.stats = stats
        self.cache = cache
        self._clock = clock
        self._inquiry = Inquiry(
            providers=self.providers,
            cache=cache,
            clock=clock,
            chance=chance,
            stats=stats,
            sleep=sleep,
            listed=listed,
        )
        self._in_flight: SingleFlight[Answer[Any]] = SingleFlight(spawn)
        self._known: Memo[str, Answer[ProviderQuote]] = Memo(MOST_KNOWN)

    async def quote(
        self, symbol: str, *, renew: bool = False, who: Principal | None = None
    ) -> Answer[ProviderQuote]:
        """The price of a symbol.

        Args:
            symbol: The symbol.
            renew: As of `answer`.
            who: Who asks, and spends a share of providers' budgets by it; None: the server itself.

        Raises:
            UnknownSymbolError: Nobody knows it.
            AllProvidersFailedError: Nobody answered, and nothing is remembered.
            ShareSpentError: The same, because who asks has asked too much today.
        """
        held = None if renew else self._held(symbol)
        if held is not None:
            return held

        async def ask(provider: Provider) -> ProviderQuote:
            return await provider.quote(symbol)

        found = await self._ask(keys.quote(symbol), symbol, QUOTE, ask, wire.read_quote, renew=renew, who=who)
        self._known[symbol] = found
        return found

    def known(self, symbol: str) -> ProviderQuote | None:
        """The quote that somebody was given lately, within the hour; asks nobody."""
        found = self._known.get(symbol)
        if found is None or self._clock.wall_ms() - found.at_ms > KNOWN_FOR * 1000:
            return None
        return found.value

    def _held(self, symbol: str) -> Answer[ProviderQuote] | None:
        """The quote that was remembered before, if the cache has the same bytes at hand still.

        Most questions are about few symbols: their bytes are read once.
        """
        known = self._known.get(symbol)
        if known is None or known.attempts or not known.body:
            return None
        if known.body != self.cache.peek(keys.quote(symbol)):
            return None
        self.stats.cache["hit"] += 1
        return known

    async def historical(
        self, symbol: str, period: str, interval: str, who: Principal | None = None
    ) -> Answer[History]:
        """Candles of a symbol; raises as `quote`."""

        async def ask(provider: Provider) -> History:
            return await provider.historical(symbol, period, interval)

        key = keys.historical(symbol, period, interval)
        return await self._ask(key, symbol, HISTORICAL, ask, wire.read_history, who=who)

    async def profile(self, symbol: str, who: Principal | None = None) -> Answer[Profile]:
        """Who is behind a symbol; raises as `quote`."""

        async def ask(provider: Provider) -> Profile:
            return await provider.profile(symbol)

        return await self._ask(keys.profile(symbol), symbol, PROFILE, ask, wire.read_profile, who=who)

    async def news(
        self, symbol: str, limit: int, who: Principal | None = None
    ) -> Answer[tuple[Article, ...]]:
        """News about a symbol, newest first; raises as `quote`."""

        async def ask(provider: Provider) -> tuple[Article, ...]:
            return tuple(await provider.news(symbol, limit))

        return await self._ask(keys.news(symbol, limit), symbol, NEWS, ask, wire.read_articles, who=who)

    async def search(self, query: str, limit: int, who: Principal | None = None) -> Answer[tuple[Match, ...]]:
        """Symbols that fit some words; raises `AllProvidersFailedError` as `quote`."""

        async def ask(provider: Provider) -> tuple[Match, ...]:
            return tuple(await provider.search(query, limit))

        return await self._ask(keys.search(query, limit), query, SEARCH, ask, wire.read_matches, who=who)

    async def answer(self, question: Question[T], *, renew: bool = False) -> Answer[T]:
        """The answer to any question: remembered, found, or what is left of an older one.

        Args:
            question: The question.
            renew: Whether to find it though it is remembered: for who keeps answers fresh.

        Raises:
            UnknownSymbolError: There is none.
            AllProvidersFailedError: It could not be found, and nothing is remembered.
        """
        if renew:
            return await self._find_once(question)
        # Where there is nothing to wait for there is nothing to share, and no task is needed.
        body = self.cache.peek(question.key)
        remembered = None if body is None else self._read(question, body)
        if remembered is not None:
            return remembered
        for _ in range(PATIENCE):
            try:
                return await self._in_flight.do(question.key, lambda: self._answer(question))
            except ShareSpentError as error:
                if error.user == question.user:
                    raise
                # It was asked together with somebody else, whose share is spent.
        return await self._answer(question)

    def close(self) -> None:
        """Ends what is being asked: a process that is going down waits for no provider."""
        self._in_flight.cancel()

    # The way of a question

    async def _ask(
        self,
        key: str,
        about: str,
        policy: CachePolicy,
        ask: Callable[[Provider], Coroutine[None, None, T]],
        read: wire.Read[T],
        *,
        renew: bool = False,
        who: Principal | None = None,
    ) -> Answer[T]:
        async def find() -> Answer[T]:
            value, source, tries = await self._inquiry.find(policy.kind, key, about, ask, who)
            return Answer(value, source, self._clock.wall_ms(), tries)

        user = None if who is None else (who.tenant, who.user)
        return await self.answer(Question(key, about, policy, find, read, user), renew=renew)

    async def _answer(self, question: Question[T]) -> Answer[T]:
        """What is remembered; who is just renewing it is waited for only when nothing is."""
        remembered = await self._recall(question)
        return await self._find_once(question) if remembered is None else remembered

    async def _find_once(self, question: Question[T]) -> Answer[T]:
        return await self._in_flight.do(f"find {question.key}", lambda: self._renew(question))

    async def _renew(self, question: Question[T]) -> Answer[T]:
        try:
            found = await question.find()
        except UnknownSymbolError:
            await self.cache.put([(question.key, wire.UNKNOWN, UNKNOWN_TTL)])
            raise _nobody_knows(question) from None
        except AllProvidersFailedError as failure:
            return await self._fallback(question, failure)
        return await self._keep(question, found)

    async def _recall(self, question: Question[T]) -> Answer[T] | None:
        body = await self.cache.get(question.key)
        remembered = None if body is None else self._read(question, body)
        if remembered is None:
            self.stats.cache["miss"] += 1
        return remembered

    def _read(self, question: Question[T], body: bytes) -> Answer[T] | None:
        """What was remembered; None when it is of no use.

        Raises:
            UnknownSymbolError: It is that there is no answer.
        """
        if body == wire.UNKNOWN:
            self.stats.cache["hit"] += 1
            raise _nobody_knows(question)
        stored = wire.unpack(body, question.read)
        if stored is None:
            return None
        self.stats.cache["hit"] += 1
        ttl = _ttl(question, stored.warning)
        return Answer(stored.value, stored.source, stored.at_ms, 0, stored.warning, ttl, body)

    async def _keep(self, question: Question[T], found: Answer[T]) -> Answer[T]:
        body = wire.pack(Stored(found.value, found.source, found.at_ms, found.warning))
        ttl = _ttl(question, found.warning)
        entries = [(question.key, body, ttl)]
        if found.warning is None:
            entries.append((keys.fallback(question.key), body, question.policy.kept))
        await self.cache.put(entries)
        return Answer(found.value, found.source, found.at_ms, found.attempts, found.warning, ttl, body)

    async def _fallback(self, question: Question[T], failure: AllProvidersFailedError) -> Answer[T]:
        body = await self.cache.get(keys.fallback(question.key))
        stored = None if body is None else wire.unpack(body, question.read)
        if stored is None:
            raise failure
        self.stats.cache["fallback"] += 1
        warning = TIMEOUT if failure.timed_out else FAILED
        return Answer(stored.value, CACHE, stored.at_ms, len(failure.attempts), warning)


def _nobody_knows(question: Question[Any]) -> UnknownSymbolError:
    return UnknownSymbolError(f"{question.about}: nobody knows this symbol")


def _ttl(question: Question[Any], warning: str | None) -> float:
    return question.policy.ttl if warning is None else PARTIAL_TTL
