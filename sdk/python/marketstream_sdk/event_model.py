"""Events, what happened in a market as back ends tell it, and the filters by which a user wants them; pure.

Two filters are equal when they ask for the same: order, repetition and the case of symbols do not count.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from marketstream_sdk.model import Quote
from marketstream_sdk.symbols import normalise

Tier = Literal["daily", "intraday", "combo"]
Priority = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]

_LISTED = ("types", "names", "symbols", "tiers")
_SPELT = {name: name for name in _LISTED} | {
    "min_confidence": "minConfidence",
    "min_priority": "minPriority",
}


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Conditions that an event must all meet; None means that anything will do.

    An event without a symbol, tier or confidence never meets a condition on that. Lists may be given in any
    order, and a single value needs none; they are kept sorted, each value once.

    Attributes:
        types: Types of which it must have one.
        names: Names of which it must have one.
        symbols: Symbols of which it must have one.
        tiers: Tiers of which it must have one.
        min_confidence: Least confidence, from 0 to 1.
        min_priority: Least priority.

    Raises:
        ValueError: No event could ever meet that, or it cannot be said.
    """

    types: str | Iterable[str] | None = None
    names: str | Iterable[str] | None = None
    symbols: str | Iterable[str] | None = None
    tiers: Tier | Iterable[Tier] | None = None
    min_confidence: float | None = None
    min_priority: Priority | None = None

    def __post_init__(self) -> None:
        for name in _LISTED:
            given: str | Iterable[str] | None = getattr(self, name)
            if given is not None:
                # The only moment at which a frozen value may be put in order.
                object.__setattr__(self, name, _sorted(name, given))
        if unknown := set(self.tiers or ()) - set(get_args(Tier)):
            raise ValueError(f"tiers are {', '.join(get_args(Tier))}, not {min(unknown)!r}")
        if self.min_priority is not None and self.min_priority not in get_args(Priority):
            raise ValueError(f"min_priority must be one of {', '.join(get_args(Priority))}")
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise ValueError("min_confidence must be a number from 0 to 1")

    @property
    def payload(self) -> dict[str, Any]:
        """The filter as the protocol writes it; what may be anything is left out."""
        given = {spelt: getattr(self, name) for name, spelt in _SPELT.items()}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in given.items()
            if value is not None
        }


def read_filter(payload: object) -> EventFilter | None:
    """Return a filter out of JSON; None when it asks for something that this client does not know."""
    if not isinstance(payload, dict) or not payload.keys() <= set(_SPELT.values()):
        return None
    try:
        return EventFilter(**{name: payload.get(spelt) for name, spelt in _SPELT.items()})
    except (TypeError, ValueError):
        return None


def _sorted(name: str, given: str | Iterable[str]) -> tuple[str, ...]:
    values = [given] if isinstance(given, str) else list(given)
    if not values:
        raise ValueError(f"{name} is empty, so nothing would ever match; leave it out to match anything")
    if not all(values):
        raise ValueError(f"{name} has an empty value")
    return tuple(sorted(normalise(values) if name == "symbols" else set(values)))


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
