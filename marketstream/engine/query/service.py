"""Answers to single questions: from the cache, else from the first provider that answers, else what is left.

Promises an answer within 5 s and a little for the cache: what a provider says now, what the cache still has,
or the reason why there is nothing. Those who find nothing in the cache and ask the same at the same time
share one answer. It refuses to hide where an answer came from: each one says so.

What one provider has is known to exist from then on, in every process that shares the cache.
"""

from collections.abc import Awaitable, Callable, Collection, Coroutine, MutableMapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.query.cache_policy import (
    HISTORICAL,
    KNOWN_TTL,
    NEWS,
    PROFILE,
    QUOTE,
    SEARCH,
    UNKNOWN_TTL,
    CachePolicy,
)
from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.core.query.quota import Asker
from marketstream.engine.query.inquiry import Inquiry
from marketstream.engine.query.single_flight import SingleFlight, Spawn
from marketstream.engine.stats import ReadStats
from marketstream.errors import AllProvidersFailedError, ShareSpentError, UnknownSymbolError
from marketstream.ports import Cache, CacheEntry, Clock, Provider
from marketstream.wire import answers as wire
from marketstream.wire import keys
from marketstream.wire.answers import Stored

T = TypeVar("T")

TIMEOUT = "external_api_timeout"
FAILED = "all_providers_failed"
CACHE = "cache"
PATIENCE = 3
"""How often a question is asked together with others before it is asked alone."""

PARTIAL_TTL = 15.0
"""Seconds for which an answer with holes is given out: soon there may be a better one."""

