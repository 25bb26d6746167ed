"""Distribute events over the workers of a group, one worker for each.

A `Group` gives an event to the member that has least to do, remembers it until it is acknowledged, and gives
it to others when its member leaves. A member does only events of its own tenant, or those that are for all.
Of these each tenant with members has a copy of its own to do, unless the group is shared by all tenants.
Everything is bounded: what a member has in hand, and what waits for one to be free; nothing is dropped
without a word to whoever caused it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from marketstream.core.events.event import Event
from marketstream.core.events.queue import PriorityQueue

PENDING = 1_000
WAITING = 10_000

Member = tuple[str, str]
"""Tenant and whatever tells the members of it apart, such as the id of a connection."""

_Key = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for a member.

    Attributes:
        member: Who is to do it.
        event: What is to be done.
        again: Whether another member has had it before, who may have done it.
    """

    member: Member
    event: Event
    again: bool = False


@dataclass(slots=True)
class Outcome:
    """What follows from something that happened to a group.

    Attributes:
        deliveries: What is to be sent, in order.
        dropped: Events for which there is no room any more; nobody will do them.
        expired: Events that nobody was free for in time; nobody will do them.
    """

    deliveries: list[Delivery] = field(default_factory=list)
    dropped: list[Event] = field(default_factory=list)
    expired: list[Event] = field(default_factory=list)

    def add(self, more: "Outcome") -> None:
        """Add what follows from what happened next."""
        self.deliveries += more.deliveries
        self.dropped += more.dropped
        self.expired += more.expired


class _Task(NamedTuple):
    """An event with its turn: lower numbers came earlier. Only members of its owner may do it; None: all."""

    number: int
    event: Event
    owner: str | None
    again: bool = False

    @property
    def key(self) -> _Key:
        return self.event.tenant, self.event.id

    @property
    def order(self) -> tuple[int, int]:
        return -self.event.priority, self.number


class _InFlight:
    """What a member has to do, and when it was last given something."""

    __slots__ = ("given", "pending")

    def __init__(self) -> None:
        self.given = 0
        self.pending: dict[_Key, _Task] = {}


