"""Keep one listening connection subscribed to the channels that are wanted.

redis-py's own listener reconnects without a word and loses what was said meanwhile. This one ends with an
error, and whoever runs it decides. It speaks RESP2: redis-py is slow at telling pushes of RESP3 apart.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import ClassVar

from redis.asyncio.connection import AbstractConnection

from marketstream.bus.listener import Listener
from marketstream.wire import keys


class Subscriber:
    """See the module.

    Args:
        connection: A connection of its own, not open yet.
        receive: Called with channel and message.

    Attributes:
        joined: Kind of a reply that confirms a channel.
        told: Kind of a reply that is a message.
    """

    joined: ClassVar[bytes] = b"subscribe"
    told: ClassVar[bytes] = b"message"

    def __init__(self, connection: AbstractConnection, receive: Callable[[str, bytes], None]) -> None:
        self._connection = connection
        self._receive = receive
        self._wanted: dict[str, asyncio.Event] = {}
        self._asked: set[str] = set()
        self._unconfirmed: Counter[str] = Counter()
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Connect."""
        await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's types are not complete

    async def close(self) -> None:
        """End the connection without waiting for the other side."""
        await self._connection.disconnect(nowait=True)

    def probe_channels(self, name: str) -> list[str]:
        """Return one probe channel: see `Listener.probe_channels`."""
        return [keys.probe_channel(name)]

    def subscribe(self, channels: Iterable[str]) -> None:
        """Add channels; `subscribed` tells when their messages arrive."""
        for channel in channels:
            if channel in self._wanted:
                continue
            event = self._wanted[channel] = asyncio.Event()
            if channel in self._asked and not self._unconfirmed[channel]:
                # Dropped and wanted again before anybody told Redis.
                event.set()
        self._changed.set()

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Take channels away; who waits for one is let go on."""
        for channel in channels:
            if (event := self._wanted.pop(channel, None)) is not None:
                event.set()
        self._changed.set()

    async def subscribed(self, channels: Iterable[str]) -> None:
        """Return when every message of these channels from now on will be received."""
        for channel in list(channels):
            if (event := self._wanted.get(channel)) is not None:
                await event.wait()

    async def write(self) -> None:
        """Tell Redis what changes, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            gone = self._asked - self._wanted.keys()
            new = [channel for channel in self._wanted if channel not in self._asked]
            self._asked = set(self._wanted)
            self._unconfirmed.update(new)
            await self._tell(gone, new)

    async def read(self) -> None:
        """Hand on what is said, until the connection ends or this is cancelled."""
        while True:
            # What came by a pattern says the pattern first, and then the channel, which nobody asked about.
            kind, name, *_, data = await self._connection.read_response(timeout=math.inf)
            self._take(kind, name.decode(), data)

    async def _tell(self, gone: Iterable[str], new: Iterable[str]) -> None:
        for verb, names in (("UNSUBSCRIBE", set(gone)), ("SUBSCRIBE", set(new))):
            patterns = set(filter(keys.is_pattern, names))
            if names - patterns:
                await self._connection.send_command(verb, *(names - patterns))
            if patterns:
                await self._connection.send_command(f"P{verb}", *patterns)

    def _take(self, kind: bytes, channel: str, data: bytes) -> None:
        if kind in (self.told, b"pmessage"):
            self._receive(channel, data)
        elif kind in (self.joined, b"psubscribe"):
            self._confirm(channel)

    def _confirm(self, channel: str) -> None:
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] <= 0:
            del self._unconfirmed[channel]
            if channel in self._asked and (event := self._wanted.get(channel)) is not None:
                event.set()


_: type[Listener] = Subscriber
