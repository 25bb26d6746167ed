"""Serve the namespace `/market-data`: handshake, calls, acknowledgements.

A client that is refused, or not verified yet, is in no room and receives no event. An event's name is
looked up in a list of what exists, so no name reaches a handler that was not meant for clients.
"""

from dataclasses import replace
from sys import getsizeof

import socketio

from marketstream.core.delivery.closing import CLIENT_LEFT, INVALID_MESSAGE, REFUSED, CloseReason
from marketstream.core.delivery.commands import Command, Reply
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.execution import Execution
from marketstream.engine.eager import settled
from marketstream.errors import InvalidMessageError, MarketstreamError
from marketstream.transports.address import AddressReader
from marketstream.transports.credentials import Credentials
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.socketio.engine import EngineServer
from marketstream.transports.socketio.manager import HubManager
from marketstream.transports.socketio.socket import EngineSocket
from marketstream.wire import messages, request
from marketstream.wire import socketio as wire
from marketstream.wire.socketio import Packet


class MarketServer(socketio.AsyncServer):  # type: ignore[misc]  # python-socketio ships no types
    """python-socketio's server on this project's engine and hub.

    `emit`, `call`, `disconnect`, `rooms`, `enter_room`, `leave_room` and sessions work as documented there.
    """

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer


class MarketData:
    """Reads the packets of clients and answers them."""

    def __init__(self, *, execution: Execution, manager: HubManager) -> None:
        self._node = execution.node
        self._execution = execution
        self._manager = manager

    def on_message(self, socket: EngineSocket, text: str) -> None:
        """See `Edge.on_message`."""
        connection = socket.connection
        if connection.session is None and not connection.busy and not text.startswith(wire.CONNECT):
            self._node.close(connection, INVALID_MESSAGE)
        else:
            self._node.submit(connection, lambda: self._handle(socket, text), getsizeof(text))

    def on_lost(self, socket: EngineSocket, reason: CloseReason) -> None:  # noqa: ARG002  # the node logs the reason
        """See `Edge.on_lost`."""
        self._manager.remove(socket)

    async def _handle(self, socket: EngineSocket, text: str) -> None:
        """Read a packet when it is its turn: until then it takes no more room than it came with."""
        connection = socket.connection
        try:
            packet = wire.parse(text)
        except InvalidMessageError as error:
            if connection.session is None:
                self._node.close(connection, INVALID_MESSAGE)
            else:
                self._complain(socket, error)
            return
        if packet.kind == "connect":
            await self._connect(socket, packet)
        elif connection.session is None:
            self._node.close(connection, REFUSED)
        elif packet.kind == "event" and packet.namespace == wire.NAMESPACE:
            await self._call(socket, packet)
        elif packet.kind == "ack" and packet.namespace == wire.NAMESPACE:
            await self._acknowledged(socket, packet)
        else:
            self._dispatch(socket, packet)

    # Handshake

    async def _connect(self, socket: EngineSocket, packet: Packet) -> None:
        connection = socket.connection
        if packet.namespace != wire.NAMESPACE:
            self._answer_connect(
                socket, wire.connect_error(packet.namespace, "Invalid namespace", "INVALID_NAMESPACE")
            )
            return
        if connection.session is not None:
            self._complain(socket, InvalidMessageError("the namespace was entered before"))
            return
        try:
            said = packet.read()
            given = said.get("token") if isinstance(said, dict) else None
            principal = await settled(self._node.verify(Credentials.first(given, socket.token)))
            if not connection.closed:
                await self._node.admit(connection, principal)
        except MarketstreamError as error:
            self._refuse(socket, error)
        else:
            if not connection.closed:
                self._welcome(socket, principal)

    def _welcome(self, socket: EngineSocket, principal: Principal) -> None:
        connection = socket.connection
        self._manager.add(socket)
        socket.token = None
        socket.push(wire.connect(connection.id))
        socket.push(
            messages.connected(
                connection.id, self._node.clock.wall_ms(), principal.expires_at_ms, principal.plan
            )
        )
        self._node.settle()

    def _refuse(self, socket: EngineSocket, error: MarketstreamError) -> None:
        self._node.refuse(error.code)
        text = str(error) if error.public else "internal error"
        self._answer_connect(socket, wire.connect_error(wire.NAMESPACE, text, error.code))

    def _answer_connect(self, socket: EngineSocket, frame: Frame) -> None:
        socket.push(frame)
        self._node.settle()

    # Calls

    def _dispatch(self, socket: EngineSocket, packet: Packet) -> None:
        """Take what needs no answer, or only that it is wrong."""
        match packet.kind:
            case _ if packet.namespace != wire.NAMESPACE:
                error = InvalidMessageError(f"there is only the namespace {wire.NAMESPACE}")
                if packet.kind == "event":
                    self._answer(socket, packet, error)
                else:
                    self._complain(socket, error)
            case "disconnect":
                self._node.close(socket.connection, CLIENT_LEFT)
            case "binary event":
                self._answer(socket, packet, InvalidMessageError("binary attachments are not taken"))
            case _:
                self._complain(socket, InvalidMessageError(f"a client does not send {packet.kind}"))

    async def _call(self, socket: EngineSocket, packet: Packet) -> None:
        try:
            name, *arguments = packet.read() or [None]
            command: Command = request.parse(name, arguments)
        except MarketstreamError as error:
            self._node.stats.commands[error.code] += 1
            self._answer(socket, packet, error)
            return
        # While the call waits its payload does not.
        head = replace(packet, body="")
        await self._execution.execute(
            socket.connection, command, lambda reply: self._answer(socket, head, reply)
        )

    def _answer(self, socket: EngineSocket, packet: Packet, reply: Reply | MarketstreamError) -> None:
        if packet.ack is not None:
            body = wire.render_error(reply) if isinstance(reply, MarketstreamError) else wire.render(reply)
            socket.push(wire.acknowledge(packet.ack, body, packet.namespace))
            self._node.settle()
        elif isinstance(reply, MarketstreamError):
            self._complain(socket, reply)

    def _complain(self, socket: EngineSocket, error: MarketstreamError) -> None:
        socket.push(messages.error(error.code, str(error) if error.public else "internal error"))
        self._node.settle()

    async def _acknowledged(self, socket: EngineSocket, packet: Packet) -> None:
        try:
            answer = packet.read()
        except InvalidMessageError as error:
            self._complain(socket, error)
            return
        if packet.ack is not None:
            await settled(self._manager.trigger_callback(socket.connection.id, packet.ack, answer))


