"""Encode and decode WebSocket frames (RFC 6455).

What a server sends is not masked, so one encoded frame serves every client. No extension is
negotiated: compressing the same price once per client is what this server exists to avoid.
"""

import struct
from base64 import b64encode
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1
from typing import Literal

from marketstream.core.delivery.closing import INVALID_MESSAGE, MESSAGE_TOO_BIG, CloseReason

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
_CONTROL_LIMIT = 125
_CODES = frozenset((*range(1000, 1004), *range(1007, 1015)))
"""Close codes that are registered and may be in a frame: not 1004, not those that stand for no frame."""
_FREE_CODES = range(3000, 5000)
"""Those of libraries and applications."""
_NOT_UTF8 = CloseReason("invalid_message", "text is not UTF-8", 1007, reconnect=False)
_Utf8 = getincrementaldecoder("utf-8")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Kind = Literal["text", "binary", "close", "ping", "pong"]
_KINDS: dict[int, Kind] = {TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}


class FrameError(Exception):
    """The peer broke the protocol; the connection must be closed for the given reason."""

    def __init__(self, reason: CloseReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Message:
    """One complete message of the peer; `data` is the payload, of a text too (checked to be UTF-8)."""

    kind: Kind
    data: bytes


def accept_key(key: str) -> str:
    """Return the `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`."""
    return b64encode(sha1(key.encode("ascii", "replace") + _GUID).digest()).decode()  # noqa: S324  # RFC 6455 says SHA-1


def encode(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return one unmasked, final frame."""
    size = len(payload)
    if size < 126:  # noqa: PLR2004  # the three length forms of RFC 6455, 5.2
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:  # noqa: PLR2004
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def encode_close(reason: CloseReason) -> bytes:
    """Return the close frame for a reason."""
    return encode(
        struct.pack("!H", reason.websocket_code) + reason.text.encode()[: _CONTROL_LIMIT - 2], CLOSE
    )


class Decoder:
    """Turns what a client sends into messages, however it is cut into pieces.

    Args:
        limit: Bytes a message may have, over all its fragments.

    Attributes:
        limit: The same, of messages that are not complete yet.
    """

    __slots__ = ("_buffer", "_fragments", "_opcode", "_text", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._fragments: bytearray | None = None
        self._opcode = 0
        self._text: IncrementalDecoder | None = None

    def feed(self, data: bytes) -> Iterator[Message | None]:
        """Read what was received, frame by frame; nothing is read that is not asked for.

        Yields:
            For each frame the message that it completes; None when it completes none.

        Raises:
            FrameError: The client broke the protocol; messages before the fault have been given out.
        """
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while (header := self._header(buffer, at)) is not None:
                start, size = header
                end = start + 4 + size
                if len(buffer) < end:
                    break
                first, payload = buffer[at], _unmask(buffer[start + 4 : end], buffer[start : start + 4])
                at = end
                yield self._accept(first, payload)
        except FrameError:
            # Behind a fault nothing makes sense.
            at = len(buffer)
            raise
        finally:
            del buffer[:at]

    def _header(self, buffer: bytearray, at: int) -> tuple[int, int] | None:
        """Return where the mask starts and how long the payload is; None when the header is not complete."""
        if len(buffer) - at < 2:  # noqa: PLR2004
            return None
        first, second = buffer[at], buffer[at + 1]
        opcode, size = first & 0x0F, second & 0x7F
        if first & 0x70:
            raise FrameError(INVALID_MESSAGE, "reserved bits are set, but no extension was agreed")
        if opcode not in _KINDS and opcode != _CONTINUATION:
            raise FrameError(INVALID_MESSAGE, f"opcode {opcode} does not exist")
        if not second & 0x80:
            raise FrameError(INVALID_MESSAGE, "a client must mask its frames")
        if opcode >= CLOSE and (size > _CONTROL_LIMIT or not first & 0x80):
            raise FrameError(INVALID_MESSAGE, "a control frame must be short and whole")
        start = at + 2
        if size >= 126:  # noqa: PLR2004
            width = 2 if size == 126 else 8  # noqa: PLR2004
            if len(buffer) < start + width:
                return None
            size = int.from_bytes(buffer[start : start + width])
            start += width
        if opcode < CLOSE and size + self._held() > self.limit:
            raise FrameError(MESSAGE_TOO_BIG, f"a message may have {self.limit} bytes")
        return (start, size) if len(buffer) >= start + 4 else None

    def _held(self) -> int:
        return len(self._fragments) if self._fragments else 0

    def _accept(self, first: int, payload: bytes) -> Message | None:
        final, opcode = bool(first & 0x80), first & 0x0F
        if opcode >= CLOSE:
            if opcode == CLOSE:
                _require_close(payload)
            return Message(_KINDS[opcode], payload)
        if opcode == _CONTINUATION:
            if self._fragments is None:
                raise FrameError(INVALID_MESSAGE, "a continuation without a beginning")
        elif self._fragments is not None:
            raise FrameError(INVALID_MESSAGE, "a new message inside a fragmented one")
        else:
            self._opcode, self._fragments = opcode, bytearray()
            self._text = _Utf8() if opcode == TEXT else None
        self._fragments += payload
        if self._text is not None:
            # A fault shows in the fragment that holds it, not when the message is complete.
            _decode(self._text, payload, final=final)
        if not final:
            return None
        message, self._fragments = Message(_KINDS[self._opcode], bytes(self._fragments)), None
        return message


def _unmask(payload: bytearray, mask: bytearray) -> bytes:
    size = len(payload)
    # One big integer operation is some twenty times faster than a loop over bytes.
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def _decode(decoder: IncrementalDecoder, data: bytes, *, final: bool = True) -> None:
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError as exc:
        raise FrameError(_NOT_UTF8, str(exc)) from exc


def _require_close(payload: bytes) -> None:
    """Check the payload of a close frame (RFC 6455, 5.5.1 and 7.4).

    Raises:
        FrameError: It is one octet, its code is none that an endpoint may send, or its reason is not UTF-8.
    """
    if not payload:
        return
    code = int.from_bytes(payload[:2])
    if len(payload) == 1 or not (code in _CODES or code in _FREE_CODES):
        raise FrameError(INVALID_MESSAGE, "a close frame needs a code that may be sent")
    _decode(_Utf8(), payload[2:])
