"""A server of nothing but our WebSocket that says back what it hears, as suites of other people ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from marketstream.core.delivery import closing
from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.node import Node
from marketstream.engine.delivery.terms import Delivery
from marketstream.transports import websocket
from marketstream.transports.websocket import WebSocketStream
from marketstream.wire import socketio
from marketstream.wire import websocket as frames
from marketstream.wire.dialect import Dialect
from marketstream.wire.websocket import Message
from tests.support.builders import Bench

LIMIT = 32 * 1024 * 1024


class EchoStream(WebSocketStream):
    """One client; everything but the echo is the server's own code."""

    dialect: Dialect = socketio.WEBSOCKET
    keepalive: Frame | None = None
    keepalive_interval = 3_600.0
    snapshots = False

    def __init__(self, node: Node) -> None:
        super().__init__(node, LIMIT)
        self.connection = node.open(str(id(self)), "echo", self)

    def message(self, message: Message) -> None:
        """Says it back, as what it was."""
        self.write(frames.encode(message.data, frames.TEXT if message.kind == "text" else frames.BINARY))

    def fault(self, reason: CloseReason) -> None:
        """Closes as every edge does."""
        self.node.close(self.connection, reason)

    def lost(self) -> None:
        """The client is gone."""
        self.node.leave(self.connection, closing.CLIENT_LEFT)


@asynccontextmanager
async def echo_server() -> AsyncIterator[str]:
    """Yields `host:port` of a server that is up inside the block."""
    bench = Bench(delivery=Delivery(max_messages=1_000_000))

    async def handle(request: web.Request) -> web.StreamResponse:
        return websocket.accept(request, EchoStream(bench.node))

    app = web.Application()
    app.router.add_get("/{anything:.*}", handle)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        bench.node.flusher.stop()
        await runner.cleanup()
