"""A door between a client and a server that can be shut in the ways a network is.

Bytes go through unchanged until `hold` makes it half-open: connections stay, nothing moves in either
direction, and neither side is told. `cut` resets them all, `refuse` takes no new ones.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK = 65_536


class Proxy:
    """A TCP proxy on 127.0.0.1.

    Attributes:
        port: Port it listens on.
        accepted: Connections it has taken so far.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.accepted = 0
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    def hold(self) -> None:
        """Makes it half-open: what is connected stays so and hears nothing any more."""
        self._open.clear()

    def resume(self) -> None:
        """Lets bytes through again, those held back first, and takes connections."""
        self._refusing = False
        self._open.set()

    def refuse(self) -> None:
        """Closes each new connection at once."""
        self._refusing = True

    def cut(self) -> None:
        """Resets every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def start(self) -> None:
        """Listens on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends everything."""
        assert self._server is not None
        self._server.close()
        self._open.set()
        self.cut()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        try:
            await self._open.wait()
            if self._refusing:
                return
            try:
                there, out = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                return
            self._writers.add(out)
            try:
                await asyncio.gather(self._pump(reader, out), self._pump(there, writer))
            finally:
                self._writers.discard(out)
                out.close()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        if not writer.is_closing():
            writer.close()


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """A proxy in front of a port on 127.0.0.1.

    Args:
        target: The port.
    """
    door = Proxy(target)
    await door.start()
    try:
        yield door
    finally:
        await door.stop()
