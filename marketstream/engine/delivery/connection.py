"""Represent one client: its sink, its outbox, its session, and the order of its calls.

It exists from the first byte; only when its client is admitted does it get a session and become a
member of rooms. Calls that have to wait are kept in order here, without a task while nothing waits.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Protocol

from marketstream.core.delivery.closing import OVERLOADED, TOO_MANY_MESSAGES, CloseReason
from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.outbox import Outbox
from marketstream.core.delivery.session import Session
from marketstream.engine.delivery.waiting import OVERHEAD, Waiting
from marketstream.engine.eager import start
from marketstream.wire.dialect import Dialect

MAX_CALLS_WAITING = 1_000

Call = Callable[[], Coroutine[object, None, None]]
"""Carries out a call and answers it; waits as `engine.eager` says."""


class Sink(Protocol):
    """The writing end of a transport.

    Attributes:
        dialect: How frames are written on it.
        keepalive: What to send when nothing else must be; None when the transport needs nothing.
        keepalive_interval: Seconds between two of them.
        listens: True when the client is expected to send something now and then.
        keeps: True when what is written while it is not writable is kept for the client's next request.
        personal: True when what is sent to a user, and not to those who watch a symbol, goes out here.
        snapshots: True when current values go out as one `snapshot`, False when as a `price` each.
    """

    dialect: Dialect
    keepalive: Frame | None
    keepalive_interval: float
    listens: bool
    personal: bool
    snapshots: bool
    keeps: bool

    @property
    def writable(self) -> bool:
        """False while the transport holds bytes that the client has not taken.

        The transport calls `Node.resume` when it can be written again.
        """
        ...

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport; never block; may raise OSError or RuntimeError when it is dead."""
        ...

    def backlog(self) -> int:
        """Return bytes the transport holds that the client has not taken."""
        ...

    def close(self, reason: CloseReason) -> None:
        """End the transport, telling the client why as far as the transport can."""
        ...


class Connection:
    """See the module.

    Attributes:
        id: Public name of the connection.
        transport: Name for logs and metrics: websocket, polling, sse.
        sink: Where to write; replaced when a client moves from polling to websocket.
        outbox: What is waiting to be written.
        address: Where the client is, for the log.
        session: None until the client is admitted.
        opened_at: Monotonic seconds of the first contact.
        heard_at: Monotonic seconds at which the client was last heard.
        expires_at: Monotonic seconds at which its token ends.
        warned: Whether the client was told that its token ends soon.
        keepalive_at: Monotonic seconds of the next keepalive.
        heartbeat_at: Monotonic seconds of the next `heartbeat` event.
        blocked_since: Monotonic seconds since which the client takes nothing; None while it does.
        blocked_bytes: Backlog when that was last looked at.
        since: Cursor of the newest price the client has from before; older current values are not sent again.
        rooms: Rooms of a back end's own that it is in.
        placed: Whether it counts among its user's connections.
        closed: True once the connection has left the node.
        call_bytes: Bytes that its calls may take while they wait for another.
    """

    __slots__ = (
        "_calls",
        "_held",
        "_waiting",
        "address",
        "blocked_bytes",
        "blocked_since",
        "call_bytes",
        "closed",
        "expires_at",
        "heard_at",
        "heartbeat_at",
        "id",
        "keepalive_at",
        "opened_at",
        "outbox",
        "placed",
        "rooms",
        "session",
        "since",
        "sink",
        "transport",
        "warned",
    )

    def __init__(
        self,
        ident: str,
        transport: str,
        sink: Sink,
        now: float,
        *,
        control_capacity: int,
        call_bytes: int,
        waiting: Waiting,
    ) -> None:
        self.id = ident
        self.transport = transport
        self.sink = sink
        self.outbox: Outbox[Connection] = Outbox(self, control_capacity=control_capacity)
        self.address = ""
        self.session: Session | None = None
        self.opened_at = now
        self.heard_at = now
        self.expires_at = float("inf")
        self.warned = False
        self.keepalive_at = now + sink.keepalive_interval
        self.heartbeat_at = float("inf")
        self.blocked_since: float | None = None
        self.blocked_bytes = 0
        self.since = 0
        self.rooms: tuple[str, ...] = ()
        self.placed = False
        self.closed = False
        self.call_bytes = call_bytes
        self._calls: deque[tuple[Call, int, bool]] | None = None
        self._held = 0
        self._waiting = waiting

    @property
    def busy(self) -> bool:
        """Whether a call of the client is waiting for something."""
        return self._calls is not None

    def submit(
        self, call: Call, size: int, spawn: Callable[[Coroutine[None, None, None]], object]
    ) -> CloseReason | None:
        """Run a call of the client after all its earlier calls.

        Args:
            call: Does the work and answers.
            size: Bytes that the call keeps alive until it is its turn.
            spawn: Starts a task; used only when a call waits.

        Returns:
            Why the connection must be closed; None when there is room for what waits.
        """
        if self._calls is None:
            waiting = start(call())
            if waiting is None:
                return None
            self._calls = deque()
            spawn(self._finish(waiting))
            return None
        taken = size + OVERHEAD
        if len(self._calls) >= MAX_CALLS_WAITING or self._held + taken > self.call_bytes:
            return TOO_MANY_MESSAGES
        if not self._waiting.take(taken, stranger=self.session is None):
            return OVERLOADED
        self._held += taken
        self._calls.append((call, taken, self.session is None))
        return None

    def drop_calls(self) -> None:
        """Forget what waits, because the client is gone."""
        while self._calls:
            self._next()

    async def _finish(self, waiting: Awaitable[None]) -> None:
        calls = self._calls
        try:
            await waiting
            while calls and not self.closed:
                await self._next()()
        finally:
            self.drop_calls()
            self._calls = None

    def _next(self) -> Call:
        assert self._calls is not None  # noqa: S101  # asked only while something waits
        call, taken, stranger = self._calls.popleft()
        self._held -= taken
        self._waiting.give(taken, stranger=stranger)
        return call
