"""Build a server from its settings, run it in one task group, and drain it at the end.

Every task of the process belongs to the one task group in `Server.run`.
"""

import asyncio
import gc
from collections.abc import Callable
from functools import partial
from typing import cast

import structlog
from aiohttp import web

from marketstream import wiring
from marketstream.engine.delivery.drain import drain
from marketstream.engine.delivery.execution import Execution
from marketstream.engine.delivery.heartbeat import Heartbeat
from marketstream.engine.delivery.node import Node
from marketstream.engine.delivery.terms import Delivery
from marketstream.engine.market.aggregator import Aggregator
from marketstream.engine.market.ahead import Ahead
from marketstream.engine.market.leader import Leader
from marketstream.engine.market.publication_handler import PublicationHandler
from marketstream.engine.market.publisher import Publisher
from marketstream.engine.market.stream_entries import PriceEntries
from marketstream.engine.market.supervisor import Supervisor
from marketstream.engine.stats import Stats
from marketstream.listening import LOOPS, listen, url
from marketstream.observability.clock import SystemClock
from marketstream.observability.metrics import build_registry
from marketstream.plugins.feed import FeedContext, build_feed
from marketstream.ports import Feed
from marketstream.reload import Reload, Reread
from marketstream.security.jwt import TokenVerifier, sign_token
from marketstream.settings import Settings, load_plans, load_registry
from marketstream.transports import web as page
from marketstream.transports.address import AddressReader
from marketstream.transports.credentials import Credentials
from marketstream.transports.listener import Listener, raise_descriptor_limit
from marketstream.transports.plain import PlainWebSocket
from marketstream.transports.rest.dev import Development
from marketstream.transports.rest.health import Health
from marketstream.transports.socketio.namespace import MarketServer, build_socketio
from marketstream.transports.sse import EventStream

log = structlog.get_logger(__name__)

FIRST_CONTACT = 2.0
"""Seconds that the server waits for its bus before it lets clients in anyway."""


def run(settings: Settings, reread: Reread | None = None) -> int:
    """Run a server until a signal ends it.

    Args:
        settings: What it was told to be.
        reread: Reads that again when SIGHUP asks for it.

    Returns:
        The exit code of the process.

    Raises:
        ConfigurationError: Something that only shows when the parts are made cannot work.
    """
    # What is there now stays until the end, and clients come by the thousand: looking through all of it for
    # circles again and again is a seventh of what it costs to let eight thousand of them in.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000)
    with asyncio.Runner(loop_factory=LOOPS[settings.server.loop]) as runner:
        return runner.run(Server(settings, reread).run())


