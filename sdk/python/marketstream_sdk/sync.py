"""The client without `await`, for scripts and notebooks.

It runs a `MarketDataClient` in an event loop of its own, in a thread of its own, so it works where a loop is
running already. Callbacks are called in that thread, one at a time: one that takes long delays the others.
"""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from marketstream_sdk.client import MarketDataClient
from marketstream_sdk.consumer import Callback
from marketstream_sdk.errors import MarketDataError
from marketstream_sdk.loop_thread import LoopThread
from marketstream_sdk.model import Channel, ChannelUpdate, Lagged, MarketQuote, Mode, Quote, SymbolStatus
from marketstream_sdk.status import State, StreamStatus
from marketstream_sdk.sync_events import SyncEventClient
from marketstream_sdk.sync_stream import SyncQuoteStream


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
