from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from marketstream.core.events.bitset import BitSet, pack, pick
from marketstream.core.events.event import Event, User
from marketstream.core.events.filter import Filter
from marketstream.core.events.index import Index
from tests.support.events import EVENTS, FILTERS, NAMES, USERS

Held = Mapping[tuple[User, str], Filter]


def brute(held: Held, event: Event) -> dict[User, tuple[str, ...]]:
    """Who wants an event, by asking each subscription."""
    found: dict[User, list[str]] = {}
    for (user, name), filter_ in held.items():
        if event.tenant in (None, user[0]) and filter_.matches(event):
            found.setdefault(user, []).append(name)
    return {user: tuple(sorted(names)) for user, names in found.items()}


class IndexMachine(RuleBasedStateMachine):
    """Under any history of changes an index says what asking each subscription would say."""

    def __init__(self) -> None:
        super().__init__()
        self.index = Index()
        self.held: dict[tuple[User, str], Filter] = {}

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES), filter_=FILTERS)
    def put(self, user: User, name: str, filter_: Filter) -> None:
        """A new subscription, or another filter of one."""
        assert self.index.put(user, name, filter_) == self.held.get((user, name))
        self.held[user, name] = filter_

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES))
    def remove(self, user: User, name: str) -> None:
        """One goes, or was never there."""
        assert self.index.remove(user, name) == self.held.pop((user, name), None)

    @rule(user=st.sampled_from(USERS))
    def drop(self, user: User) -> None:
        """All of a user go."""
        gone = {name: filter_ for (owner, name), filter_ in self.held.items() if owner == user}
        assert self.index.drop(user) == gone
        for name in gone:
            del self.held[user, name]

    @rule()
    def rebuild(self) -> None:
        """Everything is built anew."""
        self.index.rebuild()

    @rule(event=EVENTS)
    def match(self, event: Event) -> None:
        """An event finds whom it should."""
        assert self.index.match(event) == brute(self.held, event)

    @rule(event=EVENTS)
    def candidates(self, event: Event) -> None:
        """So does the longer way by candidates, whose floors rise."""
        candidates = self.index.candidates(event)
        assert list(candidates.floors) == sorted(candidates.floors)
        wanting = candidates.pairs[: candidates.reach(event.confidence)]
        found = [(user, name) for user, (name,) in wanting]
        expected = [(user, name) for user, names in brute(self.held, event).items() for name in names]
        assert sorted(found) == sorted(expected)

    @invariant()
    def counted(self) -> None:
        """It knows how much it holds, and of whom."""
        assert len(self.index) == len(self.held)
        assert self.index.users == len({user for user, _ in self.held})
        for user in USERS:
            held = {name: filter_ for (owner, name), filter_ in self.held.items() if owner == user}
            assert self.index.held(user) == held


TestIndex = IndexMachine.TestCase


@given(st.lists(st.tuples(FILTERS, st.sampled_from(USERS)), max_size=40), EVENTS)
def test_many_subscriptions_say_what_asking_each_would_say(
    filters: list[tuple[Filter, User]], event: Event
) -> None:
    index, held = Index(), {}
    for number, (filter_, user) in enumerate(filters):
        index.put(user, f"s{number}", filter_)
        held[user, f"s{number}"] = filter_
    assert index.match(event) == brute(held, event)


@given(st.lists(st.tuples(st.integers(0, 4_000), st.booleans())))
def test_a_bit_set_holds_what_was_put_in_however_far_apart(steps: list[tuple[int, bool]]) -> None:
    """It changes its form as it grows and shrinks; what is in it does not."""
    bits, held = BitSet(), set()
    for slot, dense in steps:
        for each in range(slot, slot + 40) if dense else [slot]:
            if each in held:
                held.discard(each)
                bits.discard(each)
            else:
                held.add(each)
                bits.add(each)
        assert len(bits) == len(held)
        assert bits.bits() == pack(held)


@given(st.sets(st.integers(0, 500)), st.integers(0, 100))
def test_the_items_of_some_bits_are_picked_each_once(slots: set[int], beyond: int) -> None:
    """Few of them are looked for, many are gone through: both find the same."""
    items = range(max(slots, default=0) + 1 + beyond)
    assert sorted(pick(items, pack(slots))) == sorted(slots)
