"""Write to a connection taken over from aiohttp, with backpressure.

aiohttp parses the request; once it is known to become a stream of ours, its protocol object, parser and
tasks are released and this one takes their place on the same transport. That saves some ten kilobytes
and two tasks for every client that then does nothing but listen. Everything that knows about aiohttp's
insides in this respect is in `take_over`.
"""

import asyncio
import socket
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from aiohttp import HttpVersion, HttpVersion11, web

from marketstream.core.delivery import closing
from marketstream.core.delivery.entitlements import Principal
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.node import Node
from marketstream.errors import UnavailableError
from marketstream.transports.unsent import unsent

NOTSENT_LOWAT = 16 * 1024
"""Bytes the kernel may hold unsent: more would be prices that grow old where nothing can replace them."""

LAST_WORDS = 5.0
"""Seconds a client has to take what was written before the end, and to hang up."""

STUCK_AFTER = 1.0
"""Seconds without taking anything after which a client gets no last words."""

SERVER = "marketstream"
"""What the header of that name says; of what it is made concerns nobody outside."""

_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)


class Stream(asyncio.Protocol):
    """The protocol behind one streaming client; edges subclass it and become the connection's sink.

    Backpressure is the transport's: its limit is zero, so `pause_writing` means that it holds bytes the
    client has not taken and `resume_writing` that it holds none.

    Attributes:
        node: The engine.
        connection: The engine's side; set by the edge before anything is written.
        writable: False while the transport holds bytes.
        write: Hands bytes to the transport. It is the transport's own method, because one call for each
            client and flush is what the server spends its time on; without a transport it does nothing.
    """

    __slots__ = ("_closing", "_transport", "connection", "node", "writable", "write")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.connection: Connection
        self.writable = True
        self.write: Callable[[bytes], None] = _drop
        self._transport: asyncio.Transport | None = None
        self._closing = False

    # What an edge adds

    def received(self, data: bytes) -> None:
        """Handle bytes of the client; a stream that only sends ignores them."""

    @abstractmethod
    def lost(self) -> None:
        """Handle the end of the connection, whatever the reason; called once."""

    # What an edge uses

    def attach(self, transport: asyncio.Transport, *, lowat: int = NOTSENT_LOWAT) -> None:
        """Take its place on a transport that is already connected."""
        self._transport = transport
        self.write = transport.write
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, lowat)

    def backlog(self) -> int:
        """Return bytes that the client has not taken."""
        return unsent(self._transport)

    @property
    def stuck(self) -> bool:
        """Whether the client takes nothing; one that was just written more than fits may yet take it."""
        if self.writable:
            return False
        since = self.connection.blocked_since
        if since is None or self.backlog() < self.connection.blocked_bytes:
            # It has taken something since the heartbeat looked last.
            return False
        return self.node.clock.now() - since >= STUCK_AFTER

    def end(self) -> None:
        """Close after what was written; a client that takes nothing is cut off at once.

        Only our half is closed at first, and what the client still sends is read and dropped: closing a
        socket with unread input resets the connection, and a reset takes back what was written last.
        """
        if self._transport is None or self._closing:
            return
        self._closing = True
        self.write = _drop
        if self.stuck or not self._close_half(self._transport):
            self._transport.abort()
            return
        self.node.ending.add(self)
        # The last words may find no taker, and the client may never hang up.
        asyncio.get_running_loop().call_later(LAST_WORDS, self._cut)

    @staticmethod
    def _close_half(transport: asyncio.Transport) -> bool:
        if not transport.can_write_eof():
            transport.close()
            return True
        try:
            transport.write_eof()
        except OSError:
            # The client has reset the connection, and the loop has not told us yet.
            return False
        return True

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls

    def data_received(self, data: bytes) -> None:
        """Handle bytes of the client."""
        if not self._closing:
            self.received(data)

    def eof_received(self) -> bool:
        """Note that the client will send no more: for all edges that means it is leaving."""
        return False

    def pause_writing(self) -> None:
        """Stop writing: the transport holds bytes that the client has not taken."""
        self.writable = False
        if not self._closing:
            self.node.pause(self.connection)

    def resume_writing(self) -> None:
        """Go on writing: the transport holds nothing any more."""
        self.writable = True
        if not self._closing:
            self.node.resume(self.connection)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # why it was lost changes nothing
        """Handle the end of the connection."""
        self._transport = None
        self._closing = True
        self.write = _drop
        self.node.ending.discard(self)
        self.lost()


class TakenOver(web.StreamResponse):
    """What a handler returns to aiohttp for a connection that is no longer aiohttp's."""

    async def prepare(self, request: web.BaseRequest) -> Any:  # noqa: ANN401, ARG002  # aiohttp's signature
        """Send nothing: the stream has sent its own head."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send nothing."""


async def let_in(node: Node, connection: Connection, principal: Principal) -> None:
    """Admit the caller of a request before its connection becomes a stream; who is refused is forgotten.

    Raises:
        ConnectionLimitError: The user holds as many connections as the plan allows.
        UnavailableError: The connection was closed while it waited for a place.
    """
    try:
        await node.admit(connection, principal)
    except BaseException:
        node.leave(connection, closing.REFUSED)
        raise
    if connection.closed:
        raise UnavailableError("the server is going down")


def take_over(request: web.Request, stream: Stream, head: bytes, *, lowat: int = NOTSENT_LOWAT) -> TakenOver:
    """Replace aiohttp on the request's connection.

    Args:
        request: A request whose body was read or has none.
        stream: What speaks on the connection from now on.
        head: Response head to send first.
        lowat: Bytes the kernel may hold unsent.

    Returns:
        What the handler must return. A client that is gone by now is lost like any other, in the next turn
        of the event loop.
    """
    protocol = request.protocol
    transport = request.transport
    if transport is None or transport.is_closing():
        asyncio.get_running_loop().call_soon(stream.connection_lost, None)
        return TakenOver()
    early = protocol._message_tail  # noqa: SLF001  # what the client sent right behind its request
    protocol._message_tail = b""  # noqa: SLF001
    stream.attach(transport, lowat=lowat)
    # Without a transport of its own aiohttp's protocol lets go of everything and closes nothing.
    protocol.transport = None
    protocol.connection_lost(None)
    transport.resume_reading()
    stream.write(head)
    if early:
        asyncio.get_running_loop().call_soon(stream.data_received, early)
    return TakenOver()


def response_head(status: str, headers: list[tuple[str, str]], version: HttpVersion = HttpVersion11) -> bytes:
    """Return a response's first line and headers.

    Args:
        status: Such as `200 OK`.
        headers: Names and values; a line break in one is refused.
        version: Of HTTP, as of the request.

    Raises:
        ValueError: A header would break the head.
    """
    lines = [
        f"HTTP/{version.major}.{version.minor} {status}",
        f"Server: {SERVER}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds a line break")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _drop(_data: bytes) -> None:
    pass
