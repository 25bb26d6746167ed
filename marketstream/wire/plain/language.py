"""Share what both languages of plain WebSockets have in common.

A price's body is read once for each language and process, when its push is made; every client gets the same
bytes. Whatever a frame holds, making its push does not fail: that happens in the middle of everybody's flush.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from marketstream.core.delivery.commands import Command, Reply
from marketstream.core.delivery.frame import Frame
from marketstream.errors import InvalidMessageError, MarketstreamError, RateLimitedError
from marketstream.wire import messages, websocket
from marketstream.wire.dialect import Dialect
from marketstream.wire.json import dumps, loads

PING = Frame("", websocket.encode(b"", websocket.PING))
"""What makes a client show that it is there; any WebSocket library answers it unasked."""

DATED = frozenset({"heartbeat", *messages.CHANNEL_EVENTS.values()})
"""Events whose `timestamp` these languages write as ISO 8601."""

Mark = str | int | float | None
"""What of a call its answer repeats."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 253_402_300_799_999
"""The last millisecond that has a date."""


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """How one kind of client writes its calls and reads what it is told.

    Attributes:
        dialect: How frames are written.
        mark: What of a message its answer repeats; takes any object, raises nothing.
        parse: The command that a message stands for; raises InvalidMessageError or UnknownEventError.
        answer: JSON of the reply to a call with a mark.
        refuse: JSON of a call that failed as a whole.
    """

    dialect: Dialect
    mark: Callable[[dict[str, Any]], Mark]
    parse: Callable[[dict[str, Any]], Command]
    answer: Callable[[Mark, Reply], bytes]
    refuse: Callable[[Mark, MarketstreamError], bytes]


@dataclass(frozen=True, slots=True)
class Ticker:
    """A best price as these languages see it.

    Attributes:
        symbol: The symbol.
        price: The last trade, else the middle, else the only side; None when there is nothing of it.
        volume: Volume that came with the trade; None where there is none.
        bid: Price of the best bid; None when nobody bids.
        ask: Price of the best ask; None when nobody asks.
        timestamp: Source time as ISO 8601.
    """

    symbol: str
    price: float | None
    volume: float | None
    bid: float | None
    ask: float | None
    timestamp: str


def dialect(name: str, push: Callable[[Frame], bytes]) -> Dialect:
    """Return the dialect of a language.

    Args:
        name: Its name.
        push: JSON of an event; may fail at a body that is not what the event's name promises.
    """

    def wrap(frame: Frame) -> bytes:
        if not frame.event:
            return frame.body
        try:
            text = push(frame)
        except (InvalidMessageError, LookupError, TypeError, ValueError):
            # A back end may call its own event like one of the server's.
            text = nested(frame)
        return websocket.encode(text)

    return Dialect(name, wrap)


def is_price(frame: Frame) -> bool:
    """Return whether a frame is a best price, and not a back end's event of that name."""
    return frame.event == messages.PRICE and bool(frame.symbol)


def read_price(frame: Frame) -> Ticker:
    """Return what a push says of a best price.

    Raises:
        InvalidMessageError, LookupError, TypeError: The body is not a best price.
    """
    best = loads(frame.body)
    bid, ask = (best[side] and best[side]["price"] for side in ("bestBid", "bestAsk"))
    volume = frame.trade[1] if frame.trade else None
    return Ticker(frame.symbol, messages.single_price(best, frame.trade), volume, bid, ask, iso(frame.at_ms))


def payload(frame: Frame) -> bytes:
    """JSON of what an event carries: one value, or a list when there are more or less."""
    return frame.body if frame.arity == 1 else b"[" + frame.body + b"]"


def nested(frame: Frame) -> bytes:
    """{type, data} of any event; without `data` when it carries nothing."""
    data = b',"data":' + payload(frame) if frame.arity else b""
    return b'{"type":' + dumps(frame.event) + data + b"}"


def dated(frame: Frame) -> bytes:
    """JSON of an event's payload with its `timestamp` as ISO 8601.

    Raises:
        InvalidMessageError, LookupError, TypeError: There is no such time in it.
    """
    body = loads(payload(frame))
    return dumps({**body, "timestamp": iso(body["timestamp"])})


def iso(at_ms: int) -> str:
    """Return epoch milliseconds as ISO 8601 in UTC; what has no date becomes the nearest that has one."""
    shown = min(max(at_ms, 0), _LAST_MS)
    return (_EPOCH + timedelta(milliseconds=shown)).isoformat(timespec="milliseconds")


def failure(error: MarketstreamError) -> dict[str, Any]:
    """{code, message, retryAfterMs?} of a call that failed as a whole."""
    body: dict[str, Any] = {
        "code": error.code,
        "message": str(error) if error.public else "internal error",
    }
    if isinstance(error, RateLimitedError):
        body["retryAfterMs"] = error.retry_after_ms
    return body
