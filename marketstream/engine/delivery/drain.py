"""Close all clients in small random groups when the server stops.

Closed all at once, they would all come back to the other processes at once.
"""

import asyncio
import random
from contextlib import suppress

from marketstream.core.delivery import closing
from marketstream.engine.delivery.node import Node

SLICE = 0.05
"""Seconds between two groups of clients."""

PER_SECOND = 500
"""Clients sent away per second, if the time allows."""

SHARE = 0.6
"""Part of the time that may be used for it."""

FAREWELL = 0.2
"""Part of the time that the last of them have to take their last words; the rest is for the process."""


async def drain(node: Node, seconds_left: float) -> None:
    """Close every connection within a part of the time left; new ones are refused from the start.

    Args:
        node: Whose connections.
        seconds_left: Seconds until the process must have ended.
    """
    node.draining = True
    leaving = list(node.connections.values())
    random.shuffle(leaving)
    seconds = min(len(leaving) / PER_SECOND, seconds_left * SHARE)
    size = max(1, round(len(leaving) * SLICE / seconds)) if seconds else 1
    for start in range(0, len(leaving), size):
        for connection in leaving[start : start + size]:
            node.close(connection, closing.DRAIN)
        await asyncio.sleep(SLICE * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
    for connection in list(node.connections.values()):
        node.close(connection, closing.DRAIN)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds_left * FAREWELL):
            # The end of the process would reset what is not closed yet, and close frames would be lost.
            while node.ending:  # noqa: ASYNC110  # once in the life of a process
                await asyncio.sleep(SLICE)
