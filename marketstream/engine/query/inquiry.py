"""Ask one question of provider after provider, as failover decides.

Who asks spends a share of what each provider may be asked; what is not known to exist spends another. So
nobody who makes names up keeps the others from asking. A provider that does not have a symbol is not asked
for it again for a while.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TypeVar

import structlog
from cachetools import TTLCache

from marketstream.core.query.cache_policy import UNKNOWN_TTL
from marketstream.core.query.failover import UNKNOWN, Ask, Failover, GiveUp, Outcome, Step
from marketstream.core.query.quota import Asker
from marketstream.engine.query.asking import ASKER
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
from marketstream.ports import Clock, Provider

log = structlog.get_logger(__name__)

T = TypeVar("T")

CACHE = "cache"
MOST_LACKING = 10_000
"""Questions that are remembered because a provider had no answer to them."""

SAY_EVERY = 60.0
"""Seconds between two words about spent shares of one provider."""


class Inquiry:
    """Asks providers.

    Args:
        providers: In the order in which they are asked.
        clock: Time.
        chance: Random numbers from 0 to 1.
        stats: Counters to keep.
        sleep: Waits that many seconds.

    Attributes:
        providers: The same.
    """

    def __init__(
        self,
        *,
        providers: Sequence[Provider],
        clock: Clock,
        chance: Callable[[], float],
        stats: ReadStats,
        sleep: Callable[[float], Coroutine[None, None, None]] = asyncio.sleep,
    ) -> None:
        self.providers = tuple(providers)
        self._clock = clock
        self._chance = chance
        self._stats = stats
        self._sleep = sleep
        # Provider and question. The cache of answers knows only what no provider has: while another one is
        # down, each question would cost the budget of the one that said no already.
        self._lacking: TTLCache[tuple[str, str], None] = TTLCache(MOST_LACKING, UNKNOWN_TTL, clock.now)
        self._said: dict[str, float] = {}

    async def find(
        self,
        kind: str,
        key: str,
        ask: Callable[[Provider], Coroutine[None, None, T]],
        asker: Asker,
    ) -> tuple[T, str, int]:
        """Ask one after the other.

        Args:
            kind: What is asked: one of what providers offer.
            key: Name of the question: a symbol without candles of today may have some of a year.
            ask: Asks one of them.
            asker: Who wants to know.

        Returns:
            The answer, the provider that gave it, and how often somebody was asked.

        Raises:
            UnknownSymbolError: Nobody has it.
            AllProvidersFailedError: Nobody answered.
            ShareSpentError: Nobody was asked, because who asks has asked too much.
        """
        ASKER.set(asker)
        able = {p.name: p for p in self.providers if p.configured and kind in p.offers}
        began = self._clock.now()
        failover = Failover(list(able), began)
        spent: list[ProviderShareError] = []
        step = failover.begin(began)
        while isinstance(step, Ask):
            if step.delay:
                await self._sleep(step.delay)
            began = self._clock.now()
            try:
                value = await self._ask(step, key, partial(ask, able[step.provider]))
            except Exception as error:  # noqa: BLE001  # no fault of a provider may keep the next from being asked
                if isinstance(error, ProviderShareError):
                    spent.append(error)
                step = self._failed(failover, kind, step, error, began)
            else:
                self._stats.asked(step.provider, "ok", self._clock.now() - began)
                return value, step.provider, failover.tries
        raise _verdict(kind, failover, step, asker, spent)

    async def _ask(self, step: Ask, key: str, ask: Callable[[], Coroutine[None, None, T]]) -> T:
        """Ask one provider, unless it has said lately that it does not know."""
        at = (step.provider, key)
        if at in self._lacking:
            raise UnknownSymbolError(key)
        try:
            return await self._limited(ask(), step)
        except UnknownSymbolError:
            self._lacking[at] = None
            raise

    def _failed(self, failover: Failover, kind: str, asked: Ask, error: Exception, began: float) -> Step:
        now = self._clock.now()
        outcome, code = _judge(error)
        if code == MarketstreamError.code:
            # Not its text: that may show the address that was asked, with the key in it.
            log.error("provider_crashed", provider=asked.provider, kind=kind, error=type(error).__name__)
        self._stats.asked(asked.provider, code, now - began)
        step = failover.failed(outcome, code, took=now - began, now=now, chance=self._chance())
        following = step.provider if isinstance(step, Ask) else CACHE
        if isinstance(error, ProviderShareError):
            self._note_spent(error, now)
        elif following != asked.provider and step != GiveUp("unknown"):
            log.warning(
                "provider_failover", kind=kind, provider=asked.provider, following=following, reason=code
            )
        return step

    def _note_spent(self, error: ProviderShareError, now: float) -> None:
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
        """Await a call, but no longer than it may take.

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
            timer.cancel()
            if not work.done():
                # Whoever is cut off may have a connection to give back: that is waited for.
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)


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
    asker: Asker,
    spent: Sequence[ProviderShareError],
) -> MarketstreamError:
    if end.reason == "unknown":
        return UnknownSymbolError("nobody knows it")
    attempts = [(attempt.provider, attempt.code) for attempt in failover.attempts]
    own = [error.retry_after or 0.0 for error in spent if error.whose != "unknown"]
    others = [code for _, code in attempts if code != ProviderRefusedError.code]
    if asker.user is not None and own and len(own) == len(others):
        return ShareSpentError(attempts, asker.user, round(min(own) * 1000))
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