def build_socketio(
    *,
    execution: Execution,
    credentials: Credentials,
    origins: OriginPolicy,
    addresses: AddressReader,
    ping_interval: float = 25,
    ping_timeout: float = 20,
    max_payload: int = 262_144,
    lowat: int = 16_384,
) -> MarketServer:
    """Return the Socket.IO server, ready to be attached to an aiohttp application.

    Args:
        execution: The engine, and what carries out the calls of its clients.
        credentials: Where tokens are found.
        origins: Which web pages may connect.
        addresses: Where clients are.
        ping_interval: Seconds between two pings.
        ping_timeout: Seconds a client may take to notice that they stopped.
        max_payload: Bytes a message of a client may have.
        lowat: Bytes the kernel may hold unsent per client.
    """
    node = execution.node
    manager = HubManager(node)
    server = MarketServer(
        async_mode="aiohttp",
        client_manager=manager,
        # Events never go through python-socketio's handlers; without it `call` refuses to work.
        async_handlers=True,
        namespaces=[wire.NAMESPACE],
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        monitor_clients=False,
    )
    edge = MarketData(execution=execution, manager=manager)
    server.eio.use(
        node=node,
        edge=edge,
        credentials=credentials,
        origins=origins,
        addresses=addresses,
        max_payload=max_payload,
        lowat=lowat,
        draining=lambda: node.draining,
    )
    return server
