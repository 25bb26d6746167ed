"""Workers who share the load: each event goes to exactly one of them, and to another one if that one is lost.

A `Group` gives an event to the member that has least to do, remembers it until it is acknowledged, and gives
it to others when its member leaves. A member does only events of its own tenant, or those that are for all.
Everything is bounded: what a member has in hand, and what waits for one to be free; nothing is dropped
without a word to whoever caused it.
"""

from collections.abc import Collection, Sequence
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


class _Task(NamedTuple):
    """An event with its turn: lower numbers came earlier."""

    number: int
    event: Event
    again: bool

    @property
    def key(self) -> _Key:
        return self.event.tenant, self.event.id

    @property
    def order(self) -> tuple[int, int]:
        return -self.event.priority, self.number


class _Hand:
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

    Raises:
        ValueError: Its members could not do anything.

    Attributes:
        waiting: Events that wait for a member.
    """

    __slots__ = ("_capacity", "_hands", "_known", "_limit", "_lines", "_turn", "waiting")

    def __init__(self, pending: int = PENDING, waiting: int = WAITING) -> None:
        if pending < 1:
            raise ValueError(f"members who may have {pending} events in hand do nothing")
        self._limit, self._capacity = pending, waiting
        self._hands: dict[str, dict[Member, _Hand]] = {}
        # What waits by tenant of the event: a tenant without workers holds up no other.
        self._lines: dict[str | None, PriorityQueue[_Task]] = {}
        self._known: set[_Key] = set()
        self._turn = 0
        self.waiting = 0

    @property
    def members(self) -> int:
        """Members there are."""
        return sum(len(hands) for hands in self._hands.values())

    @property
    def pending(self) -> int:
        """Events that members have in hand."""
        return len(self._known) - self.waiting

    def join(self, member: Member, at_ms: int) -> Outcome:
        """Takes a member in, who gets what waits; one that is in already stays as it is.

        Args:
            member: The member.
            at_ms: Epoch milliseconds now.
        """
        self._hands.setdefault(member[0], {}).setdefault(member, _Hand())
        return self._hand_out(member[0], at_ms)

    def assign(self, event: Event, at_ms: int) -> Outcome:
        """Gives an event to one member, or lets it wait; one that waits or is being done is passed over.

        Args:
            event: The event.
            at_ms: Epoch milliseconds now.
        """
        self._turn += 1
        task = _Task(self._turn, event, again=False)
        if task.key in self._known:
            return Outcome()
        self._known.add(task.key)
        self._line(event.tenant).put(task, event.priority)
        self.waiting += 1
        return self._hand_out(event.tenant, at_ms)

    def adopt(self, member: Member, events: Sequence[Event], at_ms: int) -> Outcome:
        """Takes a member in with what it says to have in hand, such as from another keeper of this group.

        What somebody else has in hand, or waits here, is passed over: it is done twice at worst.

        Args:
            member: The member.
            events: What it has in hand, in order.
            at_ms: Epoch milliseconds now.
        """
        hand = self._hands.setdefault(member[0], {}).setdefault(member, _Hand())
        for event in events:
            self._turn += 1
            task = _Task(self._turn, event, again=False)
            if task.key not in self._known:
                self._known.add(task.key)
                hand.pending[task.key] = task
        return self._hand_out(member[0], at_ms)

    def in_hand(self, member: Member) -> frozenset[tuple[str | None, str]]:
        """Tenants and ids of the events that a member has in hand."""
        hand = self._hands.get(member[0], {}).get(member)
        return frozenset(hand.pending) if hand else frozenset()

    def ack(self, member: Member, event: str, at_ms: int) -> Outcome:
        """Notes that a member has done an event, and gives out what waits; unknown ones are passed over.

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
        del hand.pending[done]
        self._known.discard(done)
        return self._hand_out(member[0], at_ms)

    def leave(self, member: Member, at_ms: int) -> Outcome:
        """Lets a member go; what it had in hand goes to others, in order and before what came later.

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
        """Takes events away from a member that does not have them after all, and gives them out again.

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
            self._line(task.event.tenant).put(task._replace(again=True), task.event.priority)
        self.waiting += len(tasks)
        for tenant in {task.event.tenant for task in tasks}:
            self._line(tenant).sort(key=lambda task: task.number)

    def _line(self, tenant: str | None) -> PriorityQueue[_Task]:
        return self._lines.setdefault(tenant, PriorityQueue())

    def _hand_out(self, tenant: str | None, at_ms: int) -> Outcome:
        """Gives out what waits of a tenant and what is for all, as far as members are free."""
        outcome = Outcome()
        while (found := self._next(tenant)) is not None:
            owner, member, hand = found
            task = self._remove(owner, self._lines[owner].take())
            if task.event.expires_at_ms is not None and task.event.expires_at_ms <= at_ms:
                self._known.discard(task.key)
                outcome.expired.append(task.event)
                continue
            self._turn += 1
            hand.given = self._turn
            hand.pending[task.key] = task
            outcome.deliveries.append(Delivery(member, task.event, task.again))
        while self.waiting > self._capacity:
            owner = max(self._lines, key=lambda line: len(self._lines[line]))
            task = self._remove(owner, self._lines[owner].shed())
            self._known.discard(task.key)
            outcome.dropped.append(task.event)
        return outcome

    def _next(self, tenant: str | None) -> tuple[str | None, Member, _Hand] | None:
        """The line whose turn it is, and the member for its first event; None when nothing can be given."""
        lines = {owner: self._lines[owner] for owner in (tenant, None) if owner in self._lines}
        for owner in sorted(lines, key=lambda owner: lines[owner].first.order):
            free = self._free(owner)
            if free is not None:
                return owner, *free
        return None

    def _free(self, tenant: str | None) -> tuple[Member, _Hand] | None:
        """Who has least to do, and of those who was given something least lately; None when all are busy."""
        tenants = self._hands.values() if tenant is None else [self._hands.get(tenant, {})]
        hands = [item for members in tenants for item in members.items()]
        chosen = min(hands, key=lambda item: (len(item[1].pending), item[1].given), default=None)
        return None if chosen is None or len(chosen[1].pending) >= self._limit else chosen

    def _remove(self, owner: str | None, task: _Task) -> _Task:
        """Forgets a task that has just left its line."""
        self.waiting -= 1
        if not self._lines[owner]:
            del self._lines[owner]
        return task
