"""Bound one HTTP connection of aiohttp, and answer malformed requests.

What is no HTTP, or more of it than is taken, never reaches the application. It gets the same error body and
the same headers for pages of other origins as everything else. This is the door to the insides of aiohttp's
`RequestHandler`; the other one is `stream.take_over`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, http_exceptions, web
from aiohttp.http import HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from marketstream.transports.body import LINGER, LINGER_BYTES

Handler = Callable[[Any], Awaitable[web.StreamResponse]]
Refuse = Callable[[web.Request, web.HTTPException], web.StreamResponse]

MOST_SEARCHED = 256 * 1024
"""Bytes that are searched for the page that sent what is no HTTP: it is to read the answer."""

READ_BUFFER = 64 * 1024
"""Bytes of a body that wait for its handler before the client is no longer read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may send before its request is known.

    Attributes:
        line: Bytes of the request's path, and of one header.
        headers: Number of headers.
        head: Bytes of the whole head: the request line and all headers.
        keepalive: Seconds until a head must be complete, from the connection or the last answer on.
    """

    line: int = 8190
    headers: int = 100
    head: int = 32 * 1024
    keepalive: float = 75.0


class HttpConnection(RequestHandler):
    """A client's connection, until a stream takes it over.

    Args:
        manager: aiohttp's server.
        loop: The event loop.
        limits: What is taken.
        refuse: Makes the answer to what is no request, as `Answers.refuse` does.
    """

    __slots__ = ("_body", "_broken", "_dropped", "_head", "_lingering", "_max_head", "_refuse")

    def __init__(
        self,
        manager: web.Server,
        *,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        refuse: Refuse,
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=limits.keepalive,
            access_log=None,  # type: ignore[arg-type]  # None is how aiohttp's own runner turns it off
            max_line_size=limits.line,
            max_field_size=limits.line,
            max_headers=limits.headers,
            read_bufsize=READ_BUFFER,
            # The rest of an answered request is read by `body.settle`, in bounds of bytes and time.
            lingering_time=0,
            # A body that is unpacked while it is parsed stops the loop: `body.refuse` refuses it instead.
            auto_decompress=False,
        )
        self._max_head = limits.head
        self._refuse = refuse
        self._body: StreamReader = EMPTY_PAYLOAD
        self._head = b""
        self._broken = False
        self._dropped = 0
        self._lingering: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes of the client; those of a head are counted, which aiohttp does only for each line."""
        while not self._broken:
            if self._upgraded or self._buffer_paused or not self._body.is_eof():
                self._feed(data)
                return
            data = self._feed_head(data)
            if not data:
                return
        if len(self._head) < MOST_SEARCHED:
            # Where the page is may stand behind the fault.
            self._head += data[: MOST_SEARCHED - len(self._head)]
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES:
            self._end_linger()

    def _feed_head(self, data: bytes) -> bytes:
        """Pass on what a head may still have; return the rest."""
        room = self._max_head - len(self._head)
        self._head += data[:room]
        known = self._request_count
        self._feed(data[:room])
        if not self._broken and self._request_count > known:
            self._head = b""
        elif not self._broken and len(self._head) >= self._max_head:
            self._refuse_head(http_exceptions.LineTooLong(b"", self._max_head))
        return data[room:]

    def connection_lost(self, exc: BaseException | None) -> None:
        """Handle the end of the connection, or its take-over by a stream."""
        self._end_linger()
        super().connection_lost(exc)

    def _feed(self, data: bytes) -> None:
        known = self._request_count
        super().data_received(data)
        if self._request_count == known:
            return
        message, body = self._messages[-1]
        if isinstance(message, _ErrInfo):
            self._break_off()
        elif message.version.major != 1:
            self._messages.pop()
            self._refuse_head(http_exceptions.BadStatusLine(error="HTTP version"))
        else:
            self._body = body

    def _break_off(self) -> None:
        """Refuse what is no HTTP: nothing after it can be understood."""
        self._broken = True
        unfinished = self._messages[-2][1] if len(self._messages) > 1 else self._body
        if not unfinished.is_eof():
            # The fault lies in the body of a request that is known: its answer says so, and is the only one.
            self._messages.pop()
            unfinished.set_exception(web.HTTPBadRequest(text="the body is not framed as HTTP/1.1 demands"))

    def _refuse_head(self, fault: Exception) -> None:
        self._broken = True
        self._messages.append((_ErrInfo(status=400, exc=fault, message=""), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _make_error_handler(self, err_info: _ErrInfo) -> Handler:
        """Return how aiohttp asks for the answer to what is no request."""

        async def answer(request: web.Request) -> web.StreamResponse:
            # aiohttp takes what it cannot read for HTTP/1.0.
            request._version = HttpVersion11  # noqa: SLF001  # as said
            error = _error(err_info.exc, self._head, self.max_line_size)
            response = self._refuse(request.clone(headers=_known_headers(self._head)), error)
            await response.prepare(request)
            await response.write_eof()
            await self._linger()
            return response

        return answer

    async def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes would take the answer from the client."""
        if self.transport is None:
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._lingering = asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._lingering, LINGER)

    def _end_linger(self) -> None:
        if self._lingering is not None and not self._lingering.done():
            self._lingering.set_result(None)


def _error(fault: BaseException, head: bytes, longest: int) -> web.HTTPException:
    text = str(fault)
    if isinstance(fault, http_exceptions.LineTooLong) or "Too many headers" in text:
        target = head.lstrip().partition(b"\n")[0].partition(b" ")[2].partition(b" ")[0]
        if len(target) > longest:
            return web.HTTPRequestURITooLong(text=f"the path is longer than {longest} bytes")
        return web.HTTPRequestHeaderFieldsTooLarge(text="the headers are larger than is taken here")
    if "HTTP version" in text:
        return web.HTTPVersionNotSupported(text="HTTP/1.1 is spoken here")
    return web.HTTPBadRequest(text="the request is no HTTP/1.1")


def _known_headers(head: bytes) -> dict[str, str]:
    """Return where the page is that sent a head which could not be read as a whole."""
    found: dict[str, str] = {}
    for line in head.split(b"\n"):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon and name.title() in (hdrs.ORIGIN, hdrs.HOST):
            found.setdefault(name.title(), value.strip())
    return found
