"""Parse the commands of clients.

Nothing but `InvalidMessageError` or `UnknownEventError` is ever raised, whatever was sent.
"""

from collections.abc import Callable
from typing import Any, cast

from marketstream.core.delivery.commands import (
    AckEvent,
    Authenticate,
    Command,
    GetQuote,
    JoinGroup,
    LeaveGroup,
    ListEventSubscriptions,
    ListSubscriptions,
    Ping,
    Subscribe,
    SubscribeEvents,
    Unsubscribe,
    UnsubscribeEvents,
)
from marketstream.core.delivery.entitlements import Mode
from marketstream.core.events.field import read_name
from marketstream.errors import InvalidMessageError, UnknownEventError
from marketstream.wire.events import codec

MAX_SYMBOLS = 1_000
"""Symbols that one call may name."""
SLOWEST, FASTEST = 0.01, 1_000_000
"""Updates a second that a client may ask for at most."""


def parse(event: object, arguments: list[Any]) -> Command:
    """Return the command that an event with its arguments stands for.

    Args:
        event: Name of the event as the client sent it.
        arguments: Everything that came with it; commands take one payload, an object.

    Raises:
        UnknownEventError: There is no such command.
        InvalidMessageError: The payload is not of the command's shape; says where.
    """
    read = _COMMANDS.get(event) if isinstance(event, str) else None
    if read is None:
        shown = repr(event[:64]) if isinstance(event, str) else "without a name"
        raise UnknownEventError(f"unknown event {shown}")
    if len(arguments) > 1:
        raise InvalidMessageError(f"{event} takes one payload, {len(arguments)} were sent")
    payload = arguments[0] if arguments and arguments[0] is not None else {}
    if not isinstance(payload, dict):
        raise InvalidMessageError(f"the payload of {event} must be an object")
    return read(payload)


def _subscribe(payload: dict[str, Any]) -> Subscribe:
    mode = _or(payload, "mode", "latest")
    if mode not in ("latest", "every"):
        raise InvalidMessageError('mode must be "latest" or "every"', path="mode")
    rate = _or(payload, "maxRate", 0)
    if (
        isinstance(rate, bool)
        or not isinstance(rate, int | float)
        or not (rate == 0 or SLOWEST <= rate <= FASTEST)
    ):
        text = f"maxRate must be 0 (no limit) or a number from {SLOWEST} to {FASTEST}"
        raise InvalidMessageError(text, path="maxRate")
    channels = _names(payload, "channels")
    symbols = _names(payload, "symbols")
    _require_something(symbols, channels)
    return Subscribe(symbols or (), cast("Mode", mode), rate, channels)


def _unsubscribe(payload: dict[str, Any]) -> Unsubscribe:
    symbols, channels = _names(payload, "symbols"), _names(payload, "channels")
    _require_something(symbols, channels)
    return Unsubscribe(symbols or (), channels)


def _get_quote(payload: dict[str, Any]) -> GetQuote:
    return GetQuote(_text(payload, "symbol"))


def _authenticate(payload: dict[str, Any]) -> Authenticate:
    return Authenticate(_text(payload, "token"))


def _subscribe_events(payload: dict[str, Any]) -> SubscribeEvents:
    name = codec.parse_subscription_name(payload.get("name"))
    return SubscribeEvents(name, codec.parse_filter(_or(payload, "filter", {})))


def _unsubscribe_events(payload: dict[str, Any]) -> UnsubscribeEvents:
    return UnsubscribeEvents(codec.parse_subscription_name(payload.get("name")))


def _ack_event(payload: dict[str, Any]) -> AckEvent:
    return AckEvent(read_name(payload.get("id"), "id", codec.MAX_ID))


def _or(payload: dict[str, Any], field: str, default: object) -> Any:  # noqa: ANN401  # JSON is of any shape
    value = payload.get(field)
    return default if value is None else value


def _require_something(symbols: tuple[str, ...] | None, channels: tuple[str, ...] | None) -> None:
    if symbols is None and channels is None:
        raise InvalidMessageError("symbols must be a list of strings", path="symbols")


def _names(payload: dict[str, Any], field: str) -> tuple[str, ...] | None:
    value = payload.get(field)
    if value is None:
        return None
    if not isinstance(value, list):
        raise InvalidMessageError(f"{field} must be a list of strings", path=field)
    if len(value) > MAX_SYMBOLS:
        raise InvalidMessageError(
            f"{field} may name {MAX_SYMBOLS} at a time, {len(value)} were sent", path=field
        )
    for index, item in enumerate(value):
        if not isinstance(item, str):
            raise InvalidMessageError(f"{field}[{index}] must be a string", path=f"{field}[{index}]")
    return tuple(value)


def _text(payload: dict[str, Any], field: str) -> str:
    value = payload.get(field)
    if not isinstance(value, str) or not value:
        raise InvalidMessageError(f"{field} must be a non-empty string", path=field)
    return value


_COMMANDS: dict[str, Callable[[dict[str, Any]], Command]] = {
    "subscribe": _subscribe,
    "unsubscribe": _unsubscribe,
    "subscriptions": lambda _payload: ListSubscriptions(),
    "ping": lambda _payload: Ping(),
    "get_quote": _get_quote,
    "authenticate": _authenticate,
    "subscribe_events": _subscribe_events,
    "unsubscribe_events": _unsubscribe_events,
    "event_subscriptions": lambda _payload: ListEventSubscriptions(),
    "join_group": lambda payload: JoinGroup(read_name(payload.get("group"), "group")),
    "leave_group": lambda payload: LeaveGroup(read_name(payload.get("group"), "group")),
    "ack_event": _ack_event,
}