class Server:
    """One process with all its parts.

    Attributes:
        node: The engine.
        publisher: Where best prices become frames.
        aggregator: Where quotes meet.
        socketio: python-socketio's server, for `emit` and its like.
        app: The aiohttp application.
    """

    def __init__(self, settings: Settings, reread: Reread | None = None) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._stop = asyncio.Event()
        self._role = settings.server.role
        self._backend = wiring.build_backend(settings, self._clock)
        self._bus = self._backend.bus
        plans = load_plans(settings.auth.plans_file)
        registry = load_registry(settings)
        stats = Stats()
        auth = settings.auth
        self._verifier = TokenVerifier(
            plans=plans,
            default_plan=auth.default_plan,
            clock=self._clock,
            secret=auth.secret.get_secret_value() if auth.secret else None,
            jwks=auth.jwks,
            algorithms=auth.algorithms,
            audience=auth.audience,
            issuer=auth.issuer,
            leeway=auth.leeway,
        )
        self.node = Node(
            clock=self._clock,
            bus=self._bus,
            verifier=self._verifier,
            registry=registry,
            stats=stats,
            delivery=_delivery(settings),
            limits=self._backend.gossip.connection_limits,
        )
        self.publisher = Publisher(bus=self._bus, stats=stats)
        ahead = Ahead(clock=self._bus.clock, stats=stats, seconds=settings.feeds.max_ahead)
        self.aggregator = Aggregator(
            publisher=self.publisher,
            clock=self._clock,
            stats=stats,
            ahead=ahead,
            stale_after=settings.feeds.stale_after,
        )
        self._supervisor = Supervisor(
            aggregator=self.aggregator,
            interest=self.node.interest,
            caught_up=self.node.caught_up,
            clock=self._clock,
        )
        self._market = Leader(
            aggregator=self.aggregator, publisher=self.publisher, supervisor=self._supervisor
        )
        handler = PublicationHandler(
            registry=registry,
            aggregator=self.aggregator,
            publisher=self.publisher,
            clock=self._bus.clock,
            ahead=ahead,
            stats=stats,
        )
        self._events = wiring.build_events(settings, node=self.node, backend=self._backend, plans=plans)
        self.node.listener = self._events
        self._execution = Execution(
            node=self.node,
            bus=self._bus,
            on_event_command=self._events.execute,
            on_work_command=self._events.workers.execute,
        )
        self._reload = Reload(
            settings=settings,
            reread=reread or (lambda: settings),
            verifier=self._verifier,
            events=self._events,
        )
        self._cache = wiring.build_cache(settings, self._clock)
        leadership = self._backend.lead(handler, self.aggregator.resume)
        self._lease, self._forwarder = leadership.lease, leadership.forwarder
        for work in leadership.works:
            self._market.add_work(work)
        if self._feeds_market:
            self._register_feeds()
            entries = PriceEntries(
                publish=self.publisher.publish_one, registry=registry, clock=self._bus.clock, ahead=ahead
            )
            for work in wiring.build_ingests(
                settings, self._backend, prices=entries, events=self._events, stats=stats
            ):
                self._market.add_work(work)
            self._market.add_work(self._events.coordinator.run)
        gossip = self._backend.gossip
        gossip.attach(self.node.interest)
        if self._runs_jobs:
            # What is kept fresh is what is watched anywhere, whoever feeds the market.
            gossip.listen(True)
        else:
            self._market.add_work(gossip.follow)
        self._reading: wiring.ReadSide | None = None
        self.socketio: MarketServer
        self.app = self._build_app(frozenset(plans))

    async def run(self) -> int:
        """Serve until a signal, then drain.

        Returns:
            The exit code of the process.
        """
        self._reload.attach(asyncio.get_running_loop(), self._stop.set)
        runner = web.AppRunner(self.app, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        listener: Listener | None = None
        try:
            listener = self._listen(runner)
            async with asyncio.TaskGroup() as tasks:
                self.node.spawn = tasks.create_task
                own = [tasks.create_task(Heartbeat(node=self.node, expire=self.aggregator.expire).run())]
                own += [tasks.create_task(self._verifier.run()), tasks.create_task(self._reload.run())]
                own.append(tasks.create_task(self._bus.run()))
                present = tasks.create_task(self._backend.gossip.run())
                await self._first_contact()
                periodic = (
                    [tasks.create_task(self._reading.jobs.run())] if self._reading and self._runs_jobs else []
                )
                if self._feeds_market:
                    own.insert(0, tasks.create_task(self._lease.hold(self._market.serve)))
                await self._stop.wait()
                log.info("server_draining", connections=len(self.node.connections))
                for task in periodic:
                    task.cancel()
                await drain(self.node, self._settings.server.drain_timeout)
                # It says goodbye, for which the bus must still be there.
                present.cancel()
                await asyncio.wait([present])
                if self._reading is not None:
                    await self._reading.aclose()
                for task in own:
                    task.cancel()
                    # One after the other: the lease is given back while the bus can still say so.
                    await asyncio.wait([task])
        finally:
            self._events.broadcaster.stop()
            self.node.flusher.stop()
            if listener is not None:
                await listener.close()
            await runner.cleanup()
            await self._cache.aclose()
        log.info("server_stopped")
        return 0

    async def _first_contact(self) -> None:
        """Give the bus a moment, so that the first clients are not told that everything is stale."""
        give_up_at = self._clock.now() + FIRST_CONTACT
        # One look at a time, a few times, once in the life of a process: an event would have to be a port's.
        while not self._bus.connected and self._clock.now() < give_up_at:  # noqa: ASYNC110  # as said
            await asyncio.sleep(0.005)

    def _listen(self, runner: web.AppRunner) -> Listener:
        server = self._settings.server
        answers = wiring.build_answers(self.app, self._settings, self.node)
        limit = raise_descriptor_limit()
        listener = listen(server, runner, answers, self.node.stats)
        feeds = list(self._settings.feeds.specs)
        log.info(
            "server_started",
            url=url(listener.address),
            role=self._role,
            feeds=feeds,
            loop=server.loop,
            descriptors=limit,
        )
        if not self._feeds_market and any(spec != "none" for spec in feeds):
            log.warning("feeds_not_run", feeds=feeds, role=self._role)
        if self._settings.dev:
            log.warning(
                "development_mode",
                warning="anyone on this machine gets a token from /dev/token: never serve like this",
            )
        return listener

    @property
    def _feeds_market(self) -> bool:
        """Whether quotes may meet in this process."""
        return self._role in ("all", "feed")

    @property
    def _serves_clients(self) -> bool:
        return self._role in ("all", "gateway")

    @property
    def _runs_jobs(self) -> bool:
        return self._role in ("all", "jobs") and self._settings.jobs.enabled

    def _register_feeds(self) -> None:
        context = FeedContext(self._clock, wiring.build_secrets(self._settings))
        for spec in self._settings.feeds.specs:
            make = partial(build_feed, spec, context)
            if make() is not None:
                # What makes none, such as `none`, never makes one.
                self._market.add_feed(cast("Callable[[], Feed]", make))

    def _build_app(self, plans: frozenset[str]) -> web.Application:
        settings = self._settings
        credentials = Credentials(allow_query_token=settings.auth.allow_query_token)
        addresses = AddressReader(settings.server.trusted_proxies)
        origins = wiring.build_origins(settings, addresses)
        app = web.Application(client_max_size=settings.server.max_body)
        self.socketio = build_socketio(
            execution=self._execution,
            credentials=credentials,
            origins=origins,
            addresses=addresses,
            ping_interval=settings.socketio.ping_interval,
            ping_timeout=settings.socketio.ping_timeout,
            max_payload=settings.socketio.max_payload,
            lowat=settings.delivery.notsent_lowat,
        )
        if self._backend.relay is not None:
            self.socketio.manager.relay_through(self._backend.relay)
        figures = build_registry(
            node=self.node,
            events=self._events,
            supervisor=self._supervisor,
            bus_connected=lambda: self._bus.connected,
            backlog=self._backend.backlog,
            feeding=lambda: self._lease.held,
        )
        Health(
            node=self.node,
            bus=self._bus,
            supervisor=self._supervisor,
            backlog=self._backend.backlog,
            figures=figures,
        ).attach(app)
        if self._role != "feed":
            self._reading = wiring.attach_reading(
                app,
                settings,
                node=self.node,
                quotes=self._execution.quotes,
                backend=self._backend,
                cache=self._cache,
                forwarder=self._forwarder,
                events=self._events,
            )
        if not self._serves_clients:
            return app
        self.socketio.attach(app, settings.socketio.path.strip("/"))
        EventStream(
            execution=self._execution,
            credentials=credentials,
            origins=origins,
            addresses=addresses,
            retry_ms=settings.sse.retry_ms,
            comment_interval=settings.sse.comment_interval,
            lowat=settings.delivery.notsent_lowat,
        ).attach(app)
        PlainWebSocket(
            execution=self._execution,
            credentials=credentials,
            origins=origins,
            addresses=addresses,
            ping_interval=settings.websocket.ping_interval,
            max_payload=settings.websocket.max_payload,
            lowat=settings.delivery.notsent_lowat,
        ).attach(app)
        if settings.dev and settings.auth.secret is not None:
            sign = partial(_sign, settings, self._clock)
            Development(sign=sign, plans=plans, symbols=self.publisher.symbols).attach(app)
        if settings.server.page:
            path = f"/{settings.socketio.path.strip('/')}/"
            page.add_page(app, dev=settings.dev, path=path)
        return app


def _sign(
    settings: Settings,
    clock: SystemClock,
    tenant: str,
    user: str,
    plan: str,
    scopes: tuple[str, ...],
    ttl: int,
) -> str:
    auth = settings.auth
    claims = {
        name: value for name, value in (("aud", auth.audience), ("iss", auth.issuer)) if value is not None
    }
    return sign_token(
        secret=auth.secret.get_secret_value() if auth.secret else "",
        tenant=tenant,
        user=user,
        plan=plan,
        scopes=scopes,
        symbols=(),
        ttl=ttl,
        at_ms=clock.wall_ms(),
        **claims,
    )


def _delivery(settings: Settings) -> Delivery:
    given = settings.delivery
    return Delivery(
        heartbeat_interval=given.heartbeat_interval,
        idle_timeout=given.idle_timeout,
        slow_timeout=given.slow_timeout,
        connect_timeout=given.connect_timeout,
        max_unadmitted=given.max_unadmitted,
        waiting_bytes=given.waiting_bytes,
        max_waiting_bytes=given.max_waiting_bytes,
        token_warning=given.token_warning,
        max_delay=given.flush_max_delay_ms / 1000,
        lane_capacity=given.every_queue,
        control_capacity=given.control_queue,
        max_messages=given.max_messages_per_second,
        delayed_bytes=given.delayed_bytes,
    )
