"""Messages of the server, read: names and JSON in, values of this package out.

Pure, and nothing but `InvalidMessageError` is ever raised, whatever was sent. Events with names that are not
known are passed over, priorities and tiers that are not known are passed on: the server may learn new ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, cast

from marketstream_sdk.errors import (
    AuthenticationError,
    ConnectionLostError,
    InvalidMessageError,
    MarketDataError,
    RateLimitedError,
    RequestError,
    SubscriptionError,
)
from marketstream_sdk.event_model import (
    EventFilter,
    EventMarket,
    Events,
    MarketEvent,
    Priority,
    Tier,
    read_filter,
)
from marketstream_sdk.model import ChannelUpdate, Lagged, MarketQuote, Quote, SymbolStatus
from marketstream_sdk.payload import maybe, maybe_text, names, number, parse_quote, text, whole


def parse_events(payload: Any) -> Events:  # noqa: ANN401 - JSON is of any shape
    """Return the payload of `events`."""
    return Events(tuple(map(_event, payload["events"])), whole(payload.get("dropped", 0)))


def parse_subscriptions(answer: Any) -> dict[str, EventFilter | None]:  # noqa: ANN401 - JSON is of any shape
    """Return what the server holds, by name; None for a filter that makes no sense here.

    Raises:
        InvalidMessageError: It says something else.
    """
    try:
        return {text(entry["name"]): read_filter(entry["filter"]) for entry in answer["subscriptions"]}
    except (KeyError, TypeError) as error:
        raise InvalidMessageError(f"the event subscriptions cannot be read: {error!r}") from error


def _event(payload: Any) -> MarketEvent:  # noqa: ANN401 - JSON is of any shape
    data, expires = payload.get("data"), payload.get("expiresAt")
    return MarketEvent(
        id=text(payload["id"]),
        type=text(payload["type"]),
        name=text(payload["name"]),
        priority=cast("Priority", text(payload["priority"])),
        timestamp=whole(payload["timestamp"]),
        data=data if isinstance(data, Mapping) else {},
        symbol=maybe_text(payload.get("symbol")),
        tier=cast("Tier | None", maybe_text(payload.get("tier"))),
        confidence=maybe(payload.get("confidence")),
        expires_at=None if expires is None else whole(expires),
        tenant_id=maybe_text(payload.get("tenantId")),
        market=_market(payload.get("market")),
        matched=tuple(names(payload.get("matched"))),
    )


def _market(payload: Any) -> EventMarket | None:  # noqa: ANN401 - JSON is of any shape
    if payload is None:
        return None
    price = payload.get("price")
    return EventMarket(None if price is None else parse_quote(price), maybe_text(payload.get("state")))


REFUSALS = frozenset({"UNAUTHORIZED", "AUTH_FAILED", "TOKEN_EXPIRED"})
"""Codes that say that it is the token's fault."""

PATIENCE = 1.0
"""Seconds until a call that came too early is made again, where the server does not say."""

LONGEST_PATIENCE = 60.0
"""Seconds that it is waited at most, whatever the server says."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Quotes that arrived together: one of them, or a snapshot."""

    quotes: tuple[Quote, ...]


@dataclass(frozen=True, slots=True)
class TokenExpiring:
    """The token ends soon, at this time in epoch milliseconds."""

    expires_at: int


@dataclass(frozen=True, slots=True)
class Fault:
    """The server has something to complain of, outside of any call."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Symbols or channels that are not to be had, and why."""

    errors: tuple[SubscriptionError, ...]


Message = Prices | SymbolStatus | Lagged | ChannelUpdate | Events | TokenExpiring | Fault | Refused


def parse_event(name: str, payload: object) -> Message | None:
    """Return what an event says.

    Args:
        name: Its name.
        payload: Its only argument, out of JSON.

    Returns:
        None when it says nothing that a client must know.

    Raises:
        InvalidMessageError: It is known by name, and has another shape.
    """
    read = _EVENTS.get(name)
    if read is None:
        return None
    try:
        return read(payload)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InvalidMessageError(f"{name} cannot be read: {type(error).__name__} {error}") from error


