"""The writing end of a client that exists only in a test, and what it was sent."""

import json
from typing import Any

from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.connection import Sink
from marketstream.wire import socketio
from marketstream.wire.dialect import Dialect

EVENT = "42/market-data,"


class RecordingTransport:
    """Keeps what is written; can be full, dead, or make a write take time.

    Args:
        dialect: How frames are written; polling's is readable text.
        keepalive: What is sent when nothing else must be.
        keepalive_interval: Seconds between two of them.
        listens: Whether the client is expected to say something now and then.
        snapshots: Whether current values go out as one `snapshot`.
        keeps: Whether what is written while it is full is kept for later.

    Attributes:
        writes: What was written, oldest first.
        full: True while the client takes nothing.
        held: Bytes the client has not taken.
        dead: Raised by the next write, if any.
        closed: Every reason it was closed for.
    """

    def __init__(
        self,
        dialect: Dialect = socketio.POLLING,
        *,
        keepalive: Frame | None = None,
        keepalive_interval: float = 1e9,
        listens: bool = True,
        snapshots: bool = True,
        keeps: bool = False,
    ) -> None:
        self.dialect = dialect
        self.keepalive = keepalive
        self.keepalive_interval = keepalive_interval
        self.listens = listens
        self.personal = True
        self.snapshots = snapshots
        self.keeps = keeps
        self.writes: list[bytes] = []
        self.full = False
        self.held = 0
        self.dead: Exception | None = None
        self.closed: list[CloseReason] = []

    @property
    def writable(self) -> bool:
        """False while the client takes nothing."""
        return not self.full

    def write(self, data: bytes) -> None:
        """Keeps the bytes, or raises what a dead transport raises."""
        if self.dead is not None:
            raise self.dead
        self.writes.append(data)

    def backlog(self) -> int:
        """Bytes not taken."""
        return self.held

    def close(self, reason: CloseReason) -> None:
        """Keeps the reason."""
        self.closed.append(reason)

    @property
    def packets(self) -> list[str]:
        """Every packet written so far; for the dialect of polling."""
        return [packet for data in self.writes for packet in data.decode().split("\x1e")]

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Name and payload of every event written so far; the list of arguments when there are several."""
        found = []
        for packet in self.packets:
            if packet.startswith(EVENT + "["):
                name, *arguments = json.loads(packet.removeprefix(EVENT))
                found.append((name, arguments[0] if len(arguments) == 1 else arguments))
        return found

    def named(self, event: str) -> list[Any]:
        """Payloads of every event of one name so far."""
        return [payload for name, payload in self.events if name == event]

    def clear(self) -> None:
        """Forgets what was written."""
        self.writes.clear()


_: type[Sink] = RecordingTransport
