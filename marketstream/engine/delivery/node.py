"""The heart of one process: connections come and go, commands become memberships, frames reach rooms.

What a client may have is decided by its session; this module
only carries it out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

import structlog

from marketstream.core.delivery import closing, rooms
from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.commands import (
    Command,
    EventCommand,
    EventReply,
    Subscribe,
    Subscribed,
    WorkCommand,
    WorkReply,
)
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.hub import Hub
from marketstream.core.delivery.outbox import CONTROL_BYTES
from marketstream.core.delivery.session import Session
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.delivery.connection import Call, Connection, Sink
from marketstream.engine.delivery.connection_limits import LocalConnectionLimits
from marketstream.engine.delivery.delay import DelayLines
from marketstream.engine.delivery.execution import Execution
from marketstream.engine.delivery.flusher import Flusher
from marketstream.engine.delivery.quotes import Quotes
from marketstream.engine.delivery.renewal import Answer
from marketstream.engine.delivery.terms import Delivery
from marketstream.engine.delivery.unadmitted import MAX_MESSAGE_BYTES, MAX_MESSAGES, MAX_WAITING, Unadmitted
from marketstream.engine.delivery.waiting import Waiting
from marketstream.engine.market.interest import Interest
from marketstream.engine.stats import Stats
from marketstream.errors import UnavailableError
from marketstream.ports import Bus, Clock, ConnectionLimits, Verifier
from marketstream.wire import keys

log = structlog.get_logger(__name__)

EventHandler = Callable[[Principal, EventCommand], Awaitable[EventReply]]
WorkHandler = Callable[[Connection, WorkCommand], WorkReply]


class Node:
    """See the module.

    Attributes:
        hub: The rooms.
        demand: What feeds should subscribe to.
        stats: The counters.
        lines: Prices held back for delayed plans.
        connections: Every open connection by id, admitted or not.
        unadmitted: Those of them that are not.
        waiting: What all calls, tokens and bodies take that wait for something.
        bus_lag_ms: Milliseconds between publishing and receiving, of the newest frame.
        spawn: Starts a task in the process's task group; set when there is one.
        ending: Transports that have said their last words, while their clients have not hung up.
        draining: True once the process is going down: nobody is admitted any more.
        on_admitted: Called with a connection that was let in.
        on_renewed: Called with one that goes on under a newer token, and who it was before; says what ends.
        on_left: Called with a connection that ended.
        on_event_command: Carries out what a client asks about event streams.
        on_work_command: The same about the work of groups.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        bus: Bus,
        verifier: Verifier,
        registry: SymbolRegistry,
        stats: Stats,
        delivery: Delivery,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self.clock = clock
        self.delivery = delivery
        self.stats = stats
        self._bus = bus
        self.interest = Interest(clock=clock)
        self.hub: Hub[Connection] = Hub(self._opened, self._emptied)
        self.connections: dict[str, Connection] = {}
        self.unadmitted = Unadmitted(delivery.max_unadmitted)
        self.waiting = Waiting(delivery.max_waiting_bytes, clock)
        self.spawn: Callable[[Coroutine[None, None, None]], object] = asyncio.ensure_future
        self.ending: set[object] = set()
        self.draining = False
        self.on_admitted: Callable[[Connection], None] = _ignore_connection
        self.on_renewed: Callable[[Connection, Principal], Sequence[str]] = _unchanged
        self.on_left: Callable[[Connection], None] = _ignore_connection
        self.on_event_command: EventHandler = _reject_event_command
        self.on_work_command: WorkHandler = _reject_work_command
        self.bus_lag_ms = 0.0
        self.flusher = Flusher(
            hub=self.hub,
            clock=clock,
            stats=stats,
            on_dead=lambda connection: self.close(connection, closing.CLIENT_LEFT),
            max_delay=delivery.max_delay,
        )
        self._verifier = verifier
        self._registry = registry
        self._limits: ConnectionLimits = LocalConnectionLimits() if limits is None else limits
        self.lines = DelayLines(on_held=bus.watch, on_dropped=bus.unwatch, max_bytes=delivery.delayed_bytes)
        self._execution = Execution(node=self, bus=bus, lines=self.lines, limits=self._limits)
        bus.attach(self.receive)

    # Connections

    def open(self, ident: str, transport: str, sink: Sink, address: str = "") -> Connection:
        """Registers a new connection that is not admitted yet; where many are, another one has to go."""
        connection = Connection(
            ident,
            transport,
            sink,
            self.clock.now(),
            control_capacity=MAX_MESSAGES,
            call_bytes=MAX_WAITING,
            waiting=self.waiting,
        )
        connection.outbox.control_limit = MAX_MESSAGE_BYTES
        connection.address = address
        self.connections[ident] = connection
        if (evicted := self.unadmitted.add(connection)) is not None:
            self.refuse(closing.EVICTED.code.upper())
            # Without last words: in a flood they would be kept for clients that never fetch them.
            self.leave(evicted, closing.EVICTED)
            evicted.sink.close(closing.EVICTED)
        return connection

    def verify(self, token: str) -> Principal | Awaitable[Principal]:
        """See `ports.Verifier.verify`."""
        return self._verifier.verify(token)

    def admit(self, connection: Connection, principal: Principal) -> Awaitable[None] | None:
        """Makes a verified client a member of its tenant.

        Returns:
            None when it is one; an awaitable when others must be asked first. The connection may have been
            closed while they were: then it is none.

        Raises:
            ConnectionLimitError: The user holds as many connections as the plan allows; also when awaited.
        """
        limit = principal.plan.max_connections
        waiting = self._limits.acquire(principal.tenant, principal.user, limit) if limit else None
        if waiting is not None:
            return self._admit_later(connection, principal, waiting)
        self._let_in(connection, principal)
        return None

    async def _admit_later(
        self, connection: Connection, principal: Principal, waiting: Awaitable[None]
    ) -> None:
        await waiting
        if connection.closed:
            self._limits.release(principal.tenant, principal.user)
        else:
            self._let_in(connection, principal)

    def _let_in(self, connection: Connection, principal: Principal) -> None:
        self.unadmitted.remove(connection)
        connection.outbox.control_capacity = self.delivery.control_capacity
        connection.outbox.control_limit = CONTROL_BYTES
        connection.call_bytes = self.delivery.waiting_bytes
        connection.placed = principal.plan.max_connections > 0
        connection.session = Session(principal, self._registry)
        connection.outbox.tenant = principal.tenant
        now = self.clock.now()
        connection.heartbeat_at = now + self.delivery.heartbeat_interval
        connection.expires_at = self.monotonic(principal.expires_at_ms)
        self.hub.join(rooms.tenant_room(principal.tenant), connection.outbox)
        self.stats.connections[connection.transport] += 1
        self.stats.opened[connection.transport] += 1
        log.info(
            "websocket_connection_established",
            connection=connection.id,
            transport=connection.transport,
            tenant=principal.tenant,
            plan=principal.plan.name,
            address=connection.address,
        )
        self.on_admitted(connection)

    def preview(self, principal: Principal, command: Subscribe) -> Subscribed:
        """What a subscription would come to if it were the first of a client; changes nothing."""
        reply, _ = Session(principal, self._registry).handle(command, self.clock.now(), 0)
        assert isinstance(reply, Subscribed)  # noqa: S101  # what a Subscribe is answered with
        return reply

    def refuse(self, code: str) -> None:
        """Counts a handshake that was refused."""
        self.stats.refused[code] += 1

    def moved(self, connection: Connection, transport: str, sink: Sink) -> None:
        """Goes on with a connection on another transport; what waits goes out there."""
        if connection.session is not None:
            self.stats.connections[connection.transport] -= 1
            self.stats.connections[transport] += 1
        connection.transport = transport
        connection.sink = sink
        self.resume(connection)

    def close(self, connection: Connection, reason: CloseReason, *farewell: Frame) -> None:
        """Ends a connection from this side, after what waits for it and a last word."""
        if connection.closed:
            return
        for frame in farewell:
            connection.outbox.push(frame)
        self.flusher.finish(connection)
        self.leave(connection, reason)
        connection.sink.close(reason)

    def leave(self, connection: Connection, reason: CloseReason) -> None:
        """Forgets a connection that is gone or about to be; calling it again changes nothing."""
        if connection.closed:
            return
        connection.closed = True
        self.connections.pop(connection.id, None)
        connection.drop_calls()
        self.unadmitted.remove(connection)
        session = connection.session
        if session is None:
            if not connection.outbox.dirty:
                # Each would keep the other until the collector comes by; a flood leaves thousands.
                del connection.outbox.owner
            return
        principal, outbox = session.principal, connection.outbox
        for symbol in session.subscriptions:
            self.hub.leave(rooms.symbol_room(symbol, principal.plan.delay), outbox)
        for channel in session.channels:
            self.hub.leave(rooms.channel_room(channel), outbox)
        for room in (rooms.tenant_room(principal.tenant), *connection.rooms):
            self.hub.leave(room, outbox)
        self.on_left(connection)
        self.stats.discarded += outbox.replaceable() + outbox.missed()
        outbox.clear()
        if connection.placed:
            self._limits.release(principal.tenant, principal.user)
        self.stats.connections[connection.transport] -= 1
        self.stats.closed[reason.code] += 1
        log.info(
            "websocket_connection_closed",
            connection=connection.id,
            transport=connection.transport,
            tenant=principal.tenant,
            reason=reason.code,
            seconds=round(self.clock.now() - connection.opened_at, 3),
        )

    def enter(self, connection: Connection, room: str) -> None:
        """Makes a client a member of a room of a back end's own."""
        connection.rooms = (*(r for r in connection.rooms if r != room), room)
        self.hub.join(room, connection.outbox)

    def exit(self, connection: Connection, room: str) -> None:
        """Ends such a membership."""
        connection.rooms = tuple(r for r in connection.rooms if r != room)
        self.hub.leave(room, connection.outbox)

    def pause(self, connection: Connection) -> None:
        """Notes that a client stopped taking what was written."""
        connection.blocked_since = self.clock.now()
        connection.blocked_bytes = connection.sink.backlog()

    def resume(self, connection: Connection) -> None:
        """Goes on writing to a client that can take something again."""
        connection.blocked_since = None
        if len(connection.outbox):
            self.hub.mark(connection.outbox)
            self.flusher.wake()

    def wait_for(self, work: Coroutine[None, None, None]) -> None:
        """Runs what one client's call has to wait for; its failure harms nobody else."""
        self.spawn(_guarded(work))

    def submit(self, connection: Connection, call: Call, size: int) -> None:
        """Run a call of a client after its earlier calls; one whose calls find no room to wait is closed.

        Args:
            connection: Whose call it is.
            call: As of `Connection.submit`.
            size: Bytes that it keeps alive until it is its turn.
        """
        reason = connection.submit(call, size, self.wait_for)
        if reason is not None:
            self.close(connection, reason)

    def execute(self, connection: Connection, command: Command, answer: Answer) -> Awaitable[None] | None:
        """See `execution.Execution.execute`."""
        return self._execution.execute(connection, command, answer)

    @property
    def quotes(self) -> Quotes:
        """Answers from the newest best prices."""
        return self._execution.quotes

    def quote(self, symbol: str, principal: Principal) -> bytes | Awaitable[bytes]:
        """See `quotes.Quotes.get`: the newest best price, or the one that the plan may see by now."""
        return self.quotes.get(symbol, principal, self.lines.of(principal.plan.delay))

    # Frames

    def receive(self, frames: Sequence[Frame]) -> None:
        """Takes what the bus brings and offers it to the rooms."""
        hub, watched = self.hub, []
        for frame in frames:
            if frame.event != "price":
                hub.post(_room_of(frame), frame)
            elif hub.deliver(rooms.symbol_room(frame.symbol), frame):
                watched.append(frame)
        for line in filter(None, self.lines):
            line.put(frames, self.clock.now())
        # What a bus says of itself was never underway.
        if frames and frames[-1].cursor:
            self.bus_lag_ms = max(0.0, self.clock.wall_ms() - frames[-1].cursor / 1000)
        self.flusher.wake(watched)

    def release_delayed(self) -> None:
        """Called once a second: lets the delay lines give out what is old enough."""
        now = self.clock.now()
        for line in self.lines:
            for frame in line.release(now):
                room = rooms.symbol_room(frame.symbol, line.delay)
                (self.hub.deliver if frame.event == "price" else self.hub.post)(room, frame)
        self.flusher.wake()

    def emit(self, room: str, frame: Frame, skip: frozenset[Connection] = frozenset()) -> int:
        """Gives an event of a back end to everyone in a room.

        Returns:
            How many clients it went to.
        """
        self.stats.broadcasts += 1
        if frame.key is None:
            count = self.hub.broadcast(room, frame, skip)
        elif not skip:
            count = self.hub.deliver(room, frame)
        else:
            received = [outbox for outbox in self.hub.members(room) if outbox.owner not in skip]
            for outbox in received:
                self.hub.offer(outbox, frame)
            count = len(received)
        self.settle()
        return count

    def send(self, connection: Connection, frame: Frame) -> None:
        """Gives one client a message of its own; one that is gone gets none."""
        if not connection.closed:
            self.hub.send(connection.outbox, frame)

    def settle(self) -> None:
        """Closes clients that had no room for a message, and sees to it that the rest is written."""
        while self.hub.overflowed:
            self.close(self.hub.overflowed.pop(), closing.SLOW_CONSUMER)
        self.flusher.wake()

    def conflated(self) -> int:
        """Prices that were replaced by newer ones before their client took them, since the start.

        Counted without a step on the way of a price: what was offered is delivered, dropped, still
        waiting, or replaced.
        """
        outboxes = [connection.outbox for connection in self.connections.values()]
        waiting = sum(outbox.replaceable() + outbox.missed() for outbox in outboxes)
        return max(
            0, self.hub.offered - self.stats.taken - self.stats.discarded - self.stats.lagged - waiting
        )

    def _opened(self, room: str) -> None:
        if (name := rooms.watched_by(room)) is not None:
            self._bus.watch(name)
            if (line := self.lines.of(rooms.delay_of(room))) is not None:
                line.watch(name)
        if (symbol := rooms.demanded_by(room)) is not None:
            self.interest.watch(symbol)

    def _emptied(self, room: str) -> None:
        if (name := rooms.watched_by(room)) is not None:
            self._bus.unwatch(name)
            if (line := self.lines.of(rooms.delay_of(room))) is not None:
                line.unwatch(name, self.clock.now())
        if (symbol := rooms.demanded_by(room)) is not None:
            self.interest.unwatch(symbol)

    # Waiting for clients

    async def caught_up(self, patience: float = 5.0) -> None:
        """Returns when everything is written and no client in mode `every` is far behind.

        Args:
            patience: Seconds to wait for such a client at most: nobody waits for the slowest for ever.
        """
        await self.flusher.idle()
        give_up_at = self.clock.now() + patience
        while self._far_behind() and self.clock.now() < give_up_at:
            await asyncio.sleep(0.005)
            await self.flusher.idle()

    def _far_behind(self) -> bool:
        half = self.delivery.lane_capacity // 2
        return any(
            lane.lossless and len(lane.waiting) > half
            for connection in self.connections.values()
            if connection.outbox.lanes
            for lane in connection.outbox.lanes.values()
        )

    def monotonic(self, at_ms: int) -> float:
        """Monotonic seconds of a moment given in epoch milliseconds."""
        return self.clock.now() + (at_ms - self.clock.wall_ms()) / 1000


def _room_of(frame: Frame) -> str:
    """Who hears a frame that is not a price: those who watch its symbol, or listen to its channel."""
    if frame.symbol:
        return rooms.symbol_room(frame.symbol)
    return rooms.channel_room(keys.subject(frame.key or ""))


async def _reject_event_command(_who: Principal, _command: EventCommand) -> EventReply:
    raise UnavailableError("there are no event streams here")


def _reject_work_command(_connection: Connection, _command: WorkCommand) -> WorkReply:
    raise UnavailableError("there is no work of groups here")


def _ignore_connection(_connection: Connection) -> None:
    """Nobody asked to be told."""


def _unchanged(_connection: Connection, _before: Principal) -> Sequence[str]:
    """Nothing ends."""
    return ()


async def _guarded(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001  # the task group must not end the process over one client's call
        log.warning("client_call_failed", error=repr(error))
