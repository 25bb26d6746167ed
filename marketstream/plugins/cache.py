"""Where answers of providers are kept, named by the scheme of `cache.url`."""

from collections.abc import Callable
from dataclasses import dataclass

from marketstream.plugins.registry import Point
from marketstream.ports import Cache, Clock


@dataclass(frozen=True, slots=True)
class CacheContext:
    """What a factory of caches is given besides the URL.

    Attributes:
        clock: Time.
        max_entries: Entries that it may hold, where it holds them itself.
        max_bytes: Bytes that they may take.
        setting: Where the URL comes from, `cache.url` or `bus.url`, for errors.
    """

    clock: Clock
    max_entries: int = 10_000
    max_bytes: int = 64 << 20
    setting: str = "cache.url"


CacheFactory = Callable[[str, CacheContext], Cache]
"""Makes a cache of a URL; connects to nothing. Raises `ConfigurationError` for a URL that it cannot read."""

CACHE: Point[CacheFactory] = Point("cache")
