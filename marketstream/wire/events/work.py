"""Encode messages between the coordinator and its workers.

Each word is a JSON array that begins with its name; an event in it follows on a line of its own, as it
travels between processes. Nothing but `InvalidMessageError` is raised by what is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from marketstream.core.events.event import Event
from marketstream.errors import InvalidMessageError
from marketstream.wire.events import codec
from marketstream.wire.json import dumps, loads


@dataclass(frozen=True, slots=True)
class Address:
    """Where a member of a group is.

    Attributes:
        node: Its process.
        group: The group.
        tenant: Its tenant.
        connection: Id of its connection.
    """

    node: str
    group: str
    tenant: str
    connection: str


@dataclass(frozen=True, slots=True)
class Join:
    """A member has come."""

    address: Address


@dataclass(frozen=True, slots=True)
class Leave:
    """A member has gone, or never was one."""

    address: Address


@dataclass(frozen=True, slots=True)
class Done:
    """A member has done an event."""

    address: Address
    event: str


@dataclass(frozen=True, slots=True)
class Here:
    """A member is there, and has some events in flight; said in a resync."""

    address: Address
    resync: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class All:
    """These were all members of a process."""

    node: str
    resync: int


@dataclass(frozen=True, slots=True)
class Hello:
    """A process is there again, and may have missed something."""

    node: str


@dataclass(frozen=True, slots=True)
class Resync:
    """Everybody is to say which members there are."""

    resync: int


@dataclass(frozen=True, slots=True)
class Give:
    """A member is to do an event, which `message` holds as `wire.events.between_processes` writes it."""

    address: Address
    again: bool
    message: bytes


Report = Join | Leave | Done | Here | All | Hello
Order = Resync | Give


def render_report(report: Report) -> bytes:
    """Encode a message to the process that hands out work."""
    match report:
        case Join(address):
            return dumps(["join", *_parts(address)])
        case Leave(address):
            return dumps(["leave", *_parts(address)])
        case Done(address, event):
            return dumps(["done", *_parts(address), event])
        case Here(address, resync, held):
            listed = b",".join(map(codec.render_event, held))
            return dumps(["here", *_parts(address), resync]) + b"\n[" + listed + b"]"
        case All(node, resync):
            return dumps(["all", node, resync])
        case Hello(node):
            return dumps(["hello", node])


def parse_report(data: bytes, at_ms: int) -> Report:
    """Read what `render_report` wrote.

    Args:
        data: The word.
        at_ms: Epoch milliseconds now.

    Raises:
        InvalidMessageError: It is none.
    """
    head, _, rest = data.partition(b"\n")
    match loads(head):
        case ["join", *address] if _is_address(address):
            return Join(Address(*address))
        case ["leave", *address] if _is_address(address):
            return Leave(Address(*address))
        case ["done", *address, str(event)] if _is_address(address):
            return Done(Address(*address), event)
        case ["here", *address, int(resync)] if _is_address(address):
            return Here(Address(*address), resync, _events(rest, at_ms))
        case ["all", str(node), int(resync)]:
            return All(node, resync)
        case ["hello", str(node)]:
            return Hello(node)
        case _:
            raise InvalidMessageError("this is no word about the work of a group")


def render_order(order: Order) -> bytes:
    """Encode a message of the process that hands out work."""
    match order:
        case Resync(resync):
            return dumps(["roll", resync])
        case Give(address, again, message):
            return dumps(["give", *_parts(address), again]) + b"\n" + message


def parse_order(data: bytes) -> Order:
    """Read what `render_order` wrote.

    Raises:
        InvalidMessageError: It is none.
    """
    head, _, rest = data.partition(b"\n")
    match loads(head):
        case ["roll", int(resync)]:
            return Resync(resync)
        case ["give", *address, bool(again)] if _is_address(address):
            return Give(Address(*address), again, rest)
        case _:
            raise InvalidMessageError("this is no word about the work of a group")


def render_task(body: bytes, group: str, *, again: bool) -> bytes:
    """Return an event as a member of a group gets it: with `group`, and `again` where another one has had it.

    Args:
        body: The event, encoded for clients.
        group: The group.
        again: Whether it may have been done before.
    """
    said = b',"group":%b%b}' % (dumps(group), b',"again":true' if again else b"")
    return body[:-1] + said


def _parts(address: Address) -> Sequence[str]:
    return address.node, address.group, address.tenant, address.connection


def _is_address(value: Sequence[object]) -> bool:
    return len(value) == len(Address.__slots__) and all(isinstance(part, str) for part in value)


def _events(data: bytes, at_ms: int) -> tuple[Event, ...]:
    values = loads(data)
    if not isinstance(values, list):
        raise InvalidMessageError("what a member has in hand is a list")
    return tuple(codec.parse_event(value, at_ms, _nameless) for value in values)


def _nameless() -> str:
    raise InvalidMessageError("an event in hand has an id", path="id")
