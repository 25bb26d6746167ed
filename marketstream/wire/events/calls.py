"""Encode answers to calls about event streams."""

from typing import Any

from marketstream.core.delivery.commands import (
    EventAcknowledged,
    EventReply,
    EventsSubscribed,
    EventSubscriptions,
    EventsUnsubscribed,
    GroupJoined,
    GroupLeft,
)
from marketstream.core.events.filter import Filter
from marketstream.wire.events import codec


def render_subscription(name: str, filter_: Filter) -> dict[str, Any]:
    """Return a subscription: {name, filter}."""
    return {"name": name, "filter": codec.render_filter(filter_)}


def render_reply(reply: EventReply) -> tuple[str, dict[str, Any]]:
    """Return what a call about event streams is answered: the name of the answer, and its fields."""
    match reply:
        case EventsSubscribed(name, filter_):
            return "subscribed_events", render_subscription(name, filter_)
        case EventsUnsubscribed(name):
            return "unsubscribed_events", {"name": name}
        case EventSubscriptions(held):
            return "event_subscriptions", {"subscriptions": [render_subscription(*each) for each in held]}
        case GroupJoined(group):
            return "joined_group", {"group": group}
        case GroupLeft(group):
            return "left_group", {"group": group}
        case EventAcknowledged(ident):
            return "acked_event", {"id": ident}
