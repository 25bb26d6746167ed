"""Write to a client that polls.

Stock clients refuse an answer of more than sixteen packets, so what is written is handed out in pieces:
the rest waits here, at most one flush of it, and the next polls get it before anything newer. A session
that ended between two polls stays for one more, so that its last words are heard.
"""

import asyncio
from collections.abc import Callable

from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.node import Node
from marketstream.transports.stream import LAST_WORDS
from marketstream.transports.unsent import unsent
from marketstream.wire import socketio as wire
from marketstream.wire.dialect import Dialect

PACKETS = 16
"""Packets an answer may hold."""


class PollingSink:
    """See the module.

    Args:
        on_close: Called when the session is over and has said its last words.
        keepalive_interval: Seconds between two pings.
    """

    dialect: Dialect = wire.POLLING
    keepalive: Frame | None = wire.PING
    listens = True
    personal = True
    snapshots = True
    keeps = True

    def __init__(self, on_close: Callable[[], None], keepalive_interval: float) -> None:
        self.keepalive_interval = keepalive_interval
        self.writable = False
        self._on_close = on_close
        self._poll: asyncio.Future[None] | None = None
        self._rest: list[bytes] = []
        self._closed = False
        self._answered_on: asyncio.Transport | None = None

    def write(self, data: bytes) -> None:
        """Hand packets to the poll that waits, or to the next ones."""
        self.writable = False
        self._rest.extend(data.split(wire.SEPARATOR))
        self.release()

    def release(self) -> None:
        """End the poll that waits, with what there is."""
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def backlog(self) -> int:
        """Return bytes that no poll has taken yet, or that are on their way to the client as an answer."""
        return sum(map(len, self._rest)) + unsent(self._answered_on)

    def close(self, reason: CloseReason) -> None:  # noqa: ARG002  # a poll cannot be told why
        """End the session, after its last words; the poll after them is refused.

        Engine.IO's close packet is not among them: a stock Python client that gets it in a poll waits
        half a minute before it notices.
        """
        self._closed = True
        self.release()
        if self._rest:
            asyncio.get_running_loop().call_later(LAST_WORDS, self._end)
        else:
            # With nothing left to say the next poll must not wait for it.
            self._end()

    def _end(self) -> None:
        """Let go of the session: each would keep the other until the collector comes by."""
        on_close, self._on_close = self._on_close, _ignore
        on_close()

    def move(self) -> list[bytes]:
        """End polling for good, because the client goes on elsewhere.

        Returns:
            Packets that no poll has taken: they go first on the other transport.
        """
        rest, self._rest = self._rest, []
        self.writable = False
        self.release()
        return rest

    def polling(self) -> bool:
        """Return whether a poll waits."""
        return self._poll is not None

    async def poll(
        self,
        node: Node,
        connection: Connection,
        patience: float,
        transport: asyncio.Transport | None = None,
    ) -> bytes:
        """Wait for something to send.

        Args:
            node: The engine.
            connection: Whose poll it is.
            patience: Seconds it may wait.
            transport: Where the answer goes.

        Returns:
            Packets for the answer; a lone NOOP when nothing came in time.
        """
        self._answered_on = transport
        if not self._rest:
            await self._wait(node, connection, patience)
        packets, self._rest = self._rest[:PACKETS], self._rest[PACKETS:]
        if self._closed and not self._rest:
            self._end()
        return wire.SEPARATOR.join(packets) or wire.NOOP.body

    async def _wait(self, node: Node, connection: Connection, patience: float) -> None:
        self._poll = asyncio.get_running_loop().create_future()
        self.writable = True
        node.resume(connection)
        try:
            async with asyncio.timeout(patience):
                await self._poll
        except TimeoutError:
            pass
        finally:
            self.writable = False
            self._poll = None
            if connection.sink is self:
                node.pause(connection)


def _ignore() -> None:
    """Nobody is left to be told."""
