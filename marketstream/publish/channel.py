"""Define how batches of lines reach a server."""

from collections.abc import Sequence
from typing import Protocol

from marketstream.errors import InvalidMessageError, UnavailableError
from marketstream.publish.line import Line
from marketstream.wire.json import dumps, loads


class Channel(Protocol):
    """Takes batches to the server one after the other; each arrives, maybe twice, or an error says why."""

    async def send(self, lines: Sequence[Line]) -> list[tuple[int, str]]:
        """Publish lines, prices first, and tell which were rejected, by index, and why.

        Raises:
            MarketstreamError: The server did not take the batch; the text says why, to a person.
        """
        ...

    async def close(self) -> None:
        """Close the channel."""
        ...


def render_body(lines: Sequence[Line]) -> bytes:
    """Return the request to publish lines."""
    prices = [line.value for line in lines if line.is_price]
    quotes = [line.value for line in lines if not line.is_price]
    return dumps({"quotes": quotes, "prices": prices})


def parse_rejected(answer: bytes, sent: int) -> list[tuple[int, str]]:
    """Return the rejected ones by index and reason, as an answer to that request names them.

    Raises:
        UnavailableError: It is no such answer.
    """
    try:
        rejected = [(entry["index"], str(entry["error"])) for entry in loads(answer)["rejected"]]
    except (InvalidMessageError, LookupError, TypeError) as error:
        raise UnavailableError("the answer is not that of a marketstream server") from error
    if not all(isinstance(index, int) and 0 <= index < sent for index, _ in rejected):
        raise UnavailableError("the answer is not that of a marketstream server")
    return rejected
