"""Hold what one connection was not sent yet, bounded: the newest frame of each key, and ordered messages.

An `Outbox` belongs to one connection and holds at most one frame per key, a bounded number of ordered
messages, and a bounded lane for each symbol with special delivery, so its size follows what the client
subscribed to, never how fast the market moves. It does no I/O and starts no task.
"""

from collections import deque
from typing import Generic, TypeVar

from marketstream.core.delivery.frame import Frame

CONTROL_CAPACITY = 1_000
CONTROL_BYTES = 4 * 1024 * 1024
LANE_CAPACITY = 1_000
LANE_BATCH = 256
WRITE_BYTES = 64 * 1024
"""Bytes of ordered messages in one write: what must go first cannot overtake what was written before."""
SLACK = 0.1
"""Part of an interval by which a paced value may be late without shifting those that follow."""

OwnerT = TypeVar("OwnerT")


class Lane:
    """One symbol of one client that is not simply `latest`: every value, a highest rate, or both.

    Attributes:
        key: The symbol.
        lossless: True in mode `every`: overflow is counted in `missed` and must be told to the client.
        interval: Seconds between two values; 0 means as they come.
        due: Monotonic seconds before which nothing may be taken.
        missed: Values lost since they were last reported.
        since: Cursor up to which the client has seen the symbol; the hub offers nothing older.
    """

    __slots__ = ("due", "interval", "key", "lossless", "missed", "since", "waiting")

    def __init__(
        self,
        key: str,
        *,
        lossless: bool,
        max_rate: float = 0,
        capacity: int = LANE_CAPACITY,
        since: int = 0,
    ) -> None:
        self.since = since
        self.key = key
        self.lossless = lossless
        self.interval = 1 / max_rate if max_rate > 0 else 0.0
        # The first value of a lane goes out at once: the rate limits what follows it.
        self.due = 0.0
        self.missed = 0
        # Without `lossless` one slot is enough: the deque itself replaces the older value.
        self.waiting: deque[Frame] = deque(maxlen=capacity if lossless else 1)

    def offer(self, frame: Frame) -> None:
        """Put a value behind the others; when the lane is full the oldest goes."""
        # A deque with a bound drops its oldest without a word, so the loss is counted before.
        if self.lossless and len(self.waiting) == self.waiting.maxlen:
            self.missed += 1
        self.waiting.append(frame)

    def take(self, now: float, room: int) -> list[Frame]:
        """Return up to `room` values that may go out now, oldest first."""
        if now < self.due or not self.waiting:
            return []
        if self.interval:
            # Counted from when it was due if that is just over: a late flush must not lower the rate.
            late = now - self.due
            self.due = (self.due if late < self.interval * SLACK else now) + self.interval
            return [self.waiting.popleft()]
        waiting = self.waiting
        return [waiting.popleft() for _ in range(min(room, len(waiting)))]


