"""Those who answer single questions, named in `market.providers`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from marketstream.core.query.quota import Allowance
from marketstream.engine.delivery.quotes import Newest
from marketstream.plugins.registry import Point
from marketstream.ports import Clock, Provider

T = TypeVar("T")

ANY_NUMBER = Allowance(0, 0)
"""Of a provider that does not limit questions."""


class ProviderGuard(Protocol):
    """Stands before every question: its breaker, its budget, and a clock beside it."""

    @property
    def timeout(self) -> float:
        """Seconds that an answer may take; the provider sees to it."""
        ...

    async def ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """Send a request, if it may be sent, and learn from what becomes of it.

        Args:
            request: Asks once, and raises ProviderError or UnknownSymbolError.

        Raises:
            ProviderError: As the request, or it was not sent: too many questions, or too many failures.
            UnknownSymbolError: As the request.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What a factory of providers is given.

    Attributes:
        clock: Time.
        guard: Every question goes through it.
        secret: As of `plugins.feed.FeedContext`.
        base_url: Where the provider's paths begin, if the settings say so.
        newest: The newest public best price of a symbol, if it has one.
        symbols: Symbols that are shown of the market as a whole.
    """

    clock: Clock
    guard: ProviderGuard
    secret: Callable[[str], str | None]
    base_url: str | None
    newest: Callable[[str], Awaitable[Newest | None]]
    symbols: Sequence[str]


@dataclass(frozen=True, slots=True)
class ProviderPlugin:
    """What the entry point of a provider is.

    Attributes:
        build: Makes the provider; connects to nothing.
        timeout: Seconds that an answer may take, unless the settings say otherwise, as for those below.
        allowance: How often it may be asked, by all processes together.
    """

    build: Callable[[ProviderContext], Provider]
    timeout: float = 2.0
    allowance: Allowance = ANY_NUMBER

    def __call__(self, context: ProviderContext) -> Provider:
        """Make the provider."""
        return self.build(context)


PROVIDER: Point[ProviderPlugin] = Point("provider")
