"""Speak WebSocket on a connection taken over from aiohttp."""

import re
from abc import abstractmethod

from aiohttp import HttpVersion11, web

from marketstream.core.delivery import closing
from marketstream.core.delivery.bucket import MessageRate
from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.node import Node
from marketstream.transports.stream import NOTSENT_LOWAT, Stream, TakenOver, response_head, take_over
from marketstream.wire import websocket
from marketstream.wire.dialect import Dialect
from marketstream.wire.websocket import Decoder, FrameError, Message

VERSION = "13"
SPOKEN = {"Sec-WebSocket-Version": VERSION, "Upgrade": "websocket"}
"""Headers that tell a client of another version what to come back with."""
_KEY = re.compile("[A-Za-z0-9+/]{21}[AQgw]==")
"""Sixteen bytes in base64."""


class WebSocketStream(Stream):
    """A stream that speaks WebSocket; edges say the rest of what a `Sink` is.

    Args:
        node: The engine.
        limit: Bytes a message of the client may have.
    """

    dialect: Dialect
    keepalive: Frame | None
    keepalive_interval: float
    listens = True
    personal = True
    snapshots: bool
    keeps = False
    __slots__ = ("_decoder", "_rate")

    def __init__(self, node: Node, limit: int) -> None:
        super().__init__(node)
        self._decoder = Decoder(limit)
        self._rate = MessageRate(node.delivery.max_messages)

    # What an edge adds

    @abstractmethod
    def message(self, message: Message) -> None:
        """Handle a text or binary message."""

    @abstractmethod
    def fault(self, reason: CloseReason) -> None:
        """Close the connection of a client that broke the protocol."""

    # What an edge uses

    def close(self, reason: CloseReason) -> None:
        """Say why and end."""
        if not self.stuck:
            self.write(websocket.encode_close(reason))
        self.end()

    def received(self, data: bytes) -> None:
        """Handle bytes of the client."""
        now = self.node.clock.now()
        self.connection.heard_at = now
        try:
            for message in self._decoder.feed(data):
                # Every frame costs about the same to read, whether it is a message or a part of one.
                if self._rate.exceeded(now):
                    self.fault(closing.TOO_MANY_MESSAGES)
                elif message is not None:
                    self._handle(message)
                if self._closing:
                    return
        except FrameError as error:
            self.fault(error.reason)

    def _handle(self, message: Message) -> None:
        match message.kind:
            case "ping":
                self._pong(websocket.encode(message.data, websocket.PONG))
            case "pong":
                pass
            case "close":
                self.write(websocket.encode(message.data[:2], websocket.CLOSE))
                self.end()
            case _:
                self.message(message)

    def _pong(self, pong: bytes) -> None:
        if self.writable:
            self.write(pong)
        elif self.connection.sink is self:
            # Before the prices that wait, and only for the latest ping: more would pile up (RFC 6455, 5.5.3).
            frame = Frame("", pong)
            frame.wrapped[self.dialect] = pong
            self.node.hub.send_first(self.connection.outbox, "websocket pong", frame)


def is_upgrade(request: web.Request) -> bool:
    """Return whether a request asks for a websocket."""
    return "websocket" in _tokens(request, "Upgrade")


def require_handshake(request: web.Request) -> None:
    """Check that a request opens a websocket (RFC 6455, 4.2.1).

    Raises:
        web.HTTPBadRequest: It does not; the text says why.
        web.HTTPUpgradeRequired: It does, in a version that is not spoken here.
    """
    if request.method != "GET" or request.version < HttpVersion11:
        raise web.HTTPBadRequest(text="a WebSocket is opened by a GET of HTTP/1.1")
    if not is_upgrade(request) or "upgrade" not in _tokens(request, "Connection"):
        raise web.HTTPBadRequest(text="not a WebSocket handshake")
    if request.headers.get("Sec-WebSocket-Version") != VERSION:
        text = f"WebSocket version {VERSION} is spoken here"
        raise web.HTTPUpgradeRequired(text=text, headers=SPOKEN)
    if not _KEY.fullmatch(request.headers.get("Sec-WebSocket-Key", "")):
        raise web.HTTPBadRequest(text="Sec-WebSocket-Key is not the base64 of 16 bytes")


def _tokens(request: web.Request, header: str) -> list[str]:
    """Return the members of a header that is a list of words, in lower case."""
    return [word.strip().lower() for value in request.headers.getall(header, ()) for word in value.split(",")]


def accept(
    request: web.Request,
    stream: WebSocketStream,
    headers: list[tuple[str, str]] | None = None,
    *,
    lowat: int = NOTSENT_LOWAT,
) -> TakenOver:
    """Complete the opening handshake.

    Raises:
        web.HTTPException: As `require_handshake`.
    """
    require_handshake(request)
    head = response_head(
        "101 Switching Protocols",
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", websocket.accept_key(request.headers["Sec-WebSocket-Key"])),
            *(headers or ()),
        ],
    )
    return take_over(request, stream, head, lowat=lowat)
