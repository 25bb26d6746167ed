"""A small server that speaks as Yahoo's streamer does, and whatever else a test wants it to."""

import asyncio
import base64
import json
import struct
from contextlib import suppress
from typing import Any, Self

from aiohttp import WSMsgType, web

from tests.support.eventually import eventually

AT_MS = 1_700_000_000_000
"""When frames are from that say nothing else: a Tuesday evening, after hours in New York."""

_TEXT, _FLOAT, _SIGNED, _PLAIN = "text", "float", "signed", "plain"
_FIELDS = {
    "id": (1, _TEXT),
    "price": (2, _FLOAT),
    "time": (3, _SIGNED),
    "currency": (4, _TEXT),
    "exchange": (5, _TEXT),
    "quote_type": (6, _PLAIN),
    "market_hours": (7, _PLAIN),
    "change_percent": (8, _FLOAT),
    "day_volume": (9, _SIGNED),
    "bid": (23, _FLOAT),
    "bid_size": (24, _SIGNED),
    "ask": (25, _FLOAT),
    "ask_size": (26, _SIGNED),
    "price_hint": (27, _SIGNED),
}


def varint(number: int) -> bytes:
    """A number that is not negative, as protobuf writes it."""
    if number < 0x80:
        return bytes([number])
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7)


def pricing(**fields: Any) -> bytes:
    """A protobuf message `PricingData` of these fields."""
    data = b""
    for name, value in fields.items():
        number, kind = _FIELDS[name]
        if kind == _TEXT:
            text = value.encode()
            data += varint(number << 3 | 2) + varint(len(text)) + text
        elif kind == _FLOAT:
            data += varint(number << 3 | 5) + struct.pack("<f", value)
        else:
            # The sign goes into the lowest bit.
            signed = 2 * value if value >= 0 else -2 * value - 1
            data += varint(number << 3) + varint(signed if kind == _SIGNED else value)
    return data


def wrapped(message: bytes) -> str:
    """A frame around a message."""
    return json.dumps({"type": "pricing", "message": base64.b64encode(message).decode()})


def frame(name: str, price: float = 10.0, **fields: Any) -> str:
    """A frame with a price of a coin, which trades around the clock, unless told otherwise."""
    known = {"quote_type": 41, "market_hours": 1, "exchange": "CCC", "time": AT_MS}
    return wrapped(pricing(id=name, price=price, **{**known, **fields}))


class Streamer:
    """The server; `async with` starts and ends it.

    Attributes:
        url: Where it is.
        calls: What clients said, in order.
        subscribed: What the last client asked for, and did not end.
        opening: What it asked for first.
        connections: How often a client came.
        refuses: Whether handshakes are answered with 403.
        unresponsive: Whether handshakes are not answered at all.
        endless: Whether prices of what is asked for never end.
    """

    def __init__(self, *, endless: bool = False) -> None:
        self.url = ""
        self.calls: list[dict[str, list[str]]] = []
        self.subscribed: set[str] = set()
        self.opening: list[str] = []
        self.connections = 0
        self.refuses = False
        self.unresponsive = False
        self.endless = endless
        self._socket: web.WebSocketResponse | None = None
        self._request: web.Request | None = None
        self._stop = asyncio.Event()
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"ws://{host}:{port}/?version=2"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._runner.cleanup()

    async def push(self, *frames: str | bytes) -> None:
        """Sends frames to the last client that came; bytes go as a binary frame."""
        assert self._socket is not None
        for each in frames:
            await (self._socket.send_bytes(each) if isinstance(each, bytes) else self._socket.send_str(each))

    async def close(self) -> None:
        """Ends the connection in order."""
        assert self._socket is not None
        await self._socket.close(code=1001)

    def abort(self) -> None:
        """Ends the connection without a word."""
        assert self._request is not None
        assert self._request.transport is not None
        self._request.transport.abort()

    async def until_asked(self, *names: str) -> None:
        """Waits until exactly these are asked for."""
        await eventually(lambda: self.subscribed == set(names), what=f"asking for {names}")

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        if self.unresponsive:
            await self._stop.wait()
        if self.refuses:
            return web.Response(status=403)
        socket = self._socket = web.WebSocketResponse()
        self._request = request
        self.subscribed.clear()
        self.opening = []
        await socket.prepare(request)
        endless = asyncio.ensure_future(self._tick(socket)) if self.endless else None
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._handle(json.loads(message.data))
        finally:
            if endless is not None:
                endless.cancel()
        return socket

    def _handle(self, call: dict[str, list[str]]) -> None:
        self.calls.append(call)
        self.opening = self.opening or call.get("subscribe", [])
        self.subscribed.update(call.get("subscribe", ()))
        self.subscribed.difference_update(call.get("unsubscribe", ()))

    async def _tick(self, socket: web.WebSocketResponse) -> None:
        price = 0
        with suppress(ConnectionError):
            while True:
                for name in sorted(self.subscribed):
                    price = price % 1000 + 1
                    # Of no market whose hours are known, and after hours.
                    await socket.send_str(frame(name, price, quote_type=8, exchange="LSE", market_hours=2))
                await asyncio.sleep(0)
