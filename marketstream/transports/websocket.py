"""WebSocket on a connection taken over from the HTTP server: messages in, ready frames out."""

from collections.abc import Callable

from aiohttp import web

from marketstream.core.closing import CloseReason
from marketstream.transports.stream import NOTSENT_LOWAT, Stream, TakenOver, response_head, take_over
from marketstream.wire import websocket
from marketstream.wire.websocket import Decoder, FrameError, Message

VERSION = "13"


class WebSocketStream(Stream):
    """A stream that speaks WebSocket.

    Args:
        limit: Bytes a message of the client may have.

    Attributes:
        on_message: Called with each text or binary message.
        on_fault: Called when the client breaks the protocol; the callee closes.
        heard: Called with everything the client sends, pongs too, before it is looked at.
    """

    __slots__ = ("_decoder", "heard", "on_fault", "on_message")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._decoder = Decoder(limit)
        self.on_message: Callable[[Message], None] = _ignore_message
        self.on_fault: Callable[[CloseReason], None] = self.close
        self.heard: Callable[[], None] = _nothing
        self.on_data = self._feed

    def close(self, reason: CloseReason) -> None:
        """Says why and ends."""
        if self.writable:
            self.write(websocket.encode_close(reason))
        self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.on_message = _ignore_message
        self.heard = _nothing
        self.on_fault = _ignore_reason
        super().connection_lost(exc)

    def _feed(self, data: bytes) -> None:
        self.heard()
        try:
            messages = self._decoder.feed(data)
        except FrameError as error:
            self.on_fault(error.reason)
            return
        for message in messages:
            if self._closing:
                return
            match message.kind:
                case "ping":
                    self.write(websocket.encode(message.data, websocket.PONG))
                case "pong":
                    pass
                case "close":
                    self._answer_close(message.data)
                case _:
                    self.on_message(message)

    def _answer_close(self, data: bytes) -> None:
        self.write(websocket.encode(data[:2], websocket.CLOSE))
        self.end()


def is_upgrade(request: web.Request) -> bool:
    """Whether a request asks for a websocket."""
    return "websocket" in request.headers.get("Upgrade", "").lower()


def accept(
    request: web.Request,
    stream: WebSocketStream,
    headers: list[tuple[str, str]] | None = None,
    *,
    lowat: int = NOTSENT_LOWAT,
) -> TakenOver:
    """Completes the opening handshake.

    Raises:
        web.HTTPBadRequest: It is not a proper one; the text says why.
    """
    key = request.headers.get("Sec-WebSocket-Key", "")
    if request.method != "GET" or not is_upgrade(request) or len(key) != 24:  # noqa: PLR2004  # 16 bytes in base64
        raise web.HTTPBadRequest(text="not a WebSocket handshake")
    if request.headers.get("Sec-WebSocket-Version") != VERSION:
        raise web.HTTPBadRequest(
            text="WebSocket version 13 is spoken here", headers={"Sec-WebSocket-Version": VERSION}
        )
    head = response_head(
        "101 Switching Protocols",
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", websocket.accept_key(key)),
            *(headers or ()),
        ],
    )
    return take_over(request, stream, head, lowat=lowat)


def _ignore_message(_message: Message) -> None:
    pass


def _ignore_reason(_reason: CloseReason) -> None:
    pass


def _nothing() -> None:
    pass
