"""Build the parts that several roles share: reading, events, jobs."""

import os
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

from aiohttp import web
from pydantic import SecretStr

from marketstream.core.query.breaker import Breaker
from marketstream.engine.delivery.node import Node
from marketstream.engine.delivery.quotes import Quotes, newest_price
from marketstream.engine.events.streams import EventStreams
from marketstream.engine.jobs.actions import JobActions
from marketstream.engine.jobs.scheduler import Jobs
from marketstream.engine.market.stream_entries import PriceEntries
from marketstream.engine.query.inquiry import Inquiry
from marketstream.engine.query.overview import Overview
from marketstream.engine.query.service import QueryService
from marketstream.engine.stats import Stats
from marketstream.errors import ConfigurationError
from marketstream.plugins.backend import BUS, Backend, BusContext, Inlets, StreamInlet, Work
from marketstream.plugins.cache import CACHE, CacheContext
from marketstream.plugins.provider import ProviderContext
from marketstream.ports import Cache, Clock, LeaderForwarder, Provider
from marketstream.providers.guard import Guard as ProviderGuard
from marketstream.settings import Settings
from marketstream.settings.loading import WELL_KNOWN
from marketstream.settings.model import Market
from marketstream.settings.plan import load_rules
from marketstream.settings.provider import NAMES, Terms, load_terms
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


@dataclass(frozen=True, slots=True)
class ReadSide:
    """What must be let go of at the end.

    Attributes:
        queries: Asks providers.
        providers: Those that are asked.
        jobs: What is done periodically, where the role says so.
    """

    queries: QueryService
    providers: Sequence[Provider]
    jobs: Jobs

    async def aclose(self) -> None:
        """End what is being asked; nothing can be asked after."""
        self.queries.close()
        for provider in self.providers:
            await provider.aclose()


def build_backend(settings: Settings, clock: Clock) -> Backend:
    """Make what the scheme of `bus.url` stands for.

    Raises:
        ConfigurationError: It stands for nothing, or the URL is not as it must be.
    """
    url = settings.bus.url
    make = BUS.load(_scheme(url), "bus.url")
    return make(url, BusContext(clock, settings.feeds.stale_after))


def build_secrets(settings: Settings) -> Callable[[str], str | None]:
    """Return what finds a secret by the name of its variable: among the settings, else in the environment."""

    def find(name: str) -> str | None:
        path = WELL_KNOWN.get(name)
        if path is None:
            return os.environ.get(name) or None
        value = attrgetter(path)(settings)
        return (value.get_secret_value() or None) if isinstance(value, SecretStr) else None

    return find


def build_cache(settings: Settings, clock: Clock) -> Cache:
    """Make the cache that is named, or is where the bus is, or else the memory of this process.

    Raises:
        ConfigurationError: There is no cache of that URL.
    """
    given = settings.cache
    url, setting = (given.url, "cache.url") if given.url is not None else (settings.bus.url, "bus.url")
    if given.url is None and _scheme(url) not in CACHE.names():
        # A bus of another package, which need not have a cache as well.
        url = "memory://"
    context = CacheContext(clock, given.max_entries, given.max_bytes, setting)
    return CACHE.load(_scheme(url), setting)(url, context)


def _scheme(url: str) -> str:
    return url.partition("://")[0]


def build_providers(settings: Settings, node: Node, backend: Backend) -> list[Provider]:
    """Make those who are asked, in order; what is asked of them counts for all processes together."""
    given, market = settings.providers, settings.market
    terms = load_terms(given, market.providers or NAMES)
    quota = backend.quota({name: each.allowance for name, each in terms.items()}, given.reserve)
    clock, secret = node.clock, build_secrets(settings)

    def make(name: str, each: Terms) -> Provider:
        guard = ProviderGuard(
            name=name,
            timeout=each.timeout,
            quota=quota,
            breaker=Breaker(failures=given.failures, pause=given.pause),
            clock=clock,
        )
        newest = partial(newest_price, backend.bus)
        context = ProviderContext(clock, guard, secret, each.base_url, newest, _listed(market))
        return each.plugin(context)

    return [make(name, each) for name, each in terms.items()]


