"""Events: what happened in a market, as back ends tell it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marketstream_sdk.event_filter import Priority, Tier
from marketstream_sdk.model import Quote


@dataclass(frozen=True, slots=True)
class EventMarket:
    """How the symbol of an event stood at that moment.

    Attributes:
        price: Its best price; None when there was none.
        state: `live`, `stale`, `delayed` or `closed`; None when that was not known.
    """

    price: Quote | None
    state: str | None


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """Something that happened.

    Attributes:
        id: Its own; a callback gets each once.
        type: What kind of thing, such as `pattern`.
        name: What exactly, such as `head_and_shoulders`.
        priority: `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`.
        timestamp: Epoch milliseconds.
        data: What its publisher adds; empty when there is nothing.
        symbol: Whom it is about; None when it is about none.
        tier: `daily`, `intraday` or `combo`; None when it has none.
        confidence: How sure it is, from 0 to 1; None when that is not said.
        expires_at: Epoch milliseconds from which on it is of no use; None for never.
        tenant_id: The only tenant that hears of it; None for all.
        market: How its symbol stood; None where the server does not add that.
        matched: Names of the user's subscriptions that asked for it; empty when it goes to everybody.
    """

    id: str
    type: str
    name: str
    priority: Priority
    timestamp: int
    data: Mapping[str, Any] = field(default_factory=dict)
    symbol: str | None = None
    tier: Tier | None = None
    confidence: float | None = None
    expires_at: int | None = None
    tenant_id: str | None = None
    market: EventMarket | None = None
    matched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Events:
    """Events that arrived together, and how many others the server had no room for."""

    events: tuple[MarketEvent, ...]
    dropped: int = 0
