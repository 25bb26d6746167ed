"""Stream job progress and operators' figures, over aiohttp-sse.

A state is looked at again and again, and sent whenever it is another one. A stream ends with the last state,
with its token (after the event `error`) and with the server. A client that takes nothing is cut off; what
waits for it is one state, and what aiohttp and the kernel hold. Streams of prices go another way
(`transports/sse.py`): these keep a task each, and write for each client anew.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from marketstream.core.delivery import closing
from marketstream.core.delivery.entitlements import Principal
from marketstream.engine.delivery.node import Node
from marketstream.errors import TokenExpiredError, UnavailableError
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.rest.endpoint import Endpoint
from marketstream.transports.rest.reply import write
from marketstream.transports.rest.schema import Shape
from marketstream.transports.stream import SERVER
from marketstream.wire import messages

MOST = 20
"""Streams that a process has at a time."""

TICK = 0.25
"""Seconds within which the end of a token, of the server or of the client is noticed."""

_NEVER = 1e9
"""Seconds between comments of aiohttp-sse itself, which end in a blank line: an event to some readers."""

Look = Callable[[], tuple[Shape, bool]]
"""Gives the state, and whether it is the last one."""


class StateStreams:
    """Opens them.

    Args:
        endpoint: Lets callers in.
        node: Knows the time, and when the server goes down.
        origins: Which web pages may read.
        retry_ms: Milliseconds after which a client comes back.
        comment_interval: Seconds between two comments on a quiet stream.
        slow_timeout: Seconds in which a client must take a state.
        most: Streams at a time.

    Attributes:
        open: How many there are.
    """

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        node: Node,
        origins: OriginPolicy,
        retry_ms: int = 3_000,
        comment_interval: float = 15,
        slow_timeout: float = 30,
        most: int = MOST,
    ) -> None:
        self._endpoint = endpoint
        self._node = node
        self._origins = origins
        self._retry_ms = retry_ms
        self._comment_interval = comment_interval
        self._slow_timeout = slow_timeout
        self._most = most
        self.open = 0

    def wrap(
        self, follow: Callable[[web.Request], Look], scope: str, *, event: str, period: float
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return a handler that streams states.

        Args:
            follow: Finds what a request asks for, or raises the error to answer with.
            scope: What the token must hold.
            event: Name of the event that brings a state.
            period: Seconds between two looks.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            if self._node.draining:
                raise UnavailableError("the server is going down")
            who = await self._endpoint.admit(request, scope)
            look = follow(request)
            if self.open >= self._most:
                raise UnavailableError(f"there are {self._most} such streams already")
            self.open += 1
            try:
                return await self._stream(request, who, look, event, period)
            finally:
                self.open -= 1

        return handle

    async def _stream(
        self, request: web.Request, who: Principal, look: Look, event: str, period: float
    ) -> EventSourceResponse:
        response = EventSourceResponse(sep="\n", send_timeout=self._slow_timeout, ping_interval=_NEVER)
        response.headers[hdrs.CACHE_CONTROL] = "no-cache, no-transform"
        response.headers[hdrs.SERVER] = SERVER
        # `Answers` adds these to other responses, and comes too late for one that has begun.
        response.headers.update(self._origins.headers(request))
        await response.prepare(request)
        try:
            async with response:
                await self._send(response, request, who, look, event, period)
        except (ConnectionError, TimeoutError):
            pass  # the client left, or took nothing
        return response

    async def _send(
        self,
        response: EventSourceResponse,
        request: web.Request,
        who: Principal,
        look: Look,
        event: str,
        period: float,
    ) -> None:
        now = asyncio.get_running_loop().time
        expires_at = self._node.monotonic(who.expires_at_ms)
        sent, look_at, comment_at = b"", now(), now() + self._comment_interval
        retry: int | None = self._retry_ms
        while request.transport is not None:
            if now() >= look_at:
                state, last = look()
                body = write(state).whole
                if body != sent:
                    await response.send(body.decode(), event=event, retry=retry)
                    sent, retry, comment_at = body, None, now() + self._comment_interval
                if last:
                    return
                look_at = now() + period
            if self._node.draining:
                return
            if self._node.clock.now() >= expires_at:
                farewell = messages.error(TokenExpiredError.code, closing.TOKEN_EXPIRED.text)
                await response.send(farewell.body.decode(), event=farewell.event)
                return
            if now() >= comment_at:
                async with asyncio.timeout(self._slow_timeout):
                    await response.write(b": \n")
                comment_at = now() + self._comment_interval
            await asyncio.sleep(TICK)
