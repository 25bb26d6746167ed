"""A server that speaks Alpaca's market-data stream v2, for tests to be its market and its bad days.

It does what the vendor's documentation says of the protocol: greeting, keys by message or by headers,
acknowledgements that name all that is subscribed, requests refused as a whole when they are too many, one
connection for an account, JSON or msgpack as the client asks. The vendor's own client gets along with it
(`tests/integration/test_alpaca.py`). What it sends otherwise, and when it goes silent, deaf or away, is the
test's decision.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgpack
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from tests.support.eventually import eventually

KEY: Final = "PKTEST"
SECRET: Final = "not-a-secret-of-anybody"

ERRORS: Final[Mapping[int, str]] = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    408: "v2 not enabled",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    411: "insufficient scope",
    500: "internal error",
}
_COUNTED: Final = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds")
# Corrections of trades come with the trades and are not counted.
_ALONG: Final = ("corrections", "cancelErrors")
_LAST_WORDS: Final = {402, 404, 406}


def error(code: int) -> dict[str, Any]:
    """An error as the vendor words it."""
    return {"T": "error", "code": code, "msg": ERRORS.get(code, "never heard of")}


def rfc3339(at_ms: int) -> str:
    """A time as the vendor writes it, to the nanosecond."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}123456Z"


def quote(symbol: str, bid: float, ask: float, at_ms: int, *, size: int = 1) -> dict[str, Any]:
    """A quote."""
    sides = {"bx": "V", "bp": bid, "bs": size, "ax": "V", "ap": ask, "as": size}
    return {"T": "q", "S": symbol, **sides, "c": ["R"], "z": "C", "t": rfc3339(at_ms)}


def trade(symbol: str, price: float, at_ms: int) -> dict[str, Any]:
    """A trade."""
    return {"T": "t", "S": symbol, "i": 7, "x": "V", "p": price, "s": 100, "c": ["@"], "z": "C"} | {
        "t": rfc3339(at_ms)
    }


class Line:
    """One connection to the server.

    Attributes:
        headers: Of the upgrade.
        requests: Every request that was read, in order.
        streams: Symbols by channel.
        admitted: Whether the keys were good.
        ended: Whether the connection is over.
        deaf: Whether nothing that comes is answered any more, pings neither.
    """

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.headers = request.headers
        self.requests: list[dict[str, Any]] = []
        self.streams: dict[str, set[str]] = {channel: set() for channel in _COUNTED}
        self.admitted = False
        self.ended = False
        self.deaf = False
        self._packed = request.headers.get("Content-Type") == "application/msgpack"
        self._request = request
        self._socket = socket

    @property
    def symbols(self) -> set[str]:
        """Symbols on any channel."""
        return set().union(*self.streams.values())

    async def send(self, *messages: object) -> None:
        """Sends messages in one frame."""
        if self._packed:
            await self._socket.send_bytes(msgpack.packb([_packable(message) for message in messages]))
        else:
            await self._socket.send_str(json.dumps(messages))

    async def send_raw(self, frame: bytes) -> None:
        """Sends a frame of any bytes."""
        await self._socket.send_bytes(frame)

    async def pong(self, data: bytes) -> None:
        """Answers a ping."""
        await self._socket.pong(data)

    async def close(self) -> None:
        """Says goodbye."""
        await self._socket.close()

    def abort(self) -> None:
        """Is gone without a word."""
        assert self._request.transport is not None
        self._request.transport.abort()

    def read(self, data: str | bytes) -> dict[str, Any]:
        """A request in the client's encoding."""
        request: dict[str, Any] = msgpack.unpackb(data) if self._packed else json.loads(data)
        self.requests.append(request)
        return request


