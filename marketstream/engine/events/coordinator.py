"""Hand out the work of groups; runs in the leader alone.

It hears every event as all processes do, and of members from the processes that they are connected to. When
its time begins, and whenever something may have been missed, it starts a resync: everybody says which members
there are and what each has in hand, so that takes over from whoever did this before. Members of a process
that died are gone, and what they had in hand goes to others, who are told that it may have been done.

Nothing is written down: what waits here for a member to be free is lost with this process, and so are events
of groups that come while nobody hands out work.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count

import structlog

from marketstream.core.events.event import Event
from marketstream.core.events.group import Group, Member, Outcome
from marketstream.core.events.rule import Rule
from marketstream.engine.events.ports import Backplane
from marketstream.engine.events.stats import EventStats
from marketstream.errors import BusError, InvalidMessageError
from marketstream.ports import Clock
from marketstream.wire.events import work as wire
from marketstream.wire.events.between_processes import Market, Message, render_message
from marketstream.wire.events.codec import render_event
from marketstream.wire.events.work import Address, All, Done, Give, Hello, Here, Join, Leave, Report, Resync

log = structlog.get_logger(__name__)

LOOK = 1.0
"""Seconds between two looks at which processes have died."""

RESYNC = 5.0
"""Seconds that a resync is open."""

IN_HAND = 100
"""Events that one member may have in hand: so much finds room in its connection however large they are."""

WAITING = 2_000
"""Events of a group that may wait for a member."""

_Key = tuple[str | None, str]


class Coordinator:
    """See the module.

    Args:
        clock: Time.
        channels: Bring reports about members, and carry orders to them.
        groups: Rules by the names of the groups that they give work to.
        stats: Counters to keep.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        channels: Backplane,
        groups: Mapping[str, Rule],
        stats: EventStats,
    ) -> None:
        self._clock = clock
        self._rules = groups
        self._orders = channels.orders
        self._dead = channels.dead
        self._stats = stats
        self._active = False
        self._resyncs = count(1)
        self._suspects: set[str] = set()
        self._reset()
        channels.reports.listen(self._receive)

    @property
    def waiting(self) -> int:
        """Events that wait for a member to be free."""
        return sum(group.waiting for group in self._groups.values())

    @property
    def pending(self) -> int:
        """Events that members have in hand."""
        return sum(group.pending for group in self._groups.values())

    async def run(self) -> None:
        """Hand out work until cancelled; may be run again."""
        if not self._rules:
            return
        self._reset()
        self._active = True
        try:
            self._start_resync()
            while True:
                await asyncio.sleep(LOOK)
                await self._remove_dead()
                if not self._is_open:
                    self._given.clear()
        finally:
            self._active = False
            if self.waiting:
                log.warning("event_work_lost", waiting=self.waiting)
            self._reset()

    def assign(self, message: Message, group: str) -> None:
        """Have an event done by one member of a group; passed over where another process hands out work."""
        if not self._active:
            return
        event = message.event
        if message.market is not None:
            self._markets[group, (event.tenant, event.id)] = message.market
        self._carry_out(group, self._groups[group].assign(event, self._clock.wall_ms()))

    def _reset(self) -> None:
        self._groups = {
            name: Group(IN_HAND, WAITING, shared=rule.shared) for name, rule in self._rules.items()
        }
        self._members: dict[str, set[Address]] = {}
        self._markets: dict[tuple[str, _Key], Market] = {}
        # Who has answered the resync, and what was given out while it is open: no answer can know of that.
        self._resync = 0
        self._open_until = float("-inf")
        self._answered: dict[str, set[Address]] = {}
        self._given: set[tuple[Address, _Key]] = set()

    @property
    def _is_open(self) -> bool:
        return self._clock.now() < self._open_until

    def _start_resync(self) -> None:
        self._resync = next(self._resyncs)
        self._open_until = self._clock.now() + RESYNC
        self._answered.clear()
        self._given.clear()
        self._orders.send(wire.render_order(Resync(self._resync)))

    async def _remove_dead(self) -> None:
        """Let go of the members of processes that are dead, and still were when looked at again.

        One that has just lost Redis seems dead until it is back, and its workers are at work all the time.
        """
        try:
            dead = set(await self._dead(list(self._members)))
        except BusError as error:
            log.debug("event_work_unwatched", error=str(error))
            return
        certain, self._suspects = dead & self._suspects, dead
        for node in certain:
            gone = list(self._members.get(node, ()))
            log.warning("event_workers_lost", node=node, members=len(gone))
            for address in gone:
                self._leave(address)

    # What is heard

    def _receive(self, data: bytes) -> None:
        if not self._active:
            return
        try:
            report = wire.parse_report(data, self._clock.wall_ms())
        except InvalidMessageError as error:
            log.warning("event_message_refused", error=str(error))
            return
        self._take(report)

    def _take(self, report: Report) -> None:
        match report:
            case Hello():
                self._start_resync()
            case All(node, resync):
                if resync == self._resync:
                    self._end_resync(node)
            case Here(address, resync, events):
                if resync == self._resync and address.group in self._groups:
                    self._answered.setdefault(address.node, set()).add(address)
                    self._meet(address, events)
            case Join(address) if address.group in self._groups:
                # After a resync was called it may come twice.
                self._answered.setdefault(address.node, set()).add(address)
                self._meet(address, ())
            case Leave(address):
                self._leave(address)
            case Done(address, event) if address.group in self._groups:
                group = self._groups[address.group]
                member = _member(address)
                self._carry_out(address.group, group.ack(member, event, self._clock.wall_ms()))
                for key in ((address.tenant, event), (None, event)):
                    self._forget(address.group, key)
            case _:
                log.debug("event_group_unknown", report=type(report).__name__)

    def _end_resync(self, node: str) -> None:
        answered = self._answered.pop(node, set())
        for address in list(self._members.get(node, ())):
            if address not in answered:
                self._leave(address)

    def _meet(self, address: Address, events: Sequence[Event]) -> None:
        self._members.setdefault(address.node, set()).add(address)
        group, member, at_ms = self._groups[address.group], _member(address), self._clock.wall_ms()
        had = {(event.tenant, event.id) for event in events}
        thought = group.in_flight(member) if self._is_open else ()
        lost = {key for key in thought if key not in had and (address, key) not in self._given}
        self._carry_out(address.group, group.restore(member, events, at_ms))
        if lost:
            self._carry_out(address.group, group.retract(member, lost, at_ms))

    def _leave(self, address: Address) -> None:
        addresses = self._members.get(address.node, set())
        addresses.discard(address)
        if not addresses:
            self._members.pop(address.node, None)
        if address.group in self._groups:
            outcome = self._groups[address.group].leave(_member(address), self._clock.wall_ms())
            self._carry_out(address.group, outcome)

    # What follows

    def _carry_out(self, group: str, outcome: Outcome) -> None:
        work, at_ms = self._stats.work, self._clock.wall_ms()
        for given in outcome.deliveries:
            address = _address(group, given.member)
            key = given.event.tenant, given.event.id
            if self._is_open:
                self._given.add((address, key))
            event, market = given.event, self._markets.get((group, key))
            message = render_message(Message(event, render_event(event), at_ms, market))
            self._orders.send(wire.render_order(Give(address, given.again, message)))
            work["again" if given.again else "given"] += 1
        for name, events in (("dropped", outcome.dropped), ("expired", outcome.expired)):
            work[name] += len(events)
            for event in events:
                self._forget(group, (event.tenant, event.id))
        if outcome.dropped:
            log.warning("event_work_dropped", group=group, count=len(outcome.dropped))

    def _forget(self, group: str, key: _Key) -> None:
        """Let go of what an event was sent with, once nobody has to do it any more."""
        if not self._groups[group].knows(key):
            self._markets.pop((group, key), None)


def _member(address: Address) -> Member:
    return address.tenant, f"{address.node} {address.connection}"


def _address(group: str, member: Member) -> Address:
    tenant, where = member
    node, _, connection = where.partition(" ")
    return Address(node, group, tenant, connection)
