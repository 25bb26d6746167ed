"""Answer single questions: from the cache, a provider, or the fallback.

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
from marketstream.core.query.model import Answer, Article, History, Match, Profile, ProviderQuote
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
class Question(Generic[T]):
    """What is asked.

    Attributes:
        key: Its name in the cache.
        about: What it is about, for the error that nobody knows it.
        policy: How long an answer is good.
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
        known: MutableMapping[str, Answer[ProviderQuote]],
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
            who: Who asks, and spends a share of providers' quotas by it; None: the server itself.

        Raises:
            UnknownSymbolError: Nobody knows it.
            AllProvidersFailedError: Nobody answered, and nothing is remembered.
            ShareSpentError: The same, because who asks has asked too much today.
        """
        key = keys.quote(symbol)
        body = None if renew else await self._cache.get(key)
        if body is not None and (held := self._held(symbol, body)) is not None:
            return held
        question = self._question(key, symbol, QUOTE, lambda p: p.quote(symbol), wire.read_quote, who)
        remembered = None if renew else self._read(question, body)
        found = await self._find(question) if remembered is None else remembered
        self._known[symbol] = found
        return found

    async def historical(
        self, symbol: str, period: str, interval: str, who: Principal | None = None
    ) -> Answer[History]:
        """Return candles of a symbol; raise as `quote`."""

        def ask(provider: Provider) -> Coroutine[None, None, History]:
            return provider.historical(symbol, period, interval)

        key = keys.historical(symbol, period, interval)
        return await self.answer(self._question(key, symbol, HISTORICAL, ask, wire.read_history, who))

    async def profile(self, symbol: str, who: Principal | None = None) -> Answer[Profile]:
        """Who is behind a symbol; raises as `quote`."""
        key = keys.profile(symbol)
        question = self._question(key, symbol, PROFILE, lambda p: p.profile(symbol), wire.read_profile, who)
        return await self.answer(question)

    async def news(
        self, symbol: str, limit: int, who: Principal | None = None
    ) -> Answer[tuple[Article, ...]]:
        """Return news about a symbol, newest first; raise as `quote`."""

        async def ask(provider: Provider) -> tuple[Article, ...]:
            return tuple(await provider.news(symbol, limit))

        key = keys.news(symbol, limit)
        return await self.answer(self._question(key, symbol, NEWS, ask, wire.read_articles, who))

    async def search(self, query: str, limit: int, who: Principal | None = None) -> Answer[tuple[Match, ...]]:
        """Return the symbols that fit some words; raises `AllProvidersFailedError` as `quote`."""

        async def ask(provider: Provider) -> tuple[Match, ...]:
            return tuple(await provider.search(query, limit))

        key = keys.search(query, limit)
        return await self.answer(self._question(key, query, SEARCH, ask, wire.read_matches, who))

    async def answer(self, question: Question[T], *, renew: bool = False) -> Answer[T]:
        """Return the answer to any question: remembered, found, or what is left of an older one.

        Args:
            question: The question.
            renew: Whether to find it though it is remembered: for who keeps answers fresh.

        Raises:
            UnknownSymbolError: There is none.
            AllProvidersFailedError: It could not be found, and nothing is remembered.
        """
        remembered = None if renew else self._read(question, await self._cache.get(question.key))
        return await self._find(question) if remembered is None else remembered

    def close(self) -> None:
        """End what is being asked: a process that is going down waits for no provider."""
        self._in_flight.cancel()

    # The way of a question

    def _question(
        self,
        key: str,
        about: str,
        policy: CachePolicy,
        ask: Callable[[Provider], Coroutine[None, None, T]],
        read: wire.Read[T],
        who: Principal | None,
    ) -> Question[T]:
        async def find() -> Answer[T]:
            asker = _asker(who, known=await self._exists(policy.kind, about))
            value, source, tries = await self._inquiry.find(policy.kind, key, ask, asker)
            return Answer(value, source, self._clock.wall_ms(), tries)

        return Question(key, about, policy, find, read, None if who is None else (who.tenant, who.user))

    def _held(self, symbol: str, body: bytes) -> Answer[ProviderQuote] | None:
        """Return the quote that was read of these very bytes before.

        Most questions are about few symbols, and reading their quotes would be a tenth of each answer.
        """
        try:
            held = self._known[symbol]
        except KeyError:
            return None
        # One that a provider gave says how often it was asked for it: not now.
        if held.attempts or held.body != body:
            return None
        self.stats.cache["hit"] += 1
        return held

    async def _find(self, question: Question[T]) -> Answer[T]:
        """Ask providers, together with all who ask the same."""
        for _ in range(PATIENCE):
            try:
                return await self._in_flight.do(question.key, lambda: self._renew(question))
            except ShareSpentError as error:
                if error.user == question.user:
                    raise
                # It was asked together with somebody else, whose share is spent.
        return await self._renew(question)

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

    def _read(self, question: Question[T], body: bytes | None) -> Answer[T] | None:
        """Return what is remembered; None when there is nothing, or nothing that can be read.

        Raises:
            UnknownSymbolError: It is remembered that there is no answer.
        """
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
