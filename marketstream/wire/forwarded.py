"""Encode publications forwarded to the leader, and its answers.

Any process may be given a publication, but only one may judge it: which price is late and what several
sources come to can be told in one place only. The body of a request is that of `POST .../publish`, the body
of an answer is what that would be answered with; both travel unread.

    request = version u8, number u64, length of the channel u16, channel for the answer, body
    answer  = version u8, number u64, status u16, body
"""

from dataclasses import dataclass
from struct import Struct, error

from marketstream.errors import InvalidMessageError

VERSION = 1
_REQUEST = Struct(">BQH")
_ANSWER = Struct(">BQH")


@dataclass(frozen=True, slots=True)
class Request:
    """A publication that somebody waits for.

    Attributes:
        reply: Channel on which the answer is awaited.
        number: Chosen by who asks; the answer bears it.
        body: JSON {quotes?, prices?, tenantId?}.
    """

    reply: str
    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a publication.

    Attributes:
        number: That of the request.
        status: Status as of HTTP: 200 when it was taken, whatever became of its parts.
        body: JSON {accepted, rejected} or {error}.
    """

    number: int
    status: int
    body: bytes


def request(reply: str, number: int, body: bytes) -> bytes:
    """Return a request as it travels.

    Args:
        reply: Channel on which the answer is awaited; at most 65,535 bytes.
        number: 0 to 2^64 - 1.
        body: As in `Request`.
    """
    channel = reply.encode()
    return _REQUEST.pack(VERSION, number, len(channel)) + channel + body


def parse_request(data: bytes) -> Request:
    """Read a request.

    Raises:
        InvalidMessageError: It is not one.
    """
    try:
        version, number, length = _REQUEST.unpack_from(data)
        channel = data[_REQUEST.size : _REQUEST.size + length]
        _check(version, whole=len(channel) == length > 0)
        return Request(channel.decode(), number, data[_REQUEST.size + length :])
    except (error, UnicodeDecodeError) as exc:
        raise InvalidMessageError(f"not a publication on its way: {exc}") from exc


def answer(number: int, status: int, body: bytes) -> bytes:
    """Return an answer as it travels; arguments as in `Answer`."""
    return _ANSWER.pack(VERSION, number, status) + body


def parse_answer(data: bytes) -> Answer:
    """Read an answer.

    Raises:
        InvalidMessageError: It is not one.
    """
    try:
        version, number, status = _ANSWER.unpack_from(data)
    except error as exc:
        raise InvalidMessageError(f"not an answer: {exc}") from exc
    _check(version, whole=True)
    return Answer(number, status, data[_ANSWER.size :])


def _check(version: int, *, whole: bool) -> None:
    if version != VERSION:
        raise InvalidMessageError(f"a message of version {version} cannot be read")
    if not whole:
        raise InvalidMessageError("a message is cut off")
