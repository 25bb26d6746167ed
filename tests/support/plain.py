"""Clients of the plain WebSocket: one that exists only in memory, and one on a real connection."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiohttp

from marketstream.core.delivery.entitlements import Principal
from marketstream.transports.plain import TRANSPORT, PlainStream
from marketstream.wire.websocket import Message
from tests.support.builders import Bench
from tests.support.eventually import scaled

TEXT = 0x81

_numbers = count(1)

ACTION, TYPED = "action", "type"
LANGUAGES = (ACTION, TYPED)


def subscribe(language: str, *symbols: str, **more: Any) -> dict[str, Any]:
    """A subscription to symbols as a language says it."""
    if language == ACTION:
        return {"action": "subscribe", "symbols": list(symbols), **more}
    return {"type": "subscribe", "data": {"type": "stock_quotes", "symbols": list(symbols), **more}}


def call(language: str, name: str, **fields: Any) -> dict[str, Any]:
    """A call of a name that both languages have."""
    return {"action": name, **fields} if language == ACTION else {"type": name, "data": fields}


def price_of(message: Mapping[str, Any]) -> float | None:
    """The price in a push of either language; None when it is no price."""
    if message.get("type") == "price_update":
        price: float = message["price"]
        return price
    return message["data"]["quote"]["price"] if message.get("type") == "quote_update" else None


def code_of(message: Mapping[str, Any]) -> str | None:
    """The code of an error in either language; None when it is none."""
    found: str | None = message.get("code") or (message.get("data") or {}).get("code")
    return found


class PlainClient:
    """One admitted client of a bench, without a socket.

    Args:
        bench: The engine.
        who: Whose token it came with.

    Attributes:
        writes: What was written, oldest first.
    """

    def __init__(self, bench: Bench, who: Principal | None = None) -> None:
        self.bench = bench
        self.writes: list[bytes] = []
        self.stream = PlainStream(bench.execution, 262_144, 25)
        self.connection = bench.node.open(f"plain{next(_numbers)}", TRANSPORT, self.stream)
        self.stream.connection = self.connection
        self.stream.write = self.writes.append
        bench.admit(self.connection, who)

    def say(self, message: object) -> list[dict[str, Any]]:
        """What the server says once it has heard a message; bytes are sent as they are."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.stream.message(Message("text", data))
        return self.heard()

    def heard(self) -> list[dict[str, Any]]:
        """What the server has said since the last time."""
        return [json.loads(text) for text in self.texts()]

    def texts(self) -> list[bytes]:
        """The same, as bytes."""
        self.bench.flush()
        data, texts = b"".join(self.writes), []
        self.writes.clear()
        while data:
            start, size = (2, data[1]) if data[1] < 126 else (4, int.from_bytes(data[2:4]))
            if data[0] == TEXT:
                texts.append(data[start : start + size])
            data = data[start + size :]
        return texts


class Plain:
    """A client on a real connection.

    Attributes:
        messages: Everything that has been read so far.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.messages: list[dict[str, Any]] = []
        self.socket = socket

    @property
    def close_code(self) -> int | None:
        """Code of the server's close frame, once it was read."""
        return self.socket.close_code

    @property
    def prices(self) -> list[float]:
        """The prices that have been read, in order."""
        return [price for message in self.messages if (price := price_of(message)) is not None]

    async def say(self, *messages: object) -> None:
        """Sends messages; text is sent as it is."""
        for message in messages:
            await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def read(self) -> dict[str, Any] | None:
        """The next message; None when the server has closed."""
        async with asyncio.timeout(scaled(10)):
            message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        found: dict[str, Any] = json.loads(message.data)
        self.messages.append(found)
        return found

    async def until(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Reads up to the first message of a kind.

        Raises:
            AssertionError: The server closed before.
        """
        while (message := await self.read()) is not None:
            if wanted(message):
                return message
        raise AssertionError(f"closed with {self.close_code}; messages: {self.messages}")

    async def named(self, name: str) -> dict[str, Any]:
        """Reads up to the first message with this `type` or `status`."""
        return await self.until(lambda message: name in (message.get("type"), message.get("status")))

    async def ask(self, message: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Sends a call and reads up to its answer, or to an error."""
        await self.say(message)
        return await self.until(lambda m: {m.get("type"), m.get("status")} & {name, "error"})

    async def price(self, number: float) -> dict[str, Any]:
        """Reads up to this price."""
        return await self.until(lambda message: price_of(message) == number)

    async def end(self) -> int | None:
        """Reads until the server closes; returns its code."""
        while await self.read() is not None:
            pass
        return self.close_code

    async def fence(self, language: str) -> None:
        """Returns when all that the server had for this client before the call was read."""
        # Of what is written together an answer comes first: only behind the second is all that waited before.
        for _ in range(2):
            await self.ask(call(language, "ping"), "pong")


@asynccontextmanager
async def plain(
    url: str, token: str, path: str = "/ws", *, autoping: bool = True, **options: Any
) -> AsyncIterator[Plain]:
    """A client that is connected inside the block, with its token in the header.

    Args:
        url: The server's.
        token: Its token.
        path: Where to.
        autoping: Whether it answers pings.
        options: Further arguments of aiohttp's `ws_connect`.
    """
    headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url + path, headers=headers, autoping=autoping, **options) as socket,
    ):
        yield Plain(socket)
