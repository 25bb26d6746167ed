"""Detect that Redis has lost its data, by a marker left in it.

A Redis that was started anew is empty, and soon has newer values of others than this process ever saw; only
the word tells that it forgot the rest. It travels to replicas with everything else.
"""

import secrets
from contextlib import suppress

from redis.exceptions import RedisError

from marketstream.bus.client import Client
from marketstream.wire import keys


class Recall:
    """See the module.

    Args:
        client: Commands go through it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: bytes | None = None
        self._found: bytes | None = None

    async def is_lost(self) -> bool:
        """Read the marker; return whether it differs from that at the last `restored`.

        A node of a cluster forgets for itself, so there values may always be missing.

        Raises:
            RedisError: Redis did not answer.
        """
        if self._client.sharded:
            return True
        self._found = await self._read()
        if self._found is None:
            # One that takes no writes, or is leaving them for later, is read all the same.
            with suppress(RedisError):
                await self._client.ask([("SET", keys.RECALL, secrets.token_hex(8), "NX")])
            self._found = await self._read()
        return self._found != self._known

    def restored(self) -> None:
        """Note that Redis knows all that this process does."""
        self._known = self._found

    async def _read(self) -> bytes | None:
        (found,) = await self._client.ask([("GET", keys.RECALL)])
        return bytes(found) if found else None
