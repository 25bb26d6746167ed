"""The messages of event streams as every dialect writes them, for the golden files."""

from marketstream.core.delivery.commands import (
    EventReply,
    EventsSubscribed,
    EventSubscriptions,
    EventsUnsubscribed,
    GroupJoined,
)
from marketstream.core.delivery.frame import Frame
from marketstream.core.events.event import Event, Priority
from marketstream.core.events.filter import Filter
from marketstream.wire import socketio as wire
from marketstream.wire import sse
from marketstream.wire.events import codec
from marketstream.wire.plain.action import ACTION
from marketstream.wire.plain.language import nested
from marketstream.wire.plain.typed import TYPED

AT_MS = 1_700_000_000_000
WANTED = Filter(
    types=frozenset({"pattern"}),
    symbols=frozenset({"AAPL", "EUR/USD"}),
    min_confidence=0.8,
    min_priority=Priority.HIGH,
)
PATTERN = Event(
    id="p1",
    type="pattern",
    name="double-bottom",
    priority=Priority.HIGH,
    at_ms=AT_MS,
    symbol="AAPL",
    tier="daily",
    confidence=0.93,
    expires_at_ms=AT_MS + 3_600_000,
    tenant="acme",
    data=b'{"target":231.5}',
)
HALT = Event(id="h1", type="halt", name="trading-halt", priority=Priority.CRITICAL, at_ms=AT_MS)
ANSWERS: dict[str, EventReply] = {
    "subscribe_events_ack": EventsSubscribed("mine", WANTED),
    "event_subscriptions_ack": EventSubscriptions((("mine", WANTED), ("news", Filter()))),
    "unsubscribe_events_ack": EventsUnsubscribed("mine"),
    "join_group_ack": GroupJoined("backtesters"),
}


def messages() -> dict[str, bytes]:
    """Every file with its bytes."""
    matched = codec.render_matched(codec.render_event(PATTERN), ["mine", "news"])
    batch = _frame(matched, codec.render_event(HALT))
    files = {
        "socketio/events.txt": wire.POLLING.render([batch]),
        "socketio/events_dropped.txt": wire.POLLING.render([_frame(matched, dropped=12)]),
        "sse/events.txt": sse.UNCHUNKED.render([batch]),
        # Both languages write what is no price alike.
        "websocket/action/events.json": nested(batch),
        "websocket/type/events.json": nested(batch),
    }
    for number, (name, reply) in enumerate(ANSWERS.items(), 1):
        files[f"socketio/{name}.txt"] = wire.acknowledge(number, wire.render(reply)).body
    subscribed = ANSWERS["subscribe_events_ack"]
    return files | {
        "websocket/action/subscribed_events.json": ACTION.answer("r5", subscribed),
        "websocket/type/subscribed_events.json": TYPED.answer(None, subscribed),
    }


def _frame(*bodies: bytes, dropped: int = 0) -> Frame:
    return Frame("events", codec.render_batch(bodies, dropped))
