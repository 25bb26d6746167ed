"""The cache of one process: a dictionary with a bound, in which the least recently used gives way.

Promises never to hold more entries or bytes than it was allowed, and to hand out nothing whose time is over.
Entries whose time is over are let go when they are met, or when room is needed.
"""

from collections import OrderedDict
from collections.abc import Sequence

from marketstream.ports import Cache, CacheEntry, Clock

OVERHEAD = 200
"""Bytes that an entry takes besides its key and its value, roughly."""


class MemoryCache:
    """See `ports.Cache`.

    Args:
        clock: Time.
        max_entries: Entries it holds at most.
        max_bytes: Bytes that they take at most, roughly.
    """

    name = "memory"

    def __init__(self, *, clock: Clock, max_entries: int = 10_000, max_bytes: int = 64 << 20) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    @property
    def connected(self) -> bool:
        """Always true: there is nothing in between."""
        return True

    @property
    def size(self) -> int | None:
        """Entries held, some of which may be over."""
        return len(self._entries)

    @property
    def weight(self) -> int:
        """Bytes that they take, roughly."""
        return self._bytes

    async def get(self, key: str) -> bytes | None:
        """See `ports.Cache.get`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, until = entry
        if until <= self._clock.now():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    async def put(self, entries: Sequence[CacheEntry]) -> None:
        """See `ports.Cache.put`; what is larger than the whole cache is not kept."""
        now = self._clock.now()
        for key, value, ttl in entries:
            self._drop(key)
            if _weight(key, value) <= self._max_bytes:
                self._entries[key] = value, now + ttl
                self._bytes += _weight(key, value)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def expire(self) -> None:
        """Lets go of everything whose time is over."""
        now = self._clock.now()
        for key in [key for key, (_, until) in self._entries.items() if until <= now]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _weight(key, entry[0])


def _weight(key: str, value: bytes) -> int:
    return len(key) + len(value) + OVERHEAD


_: type[Cache] = MemoryCache
