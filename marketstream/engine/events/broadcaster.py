"""Batch events for the connections of this process, with one queue each and one timer.

A connection has a queue of its own, so that a slow tab of a user delays none of the others. Of what is in
queues at most one batch is put into the outbox of a connection that does not take it; the rest waits where
its size is bounded, and what finds no room there is counted and told. What is CRITICAL goes straight to the
ordered messages of the outbox, which are written before any price.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import cast

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.core.events.queue import CAPACITY, LIMIT, WINDOW, Batch, EventQueue, QueuedEvent
from marketstream.engine.alarm import Alarm
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.events.rendered import RenderedEvent
from marketstream.engine.events.stats import EventStats
from marketstream.ports import Clock
from marketstream.wire.events import codec as wire

EVENTS = "events"
"""The event by which events reach a client."""

RETRY = 0.02
"""Seconds until a connection that has not taken its last messages is looked at again."""

RETRY_MOST = 1.0
"""The same for one that takes nothing for long: each look is twice as far from the one before."""

TURN = 500
"""Connections that are served in one turn of the loop: prices must not wait for all of them."""

LEAST = 0.001
"""Seconds of the shortest wait: one that rings too early would only ring again."""

Post = tuple[Connection, RenderedEvent]

_Shared = dict[tuple[tuple[QueuedEvent, ...], int], tuple[Frame, int]]
"""What was sent in one turn: events and losses to their message, and how many got it."""


class Broadcaster:
    """See the module.

    Args:
        clock: Time.
        send: Gives one connection a message that nothing replaces.
        settle: Sees to it that what was sent is written.
        stats: Counters to keep.
        window: Seconds in which events are collected.
        limit: Events that a connection may be sent in any second.
        capacity: Events that may wait for one.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        send: Callable[[Connection, Frame], None],
        settle: Callable[[], None],
        stats: EventStats,
        window: float = WINDOW,
        limit: int = LIMIT,
        capacity: int = CAPACITY,
    ) -> None:
        self.window = window
        self._clock = clock
        self._send = send
        self._settle = settle
        self._stats = stats
        self._limit = limit
        self._capacity = capacity
        self._queues: dict[Connection, EventQueue] = {}
        # When to look at which connection, and how long it is left alone if it has taken nothing by then.
        self._due: list[tuple[float, int, Connection, float]] = []
        self._order = count()
        self._alarm = Alarm(clock, self.deliver, LEAST)

    @property
    def waiting(self) -> int:
        """Return how many events wait."""
        return sum(map(len, self._queues.values()))

    def offer(self, posts: Iterable[Post], now: float) -> None:
        """Have an event sent to connections, in that order, now or with others.

        Args:
            posts: Connections and their rendered events, all of one event.
            now: Monotonic seconds.
        """
        urgent: dict[int, Frame] = {}
        told = sent_ms = 0
        for connection, rendered in posts:
            waiting = self._queues.get(connection)
            if waiting is None:
                waiting = EventQueue(self.window, self._limit, self._capacity, self._stats.tally)
                self._queues[connection] = waiting
            idle = waiting.due is None
            if waiting.offer(rendered, now):
                frame = urgent.get(id(rendered))
                if frame is None:
                    frame = urgent[id(rendered)] = _frame((rendered,), 0)
                    sent_ms = rendered.sent_ms
                self._send(connection, frame)
                told += 1
            elif idle and waiting.due is not None:
                self._look(connection, waiting.due)
        if told:
            self._stats.delivered += told
            self._stats.delivery.observe(max(0, self._clock.wall_ms() - sent_ms), told)
            self._settle()
        if self._due:
            self._alarm.set(self._due[0][0])

    def forget(self, connection: Connection) -> None:
        """Let go of what waits for a connection that is gone."""
        waiting = self._queues.pop(connection, None)
        if waiting is not None:
            self._stats.abandoned += len(waiting)

    def rewrite(self, connection: Connection, who: Principal) -> None:
        """Write what waits for a connection as it may see it now; it is told how much it may not."""
        waiting = self._queues.get(connection)
        if waiting is not None:
            waiting.rewrite(lambda event: cast("RenderedEvent", event).of(who), self._clock.now())

    def stop(self) -> None:
        """Forget what is scheduled."""
        self._alarm.stop()

    def deliver(self) -> None:
        """Send what is due; called when the alarm rings."""
        now = self._clock.now()
        shared: _Shared = {}
        for _ in range(TURN):
            if not self._due or self._due[0][0] > now:
                break
            _, _, connection, patience = heapq.heappop(self._due)
            waiting = self._queues.get(connection)
            if waiting is None or waiting.due is None or waiting.due > now:
                # It is gone, or there is another entry for it.
                continue
            if connection.outbox.control:
                self._look(connection, now + patience, min(patience * 2, RETRY_MOST))
                continue
            batch = waiting.take(now)
            self._stats.expired += batch.expired
            if batch.events or batch.dropped:
                self._hand_over(connection, batch, shared)
            if waiting.due is not None:
                self._look(connection, waiting.due)
        self._note(shared, now)
        self._settle()
        if self._due:
            self._alarm.set(self._due[0][0])

    def _hand_over(self, connection: Connection, batch: Batch, shared: _Shared) -> None:
        key = (batch.events, batch.dropped)
        frame, copies = shared.get(key) or (_frame(*key), 0)
        shared[key] = frame, copies + 1
        self._send(connection, frame)

    def _note(self, shared: _Shared, now: float) -> None:
        stats, wall_ms = self._stats, self._clock.wall_ms()
        for (events, _), (_, copies) in shared.items():
            stats.batches += copies
            stats.delivered += len(events) * copies
            for event in events:
                assert isinstance(event, RenderedEvent)  # noqa: S101  # none other is ever offered
                stats.queue.observe((now - event.received_at) * 1000, copies)
                stats.delivery.observe(max(0, wall_ms - event.sent_ms), copies)

    def _look(self, connection: Connection, at: float, patience: float = RETRY) -> None:
        heapq.heappush(self._due, (at, next(self._order), connection, patience))


def _frame(events: Sequence[QueuedEvent], dropped: int) -> Frame:
    return Frame(EVENTS, wire.render_batch([event.body for event in events], dropped))
