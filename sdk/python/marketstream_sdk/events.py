"""An event stream, read: bytes as they come in, events out.

Pure, and indifferent to where chunks are cut. Follows the HTML standard: lines end in LF, CR or CRLF, `data`
lines are joined, comments and unknown fields are passed over, and an event that was not finished is none.
"""

import codecs
import re
from dataclasses import dataclass

from marketstream_sdk.errors import InvalidMessageError

LONGEST = 1 << 20
"""Characters that an event may have."""

_LINE_END = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        name: Its type; `message` when none was given.
        data: Its data lines, joined by line breaks.
        ident: Its own id; empty when it had none.
    """

    name: str
    data: str
    ident: str


class EventParser:
    """Reads one stream from its beginning."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._rest = ""
        self._after_cr = False
        self._name = ""
        self._ident = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end in this chunk.

        Raises:
            InvalidMessageError: One is longer than any that a server sends.
        """
        text = self._decoder.decode(chunk)
        if text:
            # A CR ends its line at once: the event may be complete. An LF that follows belongs to it.
            text = text.removeprefix("\n") if self._after_cr else text
            self._after_cr = text.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        events = [event for line in lines if (event := self._line(line)) is not None]
        if self._size + len(self._rest) > LONGEST:
            raise InvalidMessageError("an event of the stream is too long")
        return events

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(value)
        elif name == "event":
            self._name = value
        elif name == "id" and "\0" not in value:
            self._ident = value
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._name or "message", "\n".join(self._data), self._ident) if self._data else None
        self._name = self._ident = ""
        self._data, self._size = [], 0
        return event
