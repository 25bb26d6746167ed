"""The sink of a client that polls: it can be written to while one of its requests waits for an answer."""

import asyncio
from collections.abc import Callable

from marketstream.core.closing import CloseReason
from marketstream.core.frame import Frame
from marketstream.engine.connection import Connection
from marketstream.engine.node import Node
from marketstream.wire import socketio as wire
from marketstream.wire.dialect import Dialect


class PollingSink:
    """Writes into whichever poll is waiting; between two polls it is not writable.

    Args:
        on_close: Called when the server ends the session.
        keepalive_interval: Seconds between two pings.
    """

    dialect: Dialect = wire.POLLING
    keepalive: Frame | None = wire.PING
    listens = True
    snapshots = True

    def __init__(self, on_close: Callable[[], None], keepalive_interval: float) -> None:
        self.keepalive_interval = keepalive_interval
        self.writable = False
        self._on_close = on_close
        self._poll: asyncio.Future[bytes] | None = None

    def write(self, data: bytes) -> None:
        """Answers the poll that waits."""
        self.writable = False
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(data)

    def backlog(self) -> int:
        """A poll takes everything at once, so nothing is ever half taken."""
        return 0

    def close(self, reason: CloseReason) -> None:  # noqa: ARG002  # a poll cannot be told why
        """Ends the poll that waits."""
        self.write(wire.CLOSE.body)
        self._on_close()

    def polling(self) -> bool:
        """Whether a poll waits."""
        return self._poll is not None and not self._poll.done()

    async def poll(self, node: Node, connection: Connection, patience: float) -> bytes:
        """Waits for something to send.

        Returns:
            Packets for the answer; a lone NOOP when nothing came in time.
        """
        poll: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._poll = poll
        self.writable = True
        node.resume(connection)
        try:
            async with asyncio.timeout(patience):
                return await poll
        except TimeoutError:
            # Written in the very moment in which patience ended: it must not be lost.
            return poll.result() if poll.done() and not poll.cancelled() else wire.NOOP.body
        finally:
            self.writable = False
            self._poll = None
            if connection.sink is self:
                node.pause(connection)
