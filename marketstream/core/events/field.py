"""Validate the fields that events and filters share.

Each function takes a value of any shape and where it stands, and raises nothing but `InvalidMessageError`.
"""

from typing import cast, get_args

from marketstream.core.events.event import Priority, Tier
from marketstream.core.market.symbols import normalise
from marketstream.errors import InvalidMessageError

MAX_LENGTH = 64
"""Characters of the type and the name of an event, and of the name of a subscription."""


def read_priority(value: object, path: str) -> Priority:
    """Return the priority of a name.

    Raises:
        InvalidMessageError: It is none.
    """
    if not (isinstance(value, str) and value in Priority.__members__):
        raise InvalidMessageError(f"{path}: must be one of {', '.join(Priority.__members__)}", path=path)
    return Priority[value]


def read_confidence(value: object, path: str) -> float:
    """Return a confidence.

    Raises:
        InvalidMessageError: It is no number from 0 to 1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidMessageError(f"{path}: must be a number from 0 to 1", path=path)
    return float(value)


def read_tier(value: object, path: str) -> Tier:
    """Return a tier.

    Raises:
        InvalidMessageError: It is none.
    """
    if value not in get_args(Tier):
        raise InvalidMessageError(f"{path}: must be one of {', '.join(get_args(Tier))}", path=path)
    return cast("Tier", value)


def read_symbol(value: object, path: str) -> str:
    """Return a symbol, upper-cased.

    Raises:
        InvalidMessageError: It is none.
    """
    symbol = normalise(value)
    if symbol is None:
        raise InvalidMessageError(f"{path}: invalid symbol", path=path)
    return symbol


def read_name(value: object, path: str, limit: int = MAX_LENGTH) -> str:
    """Return a name: what people and logs can read.

    Args:
        value: What was given.
        path: Where it stands.
        limit: Characters that it may have.

    Raises:
        InvalidMessageError: It is no string of 1 to `limit` printable characters.
    """
    if not (isinstance(value, str) and 0 < len(value) <= limit and value.isprintable()):
        raise InvalidMessageError(f"{path}: must be a string of 1 to {limit} printable characters", path=path)
    return value
