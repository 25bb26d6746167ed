"""Find the subscriptions that match an event.

An `Index` holds the subscriptions of many users turned inside out: for each value of each field the
subscriptions that list it, for each field those that take anything, for each threshold those that it lets
through. An event picks one set of each, and what these have in common is the answer: always exactly what
`Filter.matches` would say of each subscription. Changing one costs what its filter lists, not what is held.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from types import MappingProxyType

from marketstream.core.events.bitset import BitSet, pack, pick
from marketstream.core.events.event import Event, Priority, User
from marketstream.core.events.filter import Filter

Pair = tuple[User, tuple[str, ...]]
"""A user with the names of subscriptions."""

UNFLOORED = -1.0
"""Stands for no least confidence, and for an event without one: below all that there are."""

_STEPS = 64
"""Thresholds are told apart by so many steps at first; a power of two, so that no fraction is rounded."""
_NOTHING: Mapping[str, Filter] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Candidates:
    """Subscriptions that want an event if it is sure enough, those first that ask for the least.

    Attributes:
        floors: Least confidence of each, rising; `UNFLOORED` where it asks for none.
        pairs: User and name of each, in the same order.
    """

    floors: Sequence[float]
    pairs: Sequence[Pair]

    def reach(self, confidence: float | None) -> int:
        """Return how many of them, from the first, want it at a confidence."""
        return bisect_right(self.floors, UNFLOORED if confidence is None else confidence)


def merge(pairs: Iterable[Pair]) -> dict[User, tuple[str, ...]]:
    """Return each user once, with the names of all its subscriptions in order."""
    found: dict[User, tuple[str, ...]] = {}
    several = set()
    first = found.setdefault
    for user, names in pairs:
        if first(user, names) is not names:
            found[user] += names
            several.add(user)
    for user in several:
        found[user] = tuple(sorted(found[user]))
    return found


class Index:
    """Subscriptions by what they want to hear."""

    __slots__ = ("_by_user", "_fields", "_floors", "_free", "_pairs", "_priorities", "_steps", "_tenants")

    def __init__(self) -> None:
        self._by_user: dict[User, dict[str, tuple[int, Filter]]] = {}
        self._clear()

    def __len__(self) -> int:
        return len(self._pairs) - len(self._free)

    @property
    def users(self) -> int:
        """Users who hold a subscription."""
        return len(self._by_user)

    def held(self, user: User) -> Mapping[str, Filter]:
        """Return the subscriptions of a user by name."""
        held = self._by_user.get(user)
        return {name: filter_ for name, (_, filter_) in held.items()} if held else _NOTHING

    def put(self, user: User, name: str, filter_: Filter) -> Filter | None:
        """Hold a subscription from now on.

        Returns:
            What it replaces.
        """
        before = self.remove(user, name)
        slot = self._take_slot()
        held = self._by_user.setdefault(user, {})
        # One and the same tuple for all of a user's subscriptions: it is compared often.
        user = next((self._pairs[other][0] for other, _ in held.values()), user)
        held[name] = slot, filter_
        self._pairs[slot] = user, (name,)
        self._enter(slot, user, filter_)
        return before

    def remove(self, user: User, name: str) -> Filter | None:
        """Let a subscription go.

        Returns:
            What it was; None when there was none.
        """
        held = self._by_user.get(user)
        if held is None or name not in held:
            return None
        slot, filter_ = held.pop(name)
        if not held:
            del self._by_user[user]
        self._leave(slot, user, filter_)
        heappush(self._free, slot)
        return filter_

    def drop(self, user: User) -> Mapping[str, Filter]:
        """Let all subscriptions of a user go.

        Returns:
            What they were, by name.
        """
        held = self.held(user)
        for name in held:
            self.remove(user, name)
        return held

    def match(self, event: Event) -> dict[User, tuple[str, ...]]:
        """Return who wants to hear of an event, and by which of their subscriptions, in order of name."""
        bits = self._wanting(event)
        if event.confidence is None:
            bits &= self._steps[-1]
        elif bits:
            bits &= self._sure(event.confidence, bits)
        return merge(pick(self._pairs, bits))

    def candidates(self, event: Event) -> Candidates:
        """Return which subscriptions want all of an event but perhaps its confidence."""
        floors, pairs = self._floors, self._pairs
        slots = sorted(pick(range(len(pairs)), self._wanting(event)), key=floors.__getitem__)
        return Candidates([floors[slot] for slot in slots], [pairs[slot] for slot in slots])

    def rebuild(self) -> None:
        """Build everything anew from what is held; give back what busier times have left behind."""
        held, self._by_user = self._by_user, {}
        self._clear()
        for user, names in held.items():
            for name, (_, filter_) in names.items():
                self.put(user, name, filter_)

    def _clear(self) -> None:
        self._pairs: list[Pair] = []
        self._floors: list[float] = []
        self._free: list[int] = []
        self._fields = tuple(_Field() for _ in range(4))
        self._tenants: dict[str, BitSet] = {}
        self._priorities = [0] * len(Priority)
        # The last one is of those without a threshold.
        self._steps = [0] * (_STEPS + 2)

    def _take_slot(self) -> int:
        # The lowest that is free: sets of bits stay as short as can be.
        if self._free:
            return heappop(self._free)
        self._pairs.append((("", ""), ()))
        self._floors.append(UNFLOORED)
        return len(self._pairs) - 1

    def _enter(self, slot: int, user: User, filter_: Filter) -> None:
        for field, values in zip(self._fields, _listed(filter_), strict=True):
            field.add(slot, values)
        self._tenants.setdefault(user[0], BitSet()).add(slot)
        floor = self._floors[slot] = _floor(filter_)
        bit = 1 << slot
        self._steps[_step(floor)] |= bit
        for priority in range(filter_.min_priority or Priority.LOW, len(Priority)):
            self._priorities[priority] |= bit

    def _leave(self, slot: int, user: User, filter_: Filter) -> None:
        for field, values in zip(self._fields, _listed(filter_), strict=True):
            field.discard(slot, values)
        self._tenants[user[0]].discard(slot)
        if not self._tenants[user[0]]:
            del self._tenants[user[0]]
        bit = 1 << slot
        self._steps[_step(self._floors[slot])] ^= bit
        for priority in range(filter_.min_priority or Priority.LOW, len(Priority)):
            self._priorities[priority] ^= bit
        self._pairs[slot] = ("", ""), ()

    def _wanting(self, event: Event) -> int:
        """Return the subscriptions that want all of an event but perhaps its confidence."""
        bits = self._priorities[event.priority]
        if event.tenant is not None:
            tenant = self._tenants.get(event.tenant)
            bits = bits & tenant.bits() if tenant else 0
        said = event.type, event.name, event.symbol, event.tier
        for field, value in zip(self._fields, said, strict=True):
            if not bits:
                break
            bits &= field.bits(value)
        return bits

    def _sure(self, confidence: float, among: int) -> int:
        """Return the subscriptions whose threshold a confidence reaches.

        Only those among some are looked at.
        """
        edge = _step(confidence)
        bits = self._steps[-1]
        for step in self._steps[:edge]:
            bits |= step
        # Thresholds of the same step are compared one by one: any number of users may think of any fraction.
        near = pick(range(len(self._floors)), self._steps[edge] & among)
        return bits | pack([slot for slot in near if self._floors[slot] <= confidence])


class _Field:
    """The subscriptions by the values of one field."""

    __slots__ = ("_any", "_values")

    def __init__(self) -> None:
        self._any = 0
        self._values: dict[str, BitSet] = {}

    def add(self, slot: int, values: Iterable[str] | None) -> None:
        if values is None:
            self._any |= 1 << slot
            return
        for value in values:
            slots = self._values.get(value)
            if slots is None:
                slots = self._values[value] = BitSet()
            slots.add(slot)

    def discard(self, slot: int, values: Iterable[str] | None) -> None:
        if values is None:
            self._any ^= 1 << slot
            return
        for value in values:
            slots = self._values[value]
            slots.discard(slot)
            if not slots:
                del self._values[value]

    def bits(self, value: str | None) -> int:
        slots = None if value is None else self._values.get(value)
        return self._any | slots.bits() if slots else self._any


def _listed(filter_: Filter) -> tuple[Iterable[str] | None, ...]:
    return filter_.types, filter_.names, filter_.symbols, filter_.tiers


def _floor(filter_: Filter) -> float:
    return UNFLOORED if filter_.min_confidence is None else filter_.min_confidence


def _step(floor: float) -> int:
    return -1 if floor == UNFLOORED else int(floor * _STEPS)
