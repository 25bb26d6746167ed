"""A TCP socket and every byte on it, for clients that no library would let a test be.

It can stop reading, so that the kernel's buffers fill, and send what breaks HTTP, WebSocket or Engine.IO.
Nothing is read or sent unless the test says so.
"""

import asyncio
import base64
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import quote

from tests.support.eventually import scaled

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CHUNK = 65_536
UPGRADE: Final = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes ok").decode(),
}
ENGINE = "/socket.io/?EIO=4&transport=websocket"


def head(target: str = ENGINE, headers: dict[str, str] | None = None, method: str = "GET") -> bytes:
    """A request without a body; headers are UPGRADE's unless others are given."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test"]
    lines += [f"{name}: {value}" for name, value in (UPGRADE if headers is None else headers).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def stream_head(symbols: list[str], token: str) -> bytes:
    """The request for an event stream."""
    target = "/market-data/stream?symbols=" + quote(",".join(symbols))
    return head(target, {"Authorization": f"Bearer {token}"})


def masked(payload: bytes | str, first: int = 0x80 | TEXT, length: bytes | None = None) -> bytes:
    """A frame as clients send it.

    Args:
        payload: What is in it.
        first: Its first byte: final and reserved bits, and the opcode.
        length: The bytes that say how long it is, without the mask bit; None for the truth.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    size = len(data)
    if length is None:
        if size < 126:
            length = bytes([size])
        else:
            length = bytes([126]) + size.to_bytes(2) if size < 65_536 else bytes([127]) + size.to_bytes(8)
    key = os.urandom(4)
    pad = (key * (size // 4 + 1))[:size]
    body = (int.from_bytes(data) ^ int.from_bytes(pad)).to_bytes(size)
    return bytes([first, length[0] | 0x80]) + length[1:] + key + body


class Wire:
    """One connection.

    Attributes:
        ended: Whether the server has closed it.
        close_code: Code of the server's close frame; None before one came, or when it had none.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.ended = False
        self.close_code: int | None = None
        self._sock = sock
        self._buffer = b""
        self._awake = asyncio.Event()
        self._awake.set()

    def sleep(self) -> None:
        """Takes no more bytes, beyond a read that has begun, until `wake`; whoever reads waits."""
        self._awake.clear()

    def wake(self) -> None:
        """Goes on reading."""
        self._awake.set()

    async def send(self, data: bytes) -> bool:
        """Sends bytes; False when the server has closed already."""
        try:
            async with asyncio.timeout(scaled(10)):
                await asyncio.get_running_loop().sock_sendall(self._sock, data)
        except ConnectionError:
            return False
        return True

    async def say(self, *packets: str) -> bool:
        """Sends packets, each a frame of its own, at once."""
        return await self.send(b"".join(map(masked, packets)))

    async def read(self, patience: float = 10) -> bytes:
        """Some bytes; none when the server has closed."""
        if self._buffer:
            found, self._buffer = self._buffer, b""
            return found
        return await self._receive(patience)

    async def read_head(self) -> bytes:
        """A response up to the empty line that ends its head; less when the server closes before."""
        while b"\r\n\r\n" not in self._buffer:
            if not await self._more():
                break
        found, separator, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return found + separator

    async def read_line(self) -> bytes | None:
        """A line without its end; None when the server has closed."""
        while b"\n" not in self._buffer:
            if not await self._more():
                return None
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def frame(self) -> bytes | None:
        """The payload of the next text frame; None when the server has closed.

        Control frames are passed over, and the code of a close frame is kept.
        """
        while True:
            first, payload = await self._frame()
            if first & 0x0F == TEXT:
                return payload
            if first & 0x0F == CLOSE:
                self.close_code = int.from_bytes(payload[:2]) if payload else None
            if not first:
                return None

    async def packet(self) -> str | None:
        """The next packet of the server as text; its pings are answered on the way."""
        while (payload := await self.frame()) is not None:
            if payload != b"2":
                return payload.decode()
            await self.say("3")
        return None

    async def packets_to(self, start: str) -> list[str]:
        """Packets up to the first that starts like this; all there are when the server closes before."""
        packets: list[str] = []
        while (packet := await self.packet()) is not None:
            packets.append(packet)
            if packet.startswith(start):
                break
        return packets

    async def enter(self, token: str) -> None:
        """Upgrades to a websocket and enters the namespace."""
        await self.upgrade()
        await self.say("40/market-data," + json.dumps({"token": token}))
        packets = await self.packets_to('42/market-data,["connected"')
        assert not self.ended, packets

    async def upgrade(self) -> None:
        """Upgrades to a websocket."""
        await self.send(head())
        answer = await self.read_head()
        assert answer.startswith(b"HTTP/1.1 101 "), answer

    async def subscribe(self, symbols: list[str], mode: str = "latest") -> None:
        """Subscribes, and reads up to the answer."""
        call: list[Any] = ["subscribe", {"symbols": symbols, "mode": mode}]
        await self.say("42/market-data,0" + json.dumps(call))
        packets = await self.packets_to("43/market-data,0")
        assert not self.ended, packets

    def finish(self) -> None:
        """Says that nothing more will be sent; the server may have closed already."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes the socket."""
        self._sock.close()

    async def _frame(self) -> tuple[int, bytes]:
        """First byte and payload of a frame; zero and nothing when the server has closed."""
        while (found := self._parse()) is None:
            if not await self._more():
                return 0, b""
        return found

    def _parse(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        start, size = 2, buffer[1]
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(buffer[2:start])
        if len(buffer) < start + size:
            return None
        self._buffer = buffer[start + size :]
        return buffer[0], buffer[start : start + size]

    async def _more(self) -> bool:
        data = await self._receive(10)
        self._buffer += data
        return bool(data)

    async def _receive(self, patience: float) -> bytes:
        if self.ended:
            return b""
        await self._awake.wait()
        try:
            async with asyncio.timeout(scaled(patience)):
                data = await asyncio.get_running_loop().sock_recv(self._sock, CHUNK)
        except ConnectionError:
            data = b""
        self.ended = not data
        return data


@asynccontextmanager
async def wire(port: int, receive_buffer: int | None = None) -> AsyncIterator[Wire]:
    """A connection to 127.0.0.1 that is closed at the end of the block.

    Args:
        port: Where to.
        receive_buffer: Bytes the kernel may hold that the test has not read; None for the usual.
    """
    with socket.socket() as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        async with asyncio.timeout(scaled(10)):
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        yield Wire(sock)
