"""Define quotes, best prices and states.

Prices are floats as the source printed them; sizes are in the source's units; every `at_ms` is the
source's time in epoch milliseconds. Nothing here is ever changed after it is made.
"""

from dataclasses import dataclass
from typing import Literal

State = Literal["live", "stale", "delayed", "closed"]


@dataclass(frozen=True, slots=True)
class Quote:
    """What one source says of one symbol at one moment.

    Attributes:
        symbol: Upper-case symbol, as `core.market.symbols` accepts it.
        source: Name of the venue or vendor the quote came from.
        bid: Highest price someone pays; None when the source has no bid.
        bid_size: Size behind the bid; None where the source has none.
        ask: Lowest price someone takes; None when the source has no ask.
        ask_size: Size behind the ask; None where the source has none.
        at_ms: Source time in epoch milliseconds.
        last: Price of the last trade, where the source has trades.
        volume: Volume traded today, where the source has it.
    """

    symbol: str
    source: str
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    at_ms: int
    last: float | None = None
    volume: float | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the best price: who offers it and how much of it."""

    price: float
    size: float | None
    source: str


@dataclass(frozen=True, slots=True)
class BestPrice:
    """The best bid and ask over all live sources of a symbol.

    Attributes:
        symbol: Upper-case symbol.
        best_bid: Highest bid; None when no live source bids.
        best_ask: Lowest ask; None when no live source asks.
        mid_price: Middle of the two, one decimal finer than the finer side; None when a side is missing.
        spread: Ask minus bid, rounded likewise; negative when crossed; None when a side is missing.
        spread_bps: Spread in hundredths of a percent of the middle, 4 decimals; None when a side is missing.
        at_ms: Newest source time that went into it, epoch milliseconds; never goes back for a symbol.
        last: Price of the newest trade any source reported; None where no source has trades.
        volume: Volume that came with that trade; None where no source has it.
    """

    symbol: str
    best_bid: Side | None
    best_ask: Side | None
    mid_price: float | None
    spread: float | None
    spread_bps: float | None
    at_ms: int
    last: float | None = None
    volume: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """How far the price of a symbol can be trusted, and since when.

    Attributes:
        symbol: Upper-case symbol.
        state: live (a source is sending), stale (none is), delayed (seen late by plan), closed (the feed has
            ended, or the market is closed).
        source: Name of the source the change came from; None when there is none to name.
        since_ms: Epoch milliseconds of the change.
        reason: Why it is stale where that is not the source's silence: `bus_lost` or `no_feed`.
    """

    symbol: str
    state: State
    source: str | None
    since_ms: int
    reason: str | None = None
