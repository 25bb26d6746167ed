"""Serve server-sent events.

`GET /market-data/stream?symbols=...` brings prices, `GET /api/v1/events/stream` what the user subscribed to.

The bytes of a price are the same for every stream and are made once. After the head the connection is
the flusher's like any other: no task and no handler stays behind for it.
"""

import random

from aiohttp import HttpVersion10, HttpVersion11, web

from marketstream.core.delivery import closing
from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.commands import Reply, Subscribe, Subscribed
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.session import READ, READERS
from marketstream.core.number import decimal
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.execution import Execution
from marketstream.engine.delivery.node import Node
from marketstream.errors import InvalidMessageError, MarketstreamError, NotEntitledError, UnavailableError
from marketstream.transports.address import AddressReader
from marketstream.transports.comeback import Comeback
from marketstream.transports.credentials import Credentials
from marketstream.transports.identifier import new_identifier
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.stream import NOTSENT_LOWAT, Stream, let_in, response_head, take_over
from marketstream.transports.verification import size_of, verify
from marketstream.wire import messages, sse
from marketstream.wire import request as requests
from marketstream.wire.dialect import Dialect

PATH = "/market-data/stream"
PERSONAL_PATH = "/api/v1/events/stream"

ORDERLY = frozenset({closing.DRAIN, closing.DISCONNECTED, closing.TOKEN_EXPIRED})
"""Reasons for which a stream ends where the server meant it to end."""


class SseStream(Stream):
    """A client's event stream, and its sink."""

    keepalive: Frame | None = sse.COMMENT
    listens = False
    personal = False
    snapshots = False
    keeps = False
    __slots__ = ("dialect", "keepalive_interval")

    def __init__(self, node: Node, dialect: Dialect, keepalive_interval: float) -> None:
        super().__init__(node)
        self.dialect = dialect
        self.keepalive_interval = keepalive_interval

    def close(self, reason: CloseReason) -> None:
        """End the response; the last event said why.

        A stream that was cut off for what it could not take is not complete, and gets no last chunk.
        """
        if self.dialect is sse.SSE and reason in ORDERLY and not self.stuck:
            self.write(sse.LAST_CHUNK)
        self.end()

    def lost(self) -> None:
        """Handle the end of the connection."""
        self.node.leave(self.connection, closing.CLIENT_LEFT)


class PersonalStream(SseStream):
    """One that brings what is sent to its user, and no prices."""

    personal = True
    __slots__ = ()


