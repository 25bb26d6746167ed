"""Speak the language whose messages are {type, data}."""

from typing import Any

from marketstream.core.delivery.commands import (
    Authenticated,
    Command,
    Pong,
    Quoted,
    Reply,
    Subscribed,
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
    read_price,
)

FIELDS = {"stock_quotes": ("symbols", "mode", "maxRate"), "market_data": ("channels",)}
"""What may be subscribed to, and what such a subscription says."""

_ALIKE = (
    *("subscriptions", "get_quote", "authenticate", "ping"),
    *("subscribe_events", "unsubscribe_events", "event_subscriptions"),
    *("join_group", "leave_group", "ack_event"),
)


def _mark(message: dict[str, Any]) -> Mark:
    data = message.get("data")
    kind = data.get("type") if isinstance(data, dict) else None
    return kind if isinstance(kind, str) and kind in FIELDS else None


def _parse(message: dict[str, Any]) -> Command:
    name, data = message.get("type"), message.get("data")
    if not isinstance(name, str):
        raise InvalidMessageError("type must be a string", path="type")
    if data is not None and not isinstance(data, dict):
        raise InvalidMessageError("data must be an object", path="data")
    if name in ("subscribe", "unsubscribe"):
        return _interest(name, data or {})
    if name in _ALIKE:
        return request.parse(name, [data])
    raise UnknownEventError(f"unknown type {name[:64]!r}")


def _interest(name: str, data: dict[str, Any]) -> Command:
    kind = _mark({"data": data})
    if not isinstance(kind, str):
        raise InvalidMessageError(f"data.type must be {' or '.join(FIELDS)}", path="data.type")
    what = FIELDS[kind][0]
    if data.get(what) is None:
        raise InvalidMessageError(f"data.{what} must be a list of strings", path=f"data.{what}")
    return request.parse(name, [{field: data.get(field) for field in FIELDS[kind]}])


def _answer(mark: Mark, reply: Reply) -> bytes:  # noqa: PLR0911  # one for each reply
    match reply:
        case Subscribed(symbols, channels, errors):
            body = _names(mark, symbols, channels)
            return _typed("subscribed", body | ({"errors": list(errors)} if errors else {}))
        case Unsubscribed(symbols, channels):
            return _typed("unsubscribed", _names(mark, symbols, channels))
        case Subscriptions(held, listening):
            listed = [messages.subscription(entry) for entry in held]
            return _typed("subscriptions", {"symbols": listed, "channels": list(listening)})
        case Authenticated():
            return _typed("authenticated", messages.authenticated(reply))
        case Pong(at_ms):
            return _typed("pong", {"timestamp": iso(at_ms)})
        case Quoted(quote):
            return b'{"type":"quote","data":' + quote + b"}"
        case _:
            return _typed(*calls.render_reply(reply))


def _names(mark: Mark, symbols: tuple[str, ...], channels: tuple[str, ...] | None) -> dict[str, Any]:
    if mark == "market_data":
        return {"type": mark, "channels": list(channels or ())}
    return {"type": mark, "symbols": list(symbols)}


def _refuse(_mark: Mark, error: MarketstreamError) -> bytes:
    return _typed("error", failure(error))


def _typed(name: str, data: dict[str, Any]) -> bytes:
    return dumps({"type": name, "data": data})


def _push(frame: Frame) -> bytes:
    if is_price(frame):
        return _price(frame)
    if frame.event in DATED:
        return b'{"type":' + dumps(frame.event) + b',"data":' + dated(frame) + b"}"
    return nested(frame)


def _price(frame: Frame) -> bytes:
    seen = read_price(frame)
    # The change of a day needs a close of yesterday, which no best price has.
    quote = {"price": seen.price, "change": None, "changePercent": None, "volume": seen.volume}
    return _typed("quote_update", {"symbol": seen.symbol, "quote": quote, "timestamp": seen.timestamp})


TYPED = Language(dialect("type", _push), _mark, _parse, _answer, _refuse)
