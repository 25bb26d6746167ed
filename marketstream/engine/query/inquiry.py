"""One question on its way from provider to provider, on behalf of somebody.

Who asks spends a share of what each provider may be asked; what is not known to exist spends another. So
nobody who makes names up keeps the others from asking. A provider that does not have a symbol is not asked
for it again for a while, and what one has is known to exist from then on, in every process that shares the
cache.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import TypeVar

import structlog

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.memo import Memo
from marketstream.core.query.cache_policy import KNOWN_TTL, UNKNOWN_TTL
from marketstream.core.query.failover import UNKNOWN, Ask, Failover, GiveUp, Outcome, Step
from marketstream.engine.query.asking import ASKER, asker_of
from marketstream.engine.stats import ReadStats
from marketstream.errors import (
    AllProvidersFailedError,
    MarketstreamError,
    ProviderError,
    ProviderRefusedError,
    ProviderRestingError,
    ProviderShareError,
    ProviderTimeoutError,
    ShareSpentError,
    UnknownSymbolError,
)
from marketstream.ports import Cache, Clock, Provider
from marketstream.wire import keys

log = structlog.get_logger(__name__)

T = TypeVar("T")

CACHE = "cache"
MOST_REMEMBERED = 10_000
"""Symbols that are remembered to exist, and answers that they do not, in a process."""

SAY_EVERY = 60.0
"""Seconds between two words about spent shares of one provider."""

PROOF = frozenset({"quote", "historical", "profile"})
"""What is answered of nothing that does not exist; news of it are none, and matches others."""


class Inquiry:
    """Asks providers.

    Args:
        providers: In the order in which they are asked.
        cache: Where it is kept what is known to exist.
        clock: Time.
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
        chance: Callable[[], float],
        stats: ReadStats,
        sleep: Callable[[float], Coroutine[None, None, None]],
        listed: Collection[str] = (),
    ) -> None:
        self._providers = tuple(providers)
        self._cache = cache
        self._clock = clock
        self._chance = chance
        self._stats = stats
        self._sleep = sleep
        self._listed = frozenset(listed)
        self._known: Memo[str, None] = Memo(MOST_REMEMBERED)
        # Provider and question, until when it is not asked that again.
        self._lacking: Memo[tuple[str, str], float] = Memo(MOST_REMEMBERED)
        self._said: dict[str, float] = {}

    async def find(
        self,
        kind: str,
        key: str,
        about: str,
        ask: Callable[[Provider], Coroutine[None, None, T]],
        who: Principal | None,
    ) -> tuple[T, str, int]:
        """Asks one after the other.

        Args:
            kind: What is asked: one of what providers offer.
            key: Name of the question: a symbol without candles of today may have some of a year.
            about: The symbol, or the words of a search.
            ask: Asks one of them.
            who: Who wants to know; None: the server itself.

        Returns:
            The answer, the provider that gave it, and how often somebody was asked.

        Raises:
            UnknownSymbolError: Nobody has it.
            AllProvidersFailedError: Nobody answered.
            ShareSpentError: Nobody was asked, because who asks has asked too much.
        """
        ASKER.set(asker_of(who, known=await self._is_known(kind, about)))
        able = {p.name: p for p in self._providers if p.configured and kind in p.offers}
        failover = Failover(list(able), self._clock.now())
        spent: list[ProviderShareError] = []
        step = failover.begin(self._clock.now())
        while isinstance(step, Ask):
            if step.delay:
                await self._sleep(step.delay)
            began = self._clock.now()
            try:
                value = await self._ask(step, key, about, partial(ask, able[step.provider]))
            except Exception as error:  # noqa: BLE001  # no fault of a provider may keep the next from being asked
                if isinstance(error, ProviderShareError):
                    spent.append(error)
                step = self._failed(failover, kind, step, error, self._clock.now() - began)
            else:
                self._stats.asked(step.provider, "ok", self._clock.now() - began)
                await self._note_known(kind, about)
                return value, step.provider, failover.tries
        raise _verdict(kind, failover, step, who, spent)

    async def _ask(self, step: Ask, key: str, about: str, ask: Callable[[], Coroutine[None, None, T]]) -> T:
        """Ask one provider, unless it has said lately that it does not know."""
        at, began = (step.provider, key), self._clock.now()
        try:
            if self._lacking.get(at, -math.inf) > began:
                raise UnknownSymbolError(about)  # noqa: TRY301  # as it would say itself
            return await self._limited(ask(), step)
        except UnknownSymbolError:
            self._lacking[at] = max(self._lacking.get(at, 0.0), began + UNKNOWN_TTL)
            raise

    async def _is_known(self, kind: str, about: str) -> bool:
        if kind == "search":
            return False
        if about in self._listed or about in self._known:
            return True
        found = await self._cache.get(keys.known(about)) is not None
        if found:
            self._known[about] = None
        return found

    async def _note_known(self, kind: str, about: str) -> None:
        if kind in PROOF and about not in self._known and about not in self._listed:
            self._known[about] = None
            await self._cache.put([(keys.known(about), b"1", KNOWN_TTL)])

    def _failed(self, failover: Failover, kind: str, asked: Ask, error: Exception, took: float) -> Step:
        outcome, code = _judge(error)
        if code == MarketstreamError.code:
            # Not its text: that may show the address that was asked, with the key in it.
            log.error("provider_crashed", provider=asked.provider, kind=kind, error=type(error).__name__)
        self._stats.asked(asked.provider, code, took)
        now = self._clock.now()
        step = failover.failed(outcome, code, took=took, now=now, chance=self._chance())
        following = step.provider if isinstance(step, Ask) else CACHE
        if isinstance(error, ProviderShareError):
            self._note_spent(error)
        elif following != asked.provider and step != GiveUp("unknown"):
            log.warning(
                "provider_failover", kind=kind, provider=asked.provider, following=following, reason=code
            )
        return step

    def _note_spent(self, error: ProviderShareError) -> None:
        now = self._clock.now()
        if now >= self._said.get(error.provider, -math.inf):
            # Whoever spends a share asks again and again.
            self._said[error.provider] = now + SAY_EVERY
            asker = ASKER.get()
            log.warning(
                "provider_share_spent",
                provider=error.provider,
                whose=error.whose,
                plan=asker.plan,
                tenant=asker.user and asker.user[0],
            )

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


def _verdict(
    kind: str,
    failover: Failover,
    end: GiveUp,
    who: Principal | None,
    spent: Sequence[ProviderShareError],
) -> MarketstreamError:
    if end.reason == "unknown":
        return UnknownSymbolError("nobody knows it")
    attempts = [(attempt.provider, attempt.code) for attempt in failover.attempts]
    own = [error.retry_after or 0.0 for error in spent if error.whose != "unknown"]
    others = [code for _, code in attempts if code != ProviderRefusedError.code]
    if who is not None and own and len(own) == len(others):
        return ShareSpentError(attempts, (who.tenant, who.user), round(min(own) * 1000))
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
