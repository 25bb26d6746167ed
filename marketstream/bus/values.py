"""Last values, read from Redis."""

from collections.abc import Iterable

import structlog

from marketstream.bus.client import Client
from marketstream.bus.mirror import Field
from marketstream.core.frame import Frame
from marketstream.errors import InvalidMessageError
from marketstream.wire import envelope, keys

log = structlog.get_logger(__name__)

PAGE = 1_000
"""Fields asked for in one call."""


async def fetch(client: Client, asked: Iterable[Field], shards: int) -> dict[Field, Frame]:
    """The newest frame of each field that has one; one that cannot be read is logged and left out.

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
