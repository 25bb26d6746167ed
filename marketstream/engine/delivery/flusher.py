"""Write what waits in the outboxes: one loop, one write for each client.

Pace by duty cycle. While the process is idle a flush follows at the end of the same turn of the event
loop, so light load has no added delay. After a flush that took t seconds the next one waits about as
long, at most `max_delay`: under heavy load more prices share a write and the cost of each falls.

A client whose transport still holds bytes is passed over; its outbox goes on conflating and it comes
back through `resume`. A client that is dead costs the others nothing.
"""

import asyncio
import heapq
import math
from collections.abc import Callable, Sequence
from itertools import count
from weakref import ref

from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.hub import Hub
from marketstream.core.delivery.outbox import WRITE_BYTES, Lane, Outbox
from marketstream.engine.alarm import Alarm
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.stats import Stats
from marketstream.ports import Clock
from marketstream.wire.messages import lagged


class Flusher:
    """Writes for all connections of a process.

    Args:
        hub: Whose dirty outboxes are written.
        clock: Time.
        stats: Counters to keep.
        on_dead: Called for a connection whose transport refused a write.
        max_delay: Seconds a price may wait at most for others to share its write.
    """

    def __init__(
        self,
        *,
        hub: Hub[Connection],
        clock: Clock,
        stats: Stats,
        on_dead: Callable[[Connection], None],
        max_delay: float = 0.02,
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._stats = stats
        self._on_dead = on_dead
        self._max_delay = max_delay
        self._scheduled: asyncio.Handle | None = None
        self._next_at = 0.0
        self._alarms: list[tuple[float, int, ref[Outbox[Connection]]]] = []
        self._order = count()
        self._alarm = Alarm(clock, self._ring)
        self._idle = asyncio.Event()
        self._idle.set()
        self._fresh: list[Frame] = []

    def wake(self, frames: Sequence[Frame] = ()) -> None:
        """See to it that a flush follows; `frames` are observed for their latency when it is done."""
        if not self._hub.dirty:
            return
        self._fresh += frames
        if self._scheduled is not None:
            return
        loop = asyncio.get_running_loop()
        delay = self._next_at - self._clock.now()
        self._idle.clear()
        # At the end of this turn when idle: everything that is published in one turn shares the write.
        self._scheduled = loop.call_soon(self.flush) if delay <= 0 else loop.call_later(delay, self.flush)

    async def idle(self) -> None:
        """Return when nothing is waiting to be written to a client that can take it."""
        await self._idle.wait()

    def flush(self) -> None:
        """Write what waits now."""
        started = self._clock.now()
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        # A new list: whoever becomes dirty while this one is written belongs to the next flush.
        dirty, self._hub.dirty = self._hub.dirty, []
        dead = self._write_each(dirty, started)
        # After the writes: the latency that clients see ends here.
        self._observe()
        self._stats.dead_writes += len(dead)
        # Not within the loop: ending a connection changes rooms and outboxes.
        for connection in dead:
            self._on_dead(connection)
        ended = self._clock.now()
        self._stats.flushes += 1
        # Waiting as long as the flush took keeps the process at half of its time for writing, at most.
        self._next_at = ended + min(ended - started, self._max_delay)
        # What was marked meanwhile, such as a lane that has more, gets a flush of its own.
        self.wake()
        if self._scheduled is None:
            self._idle.set()

    def _write_each(self, dirty: list[Outbox[Connection]], now: float) -> list[Connection]:
        """Return one write for each client that can take it; return those whose connection is gone."""
        dead: list[Connection] = []
        writes = taken = delivered = 0
        # The server's most expensive loop: once per client and flush. Nearly always nothing but newest
        # prices wait, often a single one; what else there may be is done elsewhere.
        for outbox in dirty:
            # Also for a client that cannot take anything now: `resume` marks it again.
            outbox.dirty = False
            sink = outbox.owner.sink
            if not sink.writable:
                continue
            if outbox.control or outbox.lanes:
                if not self._write_all(outbox.owner, now):
                    dead.append(outbox.owner)
                continue
            slots, dialect = outbox.slots, sink.dialect
            waiting = len(slots)
            if waiting == 1:
                # Taken out singly, a dictionary keeps its table and needs no new one for the next price.
                _, frame = slots.popitem()
                data = frame.wrapped.get(dialect) or dialect.render((frame,))
            elif waiting:
                data = dialect.render(slots.values())
                slots.clear()
            else:
                continue
            taken += waiting
            try:
                sink.write(data)
            except (OSError, RuntimeError):
                # A transport may say that it is gone only here, in the middle of everybody's flush.
                dead.append(outbox.owner)
                continue
            delivered += waiting
            writes += 1
        self._stats.writes += writes
        self._stats.delivered += delivered
        self._stats.taken += taken
        return dead

    def finish(self, connection: Connection) -> None:
        """Write what waits for one client right away, before it is closed."""
        if connection.sink.writable or connection.sink.keeps:
            self._write_all(connection, self._clock.now(), math.inf)

    def _write_all(self, connection: Connection, now: float, limit: float = WRITE_BYTES) -> bool:
        frames = self._take(connection.outbox, now, limit)
        if not frames:
            return True
        try:
            connection.sink.write(connection.sink.dialect.render(frames))
        except (OSError, RuntimeError):
            return False
        self._stats.writes += 1
        self._stats.delivered += len(frames)
        return True

    def _take(self, outbox: Outbox[Connection], now: float, limit: float) -> list[Frame]:
        ordered = len(outbox.control)
        frames, lagging = outbox.take(now, limit)
        self._stats.taken += len(frames) - (ordered - len(outbox.control))
        if outbox.wake_at is not None:
            self._wake_later(outbox, outbox.wake_at)
        return [*self._losses(lagging), *frames] if lagging else frames

    def _losses(self, lagging: list[Lane]) -> list[Frame]:
        told = []
        for lane in lagging:
            told.append(lagged(lane.key, lane.missed))
            self._stats.lagged += lane.missed
            lane.missed = 0
        return told

    def _observe(self) -> None:
        if not self._fresh:
            return
        wall_ms = self._clock.wall_ms()
        observe = self._stats.latency.observe
        for frame in self._fresh:
            if frame.at_ms:
                observe(max(0, wall_ms - frame.at_ms))
        self._fresh = []

    def _wake_later(self, outbox: Outbox[Connection], at: float) -> None:
        if at <= self._clock.now():
            self._hub.mark(outbox)
        elif outbox.alarm_at is None or at < outbox.alarm_at:
            outbox.alarm_at = at
            # A client that leaves must not be kept by what it does not wait for any more.
            heapq.heappush(self._alarms, (at, next(self._order), ref(outbox)))
            self._arm()

    def _arm(self) -> None:
        if self._alarms:
            self._alarm.set(self._alarms[0][0])

    def _ring(self) -> None:
        now = self._clock.now()
        while self._alarms and self._alarms[0][0] <= now:
            at, _, known = heapq.heappop(self._alarms)
            outbox = known()
            # An entry whose outbox was given an earlier alarm since is left over, and passed by.
            if outbox is not None and outbox.alarm_at == at:
                outbox.alarm_at = None
                self._hub.mark(outbox)
        self._arm()
        self.wake()

    def stop(self) -> None:
        """Forget what is scheduled."""
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        self._alarm.stop()
