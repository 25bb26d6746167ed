"""The read side put together: providers, cache and endpoints, as the settings want them."""

import random
import secrets
import socket
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from marketstream.bus.events import EventChannels, RedisChannel, RedisEventChannel, RedisEventStore
from marketstream.bus.ingest import Source, StreamConsumer, Take
from marketstream.bus.memory import MemoryChannel, MemoryClaims, MemoryEventChannel, MemoryEventStore
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_client, build_clients
from marketstream.cache.memory import MemoryCache
from marketstream.cache.redis import RedisCache
from marketstream.coordination.claims import RedisClaims
from marketstream.coordination.interest_gossip import InterestGossip
from marketstream.coordination.provider_quota import RedisProviderQuota
from marketstream.engine.delivery.node import Node
from marketstream.engine.delivery.quotes import Quotes, newest_price
from marketstream.engine.events.ports import Backplane
from marketstream.engine.events.streams import EventStreams
from marketstream.engine.jobs.actions import JobActions
from marketstream.engine.jobs.scheduler import Jobs
from marketstream.engine.market.stream_entries import PriceEntries
from marketstream.engine.query.inquiry import Inquiry
from marketstream.engine.query.overview import Overview
from marketstream.engine.query.service import QueryService
from marketstream.engine.stats import Stats
from marketstream.errors import ConfigurationError
from marketstream.feeds.provider import SyntheticProvider
from marketstream.ports import Bus, Cache, Clock, LeaderForwarder, Provider, ProviderQuota
from marketstream.providers.quota import MemoryProviderQuota
from marketstream.settings import Settings
from marketstream.settings.plan import load_rules
from marketstream.settings.provider import NAMES, Vendors, allowances, load_vendors
from marketstream.transports.address import AddressReader
from marketstream.transports.answer import Answers
from marketstream.transports.credentials import Credentials
from marketstream.transports.gate import Gate
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.refusal import Refusals
from marketstream.transports.rest import reference
from marketstream.transports.rest.admin import CacheAdmin, StreamAdmin
from marketstream.transports.rest.endpoint import Endpoint
from marketstream.transports.rest.events import Events
from marketstream.transports.rest.guard import Guard
from marketstream.transports.rest.jobs import JobsAdmin
from marketstream.transports.rest.market import Publishing
from marketstream.transports.rest.rate_limiter import UserRateLimiter
from marketstream.transports.rest.read import Reading
from marketstream.transports.rest.stream import StateStreams
from marketstream.transports.rest.views import show
from marketstream.wire import keys


@dataclass(frozen=True, slots=True)
class ReadSide:
    """What must be let go of at the end.

    Attributes:
        provision: Asks providers.
        vendors: Those that are asked.
        jobs: What is done periodically, where the role says so.
    """

    queries: QueryService
    vendors: Vendors
    jobs: Jobs

    async def aclose(self) -> None:
        """Ends what is being asked; nothing can be asked after."""
        self.queries.close()
        await self.vendors.aclose()


def build_cache(settings: Settings, clock: Clock) -> MemoryCache | RedisCache:
    """The Redis that is named, or is the bus, or else the memory of this process.

    Raises:
        ConfigurationError: The URL names no Redis that this version speaks to.
    """
    given = settings.cache
    url = given.url or settings.bus.url
    if url.startswith("memory:"):
        return MemoryCache(clock=clock, max_entries=given.max_entries, max_bytes=given.max_bytes)
    try:
        return RedisCache(build_client(url), clock=clock)
    except ConfigurationError as error:
        if given.url is None:
            raise
        raise ConfigurationError("cache.url", str(error).removeprefix(f"{error.path}: ")) from None


def build_vendors(settings: Settings, clock: Clock, bus: Bus) -> Vendors:
    """Those who can be asked; what may be asked of them counts for all processes of a bus together."""
    allowed = allowances(settings.providers)
    quota: ProviderQuota = MemoryProviderQuota(allowed, clock=clock, reserve=settings.providers.reserve)
    if isinstance(bus, RedisBus):
        quota = RedisProviderQuota(bus.client, allowed, clock=clock, reserve=settings.providers.reserve)
    return load_vendors(settings.providers, quota=quota, clock=clock, observe=_ignore)


