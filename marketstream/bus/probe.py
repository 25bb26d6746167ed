"""Detect a subscription that receives nothing, by messages that a process sends to itself.

A connection that listens can go silent without an error, and on a quiet day nothing else would tell. So every
two seconds a message is published on each connection's channel, and must come back.
"""

import asyncio

from redis.exceptions import RedisError

from marketstream.bus.client import Client
from marketstream.bus.clock import BusClock
from marketstream.errors import BusError

INTERVAL = 2.0
"""Seconds between two words."""

PATIENCE = 3.0
"""Seconds that they may take."""


class Probe:
    """See the module.

    Args:
        client: Commands go through it.
        clock: Set right each time.
    """

    def __init__(self, client: Client, clock: BusClock) -> None:
        self._client = client
        self._clock = clock
        self._channels: frozenset[str] = frozenset()
        self._silent: set[str] = set()
        self._returned = asyncio.Event()

    def begin(self, channels: list[str]) -> None:
        """Name the channels of this stay, which are listened to."""
        self._channels = frozenset(channels)

    def answered(self, channel: str) -> bool:
        """Note a probe that came back; False when the channel is none of these."""
        if channel not in self._channels:
            return False
        self._silent.discard(channel)
        if not self._silent:
            self._returned.set()
        return True

    async def run(self) -> None:
        """Probe until cancelled.

        Raises:
            BusError: A subscription is deaf.
            RedisError: Redis did not answer.
        """
        while True:
            await asyncio.sleep(INTERVAL)
            self._returned.clear()
            await self._clock.read(self._client)
            self._silent = set(self._channels)
            try:
                for channel in self._channels:
                    await self._client.publish(channel, b"")
            except RedisError as error:
                if not await self._client.refuses(error):
                    raise
                # Nothing can be said: prices do not travel either, and whoever feeds gives no sign of life.
                continue
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._returned.wait()
            except TimeoutError as exc:
                raise BusError("the subscription is deaf") from exc
