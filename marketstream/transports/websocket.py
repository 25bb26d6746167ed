"""WebSocket on a connection taken over from the HTTP server: messages in, ready frames out."""

from abc import abstractmethod

from aiohttp import web

from marketstream.core.closing import CloseReason
from marketstream.engine.node import Node
from marketstream.transports.stream import NOTSENT_LOWAT, Stream, TakenOver, response_head, take_over
from marketstream.wire import websocket
from marketstream.wire.websocket import Decoder, FrameError, Message

VERSION = "13"
KEY_LENGTH = 24
"""Characters of 16 bytes in base64."""


class WebSocketStream(Stream):
    """A stream that speaks WebSocket.

    Args:
        node: The engine.
        limit: Bytes a message of the client may have.
    """

    __slots__ = ("_decoder",)

    def __init__(self, node: Node, limit: int) -> None:
        super().__init__(node)
        self._decoder = Decoder(limit)

    # What an edge adds

    @abstractmethod
    def message(self, message: Message) -> None:
        """A text or binary message came in."""

    @abstractmethod
    def fault(self, reason: CloseReason) -> None:
        """The client broke the protocol: the edge closes."""

    # What an edge uses

    def close(self, reason: CloseReason) -> None:
        """Says why and ends."""
        if not self.stuck:
            self.write(websocket.encode_close(reason))
        self.end()

    def received(self, data: bytes) -> None:
        """The client sent something."""
        try:
            messages = self._decoder.feed(data)
        except FrameError as error:
            self.fault(error.reason)
            return
        for message in messages:
            if self._closing:
                return
            match message.kind:
                case "ping":
                    # Who reads no answers gets none: they would pile up in the transport.
                    if self.writable:
                        self.write(websocket.encode(message.data, websocket.PONG))
                case "pong":
                    pass
                case "close":
                    self.write(websocket.encode(message.data[:2], websocket.CLOSE))
                    self.end()
                case _:
                    self.message(message)


def is_upgrade(request: web.Request) -> bool:
    """Whether a request asks for a websocket."""
    return "websocket" in request.headers.get("Upgrade", "").lower()


def require_handshake(request: web.Request) -> None:
    """Checks that a request opens a websocket.

    Raises:
        web.HTTPBadRequest: It does not; the text says why.
    """
    key = request.headers.get("Sec-WebSocket-Key", "")
    if request.method != "GET" or not is_upgrade(request) or len(key) != KEY_LENGTH:
        raise web.HTTPBadRequest(text="not a WebSocket handshake")
    if request.headers.get("Sec-WebSocket-Version") != VERSION:
        text = f"WebSocket version {VERSION} is spoken here"
        raise web.HTTPBadRequest(text=text, headers={"Sec-WebSocket-Version": VERSION})


def accept(
    request: web.Request,
    stream: WebSocketStream,
    headers: list[tuple[str, str]] | None = None,
    *,
    lowat: int = NOTSENT_LOWAT,
) -> TakenOver:
    """Completes the opening handshake.

    Raises:
        web.HTTPBadRequest: As `require_handshake`.
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
