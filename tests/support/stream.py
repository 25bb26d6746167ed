"""The stream that back ends add best prices to, as a producer and an operator see it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from redis import Redis

STREAM = "market-data.best-price"
GROUP = "marketstream"


def fields(best: Mapping[str, Any], tenant: str | None = None) -> dict[str, str]:
    """The fields of an entry with a best price in its wire shape."""
    event = {"eventType": STREAM, "payload": best} | ({"tenantId": tenant} if tenant else {})
    return {"event": json.dumps(event)}


def add(client: Redis, *prices: Mapping[str, Any], tenant: str | None = None) -> list[bytes]:
    """Adds an entry for each price and returns their ids."""
    return add_raw(client, (fields(best, tenant) for best in prices))


def add_raw(client: Redis, entries: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Adds entries with these fields and returns their ids."""
    with client.pipeline(transaction=False) as pipe:
        for entry in entries:
            given: Any = entry
            pipe.xadd(STREAM, given)
        return list(pipe.execute())


def progress(client: Redis) -> tuple[int, int]:
    """How many entries are with a consumer, and how many nobody was given yet."""
    [group] = client.xinfo_groups(STREAM)
    return int(group["pending"]), int(group["lag"])


def dead(client: Redis) -> list[dict[bytes, bytes]]:
    """What is in the stream of dead letters."""
    entries: Any = client.xrange(f"{STREAM}.dead")
    return [found for _, found in entries]
