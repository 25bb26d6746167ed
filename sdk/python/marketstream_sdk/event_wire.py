"""Events and subscriptions of a user, read; raises what `wire` translates.

Priorities and tiers that are not known here are passed on: the server may learn new ones.
"""

from collections.abc import Mapping
from typing import Any, cast

from marketstream_sdk.errors import InvalidMessageError
from marketstream_sdk.event_filter import EventFilter, Priority, Tier, read_filter
from marketstream_sdk.market_event import EventMarket, Events, MarketEvent
from marketstream_sdk.payload import maybe, maybe_text, names, parse_quote, text, whole


def parse_events(payload: Any) -> Events:  # noqa: ANN401 - JSON is of any shape
    """The payload of `events`."""
    return Events(tuple(map(_event, payload["events"])), whole(payload.get("dropped", 0)))


def parse_subscriptions(answer: Any) -> dict[str, EventFilter | None]:  # noqa: ANN401 - JSON is of any shape
    """What the server holds, by name; None for a filter that makes no sense here.

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
