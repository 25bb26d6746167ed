"""Check breaker and quota before each question to a provider, and time it.

A provider that keeps failing is left alone for a while, one whose quota is spent until it is not; neither
costs a request then. Only what says that the provider is not well counts as a failure: that it took too long,
could not be reached, or answered nonsense. A refused key, a spent quota or an unknown symbol are answers.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from marketstream.core.query.breaker import Breaker
from marketstream.engine.query.asking import ASKER
from marketstream.errors import (
    ProviderDataError,
    ProviderError,
    ProviderQuotaError,
    ProviderRestingError,
    UnknownSymbolError,
)
from marketstream.ports import Clock, ProviderQuota

T = TypeVar("T")

Observe = Callable[[str, float], None]
"""Takes the name of a provider and the milliseconds that it took to answer, or to fail."""

EVERYTHING = frozenset(("quote", "historical", "profile", "search", "news"))
"""All that a provider can be asked."""

QUIET = 60.0
"""Seconds for which a provider is not asked that says its quota is spent, and not until when."""


class Guard:
    """Lets questions to one provider through.

    Args:
        name: The provider.
        timeout: Seconds that an answer may take; who asks may be less patient.
        quota: How often it may be asked.
        breaker: Its own.
        clock: Time.
        observe: Told how long each request took.
    """

    def __init__(
        self,
        *,
        name: str,
        timeout: float,
        quota: ProviderQuota,
        breaker: Breaker,
        clock: Clock,
        observe: Observe = lambda _name, _milliseconds: None,
    ) -> None:
        self.name = name
        self.timeout = timeout
        self._quota = quota
        self._breaker = breaker
        self._clock = clock
        self._observe = observe

    @property
    def state(self) -> str:
        """Whether questions are let through: closed, open or half-open, as of breakers."""
        return self._breaker.state(self._clock.now())

    async def ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """Send a request and learn from what becomes of it.

        Args:
            request: Asks once, and raises ProviderError or UnknownSymbolError.

        Raises:
            ProviderRestingError: It was not asked: it failed too often.
            ProviderQuotaError: It was not asked, or says so itself: too many questions, of all or of one.
            ProviderError, UnknownSymbolError: As the request.
        """
        wait = self._breaker.admit(self._clock.now())
        if wait > 0:
            raise ProviderRestingError(self.name, "it failed too often and is left alone for a while", wait)
        try:
            wait = await self._quota.take(self.name, ASKER.get())
        except BaseException:
            self._breaker.abandoned()
            raise
        if wait > 0:
            self._breaker.abandoned()
            raise ProviderQuotaError(self.name, "as many questions as it may be asked were asked", wait)
        return await self._measured(request)

    async def _measured(self, request: Callable[[], Awaitable[T]]) -> T:
        began = self._clock.now()
        try:
            answer = await request()
        except (ProviderError, UnknownSymbolError) as error:
            await self._learn(error)
            raise
        except BaseException:
            # Cancelled, mostly. Who asks may be less patient than the guard, so that a provider which hangs
            # is never seen to time out: one that was given half its time and did not use it counts as failed.
            if self._clock.now() - began >= self.timeout / 2:
                self._breaker.failed(self._clock.now())
            else:
                self._breaker.abandoned()
            raise
        finally:
            self._observe(self.name, (self._clock.now() - began) * 1000)
        self._breaker.succeeded()
        return answer

    async def _learn(self, error: ProviderError | UnknownSymbolError) -> None:
        if isinstance(error, ProviderDataError) or (isinstance(error, ProviderError) and error.retryable):
            self._breaker.failed(self._clock.now())
            return
        self._breaker.succeeded()
        if isinstance(error, ProviderQuotaError):
            await self._quota.spend(self.name, QUIET if error.retry_after is None else error.retry_after)