def build_providers(settings: Settings, clock: Clock, bus: Bus, vendors: Vendors) -> list[Provider]:
    """Who is asked, in order."""
    market = settings.market
    listed = [symbol for symbol, _ in _named((*market.indices, *market.sectors))]
    synthetic = SyntheticProvider(
        clock=clock, newest=partial(newest_price, bus), symbols=[*market.popular, *listed]
    )
    known: dict[str, Provider] = {each.name: each for each in (synthetic, *vendors.providers)}
    return [known[name] for name in market.providers or NAMES if name in known]


def build_jobs(
    settings: Settings, *, queries: QueryService, overview: Overview, node: Node, bus: Bus, cache: Cache
) -> Jobs:
    """What is done periodically; it does nothing before it is run."""
    actions = JobActions(
        queries=queries,
        overview=overview,
        interest=node.interest,
        bus=bus,
        clock=bus.clock,
        popular=settings.market.popular,
        show=show,
        clean_up=[cache.expire] if isinstance(cache, MemoryCache) else [],
    )
    jobs = Jobs(
        jobs=actions.jobs(),
        claims=RedisClaims(bus.client, bus.node) if isinstance(bus, RedisBus) else MemoryClaims(),
        clock=bus.clock,
        stats=node.stats,
        chance=random.random,
    )
    actions.also_clean(jobs.forget_old)
    return jobs


def build_events(
    settings: Settings, *, node: Node, bus: Bus, gossip: InterestGossip | None, plans: Collection[str]
) -> EventStreams:
    """Event streams over the bus: alone, or with those of other processes."""
    rules = load_rules(settings.events.routes_file, plans)
    window = settings.events.window_ms / 1000
    if not isinstance(bus, RedisBus) or gossip is None:
        return EventStreams(
            node=node,
            bus=bus,
            channels=Backplane(MemoryEventChannel(clock=node.clock), MemoryChannel(), MemoryChannel()),
            store=MemoryEventStore(),
            rules=rules,
            window=window,
            workers_per_tenant=settings.events.workers_per_tenant,
        )
    streams = EventStreams(
        node=node,
        bus=bus,
        channels=Backplane(
            RedisEventChannel(bus),
            RedisChannel(bus, keys.EVENT_WORK),
            RedisChannel(bus, keys.EVENT_TASKS),
            RedisChannel(bus, keys.EVENT_NEWS),
            bus.node,
            gossip.dead,
        ),
        store=RedisEventStore(bus),
        rules=rules,
        window=window,
        workers_per_tenant=settings.events.workers_per_tenant,
    )
    bus.on_reconnected(streams.look_again)
    return streams


def build_ingests(
    settings: Settings,
    bus: Bus,
    *,
    prices: PriceEntries,
    events: EventStreams,
    clock: Clock,
    stats: Stats,
) -> list[Callable[[], Coroutine[None, None, None]]]:
    """What brings in what back ends leave in Redis, where there is one; each runs until cancelled."""
    if not isinstance(bus, RedisBus) or not settings.ingest.enabled:
        return []
    consumer = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    given = settings.events
    sources: list[tuple[Source, Take]] = [
        (Source(settings.ingest.stream, settings.ingest.group, consumer), prices.take),
        (Source(given.stream, given.group, consumer), events.publisher.take_entry),
    ]
    works = []
    for source, take in sources:
        client, reader = build_clients(settings.bus.url)
        stream = StreamConsumer(
            client=client,
            reader=reader,
            source=source,
            take=take,
            flushed=bus.flushed,
            clock=clock,
            stats=stats,
        )
        works.append(stream.run)
    return [*works, EventChannels(bus=bus, patterns=given.channels, take=events.publisher.take).run]


def build_origins(settings: Settings, addresses: AddressReader) -> OriginPolicy:
    """Which web pages may use the server."""
    server = settings.server
    return OriginPolicy(
        server.cors_origins,
        addresses=addresses,
        loopback=settings.dev,
        credentials=server.cors_credentials,
        request_headers=server.cors_headers,
    )


