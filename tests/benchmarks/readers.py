"""Many clients of Socket.IO or of event streams in one thread, cheap enough not to be what is measured.

Each is a plain socket. One of Socket.IO upgrades, enters the namespace with a token, subscribes, answers
pings and reads; one of event streams asks for its symbols and reads. Prices are not parsed: they are
counted in the bytes, and the lateness of some is taken from the `timestamp` they carry, to the millisecond,
so server and readers must share a clock.
"""

import json
import random
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, auto
from itertools import repeat
from math import ceil
from typing import Final, Self

PRICE: Final = b'["price",'
STAMP: Final = b'"timestamp":'
STAMP_DIGITS: Final = 13
STREAMED: Final = b"event: price"
PING: Final = b"\x81\x012"
LIST_END: Final = ord("]")
LINE_END: Final = ord("\n")
NAMESPACE: Final = "/market-data"
BIND_ADDRESS_NO_PORT: Final = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)
PER_ADDRESS: Final = 4_000
"""Connections from one source address: ports are finite."""
OPENING: Final = 100
"""Connections that may be on their way at once, as a browser farm behind a proxy would open them."""
SAMPLED: Final = 16
"""One read in so many is looked at for its lateness."""
REQUEST: Final = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


STREAM: Final = (
    "GET /market-data/stream?symbols={symbols} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Accept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
)


class Stage(IntEnum):
    """How far a client has come."""

    UPGRADING = auto()
    OPENING = auto()
    ENTERING = auto()
    SUBSCRIBING = auto()
    READING = auto()


_STEPS: Final = {
    Stage.UPGRADING: b"\r\n\r\n",
    Stage.OPENING: b'0{"sid"',
    Stage.ENTERING: f'40{NAMESPACE},{{"sid"'.encode(),
    Stage.SUBSCRIBING: f"43{NAMESPACE},1[".encode(),
}
"""What a client waits for in each stage."""


@dataclass(slots=True)
class Reader:
    """One client.

    Attributes:
        sock: Its socket.
        symbols: What it subscribes to.
        stage: How far it has come.
        early: What came before it was reading, and was not used yet.
        tail: End of the last read, when a price may have been cut there.
    """

    sock: socket.socket
    symbols: Sequence[str]
    stage: Stage = Stage.UPGRADING
    early: bytes = b""
    tail: bytes = b""


