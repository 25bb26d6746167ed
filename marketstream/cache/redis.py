"""Keep answers in a Redis that processes share.

Promises that a Redis which is away, or slow, costs a caller a quarter of a second at most and is then not
asked for a second: until it answers again everything is a miss. That is said once in the log, not for each
caller. How much it holds is bounded by the times after which entries end, and by Redis' own `maxmemory`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError

from marketstream.ports import Cache, CacheEntry, Clock

log = structlog.get_logger(__name__)

PATIENCE = 0.25
"""Seconds that an answer may take: a cache that is slower is of no use."""

CALLS = 8
"""Calls that are underway at a time; others wait, and are not counted as slow for that."""

PAUSE = 1.0
"""Seconds for which a Redis that did not answer is left alone."""

LOST = (RedisError, OSError, TimeoutError)


class RedisCache:
    """See `ports.Cache`.

    Args:
        redis: Speaks to it; decodes nothing. Closed by `aclose`.
        clock: Time.
    """

    name = "redis"

    def __init__(self, redis: Redis | RedisCluster, *, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._turns = asyncio.Semaphore(CALLS)
        self._reads, self._writes = _Way(), _Way()
        self._announced = False

    @property
    def connected(self) -> bool:
        """Whether it answered when it was last asked."""
        return not self._reads.lost

    @property
    def size(self) -> int | None:
        """Not known: it is shared with others."""
        return None

    async def get(self, key: str) -> bytes | None:
        """See `ports.Cache.get`."""
        (found,) = await self._ask([("GET", key)], self._reads) or [None]
        return found if isinstance(found, bytes) else None

    async def put(self, entries: Sequence[CacheEntry]) -> None:
        """See `ports.Cache.put`."""
        commands = [("SET", key, value, "PX", max(1, round(ttl * 1000))) for key, value, ttl in entries]
        await self._ask(commands, self._writes)

    def expire(self) -> None:
        """See `ports.Cache.expire`: Redis does so itself."""

    async def aclose(self) -> None:
        """Let go of its connections."""
        await self._redis.aclose()

    async def _ask(self, commands: Sequence[Sequence[str | bytes | int]], way: "_Way") -> list[Any]:
        """Return the replies; none at all while there is no Redis to ask."""
        async with self._turns:
            # Looked at now: whoever waited for its turn behind one that failed need not fail as well.
            if way.lost and self._clock.now() < way.ask_again_at:
                return []
            return await self._call(commands, way)

    async def _call(self, commands: Sequence[Sequence[str | bytes | int]], way: "_Way") -> list[Any]:
        try:
            async with asyncio.timeout(PATIENCE), self._redis.pipeline(transaction=False) as pipe:
                for words in commands:
                    pipe.execute_command(*words)
                replies = list(await pipe.execute())
        except LOST as error:
            way.ask_again_at = self._clock.now() + PAUSE
            way.lost = True
            self._note_loss(error)
            return []
        way.lost = False
        self._note_recovery()
        return replies

    def _note_loss(self, error: Exception) -> None:
        if not self._announced:
            self._announced = True
            log.warning("cache_disconnected", reason=str(error) or type(error).__name__)

    def _note_recovery(self) -> None:
        if self._announced and not (self._reads.lost or self._writes.lost):
            self._announced = False
            log.info("cache_reconnected")


@dataclass(slots=True)
class _Way:
    """Reading or writing: a Redis that is full or read-only does the one and not the other.

    Attributes:
        lost: Whether it failed when it was last tried.
        ask_again_at: Monotonic seconds until which it is not tried.
    """

    lost: bool = False
    ask_again_at: float = 0.0


_: type[Cache] = RedisCache
