"""One event stream over HTTP: how it is asked for, read, and taken apart.

The parser is pure, and indifferent to where chunks are cut. It follows the HTML standard: lines end in LF, CR
or CRLF, `data` lines are joined, comments and unknown fields are passed over, and an event that was not
finished is none.
"""

import asyncio
import codecs
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp

from marketstream_sdk.errors import ConnectionLostError, InvalidMessageError, SubscriptionError
from marketstream_sdk.reconcile import Terms
from marketstream_sdk.transports.http import NOT_TO_BE_HAD, read_body, read_error, read_obstacle
from marketstream_sdk.wire import Refused, parse_refused

LONGEST = 1 << 20
"""Characters that an event may have."""

_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        name: Its type; `message` when none was given.
        data: Its data lines, joined by line breaks.
        ident: Its own id; empty when it had none.
    """

    name: str
    data: str
    ident: str


class EventParser:
    """Reads one stream from its beginning."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._after_cr = False
        self._name = ""
        self._ident = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that end in this chunk.

        Raises:
            InvalidMessageError: One is longer than any that a server sends.
        """
        text = self._decoder.decode(chunk)
        if text:
            # A CR ends its line at once: the event may be complete. An LF that follows belongs to it.
            text = text.removeprefix("\n") if self._after_cr else text
            self._after_cr = text.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        events = [event for line in lines if (event := self._line(line)) is not None]
        if self._size + len(self._rest) > LONGEST:
            raise InvalidMessageError("an event of the stream is too long")
        return events

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(value)
        elif name == "event":
            self._name = value
        elif name == "id" and "\0" not in value:
            self._ident = value
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name or "message", "\n".join(self._data), self._ident) if self._data else None
        self._name = self._ident = ""
        self._data, self._size = [], 0
        return event


STREAM = "/market-data/stream"

_UNQUOTED = "/,:=@"


def stream_path(wanted: Mapping[str, Terms]) -> str:
    """Path and query of a stream of these symbols; the fastest of their rates is that of all."""
    query = "symbols=" + quote(",".join(wanted), safe=_UNQUOTED)
    rates = {terms.max_rate for terms in wanted.values()}
    if 0 not in rates:
        query += f"&maxRate={max(rates)}"
    return f"{STREAM}?{query}"


async def read_refused(
    response: aiohttp.ClientResponse, wanted: Collection[str], confirmed: Collection[str]
) -> Refused:
    """Return which symbols are not to be had, by an answer that is no stream.

    Args:
        response: The answer; it is read to its end.
        wanted: What was asked for.
        confirmed: What the stream before this one brings.

    Raises:
        MarketDataError: It is not the symbols' fault.
    """
    if response.status not in NOT_TO_BE_HAD:
        raise await read_obstacle(response)
    async with response:
        _, text = read_error(response, await read_body(response))
    told = [error for error in parse_refused(text.split("; ")) if error.symbol in wanted]
    # A server that names none of them means the whole question: what is new in it, for it took the rest.
    new = [symbol for symbol in wanted if symbol not in confirmed] or wanted
    return Refused(tuple(told or (SubscriptionError(symbol, text) for symbol in new)))


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
        """End it."""
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
    """End a stream that came after its connection was closed or lost: nobody else would."""
    if response is None or not lost.done():
        return False
    response.close()
    return True
