"""Order what waits by importance: a bounded priority queue, and the event queue of a connection.

In a `PriorityQueue` those that matter more are in front, and those that matter least are dropped first.

An `EventQueue` belongs to one connection. What comes within a window goes out together, higher priorities
first; what exceeds the rate waits, and what exceeds the capacity is dropped, lowest and oldest first.
CRITICAL events know none of this: they are to be sent at once. At all times

    offered == sent + dropped + expired + len(queue)

It holds bytes that others may hold as well, and starts no timer: `due` says when to come back.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import add
from typing import Generic, TypeVar

from marketstream.core.events.event import Priority

WINDOW = 0.1
LIMIT = 100
CAPACITY = 1_000

ItemT = TypeVar("ItemT")


class PriorityQueue(Generic[ItemT]):
    """Items by priority: higher ones first, and in the order in which they came within a priority.

    It has no bound of its own; who puts something in sends somebody away.
    """

    __slots__ = ("_count", "_lanes")

    def __init__(self) -> None:
        self._count = 0
        # There are many queues and most are empty, so a lane is there only while somebody stands in it.
        self._lanes: dict[Priority, deque[ItemT]] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ItemT]:
        """Yield the items in the order in which they would be taken."""
        return (item for priority in sorted(self._lanes, reverse=True) for item in self._lanes[priority])

    @property
    def first(self) -> ItemT:
        """The item that `take` would give.

        Raises:
            ValueError: There is none.
        """
        return self._lanes[max(self._lanes)][0]

    def put(self, item: ItemT, priority: Priority) -> None:
        """Put an item behind those of its priority."""
        self._lanes.setdefault(priority, deque()).append(item)
        self._count += 1

    def sort(self, key: Callable[[ItemT], int]) -> None:
        """Put the items of each priority into the order of a key, lowest first."""
        for priority, lane in self._lanes.items():
            self._lanes[priority] = deque(sorted(lane, key=key))

    def take(self) -> ItemT:
        """Take the oldest item of the highest priority.

        Raises:
            ValueError: There is none.
        """
        return self._pop(max(self._lanes))

    def shed(self) -> ItemT:
        """Take the oldest item of the lowest priority.

        Raises:
            ValueError: There is none.
        """
        return self._pop(min(self._lanes))

    def _pop(self, priority: Priority) -> ItemT:
        lane = self._lanes[priority]
        item = lane.popleft()
        self._count -= 1
        if not lane:
            del self._lanes[priority]
        return item


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event as it goes to users; many queues may hold the same one.

    Attributes:
        body: JSON, as it is written.
        priority: Its priority.
        expires_at: Monotonic seconds from which on it is of no use.
    """

    body: bytes
    priority: Priority
    expires_at: float = math.inf


@dataclass(frozen=True, slots=True)
class Batch:
    """What goes to a user in one message, and what happened since the batch before.

    Attributes:
        events: Those to send, higher priorities first; may be empty, sent all the same if `dropped`.
        dropped: Events for which there was no room; the user must be told.
        expired: Events that were of no use any more.
        limited: Events that the limit holds back from now on, each counted once however long it waits.
    """

    events: tuple[QueuedEvent, ...] = ()
    dropped: int = 0
    expired: int = 0
    limited: int = 0


EMPTY = Batch()
"""Nothing is due."""


@dataclass(slots=True)
class Tally:
    """What many queues have counted together, each list by priority.

    Attributes:
        dropped: Events for which there was no room.
        limited: Events that a limit has held back at some time.
    """

    dropped: list[int] = field(default_factory=lambda: [0] * len(Priority))
    limited: list[int] = field(default_factory=lambda: [0] * len(Priority))


