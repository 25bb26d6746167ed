"""JSON over a plain WebSocket, in two languages: which one a client speaks shows in its first message."""

from typing import Any

from marketstream.errors import InvalidMessageError
from marketstream.wire.json import loads
from marketstream.wire.plain.action import ACTION
from marketstream.wire.plain.language import Language
from marketstream.wire.plain.typed import TYPED

_LANGUAGES = {"action": ACTION, "type": TYPED}


def read(data: bytes) -> dict[str, Any]:
    """The object that a client sent.

    Raises:
        InvalidMessageError: It is not JSON, or not an object.
    """
    message = loads(data)
    if not isinstance(message, dict):
        raise InvalidMessageError("a message must be an object")
    return message


def recognise(message: dict[str, Any]) -> Language:
    """The language of a client's first message.

    Raises:
        InvalidMessageError: It is neither of the two.
    """
    for field, language in _LANGUAGES.items():
        if field in message:
            return language
    raise InvalidMessageError("a message needs an `action` or a `type`")