def build_answers(app: web.Application, settings: Settings, node: Node) -> Answers:
    """What every request passes before its route is looked for, and what makes responses of errors.

    Args:
        app: The application with all its routes.
        settings: What was set.
        node: Counts who is refused.

    Raises:
        ConfigurationError: `server.root_path` cannot be told from a path of the server's own.
    """
    addresses = AddressReader(settings.server.trusted_proxies)
    origins = build_origins(settings, addresses)
    own = {resource.canonical.split("/", 2)[1] for resource in app.router.resources()} - {""}
    root_path = settings.server.root_path
    if root_path and root_path.split("/", 2)[1] in own:
        text = f"{root_path} begins like a path of the server's own; choose another"
        raise ConfigurationError("server.root_path", text)
    gate = Gate(
        origins=origins,
        addresses=addresses,
        refusals=Refusals(node),
        root_path=root_path,
        own=own,
        loopback=settings.dev,
    )
    return Answers(
        origins,
        enter=gate.enter,
        refused=node.stats.http_refused,
        body_timeout=settings.server.body_timeout,
    )


def attach_reading(
    app: web.Application,
    settings: Settings,
    *,
    node: Node,
    quotes: Quotes,
    bus: Bus,
    cache: Cache,
    forwarder: LeaderForwarder,
    events: EventStreams,
) -> ReadSide:
    """Adds the endpoints below `/api/v1/market`, and what describes them.

    A process of the role `jobs` has only those of operators.

    Returns:
        What asks providers, to be closed before the process waits for its tasks.
    """
    market = settings.market
    guard = Guard(
        verifier=node,
        credentials=Credentials(allow_query_token=settings.auth.allow_query_token),
        waiting=node.waiting,
    )
    vendors = build_vendors(settings, node.clock, bus)
    queries = QueryService(
        inquiry=Inquiry(
            providers=build_providers(settings, node.clock, bus, vendors),
            clock=node.clock,
            chance=random.random,
            stats=node.stats.reads,
        ),
        cache=cache,
        clock=node.clock,
        # What it is bound to when somebody asks: the task group is not there yet.
        spawn=lambda work: node.spawn(work),  # noqa: PLW0108  # as said
        stats=node.stats.reads,
        known=quotes.known,
        listed=[*market.popular, *(symbol for symbol, _ in _named((*market.indices, *market.sectors)))],
    )
    overview = Overview(
        queries=queries,
        clock=node.clock,
        popular=market.popular,
        indices=_named(market.indices),
        sectors=_named(market.sectors),
    )
    endpoint = Endpoint(guard=guard, limiter=UserRateLimiter(clock=node.clock), registry=node.registry)
    jobs = build_jobs(settings, queries=queries, overview=overview, node=node, bus=bus, cache=cache)
    streams = StateStreams(
        endpoint=endpoint,
        node=node,
        origins=build_origins(settings, AddressReader(settings.server.trusted_proxies)),
        retry_ms=settings.sse.retry_ms,
        comment_interval=settings.sse.comment_interval,
        slow_timeout=settings.delivery.slow_timeout,
    )
    admin = CacheAdmin(endpoint=endpoint, cache=cache, stats=node.stats.reads)
    operations = [
        *admin.operations(),
        *JobsAdmin(endpoint=endpoint, jobs=jobs, clock=node.clock, streams=streams).operations(),
    ]
    if settings.server.role != "jobs":
        reading = Reading(
            endpoint=endpoint,
            quotes=quotes,
            clock=node.clock,
            queries=queries,
            overview=overview,
            time=bus.clock,
        )
        publishing = Publishing(guard=guard, forwarder=forwarder)
        connected = StreamAdmin(endpoint=endpoint, node=node, streams=streams)
        happenings = Events(endpoint=endpoint, guard=guard, streams=events)
        operations = [
            *reading.operations(),
            *publishing.operations(),
            *connected.operations(),
            *happenings.operations(),
            *operations,
        ]
    reference.attach(app, operations)
    return ReadSide(queries, vendors, jobs)


def _ignore(_provider: str, _milliseconds: float) -> None:
    """`Provision` measures what its callers wait for."""


def _named(listed: Sequence[str]) -> list[tuple[str, str]]:
    """Symbols and names, as the settings write them."""
    parts = (entry.partition(" ") for entry in listed)
    return [(symbol, name.strip()) for symbol, _, name in parts]
