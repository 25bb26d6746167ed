"""Parse events and filters, and encode events once.

What is sent to a user is put together from bytes: an event is encoded once, where it is published; what is
added for some (how the market stands, the names that matched) is spliced in, and a batch is joined. Only
where a plan must not see a field is the event taken apart and written again, once for each such plan.

Whatever is read, nothing but `InvalidMessageError` is raised. Fields of an event that are not known are
passed over, so that back ends may be ahead; those of a filter are refused (see `core.events.filter`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from marketstream.core.events.event import Event, Priority
from marketstream.core.events.field import (
    read_confidence,
    read_name,
    read_priority,
    read_symbol,
    read_tier,
)
from marketstream.core.events.filter import Filter, read_filter
from marketstream.errors import InvalidMessageError
from marketstream.wire.json import dumps, loads
from marketstream.wire.publication import MAX_AHEAD_MS

MAX_DATA = 16 * 1024
"""Bytes of the data of an event, encoded."""
MAX_ID = 128
"""Characters of an id."""
MAX_TENANT = 256
"""Characters of a tenant."""
MAX_MS = 2**53 - 1
"""The last moment that every client can write down."""

_SPELLING = {"min_confidence": "minConfidence", "min_priority": "minPriority"}


def parse_event(value: object, at_ms: int, make_id: Callable[[], str]) -> Event:
    """Read an event.

    Args:
        value: What was sent; needs a type and a name. Where they are absent, the priority is MEDIUM, the
            time is now, and the data are empty.
        at_ms: Epoch milliseconds now.
        make_id: Makes an id for an event without one.

    Raises:
        InvalidMessageError: It is none; the text begins with the path of the fault.
    """
    if not isinstance(value, dict):
        raise InvalidMessageError("an event must be an object")
    kind, name = read_name(value.get("type"), "type"), read_name(value.get("name"), "name")
    said = {
        attribute: read(value[field], field)
        for field, (attribute, read) in _READERS.items()
        if value.get(field) is not None
    }
    if said.setdefault("at_ms", at_ms) > at_ms + MAX_AHEAD_MS:
        text = "timestamp: lies in the future; epoch milliseconds are expected"
        raise InvalidMessageError(text, path="timestamp")
    said.setdefault("priority", Priority.MEDIUM)
    return Event(said.pop("id", None) or make_id(), kind, name, **said)


def parse_filter(value: object) -> Filter:
    """Read the filter of a subscription: {types?, names?, symbols?, tiers?, minConfidence?, minPriority?}.

    Raises:
        InvalidMessageError: It is none; the text begins with the path of the fault.
    """
    return read_filter(value, _SPELLING)


def parse_subscription_name(value: object) -> str:
    """Read the name of a subscription: 1 to 64 printable characters.

    Raises:
        InvalidMessageError: It is none.
    """
    return read_name(value, "name")


def render_filter(filter_: Filter) -> dict[str, Any]:
    """Return a filter as the protocol writes it, absent fields left out and values in order."""
    listed = {
        field: sorted(values)
        for field in ("types", "names", "symbols", "tiers")
        if (values := getattr(filter_, field)) is not None
    }
    least: dict[str, Any] = {}
    if filter_.min_confidence is not None:
        least["minConfidence"] = filter_.min_confidence
    if filter_.min_priority is not None:
        least["minPriority"] = filter_.min_priority.name
    return listed | least


def render_event(event: Event) -> bytes:
    """Return an event as the protocol writes it; `parse_event` reads the same from it."""
    said: Mapping[str, object] = {
        "id": event.id,
        "type": event.type,
        "name": event.name,
        "symbol": event.symbol,
        "tier": event.tier,
        "confidence": event.confidence,
        "priority": event.priority.name,
        "timestamp": event.at_ms,
        "expiresAt": event.expires_at_ms,
        "tenantId": event.tenant,
    }
    head = dumps({field: value for field, value in said.items() if value is not None})
    return b'%b,"data":%b}' % (head[:-1], event.data)


def enrich(body: bytes, price: bytes | None, state: str | None) -> bytes:
    """Add `market` {price, state}: how its symbol stands at that moment.

    Args:
        body: An event, as `render_event` makes it.
        price: The best price, encoded, such as those who get this may see it; None when there is none.
        state: live, stale, delayed or closed; None when it is not known.
    """
    return b'%b,"market":{"price":%b,"state":%b}}' % (body[:-1], price or b"null", dumps(state))


def drop_fields(body: bytes, fields: Iterable[str]) -> bytes:
    """Leave out what a plan may not see.

    Args:
        body: An event, as `render_event` or `enrich` make it.
        fields: Fields, or parts of them as dotted paths such as `data.score`; absent ones are passed over.
            Without its data an event has empty ones.

    Returns:
        The event without them; the very same bytes when it has none of them.
    """
    value = loads(body)
    dropped = [_drop(value, field.split(".")) for field in fields]
    if not any(dropped):
        return body
    return dumps({**value, "data": value.get("data", {})})


def render_matched(body: bytes, names: Sequence[str]) -> bytes:
    """Add `matched`: names of the subscriptions by which a user gets an event."""
    return b'%b,"matched":%b}' % (body[:-1], dumps(list(names)))


def render_batch(bodies: Iterable[bytes], dropped: int = 0) -> bytes:
    """Return the payload of `events` {events, dropped?}, from events that were encoded before."""
    told = b',"dropped":%d' % dropped if dropped else b""
    return b'{"events":[%b]%b}' % (b",".join(bodies), told)


def _drop(value: object, path: list[str]) -> bool:
    for part in path[:-1]:
        value = value.get(part) if isinstance(value, dict) else None
    return isinstance(value, dict) and value.pop(path[-1], _ABSENT) is not _ABSENT


_ABSENT = object()


def _moment(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MAX_MS:
        raise InvalidMessageError(f"{path}: must be epoch milliseconds", path=path)
    return int(value)


def _data(value: object, path: str) -> bytes:
    if not isinstance(value, dict):
        raise InvalidMessageError(f"{path}: must be an object", path=path)
    try:
        data = dumps(value)
    except InvalidMessageError as error:
        raise InvalidMessageError(f"{path}: {error}", path=path) from error
    if len(data) > MAX_DATA:
        text = f"{path}: may have {MAX_DATA} bytes as JSON, it has {len(data)}"
        raise InvalidMessageError(text, path=path)
    return data


_READERS: Mapping[str, tuple[str, Callable[[object, str], Any]]] = {
    "id": ("id", partial(read_name, limit=MAX_ID)),
    "priority": ("priority", read_priority),
    "timestamp": ("at_ms", _moment),
    "symbol": ("symbol", read_symbol),
    "tier": ("tier", read_tier),
    "confidence": ("confidence", read_confidence),
    "expiresAt": ("expires_at_ms", _moment),
    "tenantId": ("tenant", partial(read_name, limit=MAX_TENANT)),
    "data": ("data", _data),
}
"""Of each field that may be absent: where it goes, and how it is read."""