class Group:
    """The members of one group and what they have to do.

    Args:
        pending: Events that one member may have in hand, at least 1.
        waiting: Events that may wait for a member; the lowest and oldest of the tenant with most of them go.
        shared: Whether one member does an event that is for all, instead of one of each tenant.

    Raises:
        ValueError: Its members could not do anything.

    Attributes:
        waiting: Events that wait for a member.
    """

    __slots__ = ("_capacity", "_hands", "_known", "_limit", "_lines", "_shared", "_turn", "waiting")

    def __init__(self, pending: int = PENDING, waiting: int = WAITING, *, shared: bool = True) -> None:
        if pending < 1:
            raise ValueError(f"members who may have {pending} events in hand do nothing")
        self._limit, self._capacity, self._shared = pending, waiting, shared
        self._hands: dict[str, dict[Member, _InFlight]] = {}
        # What waits by who may do it: a tenant without workers holds up no other. Events for all wait
        # under None where any member may do them, and where there is no member at all.
        self._lines: dict[str | None, PriorityQueue[_Task]] = {}
        self._known: dict[_Key, set[str | None]] = {}
        self._turn = 0
        self.waiting = 0

    @property
    def members(self) -> int:
        """Members there are."""
        return sum(len(hands) for hands in self._hands.values())

    @property
    def pending(self) -> int:
        """Events that members have in hand."""
        return sum(len(hand.pending) for hands in self._hands.values() for hand in hands.values())

    def knows(self, event: tuple[str | None, str]) -> bool:
        """Return whether an event, by tenant and id, waits here or is in somebody's hand."""
        return event in self._known

    def join(self, member: Member, at_ms: int) -> Outcome:
        """Take a member in, who gets what waits; one that is in already stays as it is.

        Args:
            member: The member.
            at_ms: Epoch milliseconds now.
        """
        self._in_flight_of(member)
        return self._hand_out(member[0], at_ms)

    def assign(self, event: Event, at_ms: int) -> Outcome:
        """Give an event to one member, or let it wait; one that waits or is being done is passed over.

        Args:
            event: The event.
            at_ms: Epoch milliseconds now.
        """
        owners: Sequence[str | None] = [event.tenant]
        if event.tenant is None and not self._shared and self._hands:
            owners = list(self._hands)
        outcome = Outcome()
        for owner in owners:
            self._turn += 1
            task = _Task(self._turn, event, owner)
            if self._note(task):
                self._line(owner).put(task, event.priority)
                self.waiting += 1
                outcome.add(self._hand_out(owner, at_ms))
        return outcome

    def restore(self, member: Member, events: Sequence[Event], at_ms: int) -> Outcome:
        """Take a member in with what it says to have in hand, such as from another keeper of this group.

        What somebody else has in hand, or waits here, is passed over: it is done twice at worst.

        Args:
            member: The member.
            events: What it has in hand, in order.
            at_ms: Epoch milliseconds now.
        """
        for event in events:
            self._turn += 1
            owner = None if self._shared and event.tenant is None else member[0]
            task = _Task(self._turn, event, owner)
            if self._note(task):
                self._in_flight_of(member).pending[task.key] = task
        return self.join(member, at_ms)

    def in_flight(self, member: Member) -> frozenset[tuple[str | None, str]]:
        """Tenants and ids of the events that a member has in hand."""
        hand = self._hands.get(member[0], {}).get(member)
        return frozenset(hand.pending) if hand else frozenset()

    def ack(self, member: Member, event: str, at_ms: int) -> Outcome:
        """Note that a member has done an event, and give out what waits; unknown ones are passed over.

        Args:
            member: The member.
            event: Id of the event.
            at_ms: Epoch milliseconds now.
        """
        hand = self._hands.get(member[0], {}).get(member)
        keys: tuple[_Key, ...] = (member[0], event), (None, event)
        done = next((key for key in keys if hand and key in hand.pending), None)
        if hand is None or done is None:
            return Outcome()
        self._forget(hand.pending.pop(done))
        return self._hand_out(member[0], at_ms)

    def leave(self, member: Member, at_ms: int) -> Outcome:
        """Let a member go; what it had in hand goes to others, in order and before what came later.

        Args:
            member: The member.
            at_ms: Epoch milliseconds now.
        """
        hands = self._hands.get(member[0], {})
        hand = hands.pop(member, None)
        if hand is None:
            return Outcome()
        if not hands:
            del self._hands[member[0]]
        self._wait_again(list(hand.pending.values()))
        return self._hand_out(member[0], at_ms)

    def retract(self, member: Member, events: Collection[tuple[str | None, str]], at_ms: int) -> Outcome:
        """Take events away from a member that does not have them after all, and give them out again.

        Args:
            member: The member.
            events: Tenants and ids of events; what it does not have in hand is passed over.
            at_ms: Epoch milliseconds now.
        """
        hand = self._hands.get(member[0], {}).get(member)
        if hand is None:
            return Outcome()
        self._wait_again([hand.pending.pop(key) for key in list(hand.pending) if key in events])
        return self._hand_out(member[0], at_ms)

    def _wait_again(self, tasks: Sequence[_Task]) -> None:
        for task in tasks:
            self._line(task.owner).put(task._replace(again=True), task.event.priority)
        self.waiting += len(tasks)
        for owner in {task.owner for task in tasks}:
            self._line(owner).sort(key=lambda task: task.number)

    def _in_flight_of(self, member: Member) -> _InFlight:
        """Return what a member has in flight."""
        tenant = member[0]
        if not self._shared and not self._hands:
            for task in self._empty_line(None):
                self._forget(task)
                if self._note(owned := task._replace(owner=tenant)):
                    self._line(tenant).put(owned, task.event.priority)
                    self.waiting += 1
        return self._hands.setdefault(tenant, {}).setdefault(member, _InFlight())

    def _empty_line(self, owner: str | None) -> Iterator[_Task]:
        while owner in self._lines:
            yield self._remove(owner, self._lines[owner].take())

    def _note(self, task: _Task) -> bool:
        """Note that a task is to be done; False when it waits or is being done already."""
        owners = self._known.setdefault(task.key, set())
        if task.owner in owners:
            return False
        owners.add(task.owner)
        return True

    def _forget(self, task: _Task) -> None:
        owners = self._known[task.key]
        owners.discard(task.owner)
        if not owners:
            del self._known[task.key]

    def _line(self, tenant: str | None) -> PriorityQueue[_Task]:
        return self._lines.setdefault(tenant, PriorityQueue())

    def _hand_out(self, tenant: str | None, at_ms: int) -> Outcome:
        """Give out what waits of a tenant and what is for all, as far as members are free."""
        outcome = Outcome()
        while (found := self._next(tenant)) is not None:
            owner, member, hand = found
            task = self._remove(owner, self._lines[owner].take())
            if task.event.expires_at_ms is not None and task.event.expires_at_ms <= at_ms:
                self._forget(task)
                outcome.expired.append(task.event)
                continue
            self._turn += 1
            hand.given = self._turn
            hand.pending[task.key] = task
            outcome.deliveries.append(Delivery(member, task.event, task.again))
        while self.waiting > self._capacity:
            owner = max(self._lines, key=lambda line: len(self._lines[line]))
            task = self._remove(owner, self._lines[owner].shed())
            self._forget(task)
            outcome.dropped.append(task.event)
        return outcome

    def _next(self, tenant: str | None) -> tuple[str | None, Member, _InFlight] | None:
        """Return the line whose turn it is, and the member for its first event.

        None when nothing can be given.
        """
        lines = {owner: self._lines[owner] for owner in (tenant, None) if owner in self._lines}
        for owner in sorted(lines, key=lambda owner: lines[owner].first.order):
            free = self._free(owner)
            if free is not None:
                return owner, *free
        return None

    def _free(self, tenant: str | None) -> tuple[Member, _InFlight] | None:
        """Return who has least to do, and of those who was given something least lately.

        None when all are busy.
        """
        tenants = self._hands.values() if tenant is None else [self._hands.get(tenant, {})]
        hands = [item for members in tenants for item in members.items()]
        chosen = min(hands, key=lambda item: (len(item[1].pending), item[1].given), default=None)
        return None if chosen is None or len(chosen[1].pending) >= self._limit else chosen

    def _remove(self, owner: str | None, task: _Task) -> _Task:
        """Forget a task that has just left its line."""
        self.waiting -= 1
        if not self._lines[owner]:
            del self._lines[owner]
        return task
