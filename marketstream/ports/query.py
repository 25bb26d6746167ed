"""Define what questions expect of adapters: providers, quotas, cache."""

from collections.abc import Sequence
from typing import Protocol

from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.core.query.quota import SERVER, Asker


class Provider(Protocol):
    """Someone who answers questions, each for itself; one that takes too long is cancelled.

    What it does not know it refuses by `UnknownSymbolError`; whatever else goes wrong is a `ProviderError`.
    It asks once: trying again is decided by the one who asks.
    """

    @property
    def name(self) -> str:
        """Short name, such as `yahoo`."""
        ...

    @property
    def offers(self) -> frozenset[str]:
        """What it can be asked: `quote`, `historical`, `profile`, `search`, `news`."""
        ...

    @property
    def configured(self) -> bool:
        """Whether it has what it needs, such as a key; it is not asked otherwise."""
        ...

    async def quote(self, symbol: str) -> ProviderQuote:
        """Return the price of a symbol.

        Raises:
            UnknownSymbolError: There is no such symbol here.
            ProviderError: It cannot be had from here now.
        """
        ...

    async def historical(self, symbol: str, period: str, interval: str) -> History:
        """Return candles of one of `PERIODS` and one of `INTERVALS`; raise as `quote`."""
        ...

    async def profile(self, symbol: str) -> Profile:
        """Return who is behind a symbol; raise as `quote`."""
        ...

    async def search(self, query: str, limit: int) -> Sequence[Match]:
        """Return the symbols that fit some words, best first; none is an answer too.

        Raises:
            ProviderError: It cannot be had from here now.
        """
        ...

    async def news(self, symbol: str, limit: int) -> Sequence[Article]:
        """Return news about a symbol, newest first; raise as `quote`."""
        ...

    async def aclose(self) -> None:
        """Lets go of connections and threads; it is not asked after."""
        ...


class ProviderQuota(Protocol):
    """How often each provider may be asked, in a minute and on a day of UTC; who shares it shares the count.

    It never raises for a peer: one that cannot be reached is stood in for by what this process asked itself.
    """

    async def take(self, provider: str, asker: Asker = SERVER) -> float:
        """Count one question to a provider, if it may be asked.

        Args:
            provider: Whom.
            asker: Who asks, whose share it counts against too.

        Returns:
            0.0 when it may, else the seconds until one will, and nothing was counted.

        Raises:
            ProviderShareError: The provider may be asked, but not by this one; nothing was counted.
        """
        ...

    async def spend(self, provider: str, seconds: float) -> None:
        """Note that the provider itself wants no question for so long; never shortens what is noted."""
        ...


CacheEntry = tuple[str, bytes, float]
"""Key, value, and the seconds after which it is gone."""


class Cache(Protocol):
    """Keeps values for a while; one that cannot be reached behaves as an empty one and never raises."""

    @property
    def name(self) -> str:
        """Short name, such as `memory` or `redis`."""
        ...

    @property
    def connected(self) -> bool:
        """Whether it could be reached when it was last needed; never blocks."""
        ...

    @property
    def size(self) -> int | None:
        """How many entries it holds; None when it cannot know."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key, exactly as it was put; None when there is none, or its time is over."""
        ...

    async def put(self, entries: Sequence[CacheEntry]) -> None:
        """Keep values in place of what was there; may drop any of them when there is no room."""
        ...

    def expire(self) -> None:
        """Lets go of everything whose time is over, where nobody else does; never blocks."""
        ...

    async def aclose(self) -> None:
        """Lets go of its connections; it is not used after."""
        ...
