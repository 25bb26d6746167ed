"""Encode server-sent events and read their cursors.

An id is `SYMBOL-TIMESTAMP@CURSOR`; only prices have one. JSON never holds a line break, so a body is
always one `data:` line. Only an event ends in a blank line: after anything else several readers would see an
event without data.

A stream is chunked (RFC 9112, section 7.1), and each frame is one chunk. The framing is part of the bytes
that all clients share. Without it the end of the connection would be the end of the response, and a crash
would look like an orderly end.
"""

import re

from marketstream.core.delivery.frame import Frame
from marketstream.wire.dialect import Dialect

COMMENT = Frame("", b": \n")
LAST_CHUNK = b"0\r\n\r\n"
"""Ends a chunked response. A client that does not get it knows that the stream broke."""

_ID = re.compile(r"(?P<symbol>.{1,32})-(?P<at_ms>[0-9]{1,16})(?:@(?P<cursor>[0-9]{1,19}))?", re.DOTALL)


def retry(milliseconds: int) -> Frame:
    """Tell the client how long to wait before it comes back, as the first line of the event that follows."""
    return Frame("", b"retry: %d\n" % milliseconds)


def parse_cursor(last_event_id: str) -> int | None:
    """Return the cursor in what a returning client saw last.

    Returns:
        Microseconds; None when there is no cursor in it, so that everything current is sent.
    """
    found = _ID.fullmatch(last_event_id)
    return int(found["cursor"]) if found and found["cursor"] else None


def _wrap(frame: Frame) -> bytes:
    if not frame.event:
        return frame.body
    name = frame.event.replace("\n", " ").replace("\r", " ").encode()
    body = frame.body if frame.arity == 1 else b"[" + frame.body + b"]"
    if frame.cursor and frame.event == "price":
        ident = f"{frame.symbol}-{frame.at_ms}@{frame.cursor}".encode()
        return b"event: " + name + b"\nid: " + ident + b"\ndata: " + body + b"\n\n"
    return b"event: " + name + b"\ndata: " + body + b"\n\n"


def _chunk(frame: Frame) -> bytes:
    lines = _wrap(frame)
    return b"%x\r\n%b\r\n" % (len(lines), lines)


SSE = Dialect("sse", _chunk, by_cursor=True)
UNCHUNKED = Dialect("sse unchunked", _wrap, by_cursor=True)
"""For HTTP/1.0, which has no chunks: what older proxies speak to the servers behind them."""
