"""Server-sent events: frames as `event:`, `id:` and `data:` lines, and the cursor in an id.

An id is `SYMBOL-TIMESTAMP@CURSOR`; only prices have one. JSON never holds a line break, so a body is
always one `data:` line.
"""

import re

from marketstream.core.frame import Frame
from marketstream.wire.dialect import Dialect

COMMENT = Frame("", b": \n\n")
_ID = re.compile(r"(?P<symbol>.{1,32})-(?P<at_ms>\d{1,16})(?:@(?P<cursor>\d{1,19}))?", re.DOTALL)


def retry(milliseconds: int) -> bytes:
    """Tells the client how long to wait before it comes back."""
    return b"retry: %d\n\n" % milliseconds


def parse_cursor(last_event_id: str) -> int | None:
    """The cursor in what a returning client saw last.

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


SSE = Dialect("sse", _wrap, by_cursor=True)
