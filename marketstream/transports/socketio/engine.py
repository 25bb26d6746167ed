"""Replace engine.io's queues and tasks by the outbox; the one door to its insides.

python-engineio gives each client an unbounded queue, a writer task, a reader task and a timer task.
This server keeps its public face (python-socketio stands on it) and replaces what is behind: a client
is one `EngineSocket` with the engine's outbox; the process's flusher writes, its heartbeat pings.

Both transports are here, and moving from polling to websocket between two flushes without losing or
reordering anything: the outbox stays, only the sink changes.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import engineio
from aiohttp import web

from marketstream.core.delivery import closing
from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.node import Node
from marketstream.engine.delivery.unadmitted import MAX_PAYLOAD as UNADMITTED_PAYLOAD
from marketstream.transports import websocket
from marketstream.transports.address import AddressReader
from marketstream.transports.credentials import Credentials
from marketstream.transports.identifier import new_identifier
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.refusal import VERSION, Refusals
from marketstream.transports.socketio.body import read_packets
from marketstream.transports.socketio.polling import PollingSink
from marketstream.transports.socketio.socket import EngineSocket
from marketstream.transports.socketio.stream import EngineStream
from marketstream.wire import socketio as wire
from marketstream.wire.websocket import Message

# Engine.IO's own error codes.
UNKNOWN_TRANSPORT, UNKNOWN_SESSION, BAD_HANDSHAKE, BAD_REQUEST, FORBIDDEN, BAD_PROTOCOL = range(6)

BAD_VERSION = "The client is using an unsupported version of the Socket.IO or Engine.IO protocols"
PROTOCOL_VERSION = "4"
PROBE_POLL = 0.1
"""Seconds a poll waits while a websocket is being tried."""


class Edge(Protocol):
    """What stands on top of the engine: it gets the messages of each socket, in order."""

    def on_message(self, socket: EngineSocket, text: str) -> None:
        """Handle a complete Engine.IO message."""
        ...

    def on_lost(self, socket: EngineSocket, reason: CloseReason) -> None:
        """Handle the end of the socket; called once."""
        ...


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]  # python-engineio ships no types
    """python-engineio's server with the insides replaced.

    Attributes:
        node: The engine; set by `use`, like the others.
        edge: Who gets the messages.
        max_payload: Bytes a message may have.
    """

    node: Node
    edge: Edge
    max_payload: int

    def use(
        self,
        *,
        node: Node,
        edge: Edge,
        credentials: Credentials,
        origins: OriginPolicy,
        addresses: AddressReader,
        max_payload: int,
        lowat: int,
        draining: Callable[[], bool],
    ) -> None:
        """Name the parts this server works with.

        Args:
            node: The engine.
            edge: Who gets the messages.
            credentials: Where tokens are found.
            origins: Which web pages may connect.
            addresses: Where clients are.
            max_payload: Bytes a message, or a POST of messages, may have.
            lowat: Bytes the kernel may hold unsent per client.
            draining: Whether new clients are turned away because the server is going down.
        """
        self.node = node
        self.edge = edge
        self._credentials = credentials
        self._origins = origins
        self._addresses = addresses
        self._refusals = Refusals(node)
        self.max_payload = max_payload
        self._lowat = lowat
        self._draining = draining

    def attach(self, app: web.Application, engineio_path: str = "engine.io") -> None:
        """Add the routes."""
        path = f"/{engineio_path.strip('/')}/"
        app.router.add_route("*", path, self.handle_request)

    async def handle_request(self, request: web.Request) -> web.StreamResponse:
        """Answer whatever comes to the Engine.IO path."""
        if not self._origins.allows(request):
            return self._refuse(request, FORBIDDEN, "this page's origin is not allowed", 403)
        if request.method == "OPTIONS":
            return self._origins.preflight(request)
        transport = request.query.get("transport", "")
        if (mistake := self._mistake(request, transport)) is not None:
            return self._refuse(request, *mistake)
        sid = request.query.get("sid")
        if sid is None:
            return self._begin(request, transport)
        socket = self.sockets.get(sid)
        if socket is None:
            return self._refuse(request, UNKNOWN_SESSION, "unknown session")
        return await self._continue(request, socket)

    def _mistake(self, request: web.Request, transport: str) -> tuple[int, str] | None:
        """Return the code and text for a request that no session could take, whatever state it is in."""
        version = request.query.get("EIO", "")
        if version != PROTOCOL_VERSION:
            self._refusals.note(VERSION, version=version, agent=request.headers.get("User-Agent", ""))
            return BAD_PROTOCOL, BAD_VERSION
        if transport not in ("polling", "websocket"):
            return UNKNOWN_TRANSPORT, "unknown transport"
        fits = request.method == "GET" and websocket.is_upgrade(request) == (transport == "websocket")
        if request.method != "POST" and not fits:
            return BAD_HANDSHAKE, f"not a request of the transport {transport}"
        return None

    async def _continue(self, request: web.Request, socket: EngineSocket) -> web.StreamResponse:
        if socket.connection.closed and request.method == "POST":
            return self._refuse(request, UNKNOWN_SESSION, "the session has ended")
        if request.method == "POST":
            return await self._post(request, socket)
        if websocket.is_upgrade(request):
            return self._upgrade(request, socket)
        return await self._poll(request, socket)

    def limit_of(self, connection: Connection) -> int:
        """Return bytes that a message, or a POST of messages, of a client may have."""
        return self.max_payload if connection.session else min(self.max_payload, UNADMITTED_PAYLOAD)

    def forget(self, socket: EngineSocket) -> None:
        """Drop a socket that is gone."""
        self.sockets.pop(socket.sid, None)

    async def shutdown(self) -> None:
        """Nothing runs here that would have to be stopped."""

    def _begin(self, request: web.Request, transport: str) -> web.StreamResponse:
        if self._draining():
            return self._refuse(request, BAD_REQUEST, "the server is going down", 503)
        if request.method != "GET":
            return self._refuse(request, BAD_HANDSHAKE, "not a handshake")
        socket = EngineSocket(self, new_identifier(), self._credentials.in_request(request))
        if transport == "websocket":
            return self._begin_websocket(request, socket)
        sink = PollingSink(socket.gone, self.ping_interval)
        socket.connection = self.node.open(new_identifier(), "polling", sink, self._addresses.of(request))
        self.node.pause(socket.connection)
        self.sockets[socket.sid] = socket
        return self._packets(self._open_packet(socket, ["websocket"]).body)

    def _begin_websocket(self, request: web.Request, socket: EngineSocket) -> web.StreamResponse:
        stream = EngineStream(self, socket)
        answer = websocket.accept(request, stream, self._origins.headers(request), lowat=self._lowat)
        socket.connection = stream.connection = self.node.open(
            new_identifier(), "websocket", stream, self._addresses.of(request)
        )
        socket.upgraded = True
        self.sockets[socket.sid] = socket
        socket.push(self._open_packet(socket, []))
        self.node.settle()
        return answer

    async def _post(self, request: web.Request, socket: EngineSocket) -> web.Response:
        socket.connection.heard_at = self.node.clock.now()
        if socket.upgraded:
            return self._refuse(request, BAD_REQUEST, "the session is on a websocket")
        if socket.posting:
            self.node.close(socket.connection, closing.INVALID_MESSAGE)
            return self._refuse(request, BAD_REQUEST, "two posts at the same time")
        socket.posting = True
        try:
            packets = await read_packets(request, self.limit_of(socket.connection))
        finally:
            socket.posting = False
        if packets is None:
            self.node.close(socket.connection, closing.MESSAGE_TOO_BIG)
            return self._refuse(request, BAD_REQUEST, "the payload is too large", 413)
        for packet in packets:
            if socket.closed:
                return self._refuse(request, BAD_REQUEST, "the session has ended")
            if socket.floods():
                self.node.close(socket.connection, closing.TOO_MANY_MESSAGES)
                continue
            # "b" starts a base64 packet: binary is refused where its event was read.
            if not socket.receive("6" if packet.startswith("b") else packet):
                return self._refuse(request, BAD_REQUEST, "not an Engine.IO packet")
        return web.Response(text="ok")

    async def _poll(self, request: web.Request, socket: EngineSocket) -> web.Response:
        socket.connection.heard_at = self.node.clock.now()
        sink = socket.connection.sink
        if not isinstance(sink, PollingSink):
            return self._refuse(request, BAD_REQUEST, "the session is on a websocket")
        if sink.polling():
            sink.write(wire.CLOSE.body)
            self.node.close(socket.connection, closing.INVALID_MESSAGE)
            return self._refuse(request, BAD_REQUEST, "two polls at the same time")
        # A client that is about to move waits for its last poll to end before it does.
        patience = PROBE_POLL if socket.probing else self.ping_interval + self.ping_timeout
        body = await sink.poll(self.node, socket.connection, patience, request.transport)
        return self._packets(body)

    def _upgrade(self, request: web.Request, socket: EngineSocket) -> web.StreamResponse:
        if socket.upgraded or socket.probing:
            return self._refuse(request, BAD_REQUEST, "the session has a websocket already")
        stream = EngineStream(self, socket)
        stream.connection = socket.connection
        answer = websocket.accept(request, stream, self._origins.headers(request), lowat=self._lowat)
        socket.probing = True
        stream.deadline = asyncio.get_running_loop().call_later(
            self.node.delivery.connect_timeout, self._end_probe, stream, socket
        )
        return answer

    @staticmethod
    def _end_probe(stream: EngineStream, socket: EngineSocket) -> None:
        """Give up a websocket whose trial took too long."""
        if socket.connection.sink is not stream:
            stream.end()

    def probe(self, stream: EngineStream, socket: EngineSocket, message: Message) -> None:
        """Move from polling to the websocket: answer `2probe` while polling goes on, move at `5`."""
        polling = socket.connection.sink
        if socket.closed or not isinstance(polling, PollingSink) or not stream.writable:
            stream.close(closing.INVALID_MESSAGE)
        elif message.data == b"2probe":
            stream.write(wire.WEBSOCKET.render([wire.PROBE_ANSWER]))
            # The client waits for its poll to end before it moves.
            polling.release()
        elif message.data == b"5":
            socket.upgraded, socket.probing = True, False
            for packet in polling.move():
                stream.write(wire.WEBSOCKET.render([Frame("", packet)]))
            self.node.moved(socket.connection, "websocket", stream)
        else:
            stream.close(closing.INVALID_MESSAGE)

    def _open_packet(self, socket: EngineSocket, upgrades: list[str]) -> Frame:
        return wire.open_packet(
            socket.sid,
            upgrades=upgrades,
            ping_interval=self.ping_interval,
            ping_timeout=self.ping_timeout,
            limit=self.max_payload,
        )

    @staticmethod
    def _packets(body: bytes) -> web.Response:
        headers = {"Cache-Control": "no-store"}
        return web.Response(body=body, content_type="text/plain", charset="utf-8", headers=headers)

    def _refuse(self, request: web.Request, code: int, text: str, status: int = 400) -> web.Response:
        headers = dict(self._origins.headers(request))
        return web.json_response({"code": code, "message": text}, status=status, headers=headers)