class FakeAlpaca:
    """The server.

    Attributes:
        cap: Streams that a connection may have.
        connections: Connections that an account may have.
        auth_timeout: Seconds that a client may take to present its keys.
        listening: While it is not set, connections are made and nothing is read from them.
        answering: While it is not set, requests are read and not answered.
        refusals: Errors that the next subscriptions are answered with, in order.
        ignored: Symbols that are never subscribed, without a word about it.
        clinging: Whether what is given back is kept.
        absent: Whether upgrades are answered with 503.
        revoked: Whether the keys are not good any more.
        knocks: Monotonic seconds of every upgrade that was asked for.
        lines: Every connection that was ever made, in order.
        url: Address of the stream.
    """

    def __init__(self) -> None:
        self.cap = 30
        self.connections = 1
        self.auth_timeout = 10.0
        self.listening = asyncio.Event()
        self.listening.set()
        self.answering = asyncio.Event()
        self.answering.set()
        self.refusals: list[int] = []
        self.ignored: set[str] = set()
        self.clinging = False
        self.absent = False
        self.revoked = False
        self.knocks: list[float] = []
        self.lines: list[Line] = []
        self.url = ""

    async def line(self, number: int = 1) -> Line:
        """Waits for the connection of that number, counted from 1."""
        await eventually(lambda: len(self.lines) >= number, what=f"connection {number}")
        return self.lines[number - 1]

    async def subscribed(self, symbols: set[str], number: int = 1) -> Line:
        """Waits until a connection has exactly these symbols."""
        line = await self.line(number)
        await eventually(lambda: line.symbols == symbols, what=f"a subscription to {symbols}")
        return line

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One connection, from its upgrade to its end."""
        self.knocks.append(time.monotonic())
        if self.absent:
            return web.Response(status=503)
        socket = web.WebSocketResponse(timeout=0.1, autoping=False)
        await socket.prepare(request)
        line = Line(request, socket)
        self.lines.append(line)
        try:
            await self._serve(line, socket)
        except ConnectionError:
            pass  # the client has left
        finally:
            line.ended = True
        return socket

    async def _serve(self, line: Line, socket: web.WebSocketResponse) -> None:
        await self.listening.wait()
        await line.send({"T": "success", "msg": "connected"})
        key, secret = (line.headers.get(f"APCA-API-{name}") for name in ("KEY-ID", "SECRET-KEY"))
        if key is not None:
            code = self._judge(line, key, secret)
        else:
            try:
                async with asyncio.timeout(self.auth_timeout):
                    code = await self._introduce(line, socket)
            except TimeoutError:
                code = 404
        await line.send(error(code) if code else {"T": "success", "msg": "authenticated"})
        line.admitted = not code
        if code:
            await socket.close()
            return
        async for message in socket:
            if line.deaf:
                continue
            if message.type is WSMsgType.PING:
                await line.pong(message.data)
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await self._answer(line, line.read(message.data))

    async def _introduce(self, line: Line, socket: web.WebSocketResponse) -> int:
        """Waits for good keys; the error that they are not."""
        async for message in socket:
            request = line.read(message.data)
            if request.get("action") == "auth":
                return self._judge(line, request.get("key"), request.get("secret"))
            await line.send(error(401))
        return 0

    def _judge(self, line: Line, key: object, secret: object) -> int:
        if self.revoked or (key, secret) != (KEY, SECRET):
            return 402
        others = [each for each in self.lines if each is not line and each.admitted and not each.ended]
        return 406 if len(others) >= self.connections else 0

    async def _answer(self, line: Line, request: dict[str, Any]) -> None:
        await self.answering.wait()
        action = request.get("action")
        streams = {name: symbols for name, symbols in request.items() if name != "action"}
        if action == "auth":
            await line.send(error(403))
        elif action not in ("subscribe", "unsubscribe"):
            await line.send(error(400))
        elif action == "subscribe" and self.refusals:
            await line.send(error(self.refusals.pop(0)))
        elif not self._change(line, action, streams):
            await line.send(error(405))
        else:
            channels = {name: sorted(symbols) for name, symbols in line.streams.items()}
            along = dict.fromkeys(_ALONG, channels["trades"])
            await line.send({"T": "subscription", **channels, **along})

    def _change(self, line: Line, action: str, streams: dict[str, list[str]]) -> bool:
        """Subscribes or gives back; all of it or nothing."""
        changed = {channel: set(symbols) for channel, symbols in line.streams.items()}
        for channel, symbols in streams.items():
            if action == "subscribe":
                changed[channel] |= set(symbols) - self.ignored
            elif not self.clinging:
                changed[channel] -= set(symbols)
        if sum(map(len, changed.values())) > self.cap:
            return False
        line.streams = changed
        return True


@asynccontextmanager
async def serving_alpaca() -> AsyncIterator[FakeAlpaca]:
    """Such a server inside the block."""
    fake = FakeAlpaca()
    app = web.Application()
    app.router.add_get("/v2/iex", fake.handle)
    async with TestServer(app) as server:
        fake.url = f"ws://127.0.0.1:{server.port}/v2/iex"
        yield fake
        fake.listening.set()
        fake.answering.set()
        for line in fake.lines:
            if not line.ended:
                line.abort()


def _packable(message: object) -> object:
    """A message with its time as msgpack has it."""
    if not isinstance(message, dict) or "t" not in message:
        return message
    text = message["t"].removesuffix("Z")
    seconds, _, fraction = text.partition(".")
    epoch = int(datetime.fromisoformat(seconds).replace(tzinfo=UTC).timestamp())
    return message | {"t": msgpack.Timestamp(epoch, int(fraction.ljust(9, "0") or 0))}
