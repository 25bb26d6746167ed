"""The cache of one process: bounded in entries and bytes; the least recently used gives way.

Promises never to hold more than it was allowed, and to hand out nothing whose time is over.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cachetools import TLRUCache

from marketstream.plugins.cache import CacheContext, CacheFactory
from marketstream.ports import Cache, CacheEntry, Clock

OVERHEAD = 200
"""Bytes that an entry takes besides its key and its value, roughly."""


class _Entry(NamedTuple):
    value: bytes
    ttl: float
    weight: int


class MemoryCache:
    """See `ports.Cache`.

    Args:
        clock: Time.
        max_entries: Entries it holds at most.
        max_bytes: Bytes that they take at most, roughly.
    """

    name = "memory"

    def __init__(self, *, clock: Clock, max_entries: int = 10_000, max_bytes: int = 64 << 20) -> None:
        self._max_entries = max_entries
        self._entries: TLRUCache[str, _Entry] = TLRUCache(
            max_bytes, lambda _key, entry, now: now + entry.ttl, clock.now, lambda entry: entry.weight
        )

    @property
    def connected(self) -> bool:
        """Always true: there is nothing in between."""
        return True

    @property
    def size(self) -> int | None:
        """Entries held."""
        return len(self._entries)

    @property
    def weight(self) -> int:
        """Bytes that they take, roughly."""
        return int(self._entries.currsize)

    async def get(self, key: str) -> bytes | None:
        """See `ports.Cache.get`."""
        try:
            # Not `TLRUCache.get`: that looks twice, and stops its clock meanwhile.
            return self._entries[key].value
        except KeyError:
            return None

    async def put(self, entries: Sequence[CacheEntry]) -> None:
        """See `ports.Cache.put`; what is larger than the whole cache is not kept."""
        for key, value, ttl in entries:
            weight = len(key) + len(value) + OVERHEAD
            if weight > self._entries.maxsize:
                self._entries.pop(key, None)
            else:
                self._entries[key] = _Entry(value, ttl, weight)
            if len(self._entries) > self._max_entries:
                self._entries.popitem()

    def expire(self) -> None:
        """Let go of everything whose time is over."""
        self._entries.expire()

    async def aclose(self) -> None:
        """See `ports.Cache.aclose`: there is nothing to let go of."""


def build(_url: str, context: CacheContext) -> MemoryCache:
    """Make the cache of `memory://`."""
    return MemoryCache(clock=context.clock, max_entries=context.max_entries, max_bytes=context.max_bytes)


_: type[Cache] = MemoryCache
_factory: CacheFactory = build
