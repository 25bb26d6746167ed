"""Answers to single questions: from the cache, else from the first provider that answers, else what is left.

Promises an answer within 5 s and a little for the cache: what a provider says now, what the cache still has,
or the reason why there is nothing. Those who ask the same at the same time share one answer. It refuses to
hide where an answer came from: each one says so.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from marketstream.core.failover import UNKNOWN, Ask, Failover, GiveUp, Outcome, Step
from marketstream.core.memo import Memo
from marketstream.core.provision import Article, History, Match, Profile, ProviderQuote
from marketstream.core.shelf import HISTORICAL, NEWS, PROFILE, QUOTE, SEARCH, UNKNOWN_TTL, Shelf
from marketstream.engine.flight import Flights, Spawn
from marketstream.engine.stats import ReadStats
from marketstream.errors import (
    AllProvidersFailedError,
    MarketstreamError,
    ProviderError,
    ProviderRestingError,
    ProviderTimeoutError,
    UnknownSymbolError,
)
from marketstream.ports import Cache, Clock, Provider
from marketstream.wire import keys
from marketstream.wire import provision as wire
from marketstream.wire.provision import Stored

log = structlog.get_logger(__name__)

T = TypeVar("T")

TIMEOUT = "external_api_timeout"
FAILED = "all_providers_failed"
CACHE = "cache"
MOST_KNOWN = 10_000
KNOWN_FOR = 3_600.0
"""Seconds: the close before is the same for a day, but nobody here knows when a day of a market begins."""

PARTIAL_TTL = 15.0
"""Seconds for which an answer with holes is given out: soon there may be a better one."""


@dataclass(frozen=True, slots=True)
class Provided(Generic[T]):
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
        read: Makes an answer of the JSON in the cache.
    """

    key: str
    about: str
    shelf: Shelf
    find: Callable[[], Awaitable[Provided[T]]]
    read: Callable[[Any], T]


