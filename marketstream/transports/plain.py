"""Serve JSON over plain WebSockets, in two languages.

Who a client is stands in the request, so whoever may not come in is refused by an HTTP status before there is
a connection. Which language it speaks shows in its first message; until then it is spoken to in the second.
"""

from aiohttp import web

from marketstream.core.delivery import closing
from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.commands import Command, Reply
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.execution import Execution
from marketstream.errors import MarketstreamError, UnavailableError
from marketstream.transports import websocket
from marketstream.transports.address import AddressReader
from marketstream.transports.credentials import Credentials
from marketstream.transports.identifier import new_identifier
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.stream import NOTSENT_LOWAT, let_in
from marketstream.transports.verification import size_of, verify
from marketstream.transports.websocket import WebSocketStream
from marketstream.wire import plain
from marketstream.wire import websocket as frames
from marketstream.wire.dialect import Dialect
from marketstream.wire.plain.language import PING, Language, Mark
from marketstream.wire.plain.typed import TYPED
from marketstream.wire.websocket import Message

PATHS = ("/api/v1/market/ws/market-data", "/api/v1/market/ws/stock-quotes", "/ws")
TRANSPORT = "ws"
"""Its name in logs and metrics; `websocket` is that of Socket.IO."""


class PlainStream(WebSocketStream):
    """A client's websocket, and its sink.

    Args:
        execution: The engine, and what carries out the client's calls.
        limit: Bytes a message of the client may have.
        keepalive_interval: Seconds between two pings.
    """

    keepalive: Frame | None = PING
    snapshots = False
    __slots__ = ("_execution", "_language", "dialect", "keepalive_interval")

    def __init__(self, execution: Execution, limit: int, keepalive_interval: float) -> None:
        super().__init__(execution.node, limit)
        self._execution = execution
        self.keepalive_interval = keepalive_interval
        self.dialect: Dialect = TYPED.dialect
        self._language: Language | None = None

    def message(self, message: Message) -> None:
        """One call."""
        node, connection = self.node, self.connection
        if message.kind == "binary":
            node.close(connection, closing.NOT_TEXT)
        else:
            data = message.data
            node.submit(connection, lambda: self._carry_out(data), len(data))

    def fault(self, reason: CloseReason) -> None:
        """Close the connection of a client that broke the protocol."""
        self.node.close(self.connection, reason)

    def lost(self) -> None:
        """Handle the end of the connection."""
        self.node.leave(self.connection, closing.CLIENT_LEFT)

    def _read(self, data: bytes) -> tuple[Mark, Command | MarketstreamError]:
        """Return what a message asks for, and what its answer repeats."""
        mark: Mark = None
        try:
            message, fault = plain.read(data)
            if self._language is None:
                self._language = plain.recognise(message, fault)
                self.dialect = self._language.dialect
            mark = self._language.mark(message)
            return mark, fault or self._language.parse(message)
        except MarketstreamError as error:
            return mark, error

    async def _carry_out(self, data: bytes) -> None:
        """Read a message when it is its turn: until then it takes no more room than it came with."""
        mark, command = self._read(data)
        if isinstance(command, MarketstreamError):
            self.node.stats.commands[command.code] += 1
            self._answer(mark, command)
        else:
            await self._execution.execute(self.connection, command, lambda reply: self._answer(mark, reply))

    def _answer(self, mark: Mark, reply: Reply | MarketstreamError) -> None:
        language = self._language or TYPED
        if isinstance(reply, MarketstreamError):
            text = language.refuse(mark, reply)
        else:
            text = language.answer(mark, reply)
        self.node.send(self.connection, Frame("", frames.encode(text)))
        self.node.settle()


class PlainWebSocket:
    """Lets clients in.

    Args:
        execution: The engine, and what carries out the calls of its clients.
        credentials: Where tokens are found.
        origins: Which web pages may connect.
        addresses: Where clients are.
        ping_interval: Seconds between two pings.
        max_payload: Bytes a message of a client may have.
        lowat: Bytes the kernel may hold unsent per client.
    """

    def __init__(
        self,
        *,
        execution: Execution,
        credentials: Credentials,
        origins: OriginPolicy,
        addresses: AddressReader,
        ping_interval: float = 25,
        max_payload: int = 262_144,
        lowat: int = NOTSENT_LOWAT,
    ) -> None:
        self._node = execution.node
        self._execution = execution
        self._credentials = credentials
        self._origins = origins
        self._addresses = addresses
        self._ping_interval = ping_interval
        self._max_payload = max_payload
        self._lowat = lowat

    def attach(self, app: web.Application) -> None:
        """Add the routes."""
        for path in PATHS:
            app.router.add_get(path, self.handle, allow_head=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Open a websocket, or say by a status why there is none."""
        node = self._node
        if not self._origins.allows(request):
            raise web.HTTPForbidden(text="this page's origin is not allowed")
        websocket.require_handshake(request)
        try:
            if node.draining:
                raise UnavailableError("the server is going down")
            principal = await verify(request, self._credentials, node, node.waiting)
            stream = await self._open(request, principal)
        except MarketstreamError as error:
            node.refuse(error.code)
            raise
        return websocket.accept(request, stream, self._origins.headers(request), lowat=self._lowat)

    async def _open(self, request: web.Request, principal: Principal) -> PlainStream:
        node = self._node
        stream = PlainStream(self._execution, self._max_payload, self._ping_interval)
        connection = node.open(new_identifier(), TRANSPORT, stream, self._addresses.of(request))
        stream.connection = connection
        with node.waiting.hold(size_of(request)):
            await let_in(node, connection, principal)
        return stream
