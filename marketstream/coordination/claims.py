"""Claim each run of a job in Redis, so that one process does it.

Without Redis nobody has anything: a run that cannot be claimed is not done, since another may be doing it.
"""

from redis.exceptions import RedisError

from marketstream.bus.client import Client
from marketstream.errors import BusError
from marketstream.ports import Claims
from marketstream.wire import keys


class RedisClaims:
    """See `ports.Claims`.

    Args:
        client: Speaks to Redis; closed by who made it.
        node: Name of this process among those that share it.
    """

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node

    async def take(self, job: str, due_ms: int, ttl: float) -> bool:
        """See `ports.Claims.take`."""
        key = keys.claim(job, due_ms)
        # Read back, so that a claim whose answer was lost on the way is recognised when it is made again.
        commands = [("SET", key, self._node, "NX", "PX", round(ttl * 1000)), ("GET", key)]
        try:
            _, owner = await self._client.ask(commands)
        except (RedisError, OSError) as error:
            raise BusError(f"{key} cannot be claimed: {error!r}") from error
        return bool(owner == self._node.encode())


_: type[Claims] = RedisClaims
