"""Track the worker group members connected here, and what each has in flight.

A member is a connection that has joined a group; it gets each event alone, as one of `events`, and says when
it is done. Who hands out the work is told of every change, and of everything again when it asks. What a
member has in in_flight is remembered here until it is done: whoever hands out the work next can rely on it.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import structlog

from marketstream.core.delivery.commands import (
    AckEvent,
    EventAcknowledged,
    GroupJoined,
    GroupLeft,
    JoinGroup,
    LeaveGroup,
    WorkCommand,
    WorkReply,
)
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.session import WORK
from marketstream.core.events.event import Event
from marketstream.core.events.rule import Rule
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.node import Node
from marketstream.engine.events.broadcaster import EVENTS
from marketstream.engine.events.ports import Backplane
from marketstream.engine.events.rendered import RenderedEvents
from marketstream.engine.events.stats import EventStats
from marketstream.errors import InvalidMessageError, NotEntitledError, SubscriptionLimitError
from marketstream.wire.events import codec
from marketstream.wire.events import work as wire
from marketstream.wire.events.between_processes import parse_message
from marketstream.wire.events.work import Address, All, Done, Give, Hello, Here, Join, Leave, Report, Resync

log = structlog.get_logger(__name__)

MAX_MEMBERS = 500
"""Memberships in one process: all of them must be told in one go."""

PER_TENANT = 100
"""Those that one tenant may have of them: it cannot keep the others out."""

REMEMBERED = 10.0
"""Seconds for which it is remembered what a member had in flight: until then work may be handed out again."""

_Key = tuple[str | None, str]


class Workers:
    """See the module.

    Args:
        node: Whose connections.
        channels: Carry reports to whoever hands out the work, and bring its orders.
        rules: Rules of routing; their groups are all there are.
        stats: Counters to keep.
        per_tenant: Memberships that a tenant may have here.
    """

    def __init__(
        self,
        *,
        node: Node,
        channels: Backplane,
        rules: Mapping[str, Rule],
        stats: EventStats,
        per_tenant: int = PER_TENANT,
    ) -> None:
        self._node = node
        self._per_tenant = per_tenant
        self._name = channels.name
        self._rules = rules
        self._reports = channels.reports
        self._stats = stats
        self._in_flight: dict[Connection, dict[str, dict[_Key, Event]]] = {}
        # Members that left with work in in_flight a moment ago, and until when that is remembered.
        self._left: deque[tuple[float, Address, tuple[Event, ...]]] = deque(maxlen=MAX_MEMBERS)
        channels.orders.listen(self._receive)

    @property
    def members(self) -> int:
        """Memberships here."""
        return sum(map(len, self._in_flight.values()))

    def execute(self, connection: Connection, command: WorkCommand) -> WorkReply:
        """Carry out what a client asks about its work.

        Raises:
            InvalidMessageError: There is no such group.
            NotEntitledError: The client may not work, or not see everything that the group may be given.
            SubscriptionLimitError: There are too many members here, of its tenant or of all.
        """
        if not isinstance(command, AckEvent) and command.group not in self._rules:
            raise InvalidMessageError(f"group: no rule has a group {command.group}", path="group")
        if connection.session is None or WORK not in connection.session.principal.scopes:
            raise NotEntitledError(f"scope {WORK} is required")
        match command:
            case JoinGroup(group):
                self._join(connection, connection.session.principal, group)
                return GroupJoined(group)
            case LeaveGroup(group):
                self._leave(connection, group)
                return GroupLeft(group)
            case AckEvent(ident):
                self._ack(connection, ident)
                return EventAcknowledged(ident)

    def check(self, connection: Connection) -> list[str]:
        """End the memberships of a connection that goes on under a token which does not cover them.

        Returns:
            A sentence about each.
        """
        if connection.session is None or _may_work(connection.session.principal):
            return []
        ended = [f"{group}: not entitled" for group in self._in_flight.get(connection, ())]
        self.end(connection)
        return ended

    def end(self, connection: Connection) -> None:
        """End all memberships of a connection; what it has in in_flight goes to others."""
        for group in list(self._in_flight.get(connection, ())):
            self._leave(connection, group)

    def say_hello(self) -> None:
        """Say that something may have been missed here."""
        if self._rules:
            self._report(Hello(self._name))

    def _join(self, connection: Connection, who: Principal, group: str) -> None:
        if not _may_work(who):
            raise NotEntitledError("work of a group needs a token and a plan that cover every symbol")
        if group in self._in_flight.get(connection, ()):
            return
        if self._members_of(who.tenant) >= self._per_tenant:
            text = f"{group}: at most {self._per_tenant} workers of a tenant at one server"
            raise SubscriptionLimitError(text)
        if self.members >= MAX_MEMBERS:
            raise SubscriptionLimitError(f"{group}: at most {MAX_MEMBERS} workers of one server")
        self._in_flight.setdefault(connection, {})[group] = {}
        self._report(Join(self._address(connection, group)))

    def _members_of(self, tenant: str) -> int:
        return sum(
            len(groups)
            for connection, groups in self._in_flight.items()
            if connection.session is not None and connection.session.principal.tenant == tenant
        )

    def _leave(self, connection: Connection, group: str) -> None:
        groups = self._in_flight.get(connection, {})
        in_flight = groups.pop(group, None)
        if in_flight is None:
            return
        if not groups:
            del self._in_flight[connection]
        address = self._address(connection, group)
        if in_flight:
            self._left.append((self._node.clock.now() + REMEMBERED, address, tuple(in_flight.values())))
        self._report(Leave(address))

    def _ack(self, connection: Connection, ident: str) -> None:
        """One id may stand for an event of the tenant and for one that is for all: its own comes first."""
        for group, in_flight in self._in_flight.get(connection, {}).items():
            key = next((key for key in (_key(connection, ident), (None, ident)) if key in in_flight), None)
            if key is not None:
                del in_flight[key]
                self._stats.work["done"] += 1
                self._report(Done(self._address(connection, group), ident))
                return

    # What is heard

    def _receive(self, data: bytes) -> None:
        try:
            order = wire.parse_order(data)
            if isinstance(order, Resync):
                self._answer(order.resync)
            elif order.address.node == self._name:
                self._take(order)
        except InvalidMessageError as error:
            log.warning("event_message_refused", error=str(error))

    def _answer(self, resync: int) -> None:
        hands = [(connection, *each) for connection, of in self._in_flight.items() for each in of.items()]
        for connection, group, in_flight in hands:
            if group in self._in_flight.get(connection, ()):
                self._report(Here(self._address(connection, group), resync, tuple(in_flight.values())))
        now = self._node.clock.now()
        for until, address, tasks in list(self._left):
            if until > now:
                # There may have been nobody to hear that it left.
                self._report(Here(address, resync, tasks))
                self._report(Leave(address))
        self._report(All(self._name, resync))

    def _take(self, order: Give) -> None:
        address, message = order.address, parse_message(order.message)
        connection = self._node.connections.get(address.connection)
        in_flight = self._in_flight.get(connection, {}).get(address.group) if connection else None
        if connection is None or in_flight is None or connection.session is None:
            # It has left meanwhile: nobody else may be waiting for that word any more.
            self._report(Leave(address))
            return
        event = message.event
        in_flight[event.tenant, event.id] = event
        events = RenderedEvents(
            message, self._rules[address.group], received_at=self._node.clock.now(), expires_at=float("inf")
        )
        body = wire.render_task(
            events.body(connection.session.principal.plan), address.group, again=order.again
        )
        self._node.send(connection, Frame(EVENTS, codec.render_batch([body])))
        self._stats.delivered += 1
        self._node.settle()

    def _address(self, connection: Connection, group: str) -> Address:
        assert connection.session is not None  # noqa: S101  # nobody joins without
        return Address(self._name, group, connection.session.principal.tenant, connection.id)

    def _report(self, report: Report) -> None:
        self._reports.send(wire.render_report(report))


def groups_of(rules: Sequence[Rule]) -> dict[str, Rule]:
    """Return the groups that there are, each with the first rule that gives it work."""
    found: dict[str, Rule] = {}
    for rule in rules:
        if rule.group is not None:
            found.setdefault(rule.group, rule)
    return found


def _may_work(who: Principal) -> bool:
    """Return whether there is nothing that would have to be kept from a worker: it gets what comes."""
    return WORK in who.scopes and who.symbols is None and "*" in who.plan.symbols


def _key(connection: Connection, ident: str) -> _Key:
    assert connection.session is not None  # noqa: S101  # nobody joins without
    return connection.session.principal.tenant, ident