class EventStream:
    """Opens streams.

    Args:
        execution: The engine, and what carries out the call that a stream begins with.
        credentials: Where tokens are found.
        origins: Which web pages may read.
        addresses: Where clients are.
        retry_ms: Milliseconds after which a client comes back.
        comment_interval: Seconds between two comments.
        lowat: Bytes the kernel may hold unsent per client.
    """

    def __init__(
        self,
        *,
        execution: Execution,
        credentials: Credentials,
        origins: OriginPolicy,
        addresses: AddressReader,
        retry_ms: int = 3_000,
        comment_interval: float = 15,
        lowat: int = NOTSENT_LOWAT,
    ) -> None:
        self._node = execution.node
        self._execution = execution
        self._credentials = credentials
        self._origins = origins
        self._addresses = addresses
        self._retry = sse.retry(retry_ms)
        self._comeback = Comeback(retry_ms=retry_ms, now=self._node.clock.now, chance=random.random)
        self._comment_interval = comment_interval
        self._lowat = lowat

    def attach(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get(PATH, self.handle, allow_head=False)
        app.router.add_get(PERSONAL_PATH, self.handle_personal, allow_head=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer with a stream, or with the reason why there is none."""
        node = self._node
        try:
            command = _command(request)
            principal = await self._verify(request)
            reply = _require_taken(node.preview(principal, command))
            stream, connection = await self._open(request, principal, SseStream)
        except MarketstreamError as error:
            return self._refuse(request, error)
        # Nothing is written before the head: the flusher's turn comes when this one is over.
        node.submit(
            connection,
            lambda: self._execution.execute(connection, command, _ignore),
            len(request.query_string),
        )
        if reply.errors:
            node.send(connection, messages.subscribed(reply.symbols, reply.errors))
            node.settle()
        return take_over(request, stream, self._head(request, stream.dialect), lowat=self._lowat)

    async def handle_personal(self, request: web.Request) -> web.StreamResponse:
        """Answer with the events that the user has subscribed to."""
        try:
            principal = await self._verify(request)
            if not principal.scopes & READERS:
                raise NotEntitledError(f"scope {READ} is required")
            stream, _ = await self._open(request, principal, PersonalStream)
        except MarketstreamError as error:
            return self._refuse(request, error)
        return take_over(request, stream, self._head(request, stream.dialect), lowat=self._lowat)

    def _refuse(self, request: web.Request, error: MarketstreamError) -> web.Response:
        """Return what makes the client come back.

        Raises:
            MarketstreamError: It does better with a status.
        """
        self._node.refuse(error.code)
        answer = self._comeback.answer(request, self._addresses.of(request), error)
        # A balancer has others to try when this server is going down, and knows it by the status.
        elsewhere = self._node.draining and self._addresses.is_passed_on(request)
        if answer is None or elsewhere:
            raise error
        return answer

    async def _verify(self, request: web.Request) -> Principal:
        if self._node.draining:
            raise UnavailableError("the server is going down")
        return await verify(request, self._credentials, self._node, self._node.waiting)

    async def _open(
        self, request: web.Request, principal: Principal, kind: type[SseStream]
    ) -> tuple[SseStream, Connection]:
        node = self._node
        dialect = sse.SSE if request.version >= HttpVersion11 else sse.UNCHUNKED
        stream = kind(node, dialect, self._comment_interval)
        connection = node.open(new_identifier(), "sse", stream, self._addresses.of(request))
        stream.connection = connection
        connection.since = sse.parse_cursor(_last_event_id(request)) or 0
        with node.waiting.hold(size_of(request)):
            await let_in(node, connection, principal)
        return stream, connection

    def _head(self, request: web.Request, dialect: Dialect) -> bytes:
        headers = [
            ("Content-Type", "text/event-stream"),
            ("Cache-Control", "no-cache, no-transform"),
            ("X-Accel-Buffering", "no"),
            *self._origins.headers(request),
        ]
        version = HttpVersion10
        if dialect is sse.SSE:
            # Not `Connection: close`: fetch in Node takes a broken response that has it for a complete one.
            version = HttpVersion11
            headers.append(("Transfer-Encoding", "chunked"))
        return response_head("200 OK", headers, version) + dialect.render((self._retry,))


def _require_taken(reply: Subscribed) -> Subscribed:
    """Return a subscription of which something is possible.

    Raises:
        NotEntitledError: Nothing is, and for some of it the plan or the token is the reason.
        InvalidMessageError: Nothing is.
    """
    if not reply.symbols:
        text = "; ".join(reply.errors)
        if any(error.endswith(": not entitled") for error in reply.errors):
            raise NotEntitledError(text)
        raise InvalidMessageError(text or "symbols names no symbol", path="symbols")
    return reply


def _ignore(_reply: Reply | MarketstreamError) -> None:
    """Send errors as events: a stream has no answers."""


def _command(request: web.Request) -> Subscribe:
    """Return the subscription that a query describes.

    Raises:
        InvalidMessageError: It describes none.
    """
    symbols = [part for raw in request.query.getall("symbols", []) for part in raw.split(",") if part]
    if not symbols:
        raise InvalidMessageError("symbols must name at least one symbol", path="symbols")
    payload: dict[str, object] = {"symbols": symbols}
    if mode := request.query.get("mode"):
        payload["mode"] = mode
    if rate := request.query.get("maxRate"):
        if (number := decimal(rate)) is None:
            raise InvalidMessageError("maxRate must be a number", path="maxRate")
        payload["maxRate"] = number
    command = requests.parse("subscribe", [payload])
    assert isinstance(command, Subscribe)  # noqa: S101  # what `subscribe` parses to
    return command


def _last_event_id(request: web.Request) -> str:
    return request.headers.get("Last-Event-ID") or request.query.get("last_event_id", "")
