"""Answers of providers as bytes in a cache, and back.

Whatever is read is either what was packed or refused: a value that another version of this program wrote in
another shape is no answer, and no error either.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from marketstream.core.query.model import Article, Candle, History, Match, Profile, ProviderQuote
from marketstream.core.query.overview import Listed
from marketstream.core.query.sentiment import Sentiment
from marketstream.errors import InvalidMessageError
from marketstream.wire.json import dumps, loads

T = TypeVar("T")

UNKNOWN = b"null"
"""Stored in place of an answer: nobody knows the symbol."""


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """An answer and where it came from.

    Attributes:
        value: What was answered.
        source: Name of the provider, or several joined by `+`.
        at_ms: When it was answered, epoch milliseconds.
        warning: What was wrong with it from the start; None: nothing was.
    """

    value: T
    source: str
    at_ms: int
    warning: str | None = None


def pack(stored: Stored[Any]) -> bytes:
    """The bytes to keep."""
    return dumps(
        {"value": stored.value, "source": stored.source, "at": stored.at_ms, "warning": stored.warning}
    )


def unpack(body: bytes, read: Callable[[Any], T]) -> Stored[T] | None:
    """What was packed; None when these bytes are not of a shape that is known here.

    Args:
        body: The bytes.
        read: Makes the value of its JSON: one of the functions below.
    """
    try:
        given = loads(body)
        return Stored(read(given["value"]), given["source"], given["at"], given["warning"])
    except (InvalidMessageError, TypeError, KeyError, AttributeError):
        return None


def read_quote(given: Any) -> ProviderQuote:  # noqa: ANN401  # JSON is of any shape
    """A quote of its JSON; these functions raise TypeError or KeyError for anything else."""
    return ProviderQuote(**given)


def read_history(given: Any) -> History:  # noqa: ANN401  # as above
    """Candles of their JSON."""
    candles = tuple(Candle(**candle) for candle in given["candles"])
    return History(**(given | {"candles": candles}))


def read_profile(given: Any) -> Profile:  # noqa: ANN401  # as above
    """A profile of its JSON."""
    return Profile(**given)


def read_matches(given: Any) -> tuple[Match, ...]:  # noqa: ANN401  # as above
    """Matches of their JSON."""
    return tuple(Match(**match) for match in given)


def read_articles(given: Any) -> tuple[Article, ...]:  # noqa: ANN401  # as above
    """Articles of their JSON."""
    return tuple(Article(**(article | {"symbols": tuple(article["symbols"])})) for article in given)


def read_quotes(given: Any) -> tuple[ProviderQuote, ...]:  # noqa: ANN401  # as above
    """Quotes of their JSON."""
    return tuple(ProviderQuote(**quote) for quote in given)


def read_listed(given: Any) -> tuple[Listed, ...]:  # noqa: ANN401  # as above
    """Named quotes of their JSON."""
    return tuple(Listed(listed["name"], ProviderQuote(**listed["quote"])) for listed in given)


def read_sentiment(given: Any) -> Sentiment:  # noqa: ANN401  # as above
    """A mood of its JSON."""
    return Sentiment(**given)
