"""The part of the client without `await` that deals with events."""

from collections.abc import Callable, Iterable

from marketstream_sdk.client import MarketDataClient
from marketstream_sdk.consumer import Callback
from marketstream_sdk.event_filter import Priority, Tier
from marketstream_sdk.loop_thread import LoopThread
from marketstream_sdk.market_event import MarketEvent
from marketstream_sdk.sync_stream import SyncEventStream


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
