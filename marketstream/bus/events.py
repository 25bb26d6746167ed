"""Carry events and store event subscriptions in Redis.

A user's subscriptions are a hash that stays until the user lets them go: a few hundred bytes as a rule, and
1.6 MB where somebody uses every name, field and value there may be. An id is a key that is gone after five
minutes; it is written in the same step as its event is sent, so whoever got no answer may simply send again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib.resources import files
from itertools import pairwise
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from marketstream.bus.client import Call, Script
from marketstream.bus.redis import RedisBus
from marketstream.core.events.event import User
from marketstream.core.events.seen import TTL
from marketstream.engine.events.ports import EventChannel, EventStore
from marketstream.errors import BusError, InvalidMessageError, MarketstreamError
from marketstream.ports import Relay
from marketstream.wire import keys
from marketstream.wire.events.between_processes import Message, parse_message, render_message

log = structlog.get_logger(__name__)

_T = TypeVar("_T")
_LUA = files("marketstream.bus").joinpath("lua")
PUT = Script(_LUA.joinpath("event_put.lua").read_text())
SEND = Script(_LUA.joinpath("event_send.lua").read_text())

MAX_MESSAGE = 1024 * 1024
"""Bytes of one message of a producer."""

WAITING_BYTES = 64 * 1024 * 1024
"""Bytes of messages that wait to be taken."""

WAITING = 10_000
"""Messages that wait to be taken."""

PAGE = 100
"""Users or events of one call: a pipeline of more would hold too much at a time."""


class RedisChannel:
    """See `ports.Relay`: a channel of one kind of messages beside the frames of a bus.

    Args:
        bus: The bus.
        channel: Name of the channel.
    """

    def __init__(self, bus: RedisBus, channel: str) -> None:
        self._bus = bus
        self._channel = channel

    def send(self, message: bytes) -> None:
        """See `ports.Relay.send`; what finds no room while Redis is away is told in the log."""
        self._bus.sender.send(self._channel, message)

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """See `ports.Relay.listen`."""
        self._bus.subscribe(self._channel, receive)


class RedisEventChannel:
    """See `engine.events.ports.EventChannel`.

    Args:
        bus: Whose Redis it is.
    """

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus

    async def send(self, messages: Sequence[Message]) -> list[bool]:
        """See `EventChannel.send`; noting an id and sending its event are one step."""
        ttl = round(TTL)
        calls: list[Call] = [
            (
                [keys.event_seen(message.event.tenant, message.event.id)],
                [ttl, keys.EVENTS, render_message(message)],
            )
            for message in messages
        ]
        if not self._bus.connected:
            # Redis may be back already, but nothing of it is heard here yet.
            raise BusError("events cannot travel now")
        sent: list[bool] = []
        try:
            for page in _pages(calls):
                sent += map(bool, await self._bus.client.evaluate(SEND, page))
        except (RedisError, OSError) as error:
            raise BusError("events cannot travel now") from error
        return sent

    def listen(self, receive: Callable[[Message], None]) -> None:
        """See `EventChannel.listen`; what is no message is told in the log, and passed over."""

        def read(data: bytes) -> None:
            try:
                message = parse_message(data)
            except InvalidMessageError as error:
                log.warning("event_message_refused", error=str(error))
            else:
                receive(message)

        self._bus.subscribe(keys.EVENTS, read)


class EventChannels:
    """Takes what any producer of JSON publishes on some channels of Redis.

    One process does so at a time. What is published while none does is lost, as always with such channels; of
    what comes faster than it is taken the oldest goes, and is told.

    Args:
        bus: Its Redis is listened to.
        patterns: Names of channels, with `*` for any.
        take: Takes the JSON of an event, or of a list of them.
    """

    def __init__(
        self, *, bus: RedisBus, patterns: Sequence[str], take: Callable[[bytes], Awaitable[bytes]]
    ) -> None:
        self._bus = bus
        self._patterns = patterns
        self._take = take
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._work = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled; may be run again."""
        self._waiting.clear()
        self._bytes = self._lost = 0
        for pattern in self._patterns:
            self._bus.subscribe(pattern, self._receive)
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while self._waiting:
                    message = self._waiting.popleft()
                    self._bytes -= len(message)
                    await self._take_one(message)
                if self._lost:
                    log.warning("event_messages_lost", count=self._lost)
                    self._lost = 0
        finally:
            for pattern in self._patterns:
                self._bus.unsubscribe(pattern)

    def _receive(self, message: bytes) -> None:
        if len(message) > MAX_MESSAGE:
            log.warning("event_message_refused", error=f"it has {len(message)} bytes, {MAX_MESSAGE} may be")
            return
        self._waiting.append(message)
        self._bytes += len(message)
        while len(self._waiting) > WAITING or self._bytes > WAITING_BYTES:
            self._bytes -= len(self._waiting.popleft())
            self._lost += 1
        self._work.set()

    async def _take_one(self, message: bytes) -> None:
        try:
            await self._take(message)
        except MarketstreamError as error:
            log.warning("event_message_refused", error=str(error))


class RedisEventStore:
    """See `engine.events.ports.EventStore`.

    Args:
        bus: Its Redis keeps everything.
    """

    def __init__(self, bus: RedisBus) -> None:
        self._client = bus.client

    async def load(self, users: Sequence[User]) -> list[dict[str, bytes]]:
        """See `EventStore.load`."""
        found: list[object] = []
        try:
            for page in _pages([("HGETALL", keys.event_subscriptions(*user)) for user in users]):
                found += await self._client.ask(page)
        except (RedisError, OSError) as error:
            raise BusError("event subscriptions cannot be read now") from error
        return [{name.decode("utf-8", "replace"): body for name, body in _pairs(kept)} for kept in found]

    async def put(self, user: User, name: str, body: bytes, limit: int) -> bool:
        """See `EventStore.put`."""
        try:
            (kept,) = await self._client.evaluate(
                PUT, [([keys.event_subscriptions(*user)], [name, body, limit])]
            )
        except (RedisError, OSError) as error:
            raise BusError("event subscriptions cannot be written now") from error
        return bool(kept)

    async def remove(self, user: User, name: str) -> bool:
        """See `EventStore.remove`."""
        try:
            (count,) = await self._client.ask([("HDEL", keys.event_subscriptions(*user), name)])
        except (RedisError, OSError) as error:
            raise BusError("event subscriptions cannot be written now") from error
        return bool(count)


def _pages(commands: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start, end in pairwise([*range(0, len(commands), PAGE), len(commands)]):
        yield commands[start:end]


def _pairs(kept: object) -> list[tuple[bytes, bytes]]:
    if isinstance(kept, dict):
        return list(kept.items())
    assert isinstance(kept, list)  # noqa: S101  # RESP2 has no other form of it
    return list(zip(kept[::2], kept[1::2], strict=True))


_: type[EventStore] = RedisEventStore
_channel: type[Relay] = RedisChannel
_events: type[EventChannel] = RedisEventChannel
