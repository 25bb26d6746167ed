"""What a client is told: quotes, how far they can be trusted, and how the client itself is.

Names are those of Python, values are those of the wire: prices are numbers as the sources printed them,
every `timestamp` is epoch milliseconds. Nothing here is ever changed after it is made.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from marketstream_sdk.errors import MarketDataError

Mode = Literal["latest", "every"]
"""latest: the newest value, values between may be skipped. every: all values in order."""

MODES: tuple[Mode, ...] = ("latest", "every")

Channel = Literal["indices", "sectors", "sentiment", "movers"]

_BPS_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the best price.

    Attributes:
        price: The price.
        size: How much of it is there; None where the source does not say.
        source: Who offers it.
    """

    price: float
    size: float | None
    source: str


@dataclass(frozen=True, slots=True)
class Quote:
    """The best price of a symbol over all sources.

    Attributes:
        symbol: Upper-case symbol.
        best_bid: Highest bid; None when nobody bids.
        best_ask: Lowest ask; None when nobody asks.
        mid_price: Middle of the two; None when a side is missing.
        spread: Ask minus bid, negative when the market is crossed; None when a side is missing.
        spread_bps: Spread in hundredths of a percent of the middle; None when there is none.
        timestamp: Source time, epoch milliseconds; never goes back for a symbol.
    """

    symbol: str
    best_bid: Side | None
    best_ask: Side | None
    mid_price: float | None
    spread: float | None
    spread_bps: float | None
    timestamp: int


@dataclass(frozen=True, slots=True)
class MarketQuote:
    """The answer to `get_quote`: a price with what is known around it.

    It has the fields of a `Quote` too, worked out from `bid` and `ask`, so that both can be shown alike.

    Attributes:
        symbol: Upper-case symbol.
        price: Last trade where there are trades, else the middle, else the only side.
        change: Against the close before; None when that is not known.
        change_percent: The same in percent.
        volume: Volume traded; None when it is not known.
        bid: Highest bid; None when nobody bids.
        ask: Lowest ask; None when nobody asks.
        timestamp: Time of the price, epoch milliseconds.
        data_source: Where it comes from; several joined by `+`.
        status: `ok`, or `partial_data` when an old value stands in.
        last_updated: When the source said so, ISO 8601.
        age_seconds: Seconds since then.
        warning: Why the status is not `ok`; None when it is.
    """

    symbol: str
    price: float | None
    change: float | None
    change_percent: float | None
    volume: float | None
    bid: float | None
    ask: float | None
    timestamp: int
    data_source: str
    status: str
    last_updated: str
    age_seconds: float
    warning: str | None = None

    @property
    def best_bid(self) -> Side | None:
        """The bid as a side; its size is not known here."""
        return None if self.bid is None else Side(self.bid, None, self.data_source)

    @property
    def best_ask(self) -> Side | None:
        """The ask as a side; its size is not known here."""
        return None if self.ask is None else Side(self.ask, None, self.data_source)

    @property
    def mid_price(self) -> float | None:
        """Middle of bid and ask, without the errors of binary fractions."""
        sides = self._exact()
        return None if sides is None else float(sum(sides) / 2)

    @property
    def spread(self) -> float | None:
        """Ask minus bid, likewise."""
        sides = self._exact()
        return None if sides is None else float(sides[1] - sides[0])

    @property
    def spread_bps(self) -> float | None:
        """Spread in hundredths of a percent of the middle, 4 decimals; None without a middle above zero."""
        sides = self._exact()
        if sides is None or sum(sides) <= 0:
            return None
        return round(float((sides[1] - sides[0]) * 20_000 / sum(sides)), _BPS_DECIMALS)

    def _exact(self) -> tuple[Decimal, Decimal] | None:
        if self.bid is None or self.ask is None:
            return None
        return Decimal(repr(self.bid)), Decimal(repr(self.ask))


@dataclass(frozen=True, slots=True)
class SymbolStatus:
    """How far the price of a symbol can be trusted, and since when.

    Attributes:
        symbol: Upper-case symbol.
        state: `live`, `stale` (no source is sending), `delayed` (shown late) or `closed`.
        source: Whose silence or word it was; None when there is nobody to name.
        since: Epoch milliseconds of the change.
        reason: Why it is stale where that is not the source's silence: `no_feed` or `bus_lost`.
    """

    symbol: str
    state: str
    source: str | None
    since: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Lagged:
    """Values of mode `every` that will not come any more.

    Attributes:
        symbol: Upper-case symbol.
        missed: How many.
    """

    symbol: str
    missed: int


@dataclass(frozen=True, slots=True)
class ChannelUpdate:
    """News of a channel.

    Attributes:
        channel: `indices`, `sectors`, `sentiment` or `movers`.
        data: What the channel shows, as the REST endpoint of that name would answer.
        timestamp: Epoch milliseconds.
    """

    channel: str
    data: Any
    timestamp: int


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