@dataclass(slots=True)
class Window:
    """What all clients together read in a stretch of time.

    Attributes:
        seconds: How long it was.
        prices: How many prices came.
        late_ms: Milliseconds from the timestamp of a price to its arrival, of a sample.
    """

    seconds: float = 0.0
    prices: int = 0
    late_ms: list[int] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Lateness that this share of the sample did not exceed; not a number without a sample."""
        if not self.late_ms:
            return float("nan")
        return sorted(self.late_ms)[max(0, ceil(share * len(self.late_ms)) - 1)]


class Readers:
    """See the module; closes its sockets at the end of a `with` block.

    Args:
        port: Where the server listens, on 127.0.0.1.
        watched: Symbols of each client.
        token: What they present; a list has one for each.
        raw: The server is the floor: it sends prices right after the upgrade.
        sse: They read event streams; otherwise they speak Socket.IO.
        receive_buffer: Bytes that the kernel may hold unread for each; None for the usual.
    """

    def __init__(
        self,
        port: int,
        watched: Sequence[Sequence[str]],
        token: str | Sequence[str],
        *,
        raw: bool = False,
        sse: bool = False,
        receive_buffer: int | None = None,
    ) -> None:
        self.closed_by_server = 0
        self._port = port
        self._tokens = repeat(token) if isinstance(token, str) else iter(token)
        self._last = Stage.UPGRADING if raw or sse else Stage.SUBSCRIBING
        self._sse = sse
        self._price, self._end = (STREAMED, LINE_END) if sse else (PRICE, LIST_END)
        self._receive_buffer = receive_buffer
        self._waiting: Iterator[Sequence[str]] = iter(watched)
        self._missing = len(watched)
        self._opening = 0
        self._readers: dict[int, Reader] = {}
        self._epoll = select.epoll()
        self._buffer = bytearray(1 << 18)
        self._window = Window()
        self._reads = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_failure: object) -> None:
        self._epoll.close()
        for reader in self._readers.values():
            reader.sock.close()

    def connect(self, patience: float) -> float:
        """Brings every client to the point where it reads.

        Returns:
            Seconds that it took, from the first connection to the last acknowledgement.

        Raises:
            TimeoutError: It took longer than `patience` seconds.
            ConnectionError: The server refused a client.
        """
        started = time.monotonic()
        while self._missing:
            self._open_some()
            self._turn(0.01)
            if time.monotonic() - started > patience:
                raise TimeoutError(f"{self._missing} clients were not ready after {patience:g} s")
        return time.monotonic() - started

    def read(self, seconds: float) -> Window:
        """Reads for some time."""
        self._window = window = Window()
        started = time.monotonic()
        while (left := started + seconds - time.monotonic()) > 0:
            self._turn(min(left, 0.05))
        window.seconds = time.monotonic() - started
        return window

    def _open_some(self) -> None:
        while self._opening < OPENING and (symbols := next(self._waiting, None)) is not None:
            sock = socket.socket()
            if self._receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Else the kernel looks for a port that nobody uses at all, longer with every port in use.
            sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.0.{1 + len(self._readers) // PER_ADDRESS}", 0))
            sock.connect(("127.0.0.1", self._port))
            sock.sendall(self._request(symbols))
            sock.setblocking(False)
            self._opening += 1
            self._readers[sock.fileno()] = Reader(sock, symbols)
            self._epoll.register(sock, select.EPOLLIN)

    def _request(self, symbols: Sequence[str]) -> bytes:
        if not self._sse:
            return REQUEST
        return STREAM.format(symbols=",".join(symbols), token=next(self._tokens)).encode()

    def _turn(self, wait: float) -> None:
        readers, buffer = self._readers, self._buffer
        for fd, _ in self._epoll.poll(wait, 1024):
            reader = readers[fd]
            try:
                size = reader.sock.recv_into(buffer)
            except ConnectionResetError:
                size = 0
            if not size:
                self._epoll.unregister(fd)
                self.closed_by_server += 1
            elif reader.stage is Stage.READING:
                self._take(reader, size)
            else:
                self._advance(reader, bytes(buffer[:size]))

    def _take(self, reader: Reader, size: int) -> None:
        buffer, window, price = self._buffer, self._window, self._price
        if not self._sse and buffer.find(PING, 0, size) >= 0:
            reader.sock.send(_masked("3"))
        window.prices += buffer.count(price, 0, size)
        if reader.tail:
            window.prices += (reader.tail + bytes(buffer[: len(price) - 1])).count(price)
            reader.tail = b""
        if buffer[size - 1] != self._end:
            reader.tail = bytes(buffer[max(0, size - len(price) + 1) : size])
        self._reads += 1
        if self._reads % SAMPLED == 0:
            self._note_lateness(size)

    def _note_lateness(self, size: int) -> None:
        at = self._buffer.rfind(STAMP, 0, size - STAMP_DIGITS)
        digits = self._buffer[at + len(STAMP) : at + len(STAMP) + STAMP_DIGITS]
        if at >= 0 and digits.isdigit() and len(digits) == STAMP_DIGITS:
            self._window.late_ms.append(max(0, time.time_ns() // 1_000_000 - int(digits)))

    def _advance(self, reader: Reader, data: bytes) -> None:
        reader.early += data
        if self._sse and not reader.early.startswith(b"HTTP/1.1 200"[: len(reader.early)]):
            raise ConnectionRefusedError(reader.early[:200].decode(errors="replace"))
        while (at := reader.early.find(_STEPS[reader.stage])) >= 0:
            reader.early = reader.early[at:]
            if reader.stage is self._last:
                self._ready(reader)
                return
            reader.stage = Stage(reader.stage + 1)
            if reader.stage is Stage.ENTERING:
                reader.sock.send(_masked(f"40{NAMESPACE}," + json.dumps({"token": next(self._tokens)})))
            elif reader.stage is Stage.SUBSCRIBING:
                call = ["subscribe", {"symbols": list(reader.symbols)}]
                reader.sock.send(_masked(f"42{NAMESPACE},1" + json.dumps(call)))
        if b"44" + NAMESPACE.encode() in reader.early or reader.early.startswith(b"HTTP/1.1 4"):
            raise ConnectionRefusedError(reader.early[:200].decode(errors="replace"))

    def _ready(self, reader: Reader) -> None:
        if b'"errors":' in reader.early or b'"error":' in reader.early:
            raise ConnectionRefusedError(reader.early[:200].decode(errors="replace"))
        reader.stage, reader.early = Stage.READING, b""
        self._missing -= 1
        self._opening -= 1


def watch_lists(clients: int, symbols: int, each: int) -> list[list[str]]:
    """What each client watches: `each` of SYM0 to SYM(symbols-1), drawn for it alone, always the same."""
    names = [f"SYM{index}" for index in range(symbols)]
    draw = random.Random(symbols)
    return [draw.sample(names, each) for _ in range(clients)]


def _masked(text: str) -> bytes:
    """A text frame as clients send it; a mask of zeros leaves the payload as it is."""
    payload = text.encode()
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2)
    return b"\x81" + length + bytes(4) + payload
