"""One event stream over HTTP while it is read."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp

from marketstream_sdk.errors import ConnectionLostError, InvalidMessageError
from marketstream_sdk.events import Event, EventParser


class Reading:
    """Reads a response until it ends, or until `end`.

    Args:
        response: Its body is the stream.
        take: Told of each event; never blocks, never raises.
        lose: Told why there will be no more; not after `end`.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        take: Callable[[Event], None],
        lose: Callable[[ConnectionLostError], None],
    ) -> None:
        self._response = response
        self._take = take
        self._lose = lose
        self._task = asyncio.create_task(self._read(), name="marketstream stream")

    async def end(self) -> None:
        """Ends it."""
        self._task.cancel()
        self._response.close()
        await asyncio.wait([self._task])

    async def _read(self) -> None:
        parser = EventParser()
        try:
            async for chunk in self._response.content.iter_any():
                for event in parser.feed(chunk):
                    self._take(event)
            self._lose(ConnectionLostError("the stream ended"))
        except TimeoutError:
            self._lose(ConnectionLostError("the stream has been silent for too long"))
        except (aiohttp.ClientError, OSError, InvalidMessageError) as error:
            self._lose(ConnectionLostError(f"the stream broke: {error}"))


def comes_too_late(response: aiohttp.ClientResponse | None, lost: "asyncio.Future[Any]") -> bool:
    """Ends a stream that came after its connection was closed or lost: nobody else would."""
    if response is None or not lost.done():
        return False
    response.close()
    return True
