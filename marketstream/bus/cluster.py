"""Route commands and subscriptions to the cluster node that owns each shard.

A stay begins with the cluster's own word of who owns what, and a connection to each owner of a shard. It ends
with an error as soon as one of them is lost, is told to let a slot go, or does not think that the cluster is
well: the next stay asks anew. The ordinary channels, which every node repeats to all, have a connection of
their own to any node.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ClusterError, RedisClusterException

from marketstream.bus.client import Client, Receive, Word
from marketstream.bus.listener import Listener
from marketstream.bus.subscriber import Subscriber
from marketstream.errors import BusError
from marketstream.wire import keys


class ClusterClient(Client):
    """See the module.

    Args:
        redis: Commands go through it; it finds the node for each, and follows a slot that has moved.
        shards: Number of shards.
    """

    sharded = True

    def __init__(self, redis: RedisCluster, shards: int) -> None:
        super().__init__(redis)
        self._cluster = redis
        self._shards = shards

    def listener(self, receive: Receive) -> Listener:
        """See `Client.listener`."""
        return ClusterSubscriber(self._cluster, self._shards, receive)

    async def _ask(self, commands: Sequence[Sequence[Word]]) -> list[Any]:
        with _translated():
            replies = await super()._ask(commands)
            for reply in replies:
                if isinstance(reply, RedisClusterException):
                    raise reply
        return replies

    async def listeners(self, channels: Sequence[str]) -> dict[bytes, int]:
        """See `Client.listeners`; every node is asked."""
        with _translated():
            return await super().listeners(channels)

    async def disconnect(self) -> None:
        """Also forgets who owns what; the nodes of the URL count again, beside those that were found."""
        nodes = self._cluster.nodes_manager
        await nodes.aclose()
        await nodes.aclose("startup_nodes")
        # Last: what another call may have opened anew meanwhile is closed by it.
        await self._cluster.aclose()
        given = {node.name: node for node in self._cluster.startup_nodes}
        nodes.startup_nodes = given | nodes.startup_nodes

    async def aclose(self) -> None:
        """See `Client.aclose`."""
        await self.disconnect()


class ShardSubscriber(Subscriber):
    """Listens to shards on the node that owns them; ends with an error when it no longer does.

    Args:
        connection: A connection of its own, not open yet.
        receive: Called with channel and message.
    """

    joined = b"ssubscribe"
    told = b"smessage"

    def __init__(self, connection: AbstractConnection, receive: Receive) -> None:
        super().__init__(connection, receive)
        self._leaving: Counter[str] = Counter()

    async def open(self) -> None:
        """Connect.

        Raises:
            BusError: The node misses a part of the cluster.
        """
        await super().open()
        await self._connection.send_command("CLUSTER", "INFO")
        if b"cluster_state:ok" not in await self._connection.read_response():
            raise BusError("the cluster is down")

    async def _tell(self, gone: Iterable[str], new: Iterable[str]) -> None:
        # One by one: channels of one command must be of one slot.
        self._leaving.update(gone)
        words = [("SUNSUBSCRIBE", channel) for channel in gone] + [("SSUBSCRIBE", channel) for channel in new]
        if words:
            await self._connection.send_packed_command(self._connection.pack_commands(words))

    def _take(self, kind: bytes, channel: str, data: bytes) -> None:
        if kind != b"sunsubscribe":
            super()._take(kind, channel, data)
        elif self._leaving[channel]:
            self._leaving[channel] -= 1
        else:
            raise BusError("a shard has moved to another node")


class ClusterSubscriber:
    """All connections that listen to a cluster, behind the face of one; see the module.

    Args:
        redis: Knows the cluster.
        shards: Number of shards.
        receive: Called with channel and message.
    """

    def __init__(self, redis: RedisCluster, shards: int, receive: Receive) -> None:
        self._redis = redis
        self._shards = shards
        self._receive = receive
        self._all: list[Subscriber] = []
        self._ordinary: Subscriber
        self._owners: list[ShardSubscriber] = []

    async def open(self) -> None:
        """Connect to every owner of a shard.

        Raises:
            BusError: A node misses a part of the cluster.
        """
        with _translated():
            await self._redis.initialize()
        self._ordinary = Subscriber(_connection(self._redis.get_random_primary_node()), self._receive)
        found: dict[str, ShardSubscriber] = {}
        for shard in range(self._shards):
            node = self._owner(shard)
            if node.name not in found:
                found[node.name] = ShardSubscriber(_connection(node), self._receive)
            self._owners.append(found[node.name])
        self._all = [self._ordinary, *found.values()]
        await self._together(lambda subscriber: subscriber.open())

    async def close(self) -> None:
        """End the connections without waiting for the other side."""
        for subscriber in self._all:
            await subscriber.close()

    def probe_channels(self, name: str) -> list[str]:
        """Return one for each connection, published the way that its messages come."""
        first = {id(owner): shard for shard, owner in reversed(list(enumerate(self._owners)))}
        return [keys.probe_channel(name), *(keys.probe_channel(name, shard) for shard in first.values())]

    def subscribe(self, channels: Iterable[str]) -> None:
        """See `Subscriber.want`."""
        for channel in channels:
            self._of(channel).subscribe([channel])

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """See `Subscriber.drop`."""
        for channel in channels:
            self._of(channel).unsubscribe([channel])

    async def subscribed(self, channels: Iterable[str]) -> None:
        """See `Subscriber.hears`."""
        for channel in list(channels):
            await self._of(channel).subscribed([channel])

    async def write(self) -> None:
        """Tell each node what changes, until cancelled."""
        await self._together(lambda subscriber: subscriber.write())

    async def read(self) -> None:
        """Hand on what is said, until one of the connections ends or this is cancelled."""
        await self._together(lambda subscriber: subscriber.read())

    def _owner(self, shard: int) -> ClusterNode:
        with _translated():
            slot = self._redis.keyslot(keys.frames_channel(shard))
            return self._redis.nodes_manager.get_node_from_slot(slot)

    def _of(self, channel: str) -> Subscriber:
        shard = keys.channel_shard(channel)
        return self._ordinary if shard is None else self._owners[shard]

    async def _together(self, do: Callable[[Subscriber], Awaitable[None]]) -> None:
        async def one(subscriber: Subscriber) -> None:
            await do(subscriber)

        async with asyncio.TaskGroup() as tasks:
            for subscriber in self._all:
                tasks.create_task(one(subscriber))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisClusterException as error:
        # redis-py does not count these among its RedisErrors.
        raise ClusterError(str(error)) from error


def _connection(node: ClusterNode) -> AbstractConnection:
    """Return a connection to a node that may wait for ever, and does not try again by itself."""
    waiting = {"socket_timeout": None, "retry": Retry(NoBackoff(), 0)}
    return node.connection_class(**node.connection_kwargs | waiting)


_: type[Listener] = ClusterSubscriber
