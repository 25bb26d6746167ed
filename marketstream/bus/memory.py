"""Implement the bus and its neighbours inside one process.

Cursors are the wall clock in microseconds, pushed up where the clock stands still or goes back, so they
rise strictly over everything published here.
"""

from collections.abc import Awaitable, Callable, Sequence

from marketstream.core.delivery.frame import Frame
from marketstream.core.events.event import User
from marketstream.core.events.seen import Seen
from marketstream.engine.events.ports import EventChannel, EventStore
from marketstream.ports import Bus, Claims, Clock, Lease, Relay
from marketstream.wire.events.between_processes import Message


class MemoryBus:
    """See `ports.Bus`; delivers within the call to `publish`."""

    def __init__(self, *, clock: Clock) -> None:
        self.clock = clock
        self._cursor = 0
        self._last: dict[tuple[str | None, str], Frame] = {}
        self._receive: Callable[[Sequence[Frame]], None] | None = None

    @property
    def connected(self) -> bool:
        """Always true: there is nothing in between."""
        return True

    @property
    def skew(self) -> int:
        """None: all cursors are of one clock."""
        return 0

    def attach(self, receive: Callable[[Sequence[Frame]], None]) -> None:
        """Name the one receiver in this process."""
        self._receive = receive

    def publish(self, frames: Sequence[Frame]) -> None:
        """Stamp, remember and deliver."""
        cursor = max(self._cursor, self.clock.wall_ms() * 1000 - 1)
        for frame in frames:
            cursor += 1
            frame.cursor = cursor
            if frame.key is not None:
                self._last[frame.tenant, frame.key] = frame
        self._cursor = cursor
        if self._receive is not None:
            self._receive(frames)

    def watch(self, name: str) -> None:
        """Change nothing: the one receiver hears everything."""

    def unwatch(self, name: str) -> None:
        """Change nothing."""

    async def run(self) -> None:
        """Return at once: there is nothing to do in the background."""

    def last(self, wanted: Sequence[str], tenant: str) -> Sequence[Frame]:
        """Return the newer of the public value and the tenant's own, for each key that has one."""
        found = []
        for key in wanted:
            known = [f for f in (self._last.get((None, key)), self._last.get((tenant, key))) if f is not None]
            if known:
                found.append(max(known, key=lambda frame: (frame.at_ms, frame.cursor)))
        return found


class MemoryLease:
    """The lease of a process that is alone: its own for ever. See `ports.Lease`."""

    @property
    def held(self) -> bool:
        """Return true: nobody else is there to claim a run."""
        return True

    async def hold(self, lead: Callable[[Sequence[Frame]], Awaitable[None]]) -> None:
        """Lead at once; nothing was published before."""
        await lead([])


class MemoryClaims:
    """The claims of a process that is alone: every run is its own. See `ports.Claims`."""

    async def take(self, job: str, due_ms: int, ttl: float) -> bool:  # noqa: ARG002  # nobody else is there
        """Return true: nobody else is there to claim a run."""
        return True


class MemoryChannel:
    """Relay messages of a process that is alone: a function call. See `ports.Relay`."""

    def __init__(self) -> None:
        self._receive: Callable[[bytes], None] | None = None

    def send(self, message: bytes) -> None:
        """Deliver within the call."""
        if self._receive is not None:
            self._receive(message)

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """Name the one receiver."""
        self._receive = receive


class MemoryEventChannel:
    """Carries events within a process that is alone, as they are. See `engine.events.ports.EventChannel`.

    Args:
        clock: Time.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._seen = Seen()
        self._receive: Callable[[Message], None] | None = None

    async def send(self, messages: Sequence[Message]) -> list[bool]:
        """Deliver within the call."""
        now = self._clock.now()
        return [self._send(message, now) for message in messages]

    def listen(self, receive: Callable[[Message], None]) -> None:
        """Name the one receiver."""
        self._receive = receive

    def _send(self, message: Message, now: float) -> bool:
        is_first = self._seen.first(message.event.tenant, message.event.id, now)
        if is_first and self._receive is not None:
            self._receive(message)
        return is_first


class MemoryEventStore:
    """What users of a process that is alone want to hear of; a restart forgets it.

    See `engine.events.ports.EventStore`.
    """

    def __init__(self) -> None:
        self._kept: dict[User, dict[str, bytes]] = {}

    async def load(self, users: Sequence[User]) -> list[dict[str, bytes]]:
        """From memory."""
        return [dict(self._kept.get(user, {})) for user in users]

    async def put(self, user: User, name: str, body: bytes, limit: int) -> bool:
        """In memory."""
        kept = self._kept.get(user, {})
        if name not in kept and len(kept) >= limit:
            return False
        self._kept[user] = kept | {name: body}
        return True

    async def remove(self, user: User, name: str) -> bool:
        """From memory."""
        kept = self._kept.get(user, {})
        found = kept.pop(name, None) is not None
        if found and not kept:
            del self._kept[user]
        return found


_: type[Bus] = MemoryBus
_lease: type[Lease] = MemoryLease
_claims: type[Claims] = MemoryClaims
_channel: type[Relay] = MemoryChannel
_store: type[EventStore] = MemoryEventStore
_events: type[EventChannel] = MemoryEventChannel