def parse_market_quote(payload: Any) -> MarketQuote:  # noqa: ANN401 - JSON is of any shape
    """Return the answer to `get_quote`.

    Raises:
        InvalidMessageError: It has another shape.
    """
    try:
        return MarketQuote(
            symbol=text(payload["symbol"]),
            price=maybe(payload["price"]),
            change=maybe(payload["change"]),
            change_percent=maybe(payload["changePercent"]),
            volume=maybe(payload["volume"]),
            bid=maybe(payload.get("bid")),
            ask=maybe(payload.get("ask")),
            timestamp=whole(payload["timestamp"]),
            data_source=text(payload["data_source"]),
            status=text(payload["status"]),
            last_updated=text(payload["last_updated"]),
            age_seconds=number(payload["age_seconds"]),
            warning=payload.get("warning"),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InvalidMessageError(f"the quote cannot be read: {type(error).__name__} {error}") from error


def parse_failure(answer: object) -> MarketDataError | None:
    """Return why a call failed as a whole; None when it did not.

    Args:
        answer: The acknowledgement of a call.
    """
    if not isinstance(answer, Mapping):
        return InvalidMessageError("an answer of the server is not an object")
    if "error" not in answer or "code" not in answer:
        return None
    code, text = str(answer["code"]), str(answer["error"])
    if code == RateLimitedError.code:
        wait = answer.get("retryAfterMs")
        return RateLimitedError(patience(wait / 1000 if isinstance(wait, int | float) else None))
    return refusal(code, text)


def patience(asked: float | None) -> float:
    """Return the seconds to wait before a call is made again, as the server asks, within bounds.

    Args:
        asked: What the server says; None where it does not.
    """
    if asked is None or not 0 < asked < inf:
        return PATIENCE
    return min(asked, LONGEST_PATIENCE)


def refusal(code: str, text: str) -> MarketDataError:
    """Return an error of the server's by its code."""
    if code in REFUSALS:
        return AuthenticationError(text, code=code)
    return RequestError(text, code=code)


def unreachable(code: str, text: str, retry_after: float = 0.0) -> MarketDataError:
    """Return the same for an error that stands in the way of a connection."""
    if code in REFUSALS:
        return AuthenticationError(text, code=code)
    return ConnectionLostError(text, code=code or None, retry_after=retry_after)


def parse_refused(errors: object) -> tuple[SubscriptionError, ...]:
    """Return what `errors` of an answer says of single symbols: sentences such as `AAPL: not entitled`."""
    if not isinstance(errors, list):
        return ()
    parts = [str(error).partition(": ") for error in errors]
    return tuple(SubscriptionError(symbol, reason or "refused") for symbol, _, reason in parts)


def _price(payload: Any) -> Prices:  # noqa: ANN401 - JSON is of any shape
    return Prices((parse_quote(payload),))


def _snapshot(payload: Any) -> Prices:  # noqa: ANN401 - JSON is of any shape
    return Prices(tuple(map(parse_quote, payload["prices"])))


def _status(payload: Any) -> SymbolStatus:  # noqa: ANN401 - JSON is of any shape
    since = whole(payload["since"])
    return SymbolStatus(
        text(payload["symbol"]),
        text(payload["state"]),
        maybe_text(payload["source"]),
        since,
        maybe_text(payload.get("reason")),
    )


def _lagged(payload: Any) -> Lagged:  # noqa: ANN401 - JSON is of any shape
    return Lagged(text(payload["symbol"]), whole(payload["missed"]))


def _update(payload: Any) -> ChannelUpdate:  # noqa: ANN401 - JSON is of any shape
    return ChannelUpdate(text(payload["channel"]), payload["data"], whole(payload["timestamp"]))


def _expiring(payload: Any) -> TokenExpiring:  # noqa: ANN401 - JSON is of any shape
    return TokenExpiring(whole(payload["expiresAt"]))


def _error(payload: Any) -> Fault:  # noqa: ANN401 - JSON is of any shape
    return Fault(text(payload["code"]), text(payload["message"]))


def _subscribed(payload: Any) -> Refused:  # noqa: ANN401 - JSON is of any shape
    return Refused(parse_refused(payload["errors"]))


_EVENTS: dict[str, Callable[[Any], Message]] = {
    "price": _price,
    "snapshot": _snapshot,
    "status": _status,
    "lagged": _lagged,
    "market_update": _update,
    "sector_update": _update,
    "sentiment_update": _update,
    "token_expiring": _expiring,
    "error": _error,
    "subscribed": _subscribed,
    "events": parse_events,
}
