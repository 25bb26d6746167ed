"""A connection taken over: what it does when its client is gone before anybody has said so."""

import asyncio
import socket
import struct

from marketstream.transports.stream import Stream
from tests.support.builders import Bench
from tests.support.eventually import eventually

AT_ONCE = struct.pack("ii", 1, 0)


class Silent(Stream):
    """A stream that says nothing; `gone` tells that it was lost."""

    __slots__ = ("gone",)

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.node)
        self.gone = False

    def lost(self) -> None:
        """See `Stream.lost`."""
        self.gone = True


async def test_the_end_of_a_stream_whose_client_has_just_reset_it_raises_nothing() -> None:
    """The loop hears of a reset one turn later: whoever ends many connections goes on with the next."""
    bench = Bench()
    stream = Silent(bench)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        served, _ = listening.accept()
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, served)
    stream.attach(transport)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    client.close()
    stream.end()
    await eventually(lambda: stream.gone, what="the end")
    assert not bench.node.ending
    bench.node.flusher.stop()
