import math
from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from marketstream.core.events.event import Priority
from marketstream.core.events.queue import EMPTY, EventQueue, QueuedEvent

LIMIT, CAPACITY = 5, 8
# Binary fractions, so that sums of them are exact and ends of windows are met.
STEPS = st.sampled_from([0.0, 0.0625, 0.125, 0.5, 0.9375, 1.0, 3.0])


class EventQueueMachine(RuleBasedStateMachine):
    """Whatever comes whenever, a user is never flooded, and nothing is lost without being counted."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.number = 0
        self.waiting: dict[int, QueuedEvent] = {}
        self.told: Counter[str] = Counter()
        self.sent: set[int] = set()
        self.times: list[float] = []
        self.limited: set[int] = set()

    @initialize(window=st.sampled_from([0.0, 0.125]))
    def open(self, window: float) -> None:
        """A queue of a new user."""
        self.window = window
        self.queue = EventQueue(window, LIMIT, CAPACITY)

    @rule(
        priority=st.sampled_from(Priority),
        lasts=st.sampled_from([math.inf, math.inf, 0.0, 0.25, 1.0]),
        count=st.integers(1, CAPACITY + 3),
    )
    def offer(self, priority: Priority, lasts: float, count: int) -> None:
        """Events come."""
        for _ in range(count):
            self.number += 1
            event = QueuedEvent(b"%d" % self.number, priority, self.now + lasts)
            at_once = self.queue.offer(event, self.now)
            assert at_once == (priority is Priority.CRITICAL and lasts > 0)
            if at_once:
                self.sent.add(self.number)
            elif lasts == 0:
                self.told["expired"] += 1
            else:
                self.admit(event)

    def admit(self, event: QueuedEvent) -> None:
        """The model: if there is no room, the lowest and oldest goes."""
        self.waiting[self.number] = event
        if len(self.waiting) > CAPACITY:
            lowest = min(self.waiting, key=lambda number: (self.waiting[number].priority, number))
            expired = self.waiting.pop(lowest).expires_at <= self.now
            self.told["expired" if expired else "dropped"] += 1

    @rule(seconds=STEPS)
    def wait(self, seconds: float) -> None:
        """Time passes, and somebody looks though nothing may be due."""
        self.now += seconds
        if self.queue.due is None or self.now < self.queue.due:
            assert self.queue.take(self.now) is EMPTY
        else:
            self.take()

    @rule()
    def take_when_due(self) -> None:
        """Somebody comes when it is time."""
        if self.queue.due is not None:
            self.now = max(self.now, self.queue.due)
            self.take()

    def take(self) -> None:
        """A batch: what is sent is what is first, up to the limit, and the counts are those of the model."""
        batch = self.queue.take(self.now)
        numbers = [int(event.body) for event in batch.events]
        room = LIMIT - sum(at + 1 > self.now for at in self.times)
        order = sorted(self.waiting, key=lambda number: (-self.waiting[number].priority, number))
        expected: list[int] = []
        for number in order:
            if len(expected) == room:
                break
            if self.waiting.pop(number).expires_at <= self.now:
                self.told["expired"] += 1
            else:
                expected.append(number)
        assert numbers == expected
        held = set(self.waiting) - self.limited
        self.limited |= held
        assert batch.limited == len(held)
        assert (batch.dropped, batch.expired) == (self.told["dropped"], self.told["expired"])
        self.told.clear()
        assert not self.sent & set(numbers)
        self.sent |= set(numbers)
        self.times += [self.now] * len(numbers)

    @invariant()
    def exact(self) -> None:
        """Every event is somewhere, once."""
        if not hasattr(self, "box"):
            return
        queue = self.queue
        assert queue.offered == self.number
        assert queue.offered == queue.sent + queue.dropped + queue.expired + len(queue)
        assert queue.sent == len(self.sent)
        assert queue.limited == len(self.limited)
        assert len(queue) == len(self.waiting) <= CAPACITY
        assert (queue.due is None) == (not self.waiting)

    @invariant()
    def never_flooded(self) -> None:
        """No second holds more than the limit, wherever it begins."""
        for first in self.times:
            assert sum(first <= at < first + 1 for at in self.times) <= LIMIT

    @invariant()
    def prompt(self) -> None:
        """What waits is due when its window closes, unless the limit stands in the way."""
        if hasattr(self, "box") and self.queue.due is not None:
            full = sum(at + 1 > self.now for at in self.times) >= LIMIT
            assert full or self.queue.due <= self.now + self.window


TestEventQueue = EventQueueMachine.TestCase


@given(
    st.sampled_from([0.0, 0.1, 0.3]),
    st.lists(st.tuples(st.floats(0, 2), st.sampled_from(Priority), st.integers(1, 12)), max_size=40),
)
def test_nothing_is_reordered_within_a_priority_or_delivered_twice(
    window: float, bursts: list[tuple[float, Priority, int]]
) -> None:
    """Taken when due until nothing is left; no second exceeds the limit, rounded times included."""
    queue, now, number = EventQueue(window, LIMIT, 10_000), 1_000.1, 0
    seen: defaultdict[Priority, list[int]] = defaultdict(list)
    times: list[float] = []

    def take_until(until: float) -> None:
        while queue.due is not None and queue.due <= until:
            at = queue.due
            for event in queue.take(at).events:
                seen[event.priority].append(int(event.body))
                times.append(at)

    for pause, priority, count in bursts:
        now += pause
        take_until(now)
        for _ in range(count):
            number += 1
            if queue.offer(QueuedEvent(b"%d" % number, priority), now):
                seen[priority].append(number)
    take_until(math.inf)
    assert all(numbers == sorted(numbers) for numbers in seen.values())
    assert sorted(each for numbers in seen.values() for each in numbers) == list(range(1, number + 1))
    for first, last in zip(times, times[LIMIT:], strict=False):
        assert last >= first + 1
