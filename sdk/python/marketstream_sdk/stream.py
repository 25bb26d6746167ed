"""Quotes as an asynchronous iterator.

A stream leaves by itself when it is closed, when its `async with` block ends, or when nobody holds it any
more, as after a `break`. Whoever is slow sees the newest values: nothing piles up.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from marketstream_sdk.consumer import Callback, Consumer, call
from marketstream_sdk.mailbox import ClosedError
from marketstream_sdk.model import Quote


class QuoteStream(AsyncIterator[Quote]):
    """Made by `MarketDataClient.stream_quotes`.

    Args:
        consumer: What waits for it.
        leave: Takes the consumer out of the audience.
        callback: Called with each quote before the loop gets it; None for nobody.
    """

    def __init__(
        self, consumer: Consumer[Quote], leave: Callable[[], None], callback: Callback[Quote] | None
    ) -> None:
        self._consumer = consumer
        self._leave = leave
        self._callback = callback
        self._loop = asyncio.get_running_loop()

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols it still has; fewer than were asked for where the server refused some."""
        return tuple(self._consumer.terms)

    async def __anext__(self) -> Quote:
        """The next quote.

        Raises:
            StopAsyncIteration: The stream or the client was closed.
            SubscriptionError: The server refused each of its symbols; this is the last one.
            ConnectionFailedError: The client has given up.
            AuthenticationError: The server does not accept the token.
        """
        try:
            quote = await self._consumer.mailbox.take()
        except ClosedError:
            raise StopAsyncIteration from None
        if self._callback is not None:
            await call(self._callback, quote)
        return quote

    async def aclose(self) -> None:
        """Ends it; does nothing to one that has ended."""
        self._leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # Whoever drops the last reference may be another thread, and the loop may be gone; without one
        # there is no stream either.
        with suppress(RuntimeError, AttributeError):
            self._loop.call_soon_threadsafe(self._leave)
