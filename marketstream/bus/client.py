"""Send commands and scripts to Redis: one server, a master named by sentinels, or a cluster.

Commands travel together, those of one key in order. Nothing is tried again silently: the bus must know what
was lost. Only what a Redis refused unread is sent twice, such as a script that it does not know yet.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any, ClassVar

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from marketstream.bus.listener import Listener
from marketstream.bus.reply import reply
from marketstream.bus.subscriber import Subscriber
from marketstream.wire import keys

CALLS = 8
"""Calls that are underway at a time, each on a connection of its own to each node it needs; others wait.

However many clients come at once, a process takes no more of Redis' connections than that, and none of its
calls fails for want of one.
"""

Word = str | bytes | int

_OF_CLUSTERS = (AskError, ClusterDownError, MasterDownError, MovedError, TryAgainError)

Call = tuple[Sequence[str], Sequence[Word]]
"""KEYS and ARGV of a script; in a cluster the keys are of one slot."""

Receive = Callable[[str, bytes], None]
"""Takes a channel and a message."""


class Script:
    """A script and the name by which Redis keeps it.

    Attributes:
        text: Its source.
        digest: SHA-1 of it, in hexadecimal digits.
    """

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = sha1(text.encode(), usedforsecurity=False).hexdigest()


class Client(ABC):
    """See the module. Every method that asks Redis raises RedisError or OSError when it does not answer.

    Attributes:
        sharded: Whether a key of all shards, and an ordinary channel for frames, are out of the question.
    """

    sharded: ClassVar[bool]

    def __init__(self, redis: Redis | RedisCluster) -> None:
        self._redis = redis
        self._turns = asyncio.Semaphore(CALLS)

    async def ask(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        """Send commands, each about one key or channel, and return their replies.

        Raises:
            RedisError: One of them failed; the others may have been carried out.
        """
        return _good(await self._ask(commands))

    async def evaluate(self, script: Script, calls: Sequence[Call]) -> list[Any]:
        """Run a script for each call and return their replies.

        Raises:
            RedisError: One of them failed; the others may have been carried out.
        """
        replies = await self._ask([("EVALSHA", script.digest, *_arguments(call)) for call in calls])
        unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # A Redis that was started anew, or promoted, knows no script; it keeps the one it is shown.
            shown = await self._ask([("EVAL", script.text, *_arguments(calls[at])) for at in unknown])
            for at, reply in zip(unknown, shown, strict=True):
                replies[at] = reply
        return _good(replies)

    async def publish(self, channel: str, message: bytes) -> None:
        """Publish the way that a channel is listened to."""
        sharded = self.sharded and keys.channel_shard(channel) is not None
        await self.ask([("SPUBLISH" if sharded else "PUBLISH", channel, message)])

    async def listeners(self, channels: Sequence[str]) -> dict[bytes, int]:
        """Return how many listen to each of some ordinary channels."""
        async with self._turns:
            found: Any = await reply(self._redis.pubsub_numsub(*channels))
        return dict(found)

    async def refuses(self, error: RedisError) -> bool:
        """Return whether Redis is there, and only does not take what was to be written.

        It may have no memory left, be read-only, or let all writes wait, so that they time out and reads do
        not.

        Args:
            error: What a write ended with.
        """
        if isinstance(error, ResponseError):
            return not isinstance(error, _OF_CLUSTERS)
        if not isinstance(error, RedisTimeoutError):
            return False
        try:
            # One key on every node that could have been meant.
            await self.ask([("EXISTS", keys.pulse(shard)) for shard in range(keys.SHARDS)])
        except (RedisError, OSError):
            return False
        return True

    async def _ask(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        async with self._turns, self._redis.pipeline(transaction=False) as pipe:
            for words in commands:
                pipe.execute_command(*words)
            return list(await reply(pipe.execute(raise_on_error=False)))

    @abstractmethod
    def listener(self, receive: Receive) -> Listener:
        """Return what listens during one stay; not open yet."""

    @abstractmethod
    async def disconnect(self) -> None:
        """End a stay: no connection and nothing that was known about the other side outlives it."""

    @abstractmethod
    async def aclose(self) -> None:
        """Drop everything."""


class PlainClient(Client):
    """One server, wherever it is.

    Args:
        redis: Commands go through it.
        listeners: Makes the connections that listen; RESP2, without a read time-out.
    """

    sharded = False

    def __init__(self, redis: Redis, listeners: ConnectionPool) -> None:
        super().__init__(redis)
        self._pool = redis.connection_pool
        self._listeners = listeners

    def listener(self, receive: Receive) -> Listener:
        """See `Client.listener`."""
        connection: AbstractConnection = self._listeners.make_connection()  # type: ignore[no-untyped-call]  # redis-py's types are not complete
        return Subscriber(connection, receive)

    async def disconnect(self) -> None:
        """See `Client.disconnect`."""
        await self._pool.disconnect()

    async def aclose(self) -> None:
        """See `Client.aclose`."""
        await self._redis.aclose()
        await self._listeners.aclose()


def _arguments(call: Call) -> tuple[Word, ...]:
    names, words = call
    return len(names), *names, *words


def _good(replies: list[Any]) -> list[Any]:
    for each in replies:
        if isinstance(each, Exception):
            raise each
    return replies
