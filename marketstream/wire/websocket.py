"""WebSocket frames (RFC 6455) of a server: bytes to messages, messages to bytes. No socket.

What a server sends is not masked, so one encoded frame serves every client. No extension is
negotiated: compressing the same price once per client is what this server exists to avoid.
"""

import struct
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha1
from typing import Literal

from marketstream.core.closing import INVALID_MESSAGE, MESSAGE_TOO_BIG, CloseReason

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
_CONTROL_LIMIT = 125
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
    """The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`."""
    return b64encode(sha1(key.encode("ascii", "replace") + _GUID).digest()).decode()  # noqa: S324  # RFC 6455 says SHA-1


def encode(payload: bytes, opcode: int = TEXT) -> bytes:
    """One unmasked, final frame."""
    size = len(payload)
    if size < 126:  # noqa: PLR2004  # the three length forms of RFC 6455, 5.2
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:  # noqa: PLR2004
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def encode_close(reason: CloseReason) -> bytes:
    """The close frame for a reason."""
    return encode(
        struct.pack("!H", reason.websocket_code) + reason.text.encode()[: _CONTROL_LIMIT - 2], CLOSE
    )


class Decoder:
    """Turns what a client sends into messages, however it is cut into pieces.

    Args:
        limit: Bytes a message may have, over all its fragments.
    """

    __slots__ = ("_buffer", "_fragments", "_limit", "_opcode")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""
        self._fragments: list[bytes] | None = None
        self._opcode = 0

    def feed(self, data: bytes) -> list[Message]:
        """Adds what was received.

        Returns:
            The messages completed by it.

        Raises:
            FrameError: The client broke the protocol. What came before the fault in the same data is lost.
        """
        buffer = self._buffer + data if self._buffer else data
        messages: list[Message] = []
        at = 0
        while (header := self._header(buffer, at)) is not None:
            start, size = header
            if len(buffer) < start + 4 + size:
                break
            payload = _unmask(buffer[start + 4 : start + 4 + size], buffer[start : start + 4])
            if (message := self._accept(buffer[at], payload)) is not None:
                messages.append(message)
            at = start + 4 + size
        self._buffer = buffer[at:]
        return messages

    def _header(self, buffer: bytes, at: int) -> tuple[int, int] | None:
        """Where the mask starts and how long the payload is; None when the header is not complete."""
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
        if opcode < CLOSE and size + self._held() > self._limit:
            raise FrameError(MESSAGE_TOO_BIG, f"a message may have {self._limit} bytes")
        return (start, size) if len(buffer) >= start + 4 else None

    def _held(self) -> int:
        return sum(map(len, self._fragments)) if self._fragments else 0

    def _accept(self, first: int, payload: bytes) -> Message | None:
        final, opcode = bool(first & 0x80), first & 0x0F
        if opcode >= CLOSE:
            return Message(_KINDS[opcode], payload)
        if opcode == _CONTINUATION:
            if self._fragments is None:
                raise FrameError(INVALID_MESSAGE, "a continuation without a beginning")
        elif self._fragments is not None:
            raise FrameError(INVALID_MESSAGE, "a new message inside a fragmented one")
        else:
            self._opcode = opcode
        if not final:
            self._fragments = [*(self._fragments or ()), payload]
            if len(self._fragments) > 64:  # noqa: PLR2004  # no honest client cuts a small message so fine
                raise FrameError(INVALID_MESSAGE, "too many fragments")
            return None
        if self._fragments is not None:
            payload, self._fragments = b"".join((*self._fragments, payload)), None
        if self._opcode == TEXT:
            _require_utf8(payload)
        return Message(_KINDS[self._opcode], payload)


def close_code(data: bytes) -> int:
    """The code in a close frame's payload; 1005 (none given) when there is none."""
    return int.from_bytes(data[:2]) if len(data) >= 2 else 1005  # noqa: PLR2004


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    if not size:
        return payload
    # One big integer operation is some twenty times faster than a loop over bytes.
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def _require_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as exc:
        raise FrameError(
            CloseReason("invalid_message", "text is not UTF-8", 1007, reconnect=False), str(exc)
        ) from exc
