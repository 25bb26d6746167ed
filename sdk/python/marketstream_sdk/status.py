"""What a client can say of itself."""

from dataclasses import dataclass
from typing import Literal

from marketstream_sdk.errors import MarketDataError

State = Literal["idle", "connecting", "connected", "reconnecting", "closed", "failed"]
"""idle: not connected yet. closed: by its user. failed: gave up, or was refused for good."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """A client at one moment.

    Attributes:
        state: Where it is.
        connected: Whether that is `connected`.
        subscribed_symbols: What the server has confirmed on the present connection.
        wanted_symbols: What callbacks and streams ask for; restored after each reconnect.
        active_callbacks: Callbacks that are called for quotes, channels or events.
        active_streams: Iterators of `stream_quotes` and `stream_events` that are open.
        reconnect_attempts: Attempts since the connection was last in order.
        error: Why it is not connected; None when it is, or never was.
        wanted_events: Names of the subscriptions to events that callbacks and streams ask for.
    """

    state: State
    connected: bool
    subscribed_symbols: tuple[str, ...]
    wanted_symbols: tuple[str, ...]
    active_callbacks: int
    active_streams: int
    reconnect_attempts: int
    error: MarketDataError | None
    wanted_events: tuple[str, ...] = ()
