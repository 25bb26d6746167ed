"""Read last values from Redis, many callers in one call."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from marketstream.bus.client import Client
from marketstream.bus.last_values import Field
from marketstream.core.delivery.frame import Frame
from marketstream.errors import BusError, InvalidMessageError
from marketstream.wire import envelope, keys

log = structlog.get_logger(__name__)

PAGE = 1_000
"""Fields asked for in one call."""


async def fetch(client: Client, asked: Iterable[Field], shards: int) -> dict[Field, Frame]:
    """Return the newest frame of each field that has one; one that cannot be read is logged and left out.

    Args:
        client: Commands go through it.
        asked: Tenant and key of each.
        shards: Number of shards.

    Raises:
        RedisError: Redis did not answer.
    """
    by_shard: dict[int, list[Field]] = {}
    for tenant, key in asked:
        by_shard.setdefault(keys.shard_of(keys.subject(key), shards), []).append((tenant, key))
    pages = [
        (shard, listed[at : at + PAGE])
        for shard, listed in by_shard.items()
        for at in range(0, len(listed), PAGE)
    ]
    replies = await client.ask(
        [("HMGET", keys.last_values(shard), *(keys.field(*field) for field in page)) for shard, page in pages]
    )
    found = {}
    for (_, page), values in zip(pages, replies, strict=True):
        for field, value in zip(page, values, strict=True):
            try:
                if value is not None:
                    found[field] = envelope.parse_value(value)
            except InvalidMessageError as error:
                log.warning("bus_message_refused", error=str(error))
    return found


class _Batch:
    """What is read in one call.

    Attributes:
        asked: Fields; of those that map to True every later frame is heard.
        found: What was there; None when nobody can say.
        done: Set when one of the two is known.
    """

    __slots__ = ("asked", "done", "found")

    def __init__(self) -> None:
        self.asked: dict[Field, bool] = {}
        self.found: dict[Field, Frame] | None = None
        self.done = asyncio.Event()


class Reader:
    """Reads for many callers: one call at a time, and what is asked for meanwhile goes into the next one.

    A thousand clients that come in one moment and want the same symbols cost as much as one of them.

    Args:
        client: Commands go through it.
        shards: Number of shards.
        took: Called once with what each call found, and with the fields of it whose later frames are heard.
    """

    def __init__(
        self, client: Client, shards: int, took: Callable[[Iterable[Frame], Iterable[Field]], None]
    ) -> None:
        self._client = client
        self._shards = shards
        self._took = took
        self._next = _Batch()
        self._work = asyncio.Event()

    async def read(self, asked: Mapping[Field, bool]) -> Mapping[Field, Frame]:
        """Return the newest frame of each field that has one, and of fields that others asked for.

        Args:
            asked: Fields, and whether every frame of them is heard from now on.

        Raises:
            BusError: Redis was lost meanwhile.
        """
        batch = self._next
        for field, subscribed in asked.items():
            batch.asked[field] = batch.asked.get(field, False) or subscribed
        self._work.set()
        await batch.done.wait()
        if batch.found is None:
            raise BusError("Redis was lost")
        return batch.found

    async def run(self) -> None:
        """Read until cancelled.

        Raises:
            RedisError: Redis did not answer.
        """
        while True:
            await self._work.wait()
            self._work.clear()
            batch, self._next = self._next, _Batch()
            try:
                found = await fetch(self._client, batch.asked, self._shards)
                self._took(found.values(), [field for field, subscribed in batch.asked.items() if subscribed])
                batch.found = found
            finally:
                batch.done.set()

    def abandon(self) -> None:
        """Let those go on who wait for a call that will not be made."""
        batch, self._next = self._next, _Batch()
        self._work.clear()
        batch.done.set()
