"""Open, admit and close connections, and hand frames to rooms.

What a client may have is decided by its session.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol

import structlog

from marketstream.core.delivery import closing, rooms
from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.commands import Subscribe, Subscribed
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.outbox import CONTROL_BYTES
from marketstream.core.delivery.session import Session
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.delivery.connection import Call, Connection, Sink
from marketstream.engine.delivery.connection_limits import LocalConnectionLimits
from marketstream.engine.delivery.fanout import Fanout
from marketstream.engine.delivery.terms import Delivery
from marketstream.engine.delivery.unadmitted import MAX_MESSAGE_BYTES, MAX_MESSAGES, MAX_WAITING, Unadmitted
from marketstream.engine.delivery.waiting import Waiting
from marketstream.engine.eager import settled
from marketstream.engine.stats import Stats
from marketstream.ports import Bus, Clock, ConnectionLimits, Verifier

log = structlog.get_logger(__name__)


class ConnectionListener(Protocol):
    """Hears what becomes of connections that were let in; none of it may raise."""

    def admitted(self, connection: Connection) -> None:
        """Note that a connection was let in."""
        ...

    def renewed(self, connection: Connection, before: Principal) -> Sequence[str]:
        """Note that a connection goes on under a newer token.

        Args:
            connection: The connection.
            before: Whom it belonged to by the token before.

        Returns:
            A sentence about each thing that ended by it.
        """
        ...

    def left(self, connection: Connection) -> None:
        """Note that a connection ended."""
        ...


class _IgnoreConnections:
    """Listens to nothing."""

    def admitted(self, connection: Connection) -> None:
        """See `ConnectionListener`."""

    def renewed(self, connection: Connection, before: Principal) -> Sequence[str]:  # noqa: ARG002  # nothing ends
        """See `ConnectionListener`."""
        return ()

    def left(self, connection: Connection) -> None:
        """See `ConnectionListener`."""


class Node:
    """See the module.

    Attributes:
        clock: Time.
        delivery: How connections are treated.
        stats: The counters.
        registry: The symbols that are served.
        limits: How many connections users may have.
        fanout: Where frames come from.
        hub: Its rooms.
        flusher: Writes to their members.
        interest: What feeds should subscribe to.
        connections: Every open connection by id, admitted or not.
        unadmitted: Those of them that are not.
        waiting: What all calls, tokens and bodies take that wait for something.
        listener: Hears what becomes of connections; named by the root when there is one.
        spawn: Starts a task in the process's task group; set when there is one.
        ending: Transports that have said their last words, while their clients have not hung up.
        draining: True once the process is going down: nobody is admitted any more.
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
        self.limits: ConnectionLimits = LocalConnectionLimits() if limits is None else limits
        self.fanout = Fanout(bus=bus, clock=clock, stats=stats, delivery=delivery, on_dead=self._dead)
        self.hub, self.flusher = self.fanout.hub, self.fanout.flusher
        self.interest = self.fanout.interest
        self.connections: dict[str, Connection] = {}
        self.unadmitted = Unadmitted(delivery.max_unadmitted)
        self.waiting = Waiting(delivery.max_waiting_bytes, clock)
        self.listener: ConnectionListener = _IgnoreConnections()
        self.spawn: Callable[[Coroutine[None, None, None]], object] = asyncio.ensure_future
        self.ending: set[object] = set()
        self.draining = False
        self._verifier = verifier
        self.registry = registry

    # Connections

    def open(self, ident: str, transport: str, sink: Sink, address: str = "") -> Connection:
        """Register a new connection that is not admitted yet; where many are, another one has to go."""
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

    async def admit(self, connection: Connection, principal: Principal) -> None:
        """Make a verified client a member of its tenant; may be run by `eager.start`.

        The connection may have been closed while others were asked: then it is none.

        Raises:
            ConnectionLimitError: The user holds as many connections as the plan allows.
        """
        limit = principal.plan.max_connections
        if limit:
            await settled(self.limits.acquire(principal.tenant, principal.user, limit))
        if not connection.closed:
            self._let_in(connection, principal)
        elif limit:
            self.limits.release(principal.tenant, principal.user)

    def _let_in(self, connection: Connection, principal: Principal) -> None:
        self.unadmitted.remove(connection)
        connection.outbox.control_capacity = self.delivery.control_capacity
        connection.outbox.control_limit = CONTROL_BYTES
        connection.call_bytes = self.delivery.waiting_bytes
        connection.placed = principal.plan.max_connections > 0
        connection.session = Session(principal, self.registry)
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
        self.listener.admitted(connection)

    def preview(self, principal: Principal, command: Subscribe) -> Subscribed:
        """Return what a subscription would come to if it were the first of a client; change nothing."""
        reply, _ = Session(principal, self.registry).handle(command, self.clock.now(), 0)
        assert isinstance(reply, Subscribed)  # noqa: S101  # what a Subscribe is answered with
        return reply

    def refuse(self, code: str) -> None:
        """Count a handshake that was refused."""
        self.stats.refused[code] += 1

    def moved(self, connection: Connection, transport: str, sink: Sink) -> None:
        """Go on with a connection on another transport; what waits goes out there."""
        if connection.session is not None:
            self.stats.connections[connection.transport] -= 1
            self.stats.connections[transport] += 1
        connection.transport = transport
        connection.sink = sink
        self.resume(connection)

    def close(self, connection: Connection, reason: CloseReason, *farewell: Frame) -> None:
        """End a connection from this side, after what waits for it and a last word."""
        if connection.closed:
            return
        for frame in farewell:
            connection.outbox.push(frame)
        self.flusher.finish(connection)
        self.leave(connection, reason)
        connection.sink.close(reason)

    def leave(self, connection: Connection, reason: CloseReason) -> None:
        """Forget a connection that is gone or about to be; calling it again changes nothing."""
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
        self.listener.left(connection)
        self.stats.discarded += outbox.replaceable() + outbox.missed()
        outbox.clear()
        if connection.placed:
            self.limits.release(principal.tenant, principal.user)
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
        """Make a client a member of a room of a back end's own."""
        connection.rooms = (*(r for r in connection.rooms if r != room), room)
        self.hub.join(room, connection.outbox)

    def exit(self, connection: Connection, room: str) -> None:
        """End such a membership."""
        connection.rooms = tuple(r for r in connection.rooms if r != room)
        self.hub.leave(room, connection.outbox)

    def pause(self, connection: Connection) -> None:
        """Note that a client stopped taking what was written."""
        connection.blocked_since = self.clock.now()
        connection.blocked_bytes = connection.sink.backlog()

    def resume(self, connection: Connection) -> None:
        """Go on writing to a client that can take something again."""
        connection.blocked_since = None
        if len(connection.outbox):
            self.hub.mark(connection.outbox)
            self.flusher.wake()

    def wait_for(self, work: Coroutine[None, None, None]) -> None:
        """Run what one client's call has to wait for; its failure harms nobody else."""
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

    # Messages

    def emit(self, room: str, frame: Frame, skip: frozenset[Connection] = frozenset()) -> int:
        """Give an event of a back end to everyone in a room.

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
        """Give one client a message of its own; one that is gone gets none."""
        if not connection.closed:
            self.hub.send(connection.outbox, frame)

    def settle(self) -> None:
        """Close clients that had no room for a message, and see to it that the rest is written."""
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

    # Waiting for clients

    async def caught_up(self, patience: float = 5.0) -> None:
        """Return when everything is written and no client in mode `every` is far behind.

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

    def _dead(self, connection: Connection) -> None:
        self.close(connection, closing.CLIENT_LEFT)

    def monotonic(self, at_ms: int) -> float:
        """Return monotonic seconds of a moment given in epoch milliseconds."""
        return self.clock.now() + (at_ms - self.clock.wall_ms()) / 1000


async def _guarded(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001  # the task group must not end the process over one client's call
        log.warning("client_call_failed", error=repr(error))
