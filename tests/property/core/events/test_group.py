from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from marketstream.core.events.event import Event, Priority
from marketstream.core.events.group import Group, Member, Outcome
from tests.support.events import AT_MS, event

MEMBERS: list[Member] = [(tenant, f"w{number}") for tenant in ("acme", "globex") for number in range(2)]
PENDING, WAITING = 2, 4


class GroupMachine(RuleBasedStateMachine):
    """Every event is with one member, waits, or was told to be lost; never two of these, never none."""

    def __init__(self) -> None:
        super().__init__()
        self.at_ms = AT_MS
        self.number = 0
        self.group = Group(PENDING, WAITING)
        self.members: dict[Member, dict[str, Event]] = {}
        self.waiting: dict[str, Event] = {}
        self.had: set[str] = set()

    def follow(self, outcome: Outcome) -> None:
        """Does what a group says, and checks that it may say so."""
        before = Counter({member: len(pending) for member, pending in self.members.items()})
        for delivery in outcome.deliveries:
            given, member = delivery.event, delivery.member
            assert given.tenant in (None, member[0])
            assert self.waiting.pop(given.id) is given
            assert delivery.again == (given.id in self.had)
            able = [each for each in self.members if given.tenant in (None, each[0])]
            assert before[member] == min(before[each] for each in able) < PENDING
            before[member] += 1
            self.had.add(given.id)
            self.members[member][given.id] = given
        for lost in outcome.expired:
            assert self.waiting.pop(lost.id) is lost
            assert lost.expires_at_ms is not None
            assert lost.expires_at_ms <= self.at_ms
        for lost in outcome.dropped:
            lanes = Counter(waits.tenant for waits in self.waiting.values())
            assert lanes[lost.tenant] == max(lanes.values())
            others = [waits.priority for waits in self.waiting.values() if waits.tenant == lost.tenant]
            assert lost.priority == min(others)
            assert self.waiting.pop(lost.id) is lost

    @rule(
        tenant=st.sampled_from([None, "acme", "globex"]),
        priority=st.sampled_from(Priority),
        lasts=st.sampled_from([None, None, 0, 1_000]),
    )
    def assign(self, tenant: str | None, priority: Priority, lasts: int | None) -> None:
        """Something is to be done."""
        self.number += 1
        expires = None if lasts is None else self.at_ms + lasts
        todo = event(f"e{self.number}", tenant=tenant, priority=priority, expires_at_ms=expires)
        self.waiting[todo.id] = todo
        self.follow(self.group.assign(todo, self.at_ms))
        if todo.id in self.waiting or any(todo.id in pending for pending in self.members.values()):
            assert self.group.assign(todo, self.at_ms) == Outcome()

    @rule(member=st.sampled_from(MEMBERS))
    def join(self, member: Member) -> None:
        """A member comes, or says again that it is there."""
        self.members.setdefault(member, {})
        self.follow(self.group.join(member, self.at_ms))

    @precondition(lambda self: any(self.members.values()))
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        """A member has done something; telling it twice, or another telling it, changes nothing."""
        member = data.draw(st.sampled_from([each for each, pending in self.members.items() if pending]))
        done = data.draw(st.sampled_from(sorted(self.members[member])))
        for other in MEMBERS:
            if other != member:
                assert self.group.ack(other, done, self.at_ms) == Outcome()
        del self.members[member][done]
        self.follow(self.group.ack(member, done, self.at_ms))
        assert self.group.ack(member, done, self.at_ms) == Outcome()

    @rule(member=st.sampled_from(MEMBERS))
    def leave(self, member: Member) -> None:
        """A member breaks off; what it had goes on in the order in which it had come."""
        self.waiting |= self.members.pop(member, {})
        outcome = self.group.leave(member, self.at_ms)
        given = [delivery.event for delivery in outcome.deliveries]
        for priority in Priority:
            for tenant in (None, "acme", "globex"):
                numbers = [int(e.id[1:]) for e in given if (e.priority, e.tenant) == (priority, tenant)]
                assert numbers == sorted(numbers)
        self.follow(outcome)

    @rule(ms=st.sampled_from([1, 1_000]))
    def wait(self, ms: int) -> None:
        """Time passes."""
        self.at_ms += ms

    @invariant()
    def bounded(self) -> None:
        """No hand is too full, no line too long."""
        assert all(len(pending) <= PENDING for pending in self.members.values())
        assert self.group.waiting == len(self.waiting) <= WAITING
        assert self.group.pending == sum(len(pending) for pending in self.members.values())
        assert self.group.members == len(self.members)

    @invariant()
    def busy(self) -> None:
        """Nothing waits while somebody who may do it has room."""
        for waits in self.waiting.values():
            able = [self.members[each] for each in self.members if waits.tenant in (None, each[0])]
            assert all(len(pending) == PENDING for pending in able)


TestGroup = GroupMachine.TestCase
