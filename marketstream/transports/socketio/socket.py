"""One client of Engine.IO, whatever its transport: what python-socketio calls a socket."""

from typing import TYPE_CHECKING, Any

from marketstream.core.delivery import closing
from marketstream.core.delivery.bucket import MessageRate
from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.connection import Connection

if TYPE_CHECKING:
    from marketstream.transports.socketio.engine import EngineServer


class EngineSocket:
    """One Engine.IO client.

    Attributes:
        sid: Engine.IO's session id: a secret between server and client, unlike `connection.id`.
        token: What the request it began with says of its client, until that is let in. Of the request nothing
            else is kept: it may be large, and anybody can make one.
        connection: The engine's side of it.
        closed: True once it is gone (python-engineio asks for it).
        upgraded: True once it is on a websocket.
        probing: True while a websocket is being tried beside the polls.
        posting: True while the body of a request is read.
    """

    __slots__ = (
        "_rate",
        "_server",
        "_sessions",
        "closed",
        "connection",
        "posting",
        "probing",
        "sid",
        "token",
        "upgraded",
    )

    def __init__(self, server: "EngineServer", sid: str, token: str | None) -> None:
        self.sid = sid
        self.token = token
        self.connection: Connection
        self.closed = False
        self.upgraded = False
        self.probing = False
        self.posting = False
        self._server = server
        # Made by the first POST: on a websocket, where most clients are, it is the stream that counts.
        self._rate: MessageRate | None = None
        self._sessions: dict[str, Any] | None = None

    @property
    def session(self) -> dict[str, Any]:
        """The application's own notes on the client, as python-socketio offers them."""
        if self._sessions is None:
            self._sessions = {}
        return self._sessions

    @session.setter
    def session(self, value: dict[str, Any]) -> None:
        self._sessions = value

    def push(self, frame: Frame) -> None:
        """Put a packet behind what waits for this client; one that is gone gets none."""
        if not self.connection.closed:
            self._server.node.hub.send(self.connection.outbox, frame)

    async def send(self, pkt: Any) -> None:  # noqa: ANN401  # engine.io's Packet
        """Send a packet of python-engineio's; part of its face."""
        data = pkt.encode()
        if isinstance(data, bytes):
            raise TypeError("binary packets are not part of this server's protocol")
        self.push(Frame("", data.encode()))
        self._server.node.settle()

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:  # noqa: ARG002, FBT001, FBT002  # python-engineio's signature
        """End the transport; part of python-engineio's face."""
        self._server.node.close(self.connection, closing.DISCONNECTED)

    def floods(self) -> bool:
        """Count a packet that came by a POST; a websocket counts its frames itself."""
        node = self._server.node
        if self._rate is None:
            self._rate = MessageRate(node.delivery.max_messages)
        return self._rate.exceeded(node.clock.now())

    def receive(self, packet: str) -> bool:
        """Take one Engine.IO packet of the client; what is none ends it.

        Returns:
            Whether it was one.
        """
        node = self._server.node
        match packet[:1]:
            case "4":
                self._server.edge.on_message(self, packet[1:])
            case "3" | "6":
                pass
            case "2":
                node.hub.send_first(
                    self.connection.outbox, "engine pong", Frame("", b"3" + packet[1:].encode())
                )
                node.settle()
            case "1":
                node.leave(self.connection, closing.CLIENT_LEFT)
                self.connection.sink.close(closing.CLIENT_LEFT)
            case _:
                node.close(self.connection, closing.INVALID_MESSAGE)
                return False
        return True

    def gone(self, reason: CloseReason = closing.CLIENT_LEFT) -> None:
        """End: the transport is gone."""
        if self.closed:
            return
        self.closed = True
        self.token = None
        self._server.forget(self)
        self._server.edge.on_lost(self, reason)
        self._server.node.leave(self.connection, reason)
