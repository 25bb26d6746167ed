"""Quotes, and events, as asynchronous iterators.

A stream leaves by itself when it is closed, when its `async with` block ends, or when nobody holds it any
more, as after a `break`. Nothing piles up: whoever is slow sees the newest quotes, and loses the oldest of
many events.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar

from marketstream_sdk.consumer import Callback, ClosedError, Consumer, call
from marketstream_sdk.event_model import MarketEvent
from marketstream_sdk.model import Quote

T = TypeVar("T")


class Stream(AsyncIterator[T], Generic[T]):
    """What a client gives to loop over.

    Args:
        consumer: What waits for it.
        leave: Takes the consumer out of the registry.
        callback: Called with each value before the loop gets it; None for nobody.
    """

    def __init__(
        self, consumer: Consumer[T], leave: Callable[[], None], callback: Callback[T] | None = None
    ) -> None:
        self._consumer = consumer
        self._leave = leave
        self._callback = callback
        self._loop = asyncio.get_running_loop()

    async def __anext__(self) -> T:
        """Return the next value.

        Raises:
            StopAsyncIteration: The stream or the client was closed.
            RequestError: The server refused what it asks for: a SubscriptionError when it refused each of the
                symbols, which is that of the last one, or an EventSubscriptionError.
            ConnectionFailedError: The client has given up.
            AuthenticationError: The server does not accept the token.
        """
        try:
            value = await self._consumer.consumer_queue.take()
        except ClosedError:
            raise StopAsyncIteration from None
        if self._callback is not None:
            await call(self._callback, value)
        return value

    async def aclose(self) -> None:
        """End it; does nothing to one that has ended."""
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


class QuoteStream(Stream[Quote]):
    """Made by `MarketDataClient.stream_quotes`."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols it still has; fewer than were asked for where the server refused some."""
        return tuple(self._consumer.terms)


class EventStream(Stream[MarketEvent]):
    """Made by `MarketDataClient.stream_events`.

    Args:
        consumer: See `Stream`.
        leave: See `Stream`.
        settle: Waits until the server knows of that.
        name: The name of the subscription.

    Attributes:
        name: The same.
    """

    def __init__(
        self,
        consumer: Consumer[MarketEvent],
        leave: Callable[[], None],
        settle: Callable[[], Awaitable[None]],
        name: str,
    ) -> None:
        super().__init__(consumer, leave)
        self.name = name
        self._settle = settle

    async def aclose(self) -> None:
        """End it; the last one of its name to leave ends the subscription, and wait until that is told."""
        await super().aclose()
        await self._settle()
