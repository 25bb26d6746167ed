"""Parse the messages of python-socketio's managers.

Understood are the calls that a stock manager of another process makes: `emit`, `disconnect`, `enter_room`,
`leave_room` and `close_room`. Its pickles, which old versions sent, and binary attachments are refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from marketstream.errors import InvalidMessageError
from marketstream.wire.json import dumps, loads

METHODS = ("emit", "disconnect", "enter_room", "leave_room", "close_room")


@dataclass(frozen=True, slots=True)
class Message:
    """One call for every process.

    Attributes:
        method: One of `METHODS`, or another that is not for this server, such as `callback`.
        host: Who says it; empty when a stock write-only manager does not say.
        namespace: The namespace it is about.
        event: Name of the event of an `emit`.
        arguments: Its arguments.
        room: A room, a client's id, several of them, or None for everybody.
        skip: Ids of clients that shall not get it.
        sid: Id of the client that the other methods are about.
    """

    method: str
    host: str
    namespace: str = "/"
    event: str = ""
    arguments: tuple[Any, ...] = ()
    room: str | list[str] | None = None
    skip: frozenset[str] = frozenset()
    sid: str = ""


def render(message: Message) -> bytes:
    """Return a message as the stock managers write it.

    Raises:
        InvalidMessageError: An argument has no form in JSON.
    """
    about: Mapping[str, object] = {"sid": message.sid, "room": message.room}
    if message.method == "emit":
        about = {
            "event": message.event,
            "data": message.arguments or [None],
            "binary": False,
            "room": message.room,
            "skip_sid": sorted(message.skip) or None,
            "callback": None,
        }
    return dumps(
        {
            "method": message.method,
            "namespace": message.namespace,
            "host_id": message.host,
            **{name: value for name, value in about.items() if value != ""},
        }
    )


def parse(data: bytes) -> Message:
    """Read a message.

    Raises:
        InvalidMessageError: It is none, or has what cannot be delivered here.
    """
    said = loads(data)
    if not isinstance(said, dict) or not isinstance(said.get("method"), str):
        raise InvalidMessageError("not a message of a Socket.IO manager")
    if said.get("binary"):
        raise InvalidMessageError("binary attachments are not delivered")
    room, skip = said.get("room"), said.get("skip_sid")
    if not (room is None or isinstance(room, str) or _are_names(room)):
        raise InvalidMessageError("room must be a name, a list of names, or nothing", path="room")
    if not (skip is None or isinstance(skip, str) or _are_names(skip)):
        raise InvalidMessageError("skip_sid must be an id, a list of ids, or nothing", path="skip_sid")
    given = said.get("data")
    arguments = given if isinstance(given, list) else [given]
    return Message(
        method=said["method"],
        host=_text(said, "host_id"),
        namespace=_text(said, "namespace") or "/",
        event=_text(said, "event"),
        arguments=() if arguments == [None] else tuple(arguments),
        room=room,
        skip=frozenset([skip] if isinstance(skip, str) else skip or ()),
        sid=_text(said, "sid"),
    )


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidMessageError(f"{name} must be a text", path=name)
    return value or ""


def _are_names(value: object) -> bool:
    return isinstance(value, list) and _all_text(value)


def _all_text(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)
