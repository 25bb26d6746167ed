"""Encode and decode Socket.IO v5 over Engine.IO v4.

An Engine.IO packet is one digit and a payload; a message's payload is a Socket.IO packet: a digit, an
optional namespace, an optional acknowledgement id and JSON. Binary attachments are not part of this
server's protocol and are refused, not misread.
"""

from dataclasses import dataclass
from typing import Any, Literal

from marketstream.core.delivery.commands import (
    Authenticated,
    EventReply,
    Pong,
    Quoted,
    Reply,
    Subscribed,
    Subscriptions,
    Unsubscribed,
)
from marketstream.core.delivery.frame import Frame
from marketstream.errors import InvalidMessageError, MarketstreamError, RateLimitedError
from marketstream.wire import websocket
from marketstream.wire.dialect import Dialect
from marketstream.wire.events import calls
from marketstream.wire.json import dumps, loads
from marketstream.wire.messages import authenticated, subscription

NAMESPACE = "/market-data"
SEPARATOR = b"\x1e"
CLOSE, PING, NOOP = Frame("", b"1"), Frame("", b"2"), Frame("", b"6")
PROBE_ANSWER = Frame("", b"3probe")
DISCONNECT = Frame("", f"41{NAMESPACE},".encode())

_EVENT = f"42{NAMESPACE},".encode()
CONNECT = "0"
"""Kind of the packet that asks to be let in."""

_MAX_ID_DIGITS = 20

Kind = Literal["connect", "disconnect", "event", "ack", "binary event", "binary ack", "error"]
_KINDS: dict[str, Kind] = {
    "0": "connect",
    "1": "disconnect",
    "2": "event",
    "3": "ack",
    "4": "error",
    "5": "binary event",
    "6": "binary ack",
}


@dataclass(frozen=True, slots=True)
class Packet:
    """One Socket.IO packet of a client.

    Attributes:
        kind: What it is.
        namespace: Namespace without its query; `/` when none is written.
        ack: Acknowledgement id; None when the client does not wait for an answer.
        body: What came with it, unread: whatever it is, a call with an acknowledgement id is answered.
    """

    kind: Kind
    namespace: str
    ack: int | None
    body: str

    def read(self) -> Any:  # noqa: ANN401  # JSON is of any shape
        """Return the JSON that came with it; None when there is none.

        Raises:
            InvalidMessageError: It is no JSON, or not what this kind of packet brings.
        """
        data = loads(self.body) if self.body and not self.kind.startswith("binary") else None
        if self.kind in ("event", "ack") and not isinstance(data, list):
            raise InvalidMessageError("an event must be a list that starts with its name")
        return data


def parse(text: str) -> Packet:
    """Read the payload of an Engine.IO message, but for the JSON in it.

    Raises:
        InvalidMessageError: It is not a Socket.IO packet.
    """
    kind = _KINDS.get(text[:1])
    if kind is None:
        raise InvalidMessageError("not a Socket.IO packet")
    rest = text[1:]
    if kind.startswith("binary"):
        _, _, rest = rest.partition("-")
    namespace = "/"
    if rest.startswith("/"):
        namespace, _, rest = rest.partition(",")
        namespace = namespace.partition("?")[0]
    digits = len(rest) - len(rest.lstrip("0123456789"))
    if digits > _MAX_ID_DIGITS:
        raise InvalidMessageError("the acknowledgement id is too long")
    ack = int(rest[:digits]) if digits else None
    return Packet(kind, namespace, ack, rest[digits:])


def open_packet(
    sid: str, *, upgrades: list[str], ping_interval: float, ping_timeout: float, limit: int
) -> Frame:
    """Engine.IO's first packet; times in seconds, limit in bytes."""
    body = dumps(
        {
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": round(ping_interval * 1000),
            "pingTimeout": round(ping_timeout * 1000),
            "maxPayload": limit,
        }
    )
    return Frame("", b"0" + body)


def connect(sid: str) -> Frame:
    """Return the packet that says that the namespace was entered."""
    return Frame("", f"40{NAMESPACE},".encode() + dumps({"sid": sid}))


def connect_error(namespace: str, message: str, code: str) -> Frame:
    """Return the packet that refuses the namespace: a client sees `connect_error` with `data.code`."""
    prefix = f"44{namespace}," if namespace != "/" else "44"
    return Frame("", prefix.encode() + dumps({"message": message, "data": {"code": code}}))


def acknowledge(ack: int, body: bytes, namespace: str = NAMESPACE) -> Frame:
    """Answer the call with an acknowledgement id; `body` is the JSON of the answer."""
    prefix = f"43{namespace},{ack}[" if namespace != "/" else f"43{ack}["
    return Frame("", prefix.encode() + body + b"]")


def call(ack: int, event: Frame) -> Frame:
    """Return an event of the server that asks the client for an acknowledgement."""
    return Frame("", f"42{NAMESPACE},{ack}".encode() + _arguments(event))


def render(reply: Reply) -> bytes:  # noqa: PLR0911  # one for each reply
    """JSON of the answer to a call."""
    match reply:
        case Subscribed(symbols, channels, errors):
            body: dict[str, Any] = {"subscribed": list(symbols)}
            if channels is not None:
                body["channels"] = list(channels)
            if errors:
                body["errors"] = list(errors)
            return dumps(body)
        case Unsubscribed(symbols, channels):
            extra = {} if channels is None else {"channels": list(channels)}
            return dumps({"unsubscribed": list(symbols), **extra})
        case Subscriptions(held, listening):
            return dumps({"symbols": [subscription(entry) for entry in held], "channels": list(listening)})
        case Pong(at_ms):
            return b'{"pong":%d}' % at_ms
        case Authenticated():
            return dumps(authenticated(reply))
        case Quoted(quote):
            return quote
        case _:
            return _event_reply(reply)


def _event_reply(reply: EventReply) -> bytes:
    name, body = calls.render_reply(reply)
    if (subject := next((key for key in ("name", "group", "id") if key in body), None)) is not None:
        # {subscribed: name, ...}, as it is said of symbols.
        body = {name.partition("_")[0]: body.pop(subject), **body}
    return dumps(body)


def render_error(error: MarketstreamError) -> bytes:
    """JSON of a call that failed as a whole."""
    body: dict[str, Any] = {"error": str(error) if error.public else "internal error", "code": error.code}
    if isinstance(error, RateLimitedError):
        body["retryAfterMs"] = error.retry_after_ms
    return dumps(body)


def _arguments(frame: Frame) -> bytes:
    name = dumps(frame.event)
    return b"[" + name + b"," + frame.body + b"]" if frame.arity else b"[" + name + b"]"


def _text(frame: Frame) -> bytes:
    return _EVENT + _arguments(frame) if frame.event else frame.body


POLLING = Dialect("polling", _text, SEPARATOR)
WEBSOCKET = Dialect("websocket", lambda frame: websocket.encode(_text(frame)))
