"""Write to a client's websocket under Engine.IO."""

import asyncio
from typing import TYPE_CHECKING

from marketstream.core.delivery import closing
from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.frame import Frame
from marketstream.transports.websocket import WebSocketStream
from marketstream.wire import socketio as wire
from marketstream.wire.dialect import Dialect
from marketstream.wire.websocket import Message

if TYPE_CHECKING:
    from marketstream.transports.socketio.engine import EngineServer
    from marketstream.transports.socketio.socket import EngineSocket


class EngineStream(WebSocketStream):
    """A client's websocket, and its sink.

    A websocket that is only being tried beside the polls of its session is not the sink yet.

    Attributes:
        deadline: Ends that; None where the session began on the websocket.

    Args:
        server: The server.
        socket: The client.
    """

    dialect: Dialect = wire.WEBSOCKET
    keepalive: Frame | None = wire.PING
    snapshots = True
    __slots__ = ("_server", "_socket", "deadline", "keepalive_interval")

    def __init__(self, server: "EngineServer", socket: "EngineSocket") -> None:
        super().__init__(server.node, server.max_payload)
        self.keepalive_interval: float = server.ping_interval
        self.deadline: asyncio.TimerHandle | None = None
        self._server = server
        self._socket = socket

    def received(self, data: bytes) -> None:
        """Handle bytes of the client."""
        self._decoder.limit = self._server.limit_of(self.connection)
        super().received(data)

    def message(self, message: Message) -> None:
        """One packet, or an attachment of an event that was refused when its text part came."""
        if self.connection.sink is not self:
            self._server.probe(self, self._socket, message)
        elif message.kind == "text":
            self._socket.receive(message.data.decode())
        else:
            self._socket.receive(wire.NOOP.body.decode())

    def fault(self, reason: CloseReason) -> None:
        """Close the connection of a client that broke the protocol."""
        if self.connection.sink is self:
            self.node.close(self.connection, reason)
        else:
            self.close(reason)

    def close(self, reason: CloseReason) -> None:
        """Say why and end; in a drain just end.

        OkHttp, which Java's Socket.IO client stands on, reads nothing more after a close frame and does not
        tell its user before the ping time-out: such a client would be deaf for 45 s instead of coming back.
        """
        if reason is closing.DRAIN:
            self.end()
        else:
            super().close(reason)

    def lost(self) -> None:
        """Handle the end of the websocket: unless it was on trial, the client is gone too."""
        if self.connection.sink is self:
            self._socket.gone()
        else:
            self._socket.probing = False
            if self.deadline is not None:
                # It would keep the session alive.
                self.deadline.cancel()