def build_jobs(
    settings: Settings,
    *,
    queries: QueryService,
    overview: Overview,
    node: Node,
    backend: Backend,
    cache: Cache,
) -> Jobs:
    """Return what is done periodically; it does nothing before it is run."""
    bus = backend.bus
    actions = JobActions(
        queries=queries,
        overview=overview,
        interest=node.interest,
        bus=bus,
        clock=bus.clock,
        popular=settings.market.popular,
        show=show,
        clean_up=[cache.expire],
    )
    jobs = Jobs(
        jobs=actions.jobs(),
        claims=backend.claims,
        clock=bus.clock,
        stats=node.stats,
        chance=random.random,
    )
    actions.also_clean(jobs.forget_old)
    return jobs


def build_events(settings: Settings, *, node: Node, backend: Backend, plans: Collection[str]) -> EventStreams:
    """Event streams over the bus: alone, or with those of other processes."""
    streams = EventStreams(
        node=node,
        bus=backend.bus,
        channels=backend.channels,
        store=backend.store,
        rules=load_rules(settings.events.routes_file, plans),
        window=settings.events.window_ms / 1000,
        workers_per_tenant=settings.events.workers_per_tenant,
    )
    backend.on_reconnected(streams.look_again)
    return streams


def build_ingests(
    settings: Settings, backend: Backend, *, prices: PriceEntries, events: EventStreams, stats: Stats
) -> Sequence[Work]:
    """Return what brings in what back ends leave in the middle, where they can; each runs until cancelled."""
    if not settings.ingest.enabled:
        return []
    given, take = settings.ingest, events.publisher
    streams = [
        StreamInlet(given.stream, given.group, prices.take),
        StreamInlet(settings.events.stream, settings.events.group, take.take_entry),
    ]
    return backend.inlets(Inlets(streams, settings.events.channels, take.take, stats))


def build_origins(settings: Settings, addresses: AddressReader) -> OriginPolicy:
    """Return which web pages may use the server."""
    server = settings.server
    return OriginPolicy(
        server.cors_origins,
        addresses=addresses,
        loopback=settings.dev,
        credentials=server.cors_credentials,
        request_headers=server.cors_headers,
    )


def build_answers(app: web.Application, settings: Settings, node: Node) -> Answers:
    """Return what every request passes before its route is looked for, and what makes responses of errors.

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
    backend: Backend,
    cache: Cache,
    forwarder: LeaderForwarder,
    events: EventStreams,
) -> ReadSide:
    """Add the endpoints below `/api/v1/market`, and what describes them.

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
    providers = build_providers(settings, node, backend)
    queries = QueryService(
        inquiry=Inquiry(
            providers=providers,
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
        listed=_listed(market),
    )
    overview = Overview(
        queries=queries,
        clock=node.clock,
        popular=market.popular,
        indices=_named(market.indices),
        sectors=_named(market.sectors),
    )
    endpoint = Endpoint(guard=guard, limiter=UserRateLimiter(clock=node.clock), registry=node.registry)
    jobs = build_jobs(settings, queries=queries, overview=overview, node=node, backend=backend, cache=cache)
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
            time=backend.bus.clock,
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
    return ReadSide(queries, providers, jobs)


def _listed(market: Market) -> list[str]:
    """Return the symbols that the settings name, and that therefore exist."""
    return [*market.popular, *(symbol for symbol, _ in _named((*market.indices, *market.sectors)))]


def _named(listed: Sequence[str]) -> list[tuple[str, str]]:
    """Return symbols and names, as the settings write them."""
    parts = (entry.partition(" ") for entry in listed)
    return [(symbol, name.strip()) for symbol, _, name in parts]
