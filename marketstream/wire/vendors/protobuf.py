"""Read flat protobuf messages.

It knows the wire format and no schema: who asks for a field says what it is. A field that is absent, or of
another wire type than asked for, reads as zero, as protobuf has it; unknown fields are passed over, and of a
field that comes twice the last one counts. Groups, which nobody writes any more, are refused.
"""

import struct

from marketstream.errors import InvalidMessageError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MAX_TAG = 2**32
_MASK = 2**64 - 1
_FLOAT = struct.Struct("<f")


class Message:
    """One message, split into its fields.

    Args:
        data: The message.

    Raises:
        InvalidMessageError: It is cut off, or not protobuf at all.
    """

    __slots__ = ("_chunks", "_numbers")

    def __init__(self, data: bytes) -> None:
        self._numbers: dict[int, int] = {}
        self._chunks: dict[tuple[int, int], bytes] = {}
        at = 0
        while at < len(data):
            tag, at = _varint(data, at)
            number, kind = tag >> 3, tag & 7
            if number == 0 or tag >= _MAX_TAG:
                raise InvalidMessageError("not protobuf: a field without a number")
            if kind == _VARINT:
                self._numbers[number], at = _varint(data, at)
            else:
                self._chunks[number, kind], at = _chunk(data, at, kind)

    def text(self, number: int) -> str:
        """Return a string.

        Raises:
            InvalidMessageError: It is not UTF-8.
        """
        try:
            return self._chunks.get((number, _LENGTH), b"").decode()
        except UnicodeDecodeError as error:
            raise InvalidMessageError("not protobuf: a text that is not UTF-8") from error

    def unsigned(self, number: int) -> int:
        """Return an enumeration, or another number that is never negative."""
        return self._numbers.get(number, 0)

    def signed(self, number: int) -> int:
        """Return a `sint64`: the sign is in the lowest bit, so that small numbers are short."""
        value = self._numbers.get(number, 0)
        return (value >> 1) ^ -(value & 1)

    def float32(self, number: int) -> float:
        """Return a `float`, widened: 451.2 reads as 451.20001220703125."""
        value: float = _FLOAT.unpack(self._chunks.get((number, _FIXED32), bytes(4)))[0]
        return value


def _chunk(data: bytes, at: int, kind: int) -> tuple[bytes, int]:
    """Return the bytes of a field that is no varint, and where the next field begins."""
    if kind == _LENGTH:
        size, at = _varint(data, at)
    elif kind in _SIZES:
        size = _SIZES[kind]
    else:
        raise InvalidMessageError(f"not protobuf: wire type {kind}")
    if size > len(data) - at:
        raise InvalidMessageError("not protobuf: cut off")
    return data[at : at + size], at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to 64 bits, seven in each byte, and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004  # the highest bit says that more follow
            return value & _MASK, at + place + 1
    raise InvalidMessageError("not protobuf: a number without an end")
