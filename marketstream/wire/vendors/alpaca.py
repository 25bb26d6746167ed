"""Parse Alpaca's market-data stream v2.

A frame is a JSON array of objects, told apart by their `T` alone: other keys mean different things in
different messages. What cannot be used costs only itself: the rest of its frame is read, and the fault is
handed out beside it. Kinds of messages that nobody here needs are passed over.

JSON only: the stream also speaks msgpack to clients that ask for it, which ours does not.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from marketstream.core.market.model import Quote
from marketstream.core.market.symbols import normalise
from marketstream.errors import FutureTimeError, InvalidMessageError
from marketstream.wire.json import loads
from marketstream.wire.publication import MAX_AHEAD_MS

CHANNELS = ("quotes", "trades", "bars", "dailyBars")
"""Channels whose messages are understood here."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DATE_CHARACTERS = 10
_BAR_MS = 60_000


@dataclass(frozen=True, slots=True)
class Trade:
    """A trade, or the end of a minute bar that stands for its last one.

    Attributes:
        symbol: Upper-case symbol.
        price: What was paid.
        at_ms: Epoch milliseconds.
    """

    symbol: str
    price: float
    at_ms: int


@dataclass(frozen=True, slots=True)
class Volume:
    """What was traded of a symbol today.

    Attributes:
        symbol: Upper-case symbol.
        volume: Shares since the day began.
    """

    symbol: str
    volume: float


@dataclass(frozen=True, slots=True)
class Subscription:
    """All that the connection is subscribed to, after the request that it answers.

    Attributes:
        streams: Symbols by channel, as the vendor spells both.
    """

    streams: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error.

    Attributes:
        code: 400 and above, as `alpaca_request.reaction` knows them.
        text: The vendor's words.
    """

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Control:
    """A step of the handshake: `connected` or `authenticated`."""

    text: str


Message = Quote | Trade | Volume | Subscription | Refusal | Control


def parse(frame: bytes, source: str, now_ms: int) -> tuple[list[Message], list[InvalidMessageError]]:
    """Read a frame.

    Args:
        frame: As it came.
        source: Name of the source that quotes are given.
        now_ms: Epoch milliseconds now: what lies more than five minutes ahead is refused, as one such time
            would make all that follows late.

    Returns:
        The messages in their order, and what is wrong with the others.
    """
    try:
        items = loads(frame)
        if not isinstance(items, list):
            raise InvalidMessageError("must be an array")  # noqa: TRY301  # the same answer as for no JSON
    except InvalidMessageError as error:
        return [], [error]
    messages: list[Message] = []
    faults: list[InvalidMessageError] = []
    for item in items:
        try:
            message = _message(item, source, now_ms)
        except InvalidMessageError as error:
            faults.append(error)
        else:
            if message is not None:
                messages.append(message)
    return messages, faults


def _message(item: object, source: str, now_ms: int) -> Message | None:
    """Return one message; None for a kind that is passed over."""
    if not isinstance(item, dict):
        raise InvalidMessageError("must be an object")
    kind = item.get("T")
    if not isinstance(kind, str):
        raise InvalidMessageError("T: must be a string", path="T")
    if kind == "q":  # nine out of ten, with the most fields: not by way of the table
        return _quote(item, source, now_ms)
    read = _READERS.get(kind)
    return None if read is None else read(item, now_ms)


def _quote(item: dict[str, Any], source: str, now_ms: int) -> Quote:
    bid, ask = _price(item, "bp"), _price(item, "ap")
    return Quote(
        _symbol(item),
        source,
        bid,
        None if bid is None else _size(item, "bs"),
        ask,
        None if ask is None else _size(item, "as"),
        _time(item, now_ms),
    )


def _trade(item: dict[str, Any], now_ms: int) -> Trade:
    return Trade(_symbol(item), _paid(item, "p"), _time(item, now_ms))


def _bar(item: dict[str, Any], now_ms: int) -> Trade:
    # Named by its beginning; its close is of any time up to its end, and later trades were sent before it.
    return Trade(_symbol(item), _paid(item, "c"), _time(item, now_ms, _BAR_MS))


def _daily_bar(item: dict[str, Any], now_ms: int) -> Volume:
    _time(item, now_ms)
    return Volume(_symbol(item), _size(item, "v"))


def _subscription(item: dict[str, Any], _: int) -> Subscription:
    streams = {}
    for channel in CHANNELS:
        symbols = item.get(channel) or []
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise InvalidMessageError(f"{channel}: must be a list of symbols", path=channel)
        streams[channel] = frozenset(symbols)
    return Subscription(streams)


def _refusal(item: dict[str, Any], _: int) -> Refusal:
    code, text = item.get("code"), item.get("msg")
    if isinstance(code, bool) or not isinstance(code, int):
        raise InvalidMessageError("code: must be a whole number", path="code")
    return Refusal(code, text if isinstance(text, str) else "")


def _control(item: dict[str, Any], _: int) -> Control:
    text = item.get("msg")
    if not isinstance(text, str):
        raise InvalidMessageError("msg: must be a string", path="msg")
    return Control(text)


_READERS: Mapping[str, Callable[[dict[str, Any], int], Message]] = {
    "t": _trade,
    "b": _bar,
    "d": _daily_bar,
    "subscription": _subscription,
    "error": _refusal,
    "success": _control,
}


def _symbol(item: dict[str, Any]) -> str:
    symbol = normalise(item.get("S"))
    if symbol is None:
        raise InvalidMessageError("S: must be a symbol", path="S")
    return symbol


def _size(item: dict[str, Any], field: str) -> float:
    """Return a finite number that is not negative."""
    number = item.get(field)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
        raise InvalidMessageError(f"{field}: must be a number from 0", path=field)
    return float(number)


def _price(item: dict[str, Any], field: str) -> float | None:
    """Return a price; None for 0, which is how a side is sent that nobody quotes."""
    return _size(item, field) or None


def _paid(item: dict[str, Any], field: str) -> float:
    price = _price(item, field)
    if price is None:
        raise InvalidMessageError(f"{field}: must be a price above 0", path=field)
    return price


def _time(item: dict[str, Any], now_ms: int, later_ms: int = 0) -> int:
    """Return epoch milliseconds of `t`, RFC 3339 with up to nine decimals; what is finer is cut off."""
    text = item.get("t")
    try:
        if not isinstance(text, str) or text[_DATE_CHARACTERS : _DATE_CHARACTERS + 1] != "T":
            raise ValueError  # noqa: TRY301  # answered below, like any other text that is no time
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError  # noqa: TRY301  # the same
        at_ms = (moment - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        raise InvalidMessageError("t: must be an RFC 3339 time", path="t") from None
    if at_ms <= 0:
        raise InvalidMessageError("t: lies before 1970", path="t")
    if at_ms > now_ms + MAX_AHEAD_MS:
        raise FutureTimeError("t: lies in the future", at_ms, path="t")
    return at_ms + later_ms