class Provision:
    """See the module.

    Args:
        providers: In the order in which they are asked.
        cache: Where answers are kept.
        clock: Time.
        spawn: Starts the work on a question, as a task of the process.
        chance: Random numbers from 0 to 1.
        stats: Counters to keep.
        sleep: Waits that many seconds.
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
    ) -> None:
        self.providers = tuple(providers)
        self.stats = stats
        self.cache = cache
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._flights: Flights[Provided[Any]] = Flights(spawn)
        self._known: Memo[str, Provided[ProviderQuote]] = Memo(MOST_KNOWN)

    async def quote(self, symbol: str, *, renew: bool = False) -> Provided[ProviderQuote]:
        """The price of a symbol.

        Args:
            symbol: The symbol.
            renew: As of `answer`.

        Raises:
            UnknownSymbolError: Nobody knows it.
            AllProvidersFailedError: Nobody answered, and nothing is remembered.
        """
        held = None if renew else self._held(symbol)
        if held is not None:
            return held

        async def ask(provider: Provider) -> ProviderQuote:
            return await provider.quote(symbol)

        found = await self._ask(keys.quote(symbol), symbol, QUOTE, ask, wire.read_quote, renew=renew)
        self._known[symbol] = found
        return found

    def known(self, symbol: str) -> ProviderQuote | None:
        """The quote that somebody was given lately, within the hour; asks nobody."""
        found = self._known.get(symbol)
        if found is None or self._clock.wall_ms() - found.at_ms > KNOWN_FOR * 1000:
            return None
        return found.value

    def _held(self, symbol: str) -> Provided[ProviderQuote] | None:
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

    async def historical(self, symbol: str, period: str, interval: str) -> Provided[History]:
        """Candles of a symbol; raises as `quote`."""

        async def ask(provider: Provider) -> History:
            return await provider.historical(symbol, period, interval)

        key = keys.historical(symbol, period, interval)
        return await self._ask(key, symbol, HISTORICAL, ask, wire.read_history)

    async def profile(self, symbol: str) -> Provided[Profile]:
        """Who is behind a symbol; raises as `quote`."""

        async def ask(provider: Provider) -> Profile:
            return await provider.profile(symbol)

        return await self._ask(keys.profile(symbol), symbol, PROFILE, ask, wire.read_profile)

    async def news(self, symbol: str, limit: int) -> Provided[tuple[Article, ...]]:
        """News about a symbol, newest first; raises as `quote`."""

        async def ask(provider: Provider) -> tuple[Article, ...]:
            return tuple(await provider.news(symbol, limit))

        return await self._ask(keys.news(symbol, limit), symbol, NEWS, ask, wire.read_articles)

    async def search(self, query: str, limit: int) -> Provided[tuple[Match, ...]]:
        """Symbols that fit some words; raises `AllProvidersFailedError` as `quote`."""

        async def ask(provider: Provider) -> tuple[Match, ...]:
            return tuple(await provider.search(query, limit))

        return await self._ask(keys.search(query, limit), query, SEARCH, ask, wire.read_matches)

    async def answer(self, question: Question[T], *, renew: bool = False) -> Provided[T]:
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
        return await self._flights.join(question.key, lambda: self._answer(question))

    def close(self) -> None:
        """Ends what is being asked: a process that is going down waits for no provider."""
        self._flights.cancel()

    # The way of a question

    async def _ask(
        self,
        key: str,
        about: str,
        shelf: Shelf,
        ask: Callable[[Provider], Coroutine[None, None, T]],
        read: Callable[[Any], T],
        *,
        renew: bool = False,
    ) -> Provided[T]:
        async def find() -> Provided[T]:
            return await self._find(shelf.kind, ask)

        return await self.answer(Question(key, about, shelf, find, read), renew=renew)

    async def _answer(self, question: Question[T]) -> Provided[T]:
        """What is remembered; who is just renewing it is waited for only when nothing is."""
        remembered = await self._recall(question)
        return await self._find_once(question) if remembered is None else remembered

    async def _find_once(self, question: Question[T]) -> Provided[T]:
        return await self._flights.join(f"find {question.key}", lambda: self._renew(question))

    async def _renew(self, question: Question[T]) -> Provided[T]:
        try:
            found = await question.find()
        except UnknownSymbolError:
            await self.cache.put([(question.key, wire.UNKNOWN, UNKNOWN_TTL)])
            raise _nobody_knows(question) from None
        except AllProvidersFailedError as failure:
            return await self._stand_in(question, failure)
        return await self._keep(question, found)

    async def _recall(self, question: Question[T]) -> Provided[T] | None:
        body = await self.cache.get(question.key)
        remembered = None if body is None else self._read(question, body)
        if remembered is None:
            self.stats.cache["miss"] += 1
        return remembered

    def _read(self, question: Question[T], body: bytes) -> Provided[T] | None:
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
        return Provided(stored.value, stored.source, stored.at_ms, 0, stored.warning, ttl, body)

    async def _keep(self, question: Question[T], found: Provided[T]) -> Provided[T]:
        body = wire.pack(Stored(found.value, found.source, found.at_ms, found.warning))
        ttl = _ttl(question, found.warning)
        entries = [(question.key, body, ttl)]
        if found.warning is None:
            entries.append((keys.fallback(question.key), body, question.shelf.kept))
        await self.cache.put(entries)
        return Provided(found.value, found.source, found.at_ms, found.attempts, found.warning, ttl, body)

    async def _stand_in(self, question: Question[T], failure: AllProvidersFailedError) -> Provided[T]:
        body = await self.cache.get(keys.fallback(question.key))
        stored = None if body is None else wire.unpack(body, question.read)
        if stored is None:
            raise failure
        self.stats.cache["fallback"] += 1
        warning = TIMEOUT if failure.timed_out else FAILED
        return Provided(stored.value, CACHE, stored.at_ms, len(failure.attempts), warning)

    async def _find(self, kind: str, ask: Callable[[Provider], Coroutine[None, None, T]]) -> Provided[T]:
        able = {p.name: p for p in self.providers if p.configured and kind in p.offers}
        failover = Failover(list(able), self._clock.now())
        step = failover.begin(self._clock.now())
        while isinstance(step, Ask):
            if step.delay:
                await self._sleep(step.delay)
            began = self._clock.now()
            try:
                value = await self._limited(ask(able[step.provider]), step)
            except Exception as error:  # noqa: BLE001  # no fault of a provider may keep the next from being asked
                step = self._failed(failover, kind, step, error, self._clock.now() - began)
            else:
                self.stats.asked(step.provider, "ok", self._clock.now() - began)
                return Provided(value, step.provider, self._clock.wall_ms(), failover.tries)
        raise _verdict(kind, failover, step)

    def _failed(self, failover: Failover, kind: str, asked: Ask, error: Exception, took: float) -> Step:
        outcome, code = _judge(error)
        if code == MarketstreamError.code:
            # Not its text: that may show the address that was asked, with the key in it.
            log.error("provider_crashed", provider=asked.provider, kind=kind, error=type(error).__name__)
        self.stats.asked(asked.provider, code, took)
        now = self._clock.now()
        step = failover.failed(outcome, code, took=took, now=now, chance=self._chance())
        following = step.provider if isinstance(step, Ask) else CACHE
        if following != asked.provider and step != GiveUp("unknown"):
            log.warning(
                "provider_failover", kind=kind, provider=asked.provider, following=following, reason=code
            )
        return step

    async def _limited(self, call: Coroutine[None, None, T], step: Ask) -> T:
        """Awaits a call, but no longer than it may take.

        Raises:
            ProviderTimeoutError: It took longer.
        """
        work, timer = asyncio.ensure_future(call), asyncio.ensure_future(self._sleep(step.limit))
        try:
            await asyncio.wait((work, timer), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ProviderTimeoutError(step.provider, f"no answer after {step.limit:.3g} s")
            return work.result()
        finally:
            work.cancel()
            timer.cancel()
            await asyncio.gather(work, timer, return_exceptions=True)


def _judge(error: Exception) -> tuple[Outcome, str]:
    match error:
        case UnknownSymbolError():
            return "unknown", UNKNOWN
        case ProviderRestingError():
            return "resting", error.code
        case ProviderError():
            return ("transient" if error.retryable else "final"), error.code
        case _:
            return "final", MarketstreamError.code


def _verdict(kind: str, failover: Failover, end: GiveUp) -> MarketstreamError:
    if end.reason == "unknown":
        return UnknownSymbolError("nobody knows it")
    attempts = [(attempt.provider, attempt.code) for attempt in failover.attempts]
    # Each may have had less time than all of them together.
    all_slow = bool(attempts) and {code for _, code in attempts} == {ProviderTimeoutError.code}
    timed_out = end.reason == "deadline" or all_slow
    if not attempts:
        text = f"no provider is configured that has this: {kind}"
    elif timed_out:
        text = "no provider answered in time"
    else:
        text = "every provider failed"
    return AllProvidersFailedError(text, attempts, timed_out=timed_out)


def _nobody_knows(question: Question[Any]) -> UnknownSymbolError:
    return UnknownSymbolError(f"{question.about}: nobody knows this symbol")


def _ttl(question: Question[Any], warning: str | None) -> float:
    return question.shelf.ttl if warning is None else PARTIAL_TTL
