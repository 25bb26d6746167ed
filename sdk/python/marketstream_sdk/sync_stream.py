"""Quotes, and events, as plain iterators."""

from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from marketstream_sdk.loop_thread import LoopThread
from marketstream_sdk.market_event import MarketEvent
from marketstream_sdk.model import Quote
from marketstream_sdk.stream import Stream

T = TypeVar("T")


class SyncStream(Iterator[T], Generic[T]):
    """Made by a client.

    Args:
        thread: Where the client lives.
        stream: What there is to iterate over.
        timeout: Seconds to wait for each value; None for ever.
    """

    def __init__(self, thread: LoopThread, stream: Stream[T], timeout: float | None) -> None:
        self._thread = thread
        self._stream = stream
        self._timeout = timeout

    def __next__(self) -> T:
        """The next value.

        Raises:
            TimeoutError: None came in time; the stream goes on.
            MarketDataError: See `Stream.__anext__`.
        """
        try:
            return self._thread.run(_next(self._stream), self._timeout)
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Ends it."""
        if self._thread.running:
            self._thread.run(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SyncQuoteStream(SyncStream[Quote]):
    """Quotes as an iterator; made by `SyncMarketDataClient.stream_quotes`."""


class SyncEventStream(SyncStream[MarketEvent]):
    """Events as an iterator; made by `SyncMarketDataClient.stream_events`."""


async def _next(stream: Stream[T]) -> T:
    return await anext(stream)
