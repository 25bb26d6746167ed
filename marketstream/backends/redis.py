"""The backend of many processes, which meet in a Redis, a Valkey or a cluster. See `plugins.backend`."""

import secrets
import socket
from collections.abc import Callable, Mapping, Sequence

from marketstream.bus.events import EventChannels, RedisChannel, RedisEventChannel, RedisEventStore
from marketstream.bus.ingest import Source, StreamConsumer
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus, build_client, build_clients
from marketstream.cache.redis import RedisCache
from marketstream.coordination.claims import RedisClaims
from marketstream.coordination.interest_gossip import InterestGossip
from marketstream.coordination.leader_forwarder import RedisLeaderForwarder
from marketstream.coordination.lease import RedisLease
from marketstream.coordination.provider_quota import RedisProviderQuota
from marketstream.core.backlog import Backlog
from marketstream.core.query.quota import Allowance
from marketstream.engine.events.ports import Backplane
from marketstream.engine.market.publication_handler import PublicationHandler
from marketstream.errors import ConfigurationError
from marketstream.plugins.backend import (
    Backend,
    BackendFactory,
    BusContext,
    Gossip,
    Inlets,
    Leadership,
    StreamInlet,
    Work,
)
from marketstream.plugins.cache import CacheContext, CacheFactory
from marketstream.ports import ProviderQuota
from marketstream.wire import keys


class RedisBackend:
    """See `plugins.backend.Backend`.

    Args:
        url: As `bus.url` says it.
        bus: The bus of that URL.
        context: Time.
    """

    def __init__(self, url: str, bus: RedisBus, context: BusContext) -> None:
        self._url = url
        self._clock = context.clock
        self.bus = self.relay = bus
        self.gossip = InterestGossip(bus=bus, clock=context.clock)
        self.claims = RedisClaims(bus.client, bus.node)
        self.store = RedisEventStore(bus)
        self.channels = Backplane(
            RedisEventChannel(bus),
            RedisChannel(bus, keys.EVENT_WORK),
            RedisChannel(bus, keys.EVENT_TASKS),
            RedisChannel(bus, keys.EVENT_NEWS),
            bus.node,
            self.gossip.dead,
        )

    def backlog(self) -> Backlog:
        """See `Backend.backlog`."""
        return self.bus.backlog

    def on_reconnected(self, call: Callable[[], None]) -> None:
        """See `Backend.on_reconnected`."""
        self.bus.on_reconnected(call)

    def lead(self, handler: PublicationHandler, resumed: Callable[[], None]) -> Leadership:
        """See `Backend.lead`."""
        lease = RedisLease(self.bus, resumed=resumed)
        forwarder = RedisLeaderForwarder(bus=self.bus, lease=lease, handler=handler)
        return Leadership(lease, forwarder, [forwarder.judge])

    def quota(self, allowances: Mapping[str, Allowance], reserve: float) -> ProviderQuota:
        """See `Backend.quota`."""
        return RedisProviderQuota(self.bus.client, allowances, clock=self._clock, reserve=reserve)

    def inlets(self, inlets: Inlets) -> Sequence[Work]:
        """See `Backend.inlets`: streams by consumer groups, channels by pub/sub."""
        consumer = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        channels = EventChannels(bus=self.bus, patterns=inlets.channels, take=inlets.take)
        return [*(self._consumer(each, consumer, inlets).run for each in inlets.streams), channels.run]

    def _consumer(self, inlet: StreamInlet, consumer: str, inlets: Inlets) -> StreamConsumer:
        client, reader = build_clients(self._url)
        return StreamConsumer(
            client=client,
            reader=reader,
            source=Source(inlet.stream, inlet.group, consumer),
            take=inlet.take,
            flushed=self.bus.flushed,
            clock=self._clock,
            stats=inlets.stats,
        )


def build(url: str, context: BusContext) -> RedisBackend:
    """Make the backend of `redis://`, `rediss://`, `redis+sentinel://` or `redis+cluster://`.

    Raises:
        ConfigurationError: The URL is not one of those.
    """
    bus = build_bus(url, clock=context.clock, stale_after=context.stale_after)
    return RedisBackend(url, bus, context)


def build_cache(url: str, context: CacheContext) -> RedisCache:
    """Make the cache in such a Redis.

    Raises:
        ConfigurationError: The URL is not one of those; it names the setting that the URL comes from.
    """
    try:
        return RedisCache(build_client(url), clock=context.clock)
    except ConfigurationError as error:
        raise ConfigurationError(context.setting, str(error).removeprefix(f"{error.path}: ")) from None


_: type[Backend] = RedisBackend
_gossip: type[Gossip] = InterestGossip
_factory: BackendFactory = build
_cache: CacheFactory = build_cache
