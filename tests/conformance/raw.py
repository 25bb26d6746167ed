"""Engine.IO spoken by hand, for what no stock client would do."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.support.eventually import scaled

PREFIX = "42/market-data,"


def event_of(packet: str) -> tuple[str, Any] | None:
    """The event in a packet; None when it holds none."""
    if not packet.startswith(PREFIX):
        return None
    name, *data = json.loads(packet[len(PREFIX) :])
    return name, data[0] if data else None


def say(name: str, payload: Any, ack: int | str = "") -> str:
    """The packet of a client's event."""
    return f"{PREFIX}{ack}{json.dumps([name, payload])}"


def enter(token: str | None) -> str:
    """The packet that asks to be let into the namespace."""
    return "40/market-data," + json.dumps({} if token is None else {"token": token})


class RawSocket:
    """A websocket and the packets that came on it.

    Attributes:
        packets: Everything that has been read so far.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.packets: list[str] = []
        self._socket = socket

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The events among the packets."""
        return [found for packet in self.packets if (found := event_of(packet))]

    @property
    def close_code(self) -> int | None:
        """Close code of the server; None while it is open."""
        return self._socket.close_code

    async def send(self, *packets: str) -> None:
        """Sends packets."""
        for packet in packets:
            await self._socket.send_str(packet)

    async def read(self, patience: float = 10) -> str | None:
        """The next packet; None when the server has closed."""
        async with asyncio.timeout(scaled(patience)):
            message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        self.packets.append(message.data)
        return str(message.data)

    async def read_to(self, start: str) -> str:
        """Reads until a packet starts like this, and returns it.

        Raises:
            AssertionError: The server closed before.
        """
        while (packet := await self.read()) is not None:
            if packet.startswith(start):
                return packet
        raise AssertionError(f"closed with {self.close_code} before {start!r}; packets: {self.packets}")

    async def read_to_end(self) -> list[str]:
        """Reads until the server closes; returns all packets."""
        while await self.read() is not None:
            pass
        return self.packets

    async def fence(self) -> None:
        """Returns when all that the server had for this socket before the call was read."""
        # Of what is written together an answer comes first: only behind the second is all that waited before.
        for _ in range(2):
            await self.send("2fence")
            self.packets.remove(await self.read_to("3fence"))


@asynccontextmanager
async def raw_socket(url: str, sid: str = "", token: str | None = None) -> AsyncIterator[RawSocket]:
    """A websocket to the Engine.IO path.

    Args:
        url: The server's.
        sid: Session that is to move here; empty for a new one.
        token: Enters the namespace with this token at once; None leaves that to the test.
    """
    query = {"EIO": "4", "transport": "websocket"} | ({"sid": sid} if sid else {})
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/socket.io/", params=query) as socket,
    ):
        raw = RawSocket(socket)
        if token is not None:
            await raw.send(enter(token))
            await raw.read_to(f'{PREFIX}["connected"')
        yield raw


class Poller:
    """A session on polling; each request is made when the test says so.

    Attributes:
        sid: Its session id.
        url: The server's.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.sid = ""
        self._session = session

    async def open(self) -> dict[str, Any]:
        """Begins; returns what the server says of itself."""
        [packet] = await self.poll()
        handshake: dict[str, Any] = json.loads(packet[1:])
        self.sid = handshake["sid"]
        return handshake

    async def poll(self) -> list[str]:
        """One poll; returns its packets."""
        path, query = self._target()
        async with asyncio.timeout(scaled(10)), self._session.get(path, params=query) as answer:
            assert answer.status == 200, await answer.text()
            return (await answer.text()).split("\x1e")

    async def post(self, *packets: str) -> int:
        """Sends packets in one request; returns the status."""
        return await self.post_bytes("\x1e".join(packets).encode())

    async def post_bytes(self, body: bytes) -> int:
        """Sends a body as it is; returns the status."""
        path, query = self._target()
        async with self._session.post(path, params=query, data=body) as answer:
            return answer.status

    def _target(self) -> tuple[str, dict[str, str]]:
        query = {"EIO": "4", "transport": "polling"} | ({"sid": self.sid} if self.sid else {})
        return f"{self.url}/socket.io/", query


@asynccontextmanager
async def poller(url: str) -> AsyncIterator[Poller]:
    """A session on polling that has been opened."""
    async with aiohttp.ClientSession() as session:
        polling = Poller(url, session)
        await polling.open()
        yield polling
