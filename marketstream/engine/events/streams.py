"""Run the event streams of one process: subscriptions, delivery, worker groups.

A client that is admitted hears of the events its user wants from then on, over every connection that can
carry them; nothing has to be said again after a reconnect. Who may not read hears of none. Events arrive from
all processes, this one too, by one channel; from there on all is this process's own.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

import structlog

from marketstream.core.delivery.commands import (
    EventCommand,
    EventReply,
    EventsSubscribed,
    EventSubscriptions,
    EventsUnsubscribed,
    ListEventSubscriptions,
    SubscribeEvents,
    UnsubscribeEvents,
)
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.session import READERS
from marketstream.core.events.event import Event, User
from marketstream.core.events.filter import Filter
from marketstream.core.events.index import Index
from marketstream.core.events.router import Route, Router
from marketstream.core.events.rule import Rule
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.node import ConnectionListener, Node
from marketstream.engine.eager import settled
from marketstream.engine.events.broadcaster import Broadcaster, Post
from marketstream.engine.events.coordinator import Coordinator
from marketstream.engine.events.ports import Backplane, EventStore
from marketstream.engine.events.publisher import EventPublisher
from marketstream.engine.events.rendered import RenderedEvents
from marketstream.engine.events.stats import EventStats
from marketstream.engine.events.subscription_store import SubscriptionStore
from marketstream.engine.events.workers import PER_TENANT, Workers, groups_of
from marketstream.errors import BusError, ConfigurationError, InvalidMessageError, UnavailableError
from marketstream.ports import Bus
from marketstream.wire import messages as wire_event
from marketstream.wire.events.between_processes import Market, Message, parse_user, render_user

log = structlog.get_logger(__name__)

_T = TypeVar("_T")


class EventStreams:
    """See the module.

    Args:
        node: Whose connections.
        bus: Knows how a symbol stands.
        channels: How processes meet.
        store: Keeps subscriptions.
        rules: Rules of routing.
        window: Seconds in which events for one connection are collected.
        workers_per_tenant: Memberships of groups that a tenant may have here.

    Attributes:
        stats: The counters.
        publisher: Where events come in.
        router: Who gets them.
        broadcaster: What waits.
        workers: Members of worker groups here.
        coordinator: Hands out their work, while that is this process's turn.
    """

    def __init__(
        self,
        *,
        node: Node,
        bus: Bus,
        channels: Backplane,
        store: EventStore,
        rules: Sequence[Rule],
        window: float,
        workers_per_tenant: int = PER_TENANT,
    ) -> None:
        self.stats = EventStats()
        self.router = Router(rules, Index())
        self._node = node
        self._bus = bus
        self._news = channels.news
        self._users: dict[User, list[Connection]] = {}
        self.broadcaster = Broadcaster(
            clock=bus.clock, send=node.send, settle=node.settle, stats=self.stats, window=window
        )
        # The task group comes later.
        self._store = SubscriptionStore(store=store, router=self.router, spawn=lambda work: node.spawn(work))  # noqa: PLW0108
        self.publisher = EventPublisher(
            clock=bus.clock, channel=channels.events, router=self.router, look=self._look, stats=self.stats
        )
        self._groups = groups = groups_of(rules)
        self.workers = Workers(
            node=node, channels=channels, rules=groups, stats=self.stats, per_tenant=workers_per_tenant
        )
        self.coordinator = Coordinator(clock=bus.clock, channels=channels, groups=groups, stats=self.stats)
        channels.events.listen(self.receive)
        if channels.news is not None:
            channels.news.listen(self._take_news)

    def use_rules(self, rules: Sequence[Rule]) -> None:
        """Route by these rules from now on.

        Raises:
            ConfigurationError: They have other worker groups, which members have joined by their names in all
                processes; nothing was changed.
        """
        groups = groups_of(rules)
        if _shares(groups) != _shares(self._groups):
            raise ConfigurationError("events.routes_file", "worker groups change with a restart only")
        self._groups.update(groups)
        self.router.use_rules(rules)

    @property
    def unread(self) -> int:
        """Users whose subscriptions are not known yet."""
        return self._store.unread

    @property
    def blind(self) -> bool:
        """Whether subscriptions cannot be read at the moment."""
        return self._store.fails

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._node.clock.now()

    # Connections

    def admitted(self, connection: Connection) -> None:
        """Start the event streams of a connection that was let in."""
        if connection.session is None or not connection.sink.personal:
            return
        principal = connection.session.principal
        if not principal.scopes & READERS:
            return
        user = _user(principal)
        present = self._users.get(user)
        if present is None:
            self._users[user] = [connection]
            self._store.open(user)
        elif connection not in present:
            present.append(connection)
        self._rank(user)

    def renewed(self, connection: Connection, before: Principal) -> list[str]:
        """Judge subscriptions again when a connection goes on under another token.

        Args:
            connection: The connection.
            before: Whom it belonged to by the token before.

        Returns:
            A sentence about each thing that ended by it.
        """
        if connection.session is None or not connection.sink.personal:
            return []
        ended, principal = self.workers.check(connection), connection.session.principal
        reads = bool(principal.scopes & READERS)
        if (principal.plan, principal.symbols) != (before.plan, before.symbols):
            # What waits was written for who it was before.
            self.broadcaster.rewrite(connection, principal)
        if reads:
            self.admitted(connection)
        elif before.scopes & READERS:
            if self.router.held(_user(principal)):
                ended.append("events: not entitled")
            self._forget(connection)
        return ended

    def left(self, connection: Connection) -> None:
        """Forget a connection that ended."""
        self.workers.end(connection)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        """Bring no events to a connection any more, except for work."""
        self.broadcaster.forget(connection)
        if connection.session is None:
            return
        user = _user(connection.session.principal)
        present = self._users.get(user)
        if present is None or connection not in present:
            return
        present.remove(connection)
        if present:
            self._rank(user)
            return
        del self._users[user]
        self._store.close(user)
        self.router.leave(user)

    def _rank(self, user: User) -> None:
        """Give a user the rank of the best plan among the connections."""
        sessions = (connection.session for connection in self._users[user])
        self.router.join(user, max(session.principal.plan.rank for session in sessions if session))

    # What users want

    async def execute(self, principal: Principal, command: EventCommand) -> EventReply:
        """Carry out what a client asks about event streams; raise as what it does."""
        match command:
            case SubscribeEvents(name, filter_):
                await self.subscribe(principal, name, filter_)
                return EventsSubscribed(name, filter_)
            case UnsubscribeEvents(name):
                await self.unsubscribe(principal, name)
                return EventsUnsubscribed(name)
            case ListEventSubscriptions():
                return EventSubscriptions(tuple((await self.subscriptions(principal)).items()))

    async def subscribe(self, principal: Principal, name: str, filter_: Filter) -> None:
        """Keep a subscription of a user, which counts in every process.

        Raises:
            SubscriptionLimitError: The user has as many as may be.
            UnavailableError: It could not be written, or may not have been.
        """
        user = _user(principal)
        await _reached(self._store.subscribe(user, name, filter_))
        self._tell(user)

    async def unsubscribe(self, principal: Principal, name: str) -> bool:
        """Let a subscription of a user go, and say whether there was one; raise as `subscribe`."""
        user = _user(principal)
        found = await _reached(self._store.unsubscribe(user, name))
        self._tell(user)
        return found

    async def subscriptions(self, principal: Principal) -> Mapping[str, Filter]:
        """Return the subscriptions of a user by name.

        Raises:
            UnavailableError: They could not be read.
        """
        return await _reached(self._store.list(_user(principal)))

    def look_again(self) -> None:
        """Ask for everything anew, because changes may have been missed."""
        self._store.everything_changed()
        self.workers.say_hello()

    def _tell(self, user: User) -> None:
        if self._news is not None:
            self._news.send(render_user(user))

    def _take_news(self, message: bytes) -> None:
        try:
            self._store.changed(parse_user(message))
        except InvalidMessageError as error:
            log.warning("event_message_refused", error=str(error))

    # Events

    def receive(self, message: Message) -> None:
        """Take an event that some process has sent to all."""
        event, now = message.event, self._node.clock.now()
        self.stats.received += 1
        ends = event.expires_at_ms
        # By the clock that all processes share, like everything about an event.
        expires_at = float("inf") if ends is None else now + (ends - self._bus.clock.wall_ms()) / 1000
        if expires_at <= now:
            self.stats.expired += 1
            return
        route = self._route(message, now)
        if route.rule.strategy == "load_balanced":
            self.coordinator.assign(message, route.rule.group or "")
            return
        self.broadcaster.offer(self._posts(message, route, now, expires_at), now)

    def _route(self, message: Message, now: float) -> Route:
        route = self.router.route(message.event, now, message.rule)
        took_ms = (self._node.clock.now() - now) * 1000
        self.stats.route.observe(took_ms)
        if not route.cached:
            self.stats.match.observe(took_ms)
        self.stats.routed[route.rule.name] += 1
        return route

    def _posts(self, message: Message, route: Route, now: float, expires_at: float) -> list[Post]:
        events = RenderedEvents(message, route.rule, received_at=now, expires_at=expires_at)
        posts = []
        for user, names in route.recipients:
            for connection in self._users.get(user, ()):
                session = connection.session
                if session is None:
                    continue
                event = events.of(session.principal, names)
                if event is not None:
                    posts.append((connection, event))
        return posts

    async def _look(self, event: Event) -> Market:
        """Return how the symbol of an event stands, as everybody may know who gets it."""
        symbol = event.symbol or ""
        keys = [symbol, wire_event.status_key(symbol)]
        known = await settled(self._bus.last(keys, event.tenant or ""))
        price = next((frame for frame in known if frame.event == wire_event.PRICE), None)
        status = next((frame for frame in known if frame.event == wire_event.STATUS), None)
        return Market(price.body if price else None, wire_event.state_of(status) if status else None)


_: type[ConnectionListener] = EventStreams


async def _reached(asked: Awaitable[_T]) -> _T:
    """Return what was asked of the store; that it is out of reach may be told to clients."""
    try:
        return await asked
    except BusError as error:
        raise UnavailableError(str(error)) from error


def _user(principal: Principal) -> User:
    return principal.tenant, principal.user


def _shares(groups: Mapping[str, Rule]) -> dict[str, bool]:
    return {name: rule.shared for name, rule in groups.items()}
