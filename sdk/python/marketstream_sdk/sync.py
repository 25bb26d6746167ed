"""The client without `await`, for scripts and notebooks.

It runs a `MarketDataClient` in an event loop of its own, in a thread of its own, so it works where a loop is
running already. Callbacks are called in that thread, one at a time: one that takes long delays the others.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar

from marketstream_sdk.client import MarketDataClient
from marketstream_sdk.consumer import Callback
from marketstream_sdk.errors import MarketDataError, NotConnectedError
from marketstream_sdk.model import Channel, ChannelUpdate, Lagged, MarketQuote, Mode, Quote, SymbolStatus
from marketstream_sdk.status import State, StreamStatus
from marketstream_sdk.stream import QuoteStream

T = TypeVar("T")


class SyncMarketDataClient:
    """See `MarketDataClient`: same arguments, same names, same errors.

    Use it as `with SyncMarketDataClient(url, token=...) as client`, or call `close` at the end.
    """

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - those of MarketDataClient
        self._thread = _LoopThread()
        try:
            self._client = self._thread.run(_make(url, options))
        except BaseException:
            self._thread.stop()
            raise

    def __repr__(self) -> str:
        return f"<Sync{repr(self._client)[1:]}"

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def state(self) -> State:
        """See `MarketDataClient.state`."""
        return self._client.state

    @property
    def is_connected(self) -> bool:
        """See `MarketDataClient.is_connected`."""
        return self._client.is_connected

    def connect(self) -> None:
        """See `MarketDataClient.connect`."""
        self._thread.run(self._client.connect())

    def close(self) -> None:
        """Ends streams, callbacks, connection and thread; the client is of no use afterwards."""
        if self._thread.running:
            self._thread.run(self._client.close())
            self._thread.stop()

    def disconnect_stream(self) -> None:
        """Ends streams, callbacks and connection; `connect` begins anew."""
        self._thread.run(self._client.disconnect_stream())

    def get_stream_status(self) -> StreamStatus:
        """See `MarketDataClient.get_stream_status`."""
        return self._thread.call(self._client.get_stream_status)

    def get_quote(self, symbol: str) -> MarketQuote:
        """See `MarketDataClient.get_quote`."""
        return self._thread.run(self._client.get_quote(symbol))

    def subscribe(
        self,
        symbols: str | Iterable[str],
        callback: Callback[Quote],
        *,
        mode: Mode = "latest",
        max_rate: float = 0,
    ) -> tuple[str, ...]:
        """See `MarketDataClient.subscribe`."""
        return self._thread.run(self._client.subscribe(symbols, callback, mode=mode, max_rate=max_rate))

    def unsubscribe(self, symbols: str | Iterable[str], callback: Callback[Quote] | None = None) -> None:
        """See `MarketDataClient.unsubscribe`."""
        self._thread.run(self._client.unsubscribe(symbols, callback))

    def remove_callback(self, callback: Callback[Quote]) -> bool:
        """See `MarketDataClient.remove_callback`."""
        return self._thread.call(lambda: self._client.remove_callback(callback))

    def subscribe_channels(
        self, channels: Channel | Iterable[Channel], callback: Callback[ChannelUpdate]
    ) -> tuple[str, ...]:
        """See `MarketDataClient.subscribe_channels`."""
        return self._thread.run(self._client.subscribe_channels(channels, callback))

    def unsubscribe_channels(
        self, channels: Channel | Iterable[Channel], callback: Callback[ChannelUpdate] | None = None
    ) -> None:
        """See `MarketDataClient.unsubscribe_channels`."""
        self._thread.run(self._client.unsubscribe_channels(channels, callback))

    def stream_quotes(
        self,
        symbols: str | Iterable[str],
        callback: Callback[Quote] | None = None,
        *,
        mode: Mode = "latest",
        max_rate: float = 0,
        timeout: float | None = None,
    ) -> "SyncQuoteStream":
        """See `MarketDataClient.stream_quotes`.

        Args:
            symbols: Several, or a single one.
            callback: Called with each quote before the loop gets it.
            mode: See `MarketDataClient.subscribe`.
            max_rate: See `MarketDataClient.subscribe`.
            timeout: Seconds to wait for each quote, after which the loop gets a TimeoutError; None for ever.
        """
        stream = self._thread.call(
            lambda: self._client.stream_quotes(symbols, callback, mode=mode, max_rate=max_rate)
        )
        return SyncQuoteStream(self._thread, stream, timeout)

    def on_state(self, listener: Callable[[State, MarketDataError | None], object]) -> Callable[[], None]:
        """See `MarketDataClient.on_state`."""
        return self._client.on_state(listener)

    def on_error(self, listener: Callable[[MarketDataError], object]) -> Callable[[], None]:
        """See `MarketDataClient.on_error`."""
        return self._client.on_error(listener)

    def on_status(self, listener: Callable[[SymbolStatus], object]) -> Callable[[], None]:
        """See `MarketDataClient.on_status`."""
        return self._client.on_status(listener)

    def on_lagged(self, listener: Callable[[Lagged], object]) -> Callable[[], None]:
        """See `MarketDataClient.on_lagged`."""
        return self._client.on_lagged(listener)


class SyncQuoteStream(Iterator[Quote]):
    """Quotes as an iterator; made by `SyncMarketDataClient.stream_quotes`."""

    def __init__(self, thread: "_LoopThread", stream: QuoteStream, timeout: float | None) -> None:
        self._thread = thread
        self._stream = stream
        self._timeout = timeout

    def __next__(self) -> Quote:
        """The next quote.

        Raises:
            TimeoutError: None came in time; the stream goes on.
            MarketDataError: See `QuoteStream.__anext__`.
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


class _LoopThread:
    """An event loop that runs in a thread until it is stopped."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon: a script that forgets to close its client can end nevertheless.
        self._thread = threading.Thread(target=self._serve, name="marketstream-sdk", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return not self._loop.is_closed()

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Runs a coroutine there and waits for it here.

        Raises:
            NotConnectedError: The loop has been stopped.
            TimeoutError: It took longer; it was cancelled.
        """
        if not self.running:
            work.close()
            raise NotConnectedError("the client was closed")
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a callback cannot wait for its client: they share a thread")
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Calls a plain function there."""
        if threading.current_thread() is self._thread:
            return function()
        return self.run(_called(function))

    def stop(self) -> None:
        """Ends loop and thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


async def _make(url: str, options: dict[str, Any]) -> MarketDataClient:
    return MarketDataClient(url, **options)


async def _called(function: Callable[[], T]) -> T:
    return function()


async def _next(stream: QuoteStream) -> Quote:
    return await anext(stream)
