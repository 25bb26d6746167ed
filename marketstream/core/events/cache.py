"""Remember the recipients of events until a subscription that matters changes.

A `Cache` keeps the candidates of kinds of events. It holds a bounded number of them and of candidates in all,
the least recently used go first, none stays beyond its time, and a filter that comes, changes or goes takes
along just those that it could have a part in: they are found by the same inverted sets as subscriptions are.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from marketstream.core.events.bitset import pick
from marketstream.core.events.event import Event, Priority
from marketstream.core.events.filter import Filter
from marketstream.core.events.index import Candidates, Pair
from marketstream.core.events.rule import Strategy

CAPACITY = 4_000
TTL = 300.0
WEIGHT = 1_000_000
"""Candidates and recipients that all answers may hold; each takes 8 to 64 bytes."""
_REACHES = 6
_NOWHERE = -1


class Kind(NamedTuple):
    """What decides who wants an event, but for its confidence, and how they are found."""

    strategy: Strategy
    type: str
    name: str
    symbol: str | None
    tier: str | None
    priority: Priority
    tenant: str | None


def kind_of(event: Event, strategy: Strategy) -> Kind:
    """Return the kind that an event is of when it is routed by a strategy."""
    return Kind(strategy, event.type, event.name, event.symbol, event.tier, event.priority, event.tenant)


class Answer:
    """The candidates of one kind of event.

    Attributes:
        candidates: They.
        recipients: Recipients that were made of so many of the candidates, for a few confidences.
        slot: Its place in the cache.
        until: Monotonic seconds at which it is too old.
        weight: Candidates and recipients that it holds.
    """

    __slots__ = ("candidates", "recipients", "slot", "until", "weight")

    def __init__(self, candidates: Candidates, slot: int, until: float) -> None:
        self.candidates = candidates
        self.recipients: dict[int, tuple[Pair, ...]] = {}
        self.slot = slot
        self.until = until
        self.weight = len(candidates.pairs)


class Cache:
    """Answers by kind of event.

    Args:
        capacity: Answers that it may hold, at least 1.
        ttl: Seconds that one holds.
        weight: Candidates and recipients that all of them may hold; an answer with more is not kept.

    Raises:
        ValueError: It could not hold an answer.

    Attributes:
        hits: Answers that were found.
        misses: Answers that were not.
        invalidated: Answers that a changed subscription took along.
    """

    __slots__ = (
        "_answers",
        "_capacity",
        "_fields",
        "_free",
        "_kinds",
        "_priorities",
        "_ttl",
        "_weighs",
        "_weight",
        "hits",
        "invalidated",
        "misses",
    )

    def __init__(self, capacity: int = CAPACITY, ttl: float = TTL, weight: int = WEIGHT) -> None:
        if capacity < 1:
            raise ValueError(f"a cache of {capacity} answers holds none")
        self._capacity, self._ttl, self._weight = capacity, ttl, weight
        self.hits = self.misses = self.invalidated = 0
        self._answers: OrderedDict[Kind, Answer] = OrderedDict()
        self._free = list(reversed(range(self._capacity)))
        self._kinds = [Kind("content_based", "", "", None, None, Priority.LOW, None)] * self._capacity
        # Of each field: value to slots. Of each least priority: slots that a filter with it has a part in.
        self._fields: tuple[dict[str | None, int], ...] = ({}, {}, {}, {}, {})
        self._priorities = [0] * len(Priority)
        self._weighs = 0

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def weight(self) -> int:
        """Candidates and recipients that it holds."""
        return self._weighs

    def find(self, kind: Kind, now: float) -> Answer | None:
        """Return the answer for a kind of event; None when there is none that still holds.

        Args:
            kind: The kind.
            now: Monotonic seconds.
        """
        answer = self._answers.get(kind)
        if answer is not None and now >= answer.until:
            self._remove(kind)
            answer = None
        if answer is None:
            self.misses += 1
            return None
        self.hits += 1
        self._answers.move_to_end(kind)
        return answer

    def keep(self, kind: Kind, candidates: Candidates, now: float) -> Answer:
        """Keep an answer for a kind that has none, and let go of others for it.

        Args:
            kind: The kind.
            candidates: Who wants such events.
            now: Monotonic seconds.
        """
        if len(candidates.pairs) > self._weight:
            return Answer(candidates, _NOWHERE, now)
        if len(self._answers) >= self._capacity:
            self._remove(next(iter(self._answers)))
        slot = self._free.pop()
        answer = self._answers[kind] = Answer(candidates, slot, now + self._ttl)
        self._kinds[slot] = kind
        self._mark(kind, slot)
        self._grow(answer, 0)
        return answer

    def remember(self, answer: Answer, reach: int, recipients: tuple[Pair, ...]) -> None:
        """Keep recipients made of so many candidates of the answer that was found or kept last.

        When there are too many of one answer, those that were made first go.
        """
        if answer.slot == _NOWHERE or answer.weight + len(recipients) > self._weight:
            return
        before = answer.weight
        if len(answer.recipients) == _REACHES:
            answer.weight -= len(answer.recipients.pop(next(iter(answer.recipients))))
        answer.recipients[reach] = recipients
        answer.weight += len(recipients)
        self._grow(answer, before)

    def invalidate(self, tenant: str, filter_: Filter) -> None:
        """Drop what a filter of a user of a tenant could have a part in.

        Args:
            tenant: The tenant.
            filter_: A filter that has come or gone.
        """
        if not self._answers:
            return
        bits = self._priorities[filter_.min_priority or Priority.LOW]
        listed = (filter_.types, filter_.names, filter_.symbols, filter_.tiers, (tenant, None))
        for field, values in zip(self._fields, listed, strict=True):
            if values is not None:
                bits &= _union(field, values)
        for kind in pick(self._kinds, bits):
            self._remove(kind)
            self.invalidated += 1

    def _grow(self, answer: Answer, before: int) -> None:
        """Make room for what the answer that was used last weighs more than before."""
        self._weighs += answer.weight - before
        while self._weighs > self._weight:
            self._remove(next(iter(self._answers)))

    def _remove(self, kind: Kind) -> None:
        answer = self._answers.pop(kind)
        self._weighs -= answer.weight
        self._free.append(answer.slot)
        self._mark(kind, answer.slot)

    def _mark(self, kind: Kind, slot: int) -> None:
        """Put an answer into the inverted sets, or take it out of them."""
        bit = 1 << slot
        said = (kind.type, kind.name, kind.symbol, kind.tier, kind.tenant)
        for field, value in zip(self._fields, said, strict=True):
            left = field.get(value, 0) ^ bit
            if left:
                field[value] = left
            else:
                del field[value]
        for priority in range(kind.priority + 1):
            self._priorities[priority] ^= bit


def _union(field: dict[str | None, int], values: Iterable[str | None]) -> int:
    bits = 0
    for value in values:
        bits |= field.get(value, 0)
    return bits
