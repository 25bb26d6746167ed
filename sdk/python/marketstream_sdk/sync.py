"""The client without `await`, for scripts and notebooks.

It runs a `MarketDataClient` in an event loop of its own, in a thread of its own, so it works where a loop is
running already. Callbacks are called in that thread, one at a time: one that takes long delays the others.
"""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from marketstream_sdk.client import MarketDataClient
from marketstream_sdk.consumer import Callback
from marketstream_sdk.errors import MarketDataError
from marketstream_sdk.event_model import MarketEvent, Priority, Tier
from marketstream_sdk.loop_thread import LoopThread
from marketstream_sdk.model import (
    Channel,
    ChannelUpdate,
    Lagged,
    MarketQuote,
    Mode,
    Quote,
    State,
    StreamStatus,
    SymbolStatus,
)
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
        """Return the next value.

        Raises:
            TimeoutError: None came in time; the stream goes on.
            MarketDataError: See `Stream.__anext__`.
        """
        try:
            return self._thread.run(_next(self._stream), self._timeout)
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """End it."""
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


class SyncEventClient:
    """See `EventClient`; a `SyncMarketDataClient` is one.

    Args:
        thread: Where the client lives.
        client: The client.
    """

    def __init__(self, thread: LoopThread, client: MarketDataClient) -> None:
        self._thread = thread
        self._client = client

    def subscribe_events(
        self,
        name: str,
        callback: Callback[MarketEvent],
        *,
        types: str | Iterable[str] | None = None,
        names: str | Iterable[str] | None = None,
        symbols: str | Iterable[str] | None = None,
        tiers: Tier | Iterable[Tier] | None = None,
        min_confidence: float | None = None,
        min_priority: Priority | None = None,
    ) -> None:
        """See `MarketDataClient.subscribe_events`."""
        self._thread.run(
            self._client.subscribe_events(
                name,
                callback,
                types=types,
                names=names,
                symbols=symbols,
                tiers=tiers,
                min_confidence=min_confidence,
                min_priority=min_priority,
            )
        )

    def unsubscribe_events(self, name: str, callback: Callback[MarketEvent] | None = None) -> None:
        """See `MarketDataClient.unsubscribe_events`."""
        self._thread.run(self._client.unsubscribe_events(name, callback))

    def stream_events(
        self,
        name: str,
        *,
        types: str | Iterable[str] | None = None,
        names: str | Iterable[str] | None = None,
        symbols: str | Iterable[str] | None = None,
        tiers: Tier | Iterable[Tier] | None = None,
        min_confidence: float | None = None,
        min_priority: Priority | None = None,
        timeout: float | None = None,
    ) -> SyncEventStream:
        """See `MarketDataClient.stream_events`.

        `timeout` is in seconds: without an event for so long the loop gets a TimeoutError; None for never.
        """
        stream = self._thread.call(
            lambda: self._client.stream_events(
                name,
                types=types,
                names=names,
                symbols=symbols,
                tiers=tiers,
                min_confidence=min_confidence,
                min_priority=min_priority,
            )
        )
        return SyncEventStream(self._thread, stream, timeout)

    def on_event(self, listener: Callable[[MarketEvent], object]) -> Callable[[], None]:
        """See `MarketDataClient.on_event`."""
        remove = self._thread.call(lambda: self._client.on_event(listener))
        return lambda: self._thread.call(remove) if self._thread.running else remove()

    def on_events_dropped(self, listener: Callable[[int], object]) -> Callable[[], None]:
        """See `MarketDataClient.on_events_dropped`."""
        return self._client.on_events_dropped(listener)


class SyncMarketDataClient(SyncEventClient):
    """See `MarketDataClient`: same arguments, same names, same errors.

    Use it as `with SyncMarketDataClient(url, token=...) as client`, or call `close` at the end.
    """

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - those of MarketDataClient
        thread = LoopThread()
        try:
            client = thread.run(_make(url, options))
        except BaseException:
            thread.stop()
            raise
        super().__init__(thread, client)

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
        """End streams, callbacks, connection and thread; the client is of no use afterwards."""
        if self._thread.running:
            self._thread.run(self._client.close())
            self._thread.stop()

    def disconnect_stream(self) -> None:
        """End streams, callbacks and connection; `connect` begins anew."""
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
    ) -> SyncQuoteStream:
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


async def _make(url: str, options: dict[str, Any]) -> MarketDataClient:
    return MarketDataClient(url, **options)
