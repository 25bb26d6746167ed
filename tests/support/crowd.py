"""Clients of every kind that read at the same time and can stop reading."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.client import OK
from typing import Any

from tests.conformance.raw import Poller, enter, event_of, poller, say
from tests.support.raw_socket import Wire, stream_head, wire
from tests.support.server import Server

Events = AsyncIterator[tuple[str, Any]]


@dataclass
class Reader:
    """What one client has got.

    Attributes:
        prices: Every price, in order.
        at: When each came, in monotonic milliseconds.
        missed: What `lagged` said, by symbol.
        ended: Whether the server has ended it.
        sleep: Stops reading.
        wake: Goes on.
    """

    sleep: Callable[[], None]
    wake: Callable[[], None]
    prices: list[dict[str, Any]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)
    ended: bool = False

    def take(self, event: str, data: Any) -> None:
        """Notes an event."""
        if event == "lagged":
            self.missed[data["symbol"]] += data["missed"]
        for price in data["prices"] if event == "snapshot" else [data] if event == "price" else []:
            self.prices.append(price)
            self.at.append(time.monotonic() * 1000)

    def latest(self) -> dict[str, float]:
        """The newest bid of each symbol."""
        return {price["symbol"]: price["bestBid"]["price"] for price in self.prices}

    def lateness(self, since: float, until: float) -> list[float]:
        """How late each price came that came within a stretch of time, in milliseconds with any zero."""
        return [
            at - price["timestamp"]
            for at, price in zip(self.at, self.prices, strict=True)
            if since <= at < until
        ]


class Crowd:
    """Clients of every kind that read at the same time.

    Attributes:
        readers: All of them, in order of arrival.
    """

    def __init__(self, server: Server) -> None:
        self.readers: list[Reader] = []
        self._server = server
        self._tasks: list[asyncio.Task[None]] = []
        self._starts: list[Callable[[], Awaitable[None]]] = []

    async def subscribe(self) -> None:
        """Everybody subscribes, in order of arrival."""
        for start in self._starts:
            await start()

    async def leave(self) -> None:
        """Everybody stops."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def on_socket(self, way: Wire, symbols: list[str], mode: str = "latest") -> Reader:
        """A client on a websocket that has entered."""
        reader = self._add(way.sleep, way.wake, self._read_socket(way))
        call = say("subscribe", {"symbols": symbols, "mode": mode}, 1)

        async def start() -> None:
            await way.say(call)

        self._starts.append(start)
        return reader

    def on_stream(self, way: Wire, symbols: list[str]) -> Reader:
        """A client of server-sent events that is connected."""
        reader = self._add(way.sleep, way.wake, self._read_stream(way))

        async def start() -> None:
            await way.send(stream_head(symbols, self._server.token()))

        self._starts.append(start)
        return reader

    def on_polls(self, polling: Poller, symbols: list[str]) -> Reader:
        """A client that polls and has entered."""
        awake = asyncio.Event()
        awake.set()
        reader = self._add(awake.clear, awake.set, self._read_polls(polling, awake))

        async def start() -> None:
            await polling.post(say("subscribe", {"symbols": symbols}, 1))

        self._starts.append(start)
        return reader

    def _add(self, sleep: Callable[[], None], wake: Callable[[], None], events: Events) -> Reader:
        reader = Reader(sleep, wake)
        self.readers.append(reader)

        async def read() -> None:
            async for event, data in events:
                reader.take(event, data)
            reader.ended = True

        self._tasks.append(asyncio.create_task(read()))
        return reader

    async def _read_socket(self, way: Wire) -> Events:
        while (packet := await way.packet()) is not None:
            if found := event_of(packet):
                yield found

    async def _read_stream(self, way: Wire) -> Events:
        event = b""
        while (line := await way.read_line()) is not None:
            if line.startswith(b"event: "):
                event = line[7:]
            elif line.startswith(b"data: "):
                yield event.decode(), json.loads(line[6:])

    async def _read_polls(self, polling: Poller, awake: asyncio.Event) -> Events:
        while True:
            if not awake.is_set():
                await awake.wait()
                if await polling.post("3") != OK:
                    return
            for packet in await polling.poll():
                if packet == "2":
                    await polling.post("3")
                elif found := event_of(packet):
                    yield found


@asynccontextmanager
async def entered(server: Server, receive_buffer: int | None = None) -> AsyncIterator[Wire]:
    """A websocket in the namespace."""
    async with wire(server.port, receive_buffer) as way:
        await way.enter(server.token())
        yield way


@asynccontextmanager
async def entered_by_polling(server: Server) -> AsyncIterator[Poller]:
    """A polling session in the namespace."""
    async with poller(server.url) as polling:
        await polling.post(enter(server.token()))
        while not any('["connected"' in packet for packet in await polling.poll()):
            pass
        yield polling