class EventQueue:
    """The events that wait for one connection.

    Args:
        window: Seconds in which events are collected; 0 means that they are due at once.
        limit: Events that may be sent in any second, at least 1; CRITICAL ones do not count.
        capacity: Events that may wait, at least 1.
        tally: Counts for this queue and others.

    Raises:
        ValueError: It could never send anything.

    Attributes:
        offered: Events that came.
        sent: Events that went out, CRITICAL ones included.
        dropped: Events for which there was no room.
        expired: Events that were of no use any more.
        limited: Events that the limit has held back at some time.
        due: Monotonic seconds when to take a batch; None when nothing waits.
    """

    __slots__ = (
        "_capacity",
        "_fresh",
        "_held_below",
        "_limit",
        "_queue",
        "_recent",
        "_recently",
        "_tally",
        "_told",
        "_window",
        "dropped",
        "due",
        "expired",
        "limited",
        "offered",
        "sent",
    )

    def __init__(
        self,
        window: float = WINDOW,
        limit: int = LIMIT,
        capacity: int = CAPACITY,
        tally: Tally | None = None,
    ) -> None:
        if limit < 1 or capacity < 1:
            raise ValueError(f"an event queue for {capacity} events, {limit} a second, lets nothing through")
        self._window, self._limit, self._capacity = window, limit, capacity
        self._tally = tally or Tally()
        self._queue: PriorityQueue[tuple[int, QueuedEvent]] = PriorityQueue()
        # When how many were sent within the last second, oldest first, and how many that is.
        self._recent: list[tuple[float, int]] = []
        self._recently = 0
        # Events are numbered as they come; those below this number were held back by the limit before.
        self._held_below = 0
        self._fresh = [0] * len(Priority)
        self._told = (0, 0)
        self.offered = self.sent = self.dropped = self.expired = self.limited = 0
        self.due: float | None = None

    def __len__(self) -> int:
        """Return how many events wait."""
        return len(self._queue)

    def offer(self, queued: QueuedEvent, now: float) -> bool:
        """Take an event in.

        Args:
            queued: The event, as it waits.
            now: Monotonic seconds.

        Returns:
            Whether it is to be sent right now, before anything that waits; it does not wait here then.
        """
        number = self.offered
        self.offered += 1
        if queued.expires_at <= now:
            self.expired += 1
            return False
        if queued.priority is Priority.CRITICAL:
            self.sent += 1
            return True
        self._fresh[queued.priority] += 1
        self._queue.put((number, queued), queued.priority)
        if len(self._queue) > self._capacity:
            self._lose(*self._queue.shed(), now)
        if self.due is None:
            self.due = self._next(now)
        return False

    def take(self, now: float) -> Batch:
        """Take out what may be sent, if it is due.

        Args:
            now: Monotonic seconds.
        """
        if self.due is None or now < self.due:
            return EMPTY
        self._forget(now)
        events: list[QueuedEvent] = []
        room = self._limit - self._recently
        while self._queue and len(events) < room:
            number, queued = self._queue.take()
            self._fresh[queued.priority] -= number >= self._held_below
            if queued.expires_at <= now:
                self.expired += 1
            else:
                events.append(queued)
        if events:
            self._recent.append((now, len(events)))
            self._recently += len(events)
            self.sent += len(events)
        self.due = self._next(now) if self._queue else None
        return self._told_of(events)

    def rewrite(self, write: Callable[[QueuedEvent], QueuedEvent | None], now: float) -> None:
        """Write anew what waits.

        Args:
            write: Renders one that waits; None: it is dropped, as if there were no room for it.
            now: Monotonic seconds.
        """
        waiting, self._queue = self._queue, PriorityQueue()
        for number, queued in waiting:
            written = write(queued)
            if written is None:
                self._lose(number, queued, now)
            else:
                self._queue.put((number, written), queued.priority)

    def _told_of(self, events: list[QueuedEvent]) -> Batch:
        dropped, expired = self._told
        self._told = self.dropped, self.expired
        # Whatever is left was held back by the limit: there is no other reason to leave anything.
        self._held_below = self.offered
        limited = sum(self._fresh)
        if limited:
            self._tally.limited = [*map(add, self._tally.limited, self._fresh)]
            self._fresh = [0] * len(Priority)
        self.limited += limited
        return Batch(tuple(events), self.dropped - dropped, self.expired - expired, limited)

    def _lose(self, number: int, queued: QueuedEvent, now: float) -> None:
        self._fresh[queued.priority] -= number >= self._held_below
        if queued.expires_at <= now:
            self.expired += 1
        else:
            self.dropped += 1
            self._tally.dropped[queued.priority] += 1

    def _next(self, now: float) -> float:
        """Return when a window that opens now has closed, and the limit lets something through."""
        self._forget(now)
        closed = now + self._window
        return closed if self._recently < self._limit else max(closed, self._recent[0][0] + 1)

    def _forget(self, now: float) -> None:
        """Forget what was sent a second ago or earlier."""
        over = 0
        for at, count in self._recent:
            if at + 1 > now:
                break
            over += 1
            self._recently -= count
        del self._recent[:over]
