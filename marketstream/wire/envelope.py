"""Encode frames for travel between processes: a binary header and an opaque body.

A receiver reads the header of a frame and forwards its body unread; of a frame about something that nobody
here watches it reads no more than the name. The cursors are put in front by the bus, so a frame's part of
the message is made before its cursor is known. `tests/golden/bus` has one of each, byte for byte.

    batch  = version u8, first cursor u64, cursor before it u64, count u32, frame...
    value  = cursor u64, frame
    frame  = size of what follows u32, flags u8, arity u8, time i64, length of each text (u16 x 4, u32),
             symbol, event, key, tenant, withheld (JSON), trade if flagged, body
    trade  = price f64, volume f64 (NaN for none)
"""

import math
import struct
from collections.abc import Container
from dataclasses import dataclass
from struct import Struct

from marketstream.core.delivery.frame import Frame, Trade
from marketstream.errors import InvalidMessageError
from marketstream.wire import keys
from marketstream.wire.json import dumps, loads

VERSION = 1
_BATCH = Struct(">BQQI")
_CURSOR = Struct(">Q")
_SIZE = Struct(">I")
_HEAD = Struct(">BBqHHHHI")
_TRADE = Struct(">dd")
_HAS_KEY, _HAS_TENANT, _HAS_TRADE = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Batch:
    """A message of one shard.

    Attributes:
        first: Cursor of its first frame; each further one is greater by one.
        previous: Cursor of the frame that the shard had before; 0 for none.
        last: Cursor of its last frame.
        frames: Those that were wanted, stamped, in order.
    """

    first: int
    previous: int
    last: int
    frames: list[Frame]


def render(frame: Frame) -> bytes:
    """Return one frame, without its cursor.

    Raises:
        InvalidMessageError: One of its names is too long to travel.
    """
    texts = [text.encode() for text in (frame.symbol, frame.event, frame.key or "", frame.tenant or "")]
    withheld = dumps(sorted(frame.withheld)) if frame.withheld else b""
    flags = (frame.key is not None) * _HAS_KEY | (frame.tenant is not None) * _HAS_TENANT
    trade = b""
    if frame.trade is not None:
        price, volume = frame.trade
        flags |= _HAS_TRADE
        trade = _TRADE.pack(price, math.nan if volume is None else volume)
    try:
        head = _HEAD.pack(flags, frame.arity, frame.at_ms, *map(len, texts), len(withheld))
    except struct.error as exc:
        raise InvalidMessageError(f"{frame!r} cannot travel: {exc}") from exc
    entry = b"".join((head, *texts, withheld, trade, frame.body))
    return _SIZE.pack(len(entry)) + entry


def render_value(frame: Frame) -> bytes:
    """Return a frame with its cursor, as last values are kept; errors as of `render`."""
    return _CURSOR.pack(frame.cursor) + render(frame)


def parse_batch(data: bytes, wanted: Container[str]) -> Batch:
    """Read a message of a shard.

    Args:
        data: The message.
        wanted: Symbols and channels whose frames are read; the others are passed over.

    Raises:
        InvalidMessageError: It is not such a message.
    """
    try:
        version, first, previous, count = _BATCH.unpack_from(data)
        if version != VERSION:
            raise InvalidMessageError(f"a batch of version {version} cannot be read")
        frames, at = [], _BATCH.size
        for cursor in range(first, first + count):
            (size,) = _SIZE.unpack_from(data, at)
            at += _SIZE.size
            frame = _frame(data, at, at + size, cursor, wanted)
            at += size
            if frame is not None:
                frames.append(frame)
    except (struct.error, UnicodeDecodeError) as exc:
        raise InvalidMessageError(f"not a batch of frames: {exc}") from exc
    if at != len(data):
        raise InvalidMessageError("not a batch of frames: its size is wrong")
    return Batch(first, previous, first + count - 1, frames)


def parse_value(data: bytes) -> Frame:
    """Read a last value.

    Raises:
        InvalidMessageError: It is not one.
    """
    try:
        (cursor,) = _CURSOR.unpack_from(data)
        (size,) = _SIZE.unpack_from(data, _CURSOR.size)
        start = _CURSOR.size + _SIZE.size
        if start + size != len(data):
            raise InvalidMessageError("not a frame: its size is wrong")
        frame = _frame(data, start, len(data), cursor, None)
    except (struct.error, UnicodeDecodeError) as exc:
        raise InvalidMessageError(f"not a frame: {exc}") from exc
    assert frame is not None  # noqa: S101  # nothing is passed over
    return frame


def _frame(data: bytes, start: int, end: int, cursor: int, wanted: Container[str] | None) -> Frame | None:
    flags, arity, at_ms, *lengths = _HEAD.unpack_from(data, start)
    at = start + _HEAD.size
    extra = _TRADE.size if flags & _HAS_TRADE else 0
    if at + sum(lengths) + extra > end or end > len(data):
        raise InvalidMessageError("not a frame: it is cut off")
    symbol = data[at : at + lengths[0]].decode()
    if wanted is not None and symbol and symbol not in wanted:
        return None
    parts = []
    for length in lengths:
        parts.append(data[at : at + length])
        at += length
    event, key, tenant = (part.decode() for part in parts[1:4])
    if wanted is not None and not symbol and keys.subject(key) not in wanted:
        return None
    frame = Frame(
        event,
        data[at + extra : end],
        key=key if flags & _HAS_KEY else None,
        symbol=symbol,
        tenant=tenant if flags & _HAS_TENANT else None,
        at_ms=at_ms,
        arity=arity,
        withheld=_names(parts[4]),
        trade=_trade(data, at) if extra else None,
    )
    frame.cursor = cursor
    return frame


def _trade(data: bytes, at: int) -> Trade:
    price, volume = _TRADE.unpack_from(data, at)
    return price, None if math.isnan(volume) else volume


def _names(data: bytes) -> frozenset[str]:
    if not data:
        return frozenset()
    found = loads(data)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InvalidMessageError("not a frame: tenants are not a list of names")
    return frozenset(found)
