"""JSON over a plain WebSocket, in two languages: which one a client speaks shows in its first message."""

from typing import Any

from marketstream.errors import InvalidMessageError
from marketstream.wire.json import loads
from marketstream.wire.plain.action import ACTION
from marketstream.wire.plain.language import Language
from marketstream.wire.plain.salvage import salvage
from marketstream.wire.plain.typed import TYPED

_LANGUAGES = {"action": ACTION, "type": TYPED}
_TELLING = frozenset({*_LANGUAGES, "request_id"})
"""What of a call its answer depends on."""


def read(data: bytes) -> tuple[dict[str, Any], InvalidMessageError | None]:
    """Return the object that a client sent.

    Returns:
        The object and None; where it is not JSON, what can be read of it, and what is wrong.

    Raises:
        InvalidMessageError: It is not an object.
    """
    try:
        message = loads(data)
    except InvalidMessageError as error:
        return salvage(data, _TELLING), error
    if not isinstance(message, dict):
        raise InvalidMessageError("a message must be an object")
    return message, None


def recognise(message: dict[str, Any], fault: InvalidMessageError | None = None) -> Language:
    """Return the language of a client's first message.

    Args:
        message: The message, or what can be read of it.
        fault: What is wrong with it.

    Raises:
        InvalidMessageError: It is neither of the two.
    """
    for field, language in _LANGUAGES.items():
        if field in message:
            return language
    raise fault or InvalidMessageError("a message needs an `action` or a `type`")
