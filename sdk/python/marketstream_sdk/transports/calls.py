"""Calls over Socket.IO and their answers: what fails is one call and nothing else.

Only a call that says what the server shall send takes the connection with it when no answer comes: without
one nobody knows what will be sent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import socketio

from marketstream_sdk.errors import (
    AuthenticationError,
    ConnectionLostError,
    MarketDataError,
    NoAnswerError,
    RateLimitedError,
    RequestError,
)
from marketstream_sdk.payload import names
from marketstream_sdk.retry import TOKEN_EXPIRED
from marketstream_sdk.wire import parse_failure

_log = logging.getLogger("marketstream_sdk")


class Calls:
    """Those of one connection.

    Args:
        emit: Sends an event and its payload; `callback` is called with the answer.
        lost: Done with the reason once the connection has ended; done here when nobody can know what it is
            good for.
        timeout: Seconds that an answer may take.
    """

    def __init__(
        self, emit: Callable[..., Awaitable[None]], lost: asyncio.Future[MarketDataError], timeout: float
    ) -> None:
        self._emit = emit
        self._lost = lost
        self._timeout = timeout

    async def make(self, event: str, payload: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON is of any shape
        """Return the answer to a call.

        Raises:
            NoAnswerError: There was none in time.
            MarketDataError: The connection ended before.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            await self._emit(event, payload, callback=partial(_answered, answer))
        except socketio.exceptions.SocketIOError as error:
            raise ConnectionLostError(f"{event} cannot be sent: {error}") from error
        await asyncio.wait([answer, self._lost], timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        if self._lost.done():
            raise self._lost.result()
        raise NoAnswerError(f"no answer to {event} within {self._timeout:g} s")

    async def require(self, event: str, payload: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON is of any shape
        """Return the answer to a call, which must not fail.

        Raises:
            MarketDataError: Why it did.
        """
        answer = await self.make(event, payload)
        failure = parse_failure(answer)
        if failure is not None:
            raise failure
        return answer

    async def require_of_events(self, event: str, payload: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON is of any shape
        """Return the answer to a call about subscriptions to events.

        Raises:
            RequestError: It failed. The token has let the client in, so unless it has ended, what a code says
                of it is said of this call alone.
            MarketDataError: The connection ended, or is about to.
        """
        try:
            return await self.require(event, payload)
        except AuthenticationError as error:
            if error.code == TOKEN_EXPIRED:
                raise
            raise RequestError(str(error), code=error.code) from error

    async def settle(self, event: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer to a call that says what the server shall send.

        It is made again after each time it came too early; one that fails is told as `errors`.

        Raises:
            MarketDataError: There was none; the connection has ended, or ends with this.
        """
        while True:
            try:
                answer: Mapping[str, Any] = await self.make(event, payload)
            except NoAnswerError as error:
                if not self._lost.done():
                    self._lost.set_result(ConnectionLostError(str(error)))
                raise self._lost.result() from error
            failure = parse_failure(answer)
            if failure is None:
                return answer
            if not isinstance(failure, RateLimitedError):
                reason = f"{failure} ({failure.code})"
                return {"errors": [f"{name}: {reason}" for key in payload for name in names(payload[key])]}
            _log.info("the server asks to wait %g s before the next %s", failure.retry_after, event)
            await asyncio.sleep(failure.retry_after)


def _answered(answer: asyncio.Future[Any], *arguments: object) -> None:
    if not answer.done():
        answer.set_result(arguments[0] if arguments else None)
