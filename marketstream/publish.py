"""Sends prices from a pipe to a running server, a batch at a time, and says which lines were no good.

One JSON object a line: a best price has `bestBid` or `bestAsk`, a quote has `source`. Lines are sent as
they come, at the latest after a tenth of a second, so a pipe that trickles is as good as a file. A bad line
costs itself and nothing else; what makes all further sending pointless ends it with one sentence.
"""

import contextlib
import http.client
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from marketstream.errors import (
    AuthFailedError,
    ConfigurationError,
    InvalidMessageError,
    MarketstreamError,
    NotEntitledError,
    PayloadTooLargeError,
    UnavailableError,
)
from marketstream.wire.json import dumps, loads

PATH = "/api/v1/market/publish"

_BATCH_LINES = 500
_BATCH_BYTES = 256 * 1024  # a quarter of what a server takes unless told otherwise
_BATCH_SECONDS = 0.1
_ANSWER_SECONDS = 10
_PATIENCE = 10  # answers of "too fast" that are waited out, for one batch
_LONGEST_WAIT = 60

_REFUSALS: dict[int, MarketstreamError] = {
    401: AuthFailedError("the server does not accept the token"),
    403: NotEntitledError("the token does not allow publishing: it needs the scope market:publish"),
    413: PayloadTooLargeError("the server takes smaller batches only: its server.max_body is very small"),
}

Raw = tuple[int, bytes]
"""Number of a line, from 1, and its bytes."""


@dataclass(frozen=True, slots=True)
class Line:
    """One good line of the input.

    Attributes:
        number: Its place in the input, from 1.
        value: The object it holds.
        size: Its length in bytes.
    """

    number: int
    value: dict[str, Any]
    size: int

    @property
    def is_price(self) -> bool:
        """Whether it is a best price; otherwise it is a quote."""
        return "bestBid" in self.value or "bestAsk" in self.value


@dataclass(slots=True)
class Tally:
    """What became of the lines so far."""

    accepted: int = 0
    bad: int = 0


def publish(url: str, token: str, stdin: int, say: Callable[[str], None]) -> Tally:
    """Publishes every line that can be read from a file descriptor until it ends.

    Args:
        url: Address of the server, such as `http://127.0.0.1:8080`.
        token: Token with the scope `market:publish`.
        stdin: File descriptor to read.
        say: Takes one sentence for each bad line, and one for the whole, however it ends.

    Raises:
        ConfigurationError: The address or the token cannot be one.
        MarketstreamError: Nothing more can be sent; the text says why, to a person.
    """
    server, tally = _Server(url, token), Tally()

    def reject(number: int, reason: str) -> None:
        tally.bad += 1
        say(f"line {number}: {reason}")

    try:
        for batch in _batches(_read(stdin), reject):
            ordered = sorted(batch, key=lambda line: not line.is_price)  # the server counts prices first
            rejected = server.send(ordered)
            for index, reason in rejected:
                reject(ordered[index].number, reason)
            tally.accepted += len(ordered) - len(rejected)
    finally:
        server.close()
        say(f"{tally.accepted} published, {tally.bad} bad")
    return tally


def parse_line(number: int, raw: bytes) -> Line:
    """The quote or best price on a line, told apart by its keys; the server checks the rest.

    Raises:
        InvalidMessageError: It is neither.
    """
    if len(raw) > _BATCH_BYTES:
        raise InvalidMessageError(f"longer than {_BATCH_BYTES} bytes")
    value = loads(raw)
    if not isinstance(value, dict):
        raise InvalidMessageError("not a JSON object")
    line = Line(number, value, len(raw))
    if not line.is_price and "source" not in value:
        raise InvalidMessageError("neither a best price (bestBid, bestAsk) nor a quote (source)")
    return line


def _read(stdin: int) -> "queue.Queue[Raw | None]":
    """Lines as they come, None at the end; by a thread, so that waiting for more never holds any back."""
    lines: queue.Queue[Raw | None] = queue.Queue(maxsize=2 * _BATCH_LINES)

    def read() -> None:
        number, rest = 0, b""
        with contextlib.suppress(OSError):  # a closed stdin has no lines
            while chunk := os.read(stdin, 65536):
                *whole, rest = (rest + chunk).split(b"\n")
                for raw in whole:
                    number += 1
                    lines.put((number, raw))
            lines.put((number + 1, rest))
        lines.put(None)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return lines


def _batches(
    lines: "queue.Queue[Raw | None]", reject: Callable[[int, str], None]
) -> Iterator[Sequence[Line]]:
    """Good lines together: as many as fit a batch and came within a tenth of a second."""
    ended = False
    while not ended:
        item, until = lines.get(), time.monotonic() + _BATCH_SECONDS
        batch: list[Line] = []
        room = _BATCH_BYTES
        while item is not None:
            line = _good(item, reject)
            if line is not None:
                batch.append(line)
                room -= line.size
            if len(batch) == _BATCH_LINES or room <= 0:
                break
            try:
                item = lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
        else:
            ended = True
        if batch:
            yield batch


def _good(item: Raw, reject: Callable[[int, str], None]) -> Line | None:
    number, raw = item
    try:
        return parse_line(number, raw) if raw.strip() else None
    except InvalidMessageError as error:
        reject(number, str(error))
        return None


class _Server:
    """The other end: one connection, kept open between batches."""

    def __init__(self, url: str, token: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigurationError("--url", f"{url} is not an address: {error}") from error
        if parts.scheme not in {"http", "https"} or not host:
            raise ConfigurationError("--url", f"{url} is not an http or https address")
        if not token.isascii() or not token.isprintable():
            raise ConfigurationError("--token", "it is not a token")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=_ANSWER_SECONDS)
        self._url = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        self._path = parts.path.rstrip("/") + PATH
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        """Publishes lines, prices first, and tells which were rejected, by index, and why.

        Raises:
            MarketstreamError: The server did not take the batch.
        """
        prices = [line.value for line in lines if line.is_price]
        quotes = [line.value for line in lines if not line.is_price]
        body = dumps({"quotes": quotes, "prices": prices})
        for _ in range(_PATIENCE):
            status, retry_after, answer = self._post(body)
            if status != http.HTTPStatus.TOO_MANY_REQUESTS:
                break
            time.sleep(min(int(retry_after), _LONGEST_WAIT) if retry_after.isdecimal() else 1)
        if status != http.HTTPStatus.OK:
            raise _REFUSALS.get(status) or UnavailableError(f"{self._url} answered with status {status}")
        return _rejected(answer, len(lines))

    def close(self) -> None:
        """Gives the connection up."""
        self._connection.close()

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        """Status, Retry-After and body of the answer."""
        while True:
            kept = self._connection.sock is not None
            try:
                self._connection.request("POST", self._path, body, self._headers)
                response = self._connection.getresponse()
                return response.status, response.headers.get("Retry-After", ""), response.read()
            except (http.client.HTTPException, OSError) as error:
                self._connection.close()
                # A connection that was kept may have been closed by the server meanwhile; a new one was not.
                if not kept or isinstance(error, TimeoutError):
                    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    raise UnavailableError(f"cannot publish to {self._url}: {reason}") from error


def _rejected(answer: bytes, sent: int) -> list[tuple[int, str]]:
    try:
        rejected = [(entry["index"], str(entry["error"])) for entry in loads(answer)["rejected"]]
    except (InvalidMessageError, LookupError, TypeError) as error:
        raise UnavailableError("the answer is not that of a marketstream server") from error
    if not all(isinstance(index, int) and 0 <= index < sent for index, _ in rejected):
        raise UnavailableError("the answer is not that of a marketstream server")
    return rejected
