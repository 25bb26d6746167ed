"""The page's three addresses, played by hand: for what a healthy server never does on demand.

A test decides every byte and every refusal by `POST /play/{deed}`, so nothing here moves by itself. The
page and its files are the shipped ones.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestServer

from marketstream.transports.web import add_page

_NO_STORE: Final = {"Cache-Control": "no-store"}
_SSE: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform"}


class FakeStream:
    """A server whose every move is somebody's decision.

    Deeds, each with a JSON body:
        symbols: What `/dev/symbols` answers from now on, a list.
        send: {event, data, id?} goes to every open stream.
        cut: Ends every open stream, as a server that goes away does.
        rotate: No token given out so far is good any more, and every stream is cut.
        refuse: {status, code, message} answers the next streams; {} ends that.
    """

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.requests: list[dict[str, str]] = []
        self._generation = 0
        self._refusal: dict[str, Any] = {}
        self._streams: set[asyncio.Queue[str | None]] = set()

    def app(self) -> web.Application:
        """The application; its streams end when it shuts down."""
        app = web.Application()
        add_page(app)
        app.router.add_get("/dev/token", self._token)
        app.router.add_get("/dev/symbols", self._symbols)
        app.router.add_get("/market-data/stream", self._stream)
        app.router.add_get("/play/requests", self._requests)
        app.router.add_post("/play/{deed}", self._play)
        app.on_shutdown.append(self._shut)
        return app

    async def _token(self, _request: web.Request) -> web.Response:
        return web.json_response({"token": f"eyJ.generation.{self._generation}"}, headers=_NO_STORE)

    async def _symbols(self, _request: web.Request) -> web.Response:
        return web.json_response({"symbols": self.symbols}, headers=_NO_STORE)

    async def _requests(self, _request: web.Request) -> web.Response:
        return web.json_response(self.requests, headers=_NO_STORE)

    async def _play(self, request: web.Request) -> web.Response:
        body = await request.json()
        match request.match_info["deed"]:
            case "symbols":
                self.symbols = body
            case "send":
                self._send(body)
            case "cut":
                self._cut()
            case "rotate":
                self._generation += 1
                self._cut()
            case "refuse":
                self._refusal = body
            case deed:
                raise web.HTTPNotFound(text=f"no such deed: {deed}")
        return web.json_response({})

    def _send(self, message: dict[str, Any]) -> None:
        lines = [f"event: {message['event']}", f"data: {json.dumps(message['data'])}"]
        if "id" in message:
            lines.append(f"id: {message['id']}")
        for stream in self._streams:
            stream.put_nowait("\n".join([*lines, "", ""]))

    def _cut(self) -> None:
        for stream in self._streams:
            stream.put_nowait(None)

    async def _shut(self, _app: web.Application) -> None:
        self._cut()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.query) | {"header": request.headers.get("Last-Event-ID", "")})
        if refusal := self._refused(request):
            return refusal
        response = web.StreamResponse(headers=_SSE)
        await response.prepare(request)
        await response.write(b"retry: 100\n\n")
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._streams.add(queue)
        try:
            while (text := await queue.get()) is not None:
                await response.write(text.encode())
        except ConnectionResetError:
            pass  # the page has left
        finally:
            self._streams.discard(queue)
        return response

    def _refused(self, request: web.Request) -> web.Response | None:
        status, refusal = self._refusal.get("status"), self._refusal
        if status is None and request.query.get("token") != f"eyJ.generation.{self._generation}":
            status = HTTPStatus.UNAUTHORIZED
            refusal = {"code": "AUTH_FAILED", "message": "the signature is not ours"}
        if status is None:
            return None
        error = {"code": refusal["code"], "message": refusal["message"]}
        return web.json_response({"error": error}, status=status)


@asynccontextmanager
async def playing() -> AsyncIterator[str]:
    """Such a server inside the block.

    Yields:
        Its address, without a slash at the end.
    """
    async with TestServer(FakeStream().app()) as server:
        yield str(server.make_url("")).rstrip("/")