PROOF = frozenset({"quote", "historical", "profile"})
"""What is answered of nothing that does not exist; news of it are none, and matches others."""


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
        inquiry: Asks providers.
        cache: Where answers are kept, and what is known to exist.
        clock: Time.
        spawn: Starts the work on a question, as a task of the process.
        stats: Counters to keep.
        known: The newest quote of each symbol, which others read without asking; this fills it.
        listed: Symbols that are known to exist from the beginning.
    """

    def __init__(
        self,
        *,
        inquiry: Inquiry,
        cache: Cache,
        clock: Clock,
        spawn: Spawn,
        stats: ReadStats,
        known: MutableMapping[str, ProviderQuote],
        listed: Collection[str] = (),
    ) -> None:
        self.stats = stats
        self._inquiry = inquiry
        self._cache = cache
        self._clock = clock
        self._known = known
        self._listed = frozenset(listed)
        self._in_flight: SingleFlight[Answer[Any]] = SingleFlight(spawn)

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Who is asked, in this order."""
        return self._inquiry.providers

    async def quote(
        self, symbol: str, *, renew: bool = False, who: Principal | None = None
    ) -> Answer[ProviderQuote]:
        """Return the price of a symbol.

        Args:
            symbol: The symbol.
            renew: As of `answer`.
            who: Who asks, and spends a share of providers' budgets by it; None: the server itself.

        Raises:
            UnknownSymbolError: Nobody knows it.
            AllProvidersFailedError: Nobody answered, and nothing is remembered.
            ShareSpentError: The same, because who asks has asked too much today.
        """
        key = keys.quote(symbol)
        found = await self._ask(
            key, symbol, QUOTE, lambda p: p.quote(symbol), wire.read_quote, renew=renew, who=who
        )
        self._known[symbol] = found.value
        return found

    async def historical(
        self, symbol: str, period: str, interval: str, who: Principal | None = None
    ) -> Answer[History]:
        """Candles of a symbol; raises as `quote`."""
        key = keys.historical(symbol, period, interval)
        return await self._ask(
            key,
            symbol,
            HISTORICAL,
            lambda p: p.historical(symbol, period, interval),
            wire.read_history,
            who=who,
        )

    async def profile(self, symbol: str, who: Principal | None = None) -> Answer[Profile]:
        """Who is behind a symbol; raises as `quote`."""
        key = keys.profile(symbol)
        return await self._ask(key, symbol, PROFILE, lambda p: p.profile(symbol), wire.read_profile, who=who)

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
        remembered = None if renew else await self._recall(question)
        if remembered is not None:
            return remembered
        for _ in range(PATIENCE):
            try:
                return await self._in_flight.do(question.key, lambda: self._renew(question))
            except ShareSpentError as error:
                if error.user == question.user:
                    raise
                # It was asked together with somebody else, whose share is spent.
        return await self._renew(question)

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
            asker = _asker(who, known=await self._exists(policy.kind, about))
            value, source, tries = await self._inquiry.find(policy.kind, key, ask, asker)
            return Answer(value, source, self._clock.wall_ms(), tries)

        user = None if who is None else (who.tenant, who.user)
        return await self.answer(Question(key, about, policy, find, read, user), renew=renew)

    async def _exists(self, kind: str, about: str) -> bool:
        """Whether what a question is about is known to exist; the words of a search are not."""
        if kind == "search":
            return False
        # What this process knows counts as well: a cache that is away knows nothing.
        here = about in self._listed or about in self._known
        return here or await self._cache.get(keys.known(about)) is not None

    async def _renew(self, question: Question[T]) -> Answer[T]:
        try:
            found = await question.find()
        except UnknownSymbolError:
            await self._cache.put([(question.key, wire.UNKNOWN, UNKNOWN_TTL)])
            raise _nobody_knows(question) from None
        except AllProvidersFailedError as failure:
            return await self._fallback(question, failure)
        return await self._keep(question, found)

    async def _recall(self, question: Question[T]) -> Answer[T] | None:
        """Return what is remembered; None when there is nothing, or nothing that can be read.

        Raises:
            UnknownSymbolError: It is remembered that there is no answer.
        """
        body = await self._cache.get(question.key)
        if body == wire.UNKNOWN:
            self.stats.cache["hit"] += 1
            raise _nobody_knows(question)
        stored = None if body is None else wire.unpack(body, question.read)
        if body is None or stored is None:
            self.stats.cache["miss"] += 1
            return None
        self.stats.cache["hit"] += 1
        ttl = _ttl(question, stored.warning)
        return Answer(stored.value, stored.source, stored.at_ms, 0, stored.warning, ttl, body)

    async def _keep(self, question: Question[T], found: Answer[T]) -> Answer[T]:
        body = wire.pack(Stored(found.value, found.source, found.at_ms, found.warning))
        ttl = _ttl(question, found.warning)
        entries: list[CacheEntry] = [(question.key, body, ttl)]
        if found.warning is None:
            entries.append((keys.fallback(question.key), body, question.policy.kept))
        if question.policy.kind in PROOF and question.about not in self._listed:
            entries.append((keys.known(question.about), b"1", KNOWN_TTL))
        await self._cache.put(entries)
        return Answer(found.value, found.source, found.at_ms, found.attempts, found.warning, ttl, body)

    async def _fallback(self, question: Question[T], failure: AllProvidersFailedError) -> Answer[T]:
        body = await self._cache.get(keys.fallback(question.key))
        stored = None if body is None else wire.unpack(body, question.read)
        if stored is None:
            raise failure
        self.stats.cache["fallback"] += 1
        warning = TIMEOUT if failure.timed_out else FAILED
        return Answer(stored.value, CACHE, stored.at_ms, len(failure.attempts), warning)


def _asker(who: Principal | None, *, known: bool) -> Asker:
    """Return whose shares of providers' budgets a question spends; of the server itself, none."""
    if who is None:
        return Asker(known=known)
    plan = who.plan
    return Asker((who.tenant, who.user), plan.name, plan.user_share, plan.plan_share, known)


def _nobody_knows(question: Question[Any]) -> UnknownSymbolError:
    return UnknownSymbolError(f"{question.about}: nobody knows this symbol")


def _ttl(question: Question[Any], warning: str | None) -> float:
    return question.policy.ttl if warning is None else PARTIAL_TTL
