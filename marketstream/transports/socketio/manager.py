"""Map python-socketio's rooms to the hub.

Rooms are the hub's: `emit` to a room is one loop that puts one shared frame into outboxes, whatever the
number of clients, and a back end's event reaches the members of a room on every edge. With a relay it also
reaches those of every other process, and what stock managers elsewhere say reaches the clients here.
Callbacks stay in one process: only clients of this one can be asked for an answer.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import uuid4

import socketio
import structlog

from marketstream.core.delivery import rooms
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.node import Node
from marketstream.errors import InvalidMessageError
from marketstream.ports import Relay
from marketstream.transports.socketio.socket import EngineSocket
from marketstream.wire import messages as events
from marketstream.wire import relay as relays
from marketstream.wire import socketio as wire

log = structlog.get_logger(__name__)

ALL = None


class HubManager(socketio.AsyncManager):  # type: ignore[misc]  # python-socketio ships no types
    """See the module.

    Args:
        node: The engine.

    Attributes:
        members: Admitted sockets by public id.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._host = uuid4().hex
        self._relay: Relay | None = None
        self.members: dict[str, EngineSocket] = {}
        self._by_engine: dict[str, str] = {}
        self._node = node

    def add(self, socket: EngineSocket) -> None:
        """Make an admitted socket known."""
        self.members[socket.connection.id] = socket
        self._by_engine[socket.sid] = socket.connection.id

    def remove(self, socket: EngineSocket) -> None:
        """Forget a socket."""
        self.members.pop(socket.connection.id, None)
        self._by_engine.pop(socket.sid, None)
        self.callbacks.pop(socket.connection.id, None)

    # Who is there

    def get_namespaces(self) -> list[str]:
        """Return the one namespace."""
        return [wire.NAMESPACE]

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Return whether a client is admitted."""
        return namespace == wire.NAMESPACE and sid in self.members

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """Return the public id of an Engine.IO session."""
        return self._by_engine.get(eio_sid) if namespace == wire.NAMESPACE else None

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """Engine.IO session of a public id."""
        socket = self.members.get(sid) if namespace == wire.NAMESPACE else None
        return socket.sid if socket else None

    def get_participants(self, namespace: str, room: str | list[str] | None) -> Iterator[tuple[str, str]]:
        """Yield the public and Engine.IO ids of the Socket.IO members of a room; None means everybody."""
        if namespace != wire.NAMESPACE:
            return
        for connection in self._connections(room):
            socket = self.members.get(connection.id)
            if socket is not None:
                yield connection.id, socket.sid

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        """Return the names of the rooms a client is in."""
        socket = self.members.get(sid) if namespace == wire.NAMESPACE else None
        return self._node.hub.rooms_of(socket.connection.outbox) if socket else []

    # Membership

    async def enter_room(self, sid: str, namespace: str, room: str, eio_sid: str | None = None) -> None:  # noqa: ARG002  # python-socketio's signature
        """Make a client a member of a room of the application's own."""
        socket = self.members.get(sid)
        if socket is not None and namespace == wire.NAMESPACE:
            self._node.enter(socket.connection, room)
        elif not self._tell("enter_room", namespace, sid=sid, room=room):
            raise ValueError("sid is not connected to requested namespace")

    async def leave_room(self, sid: str, namespace: str, room: str) -> None:
        """End such a membership."""
        socket = self.members.get(sid)
        if socket is not None and namespace == wire.NAMESPACE:
            self._node.exit(socket.connection, room)
        else:
            self._tell("leave_room", namespace, sid=sid, room=room)

    async def close_room(self, room: str, namespace: str) -> None:
        """End all memberships of a room."""
        self._empty(room, namespace)
        self._tell("close_room", namespace, room=room)

    def _empty(self, room: str, namespace: str) -> None:
        for sid, _ in list(self.get_participants(namespace, room)):
            self._node.exit(self.members[sid].connection, room)

    async def can_disconnect(self, sid: str, namespace: str) -> bool:
        """Return whether a client is here to be disconnected.

        One that is elsewhere is, by its own process.
        """
        if self.is_connected(sid, namespace):
            return True
        self._tell("disconnect", namespace, sid=sid)
        return False

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """Return the Engine.IO session of a client that is about to be disconnected."""
        return self.eio_sid_from_sid(sid, namespace)

    async def disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:  # noqa: ANN401, ARG002  # python-socketio's signature
        """End a client's stay in the namespace after `sio.disconnect` has told it so."""
        socket = self.members.get(sid)
        if socket is not None and namespace == wire.NAMESPACE:
            await socket.close()

    # Sending

    async def emit(
        self,
        event: str,
        data: Any,  # noqa: ANN401  # an event's payload is of any shape
        namespace: str,
        room: str | list[str] | None = None,
        skip_sid: str | list[str] | None = None,
        callback: Any = None,  # noqa: ANN401  # python-socketio's signature
        to: str | list[str] | None = None,
        **kwargs: Any,  # noqa: ANN401, ARG002  # python-socketio's signature
    ) -> None:
        """Give an event to a client, a room, several rooms, or everybody.

        A `price` event to a symbol's room is conflated like any price; every other event is delivered
        in order and never replaced.

        Raises:
            InvalidMessageError: The payload has no form in JSON.
        """
        if namespace != wire.NAMESPACE:
            return
        target = to or room
        skipped = {skip_sid} if isinstance(skip_sid, str) else set(skip_sid or ())
        if callback is not None:
            self._call(event, data, target, skipped, callback)
            return
        arguments = _arguments(data)
        self._emit_here(target, event, arguments, skipped)
        if not isinstance(target, str) or target not in self.members:
            self._tell(
                "emit",
                namespace,
                event=event,
                arguments=tuple(arguments),
                room=target,
                skip=frozenset(skipped),
            )

    def _emit_here(
        self, target: str | list[str] | None, event: str, arguments: list[Any], skipped: set[str]
    ) -> None:
        if target is None or isinstance(target, str):
            self._emit(target, self._frame(event, arguments, target), skipped)
            return
        frame = events.custom(event, arguments)
        for connection in self._connections(target):
            # Once, in however many of the rooms a client is.
            if connection.id not in skipped:
                self._node.send(connection, frame)
        self._node.settle()

    # Other processes

    def relay_through(self, relay: Relay) -> None:
        """Speaks to other processes, and listens to them, from now on."""
        self._relay = relay
        relay.listen(self.receive)

    def _tell(self, method: str, namespace: str, **about: Any) -> bool:  # noqa: ANN401  # fields of a message
        """Tell every other process; False when there is none to tell."""
        if self._relay is None or namespace != wire.NAMESPACE:
            return False
        message = relays.Message(method=method, host=self._host, namespace=namespace, **about)
        self._relay.send(relays.render(message))
        return True

    def receive(self, data: bytes) -> None:
        """Do what another process says; what cannot be done is logged."""
        try:
            message = relays.parse(data)
            if message.namespace == wire.NAMESPACE and message.host != self._host:
                self._obey(message)
        except InvalidMessageError as error:
            log.warning("relay_message_refused", error=str(error))

    def _obey(self, message: relays.Message) -> None:
        socket = self.members.get(message.sid)
        match message.method:
            case "emit":
                self._emit_here(message.room, message.event, list(message.arguments), set(message.skip))
            case "close_room" if isinstance(message.room, str):
                self._empty(message.room, message.namespace)
            case "disconnect" if socket is not None:
                self._node.wait_for(
                    self.server.disconnect(message.sid, namespace=message.namespace, ignore_queue=True)
                )
            case "enter_room" if socket is not None and isinstance(message.room, str):
                self._node.enter(socket.connection, message.room)
            case "leave_room" if socket is not None and isinstance(message.room, str):
                self._node.exit(socket.connection, message.room)

    def _frame(self, event: str, arguments: list[Any], room: str | None) -> Frame:
        symbol = rooms.symbol_of(room) if room is not None else None
        return events.custom(event, arguments, key=symbol if event == "price" else None)

    def _emit(self, room: str | None, frame: Frame, skipped: set[str]) -> None:
        skip = frozenset(self.members[sid].connection for sid in skipped if sid in self.members)
        if room is ALL:
            for socket in list(self.members.values()):
                if socket.connection not in skip:
                    socket.push(frame)
            self._node.settle()
        elif room in self.members:
            self.members[room].push(frame)
            self._node.settle()
        else:
            self._node.emit(room, frame, skip)

    def _call(
        self,
        event: str,
        data: Any,  # noqa: ANN401  # as above
        room: str | list[str] | None,
        skipped: set[str],
        callback: Any,  # noqa: ANN401  # as above
    ) -> None:
        frame = events.custom(event, _arguments(data))
        for connection in self._connections(room):
            socket = self.members.get(connection.id)
            if socket is not None and connection.id not in skipped:
                socket.push(wire.call(self._generate_ack_id(connection.id, callback), frame))
        self._node.settle()

    def _connections(self, room: str | list[str] | None) -> Iterable[Connection]:
        if room is ALL:
            return [socket.connection for socket in self.members.values()]
        names = [room] if isinstance(room, str) else room
        found: dict[Connection, None] = {}
        for name in names:
            if name in self.members:
                found[self.members[name].connection] = None
            found.update((outbox.owner, None) for outbox in self._node.hub.members(name))
        return found


def _arguments(data: Any) -> list[Any]:  # noqa: ANN401  # an event's payload is of any shape
    return list(data) if isinstance(data, tuple) else [] if data is None else [data]
