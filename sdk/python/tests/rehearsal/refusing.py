"""Servers that refuse one call, once, and do all others; one for each transport."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import socketio
from aiohttp import web

from marketstream_sdk.transports.socketio import NAMESPACE
from rehearsal.web_server import serving

SILENCE = "silence"


def best_price(symbol: str, number: int) -> dict[str, Any]:
    """A best price in the shape of the wire."""
    side = {"price": number, "size": None, "source": "a"}
    figures = {"midPrice": number, "spread": 0, "spreadBps": 0, "timestamp": number}
    return {"symbol": symbol, "bestBid": side, "bestAsk": side, **figures}


class Refusing(ABC):
    """What both servers share.

    Attributes:
        refusal: The call that is refused once, and how; None once it was.
        connections: How often somebody came.
    """

    def __init__(self) -> None:
        self.refusal: tuple[str, Any] | None = None
        self.connections = 0

    def refused(self, call: str) -> bool:
        """Whether this call is the one; it is not refused again."""
        return self.refusal is not None and self.refusal[0] == call

    def take(self) -> Any:
        """How the one is refused."""
        assert self.refusal is not None
        (_, answer), self.refusal = self.refusal, None
        return answer

    @abstractmethod
    async def price(self, number: int) -> None:
        """Send a price of `A` to whoever hears it."""


class RefusingNamespace(socketio.AsyncNamespace, Refusing):  # type: ignore[misc]  # it ships no types
    """A stock Socket.IO server."""

    def __init__(self) -> None:
        socketio.AsyncNamespace.__init__(self, NAMESPACE)
        Refusing.__init__(self)

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Handles every event."""
        if event == "connect":
            self.connections += 1
        if event in {"connect", "disconnect"}:
            return None
        payload = args[1]
        if self.refused(event) and payload.get("symbols") != ["A"]:
            answer = self.take()
            if answer == SILENCE:
                await asyncio.Event().wait()
            return answer
        answers = {
            "subscribe": {"subscribed": payload.get("symbols")},
            "unsubscribe": {"unsubscribed": payload.get("symbols")},
            "event_subscriptions": {"subscriptions": []},
            "subscribe_events": {"subscribed": payload.get("name")},
        }
        return answers[event]

    async def price(self, number: int) -> None:
        """See `Refusing.price`."""
        await self.emit("price", best_price("A", number))


class RefusingSite(Refusing):
    """A web server with streams."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: list[web.StreamResponse] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers any request."""
        path = request.path
        call = "get_quote" if "/quote/" in path else "subscribe" if path.endswith("/stream") else ""
        if request.method == "PUT":
            call = "subscribe_events"
        symbols = request.query.get("symbols")
        if self.refused(call) and symbols != "A" and "/events/stream" not in path:
            return self._refuse(self.take())
        if not path.endswith("/stream"):
            return web.json_response({"subscriptions": []})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if symbols is not None:
            self._streams.append(response)
        await asyncio.Event().wait()
        return response

    async def price(self, number: int) -> None:
        """See `Refusing.price`."""
        data = json.dumps(best_price("A", number))
        for stream in self._streams:
            with suppress(ConnectionResetError):  # another one has taken its place
                await stream.write(f"event: price\nid: A-{number}@{number}\ndata: {data}\n\n".encode())

    @staticmethod
    def _refuse(answer: dict[str, Any]) -> web.Response:
        if answer["code"] is None:
            return web.Response(status=answer["status"], text="<html>no</html>")
        error = {"code": answer["code"], "message": answer["message"]}
        return web.json_response({"error": error}, status=answer["status"])


@asynccontextmanager
async def refusing(transport: str) -> AsyncIterator[tuple[Refusing, str]]:
    """A server for a transport, and its URL."""
    app = web.Application()
    if transport == "sse":
        site = RefusingSite()
        app.router.add_route("*", "/{path:.*}", site.answer)
        async with serving(app) as url:
            yield site, url
        return
    server = socketio.AsyncServer(async_mode="aiohttp", monitor_clients=False)
    behind = RefusingNamespace()
    server.register_namespace(behind)
    server.attach(app)
    async with serving(app) as url:
        yield behind, url