class Outbox(Generic[OwnerT]):
    """What one connection has not been sent yet.

    Attributes:
        owner: Whoever writes for this outbox.
        tenant: Tenant of the client; frames of another tenant never come here.
        slots: The newest frame of each key, oldest key first. The hub writes here directly.
        control_capacity: Ordered messages that may wait.
        control_limit: Bytes that they may have.
        dirty: True while the outbox is in the list of those with something to send.
        lanes: Special deliveries by symbol.
        control: Messages in order, which nothing replaces.
        first: What each of the first of them is; a newer one of the same kind takes its place.
        pushed: How many of them count against `control_capacity`.
        moved: How many of them came out of lanes.
        wake_at: After `take`: monotonic seconds at which more can be taken; None when nothing waits.
        alarm_at: Monotonic seconds at which the flusher looks at it again unasked; None when it does not.
    """

    __slots__ = (
        "__weakref__",
        "alarm_at",
        "control",
        "control_bytes",
        "control_capacity",
        "control_limit",
        "dirty",
        "first",
        "lanes",
        "moved",
        "owner",
        "pushed",
        "slots",
        "tenant",
        "wake_at",
    )

    def __init__(self, owner: OwnerT, *, tenant: str = "", control_capacity: int = CONTROL_CAPACITY) -> None:
        self.owner = owner
        self.tenant = tenant
        self.slots: dict[str, Frame] = {}
        self.control: list[Frame] = []
        self.control_bytes = 0
        self.first: tuple[str, ...] = ()
        self.pushed = 0
        self.moved = 0
        self.control_capacity = control_capacity
        self.control_limit = CONTROL_BYTES
        self.lanes: dict[str, Lane] | None = None
        self.dirty = False
        self.wake_at: float | None = None
        self.alarm_at: float | None = None

    def __len__(self) -> int:
        """Return frames waiting."""
        return len(self.control) + self.replaceable()

    def replaceable(self) -> int:
        """Return frames waiting that are not ordered messages: in slots and lanes."""
        return len(self.slots) + (sum(len(lane.waiting) for lane in self.lanes.values()) if self.lanes else 0)

    def missed(self) -> int:
        """Values that were lost and have not been reported to the client yet."""
        return sum(lane.missed for lane in self.lanes.values()) if self.lanes else 0

    def clear(self) -> None:
        """Forget everything, because the client is gone."""
        self.slots.clear()
        self.control = []
        self.first = ()
        self.lanes = None

    def push(self, frame: Frame) -> bool:
        """Add a message that must not be replaced.

        Returns:
            False when the client let so many of them wait that there is no room: it must be closed.
        """
        # Counted also when there is no room: the connection is closed then, and the number no longer matters.
        self.control_bytes += len(frame.body)
        if self.pushed >= self.control_capacity or self.control_bytes > self.control_limit:
            return False
        self.pushed += 1
        self.control.append(frame)
        return True

    def put_first(self, kind: str, frame: Frame) -> None:
        """Put a message before all that wait, in the place of the last one of its kind if that waits.

        There is one of each kind at most, so they need no capacity.
        """
        # The old one is replaced where it stands: a client that sends many pings gets one pong.
        if kind in self.first:
            self.control[self.first.index(kind)] = frame
        else:
            self.first = (kind, *self.first)
            self.control.insert(0, frame)

    def open_lane(self, lane: Lane) -> None:
        """Give a symbol special delivery from now on."""
        if self.lanes is None:
            self.lanes = {}
        self.lanes[lane.key] = lane

    def forget(self, keys: tuple[str, ...]) -> int:
        """Drop what waits under some keys, their lanes included.

        Returns:
            How many frames were dropped.
        """
        dropped = 0
        for key in keys:
            dropped += self.slots.pop(key, None) is not None
            # Without this a symbol that is subscribed again would begin with values from before.
            if self.lanes and (lane := self.lanes.pop(key, None)):
                dropped += len(lane.waiting)
        return dropped

    def supersede(self, key: str) -> int:
        """Make room for a snapshot of a key, so that nothing older follows it.

        Values in a lossless lane are not thrown away: they become ordered messages, before the snapshot.
        A client that takes none of them can ask for that again and again, so all its lanes together may
        move one filling of each; what is beyond that is missed.

        Returns:
            How many frames left their slot or lane.
        """
        left = int(self.slots.pop(key, None) is not None)
        lane = self.lanes.get(key) if self.lanes else None
        if lane is None or self.lanes is None:
            return left
        if lane.lossless:
            # What is held back for its rate must not come out early, only because the client asks again.
            room = 0 if lane.interval else (lane.waiting.maxlen or 0) * len(self.lanes) - self.moved
            surplus = max(0, len(lane.waiting) - room)
            for _ in range(surplus):
                lane.waiting.popleft()
            lane.missed += surplus
            self.moved += len(lane.waiting)
            self.control.extend(lane.waiting)
        left += len(lane.waiting)
        lane.waiting.clear()
        return left

    def take(self, now: float, limit: float = WRITE_BYTES) -> tuple[list[Frame], list[Lane]]:
        """Return everything that may go out now, in order, and the lanes that have a loss to report.

        What a lane holds beyond one batch, or before it is due, stays, and so does what is behind `limit`
        bytes of ordered messages; `wake_at` then says when to come back.
        """
        # Ordered messages go first: an answer or a snapshot must not be overtaken by a later price.
        frames = self._take_control(limit)
        # Prices wait while ordered messages are left, or they would come before a snapshot behind them.
        if self.control:
            self.wake_at = now
            return frames, []
        if self.slots:
            # A fresh list either way: the caller keeps it while the hub goes on filling the slots.
            frames = [*frames, *self.slots.values()] if frames else list(self.slots.values())
            self.slots.clear()
        self.wake_at = None
        if not self.lanes:
            return frames, []
        lagging = [lane for lane in self.lanes.values() if lane.missed]
        # `_take_control` returns an empty `control` itself, which stays in use: it must not grow here.
        frames = list(frames)
        # One bound for all lanes together: a client with many of them must not hold up everybody's flush.
        room = LANE_BATCH
        for lane in self.lanes.values():
            if not lane.waiting:
                continue
            taken = lane.take(now, room)
            room -= len(taken)
            frames += taken
            if lane.waiting:
                at = max(lane.due, now)
                self.wake_at = at if self.wake_at is None else min(self.wake_at, at)
        return frames, lagging

    def _take_control(self, limit: float) -> list[Frame]:
        taken = self.control
        if not taken:
            return taken
        # What was at the front leaves in this write; a later ping is a new one.
        self.first = ()
        size = 0
        for at, frame in enumerate(taken):
            size += len(frame.body)
            # `at` lets one message through that is larger than the limit alone, or it would wait for ever.
            if size > limit and at:
                self.control = taken[at:]
                self.control_bytes = max(0, self.control_bytes - size + len(frame.body))
                self.pushed = max(0, self.pushed - at)
                return taken[:at]
        # A new list, not `clear`: the old one is what is returned.
        self.control = []
        self.control_bytes = self.pushed = self.moved = 0
        return taken
