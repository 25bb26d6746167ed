"""Speak the language whose calls have an `action`.

Answers have a `status`, what the server says by itself has a `type`; neither is nested.
"""

from collections.abc import Sequence
from typing import Any

from marketstream.core.delivery.commands import (
    Authenticated,
    Command,
    ListSubscriptions,
    Pong,
    Quoted,
    Reply,
    Subscribed,
    Subscription,
    Subscriptions,
    Unsubscribed,
)
from marketstream.core.delivery.frame import Frame
from marketstream.errors import InvalidMessageError, MarketstreamError, UnknownEventError
from marketstream.wire import messages, request
from marketstream.wire.events import calls
from marketstream.wire.json import dumps
from marketstream.wire.plain.language import (
    DATED,
    Language,
    Mark,
    dated,
    dialect,
    failure,
    is_price,
    iso,
    nested,
    payload,
    read_price,
)

DATA_TYPES = ("price", "volume")
MAX_MARK = 128
"""Characters of a request_id that are repeated."""

_ALIKE = (
    *("unsubscribe", "get_quote", "authenticate", "ping"),
    *("subscribe_events", "unsubscribe_events", "event_subscriptions"),
    *("join_group", "leave_group", "ack_event"),
)
_FLAT = frozenset({"status", "lagged", "token_expiring", "error"})


def _mark(message: dict[str, Any]) -> Mark:
    given = message.get("request_id")
    if isinstance(given, str):
        return given if len(given) <= MAX_MARK and given.isprintable() else None
    return given if isinstance(given, int | float) and not isinstance(given, bool) else None


def _parse(message: dict[str, Any]) -> Command:
    action = message.get("action")
    if not isinstance(action, str):
        raise InvalidMessageError("action must be a string", path="action")
    if message.get("request_id") is not None and _mark(message) is None:
        text = f"request_id must be a number or a string of at most {MAX_MARK} printable characters"
        raise InvalidMessageError(text, path="request_id")
    if action == "subscribe":
        return _subscribe(message)
    if action == "get_connection_state":
        return ListSubscriptions()
    if action in _ALIKE:
        return request.parse(action, [message])
    raise UnknownEventError(f"unknown action {action[:64]!r}")


def _subscribe(message: dict[str, Any]) -> Command:
    fast = message.get("high_frequency")
    if fast is not None and not isinstance(fast, bool):
        raise InvalidMessageError("high_frequency must be true or false", path="high_frequency")
    wanted = message.get("data_types")
    if wanted is not None and not (isinstance(wanted, list) and all(name in DATA_TYPES for name in wanted)):
        text = f"data_types must be a list of {' and '.join(DATA_TYPES)}"
        raise InvalidMessageError(text, path="data_types")
    fields = {name: message.get(name) for name in ("symbols", "channels", "maxRate")}
    return request.parse("subscribe", [{**fields, "mode": "every" if fast else "latest"}])


def _answer(mark: Mark, reply: Reply) -> bytes:
    if isinstance(reply, Quoted):
        # A quote has a status of its own, `ok`.
        return reply.body if mark is None else reply.body[:-1] + b',"request_id":' + dumps(mark) + b"}"
    return dumps(_marked(mark, _body(reply)))


def _body(reply: Reply) -> dict[str, Any]:
    match reply:
        case Subscribed(symbols, channels, errors):
            body = {"status": "subscribed", **_names(symbols, channels)}
            return body | ({"errors": list(errors)} if errors else {})
        case Unsubscribed(symbols, channels):
            return {"status": "unsubscribed", **_names(symbols, channels)}
        case Subscriptions(held, listening):
            listed = [_subscription(entry) for entry in held]
            return {"status": "connected", "subscriptions": listed, "channels": list(listening)}
        case Authenticated():
            return {"status": "authenticated", **messages.authenticated(reply)}
        case Pong(at_ms):
            return {"status": "pong", "timestamp": iso(at_ms)}
        case Quoted():
            raise AssertionError("a quote is JSON already")
        case _:
            name, said = calls.render_reply(reply)
            return {"status": name, **said}


def _names(symbols: Sequence[str], channels: Sequence[str] | None) -> dict[str, Any]:
    named: dict[str, Any] = {"symbol": symbols[0]} if len(symbols) == 1 else {"symbols": list(symbols)}
    return named if channels is None else named | {"channels": list(channels)}


def _subscription(held: Subscription) -> dict[str, Any]:
    return {"symbol": held.symbol, "high_frequency": held.mode == "every", "maxRate": held.max_rate}


def _refuse(mark: Mark, error: MarketstreamError) -> bytes:
    return dumps(_marked(mark, {"status": "error", **failure(error)}))


def _marked(mark: Mark, body: dict[str, Any]) -> dict[str, Any]:
    return body if mark is None else {**body, "request_id": mark}


def _push(frame: Frame) -> bytes:
    if is_price(frame):
        return _price(frame)
    if frame.event in DATED:
        return _flat(frame, dated(frame))
    if frame.event in _FLAT:
        return _flat(frame, payload(frame))
    return nested(frame)


def _price(frame: Frame) -> bytes:
    seen = read_price(frame)
    body: dict[str, Any] = {"type": "price_update", "symbol": seen.symbol, "price": seen.price}
    optional = {"volume": seen.volume, "bid": seen.bid, "ask": seen.ask}
    body |= {name: value for name, value in optional.items() if value is not None}
    return dumps({**body, "timestamp": seen.timestamp})


def _flat(frame: Frame, body: bytes) -> bytes:
    """Return the fields of an event beside its name, without reading them."""
    if not body.startswith(b'{"'):
        raise InvalidMessageError("there are no fields")
    return b'{"type":' + dumps(frame.event) + b"," + body[1:]


ACTION = Language(dialect("action", _push), _mark, _parse, _answer, _refuse)
