"""Encode answers of providers for the cache, and decode them.

Whatever is read is either what was packed or refused: a value that another version of this program wrote in
another shape is no answer, and no error either. The classes are the shape: each value is checked against the
annotations of its class while it is read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from msgspec import DecodeError
from msgspec.json import Decoder, Encoder

from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.core.query.overview import Listed
from marketstream.core.query.sentiment import Sentiment

T = TypeVar("T")

UNKNOWN: Final = b"null"
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


Read = Callable[[bytes], Stored[T]]
"""Reads the bytes of one kind of answer; raises what `unpack` handles."""

# One decoder for each kind: making one costs a hundred times as much as using it.
read_quote: Final[Read[ProviderQuote]] = Decoder(Stored[ProviderQuote]).decode
read_history: Final[Read[History]] = Decoder(Stored[History]).decode
read_profile: Final[Read[Profile]] = Decoder(Stored[Profile]).decode
read_matches: Final[Read[tuple[Match, ...]]] = Decoder(Stored[tuple[Match, ...]]).decode
read_articles: Final[Read[tuple[Article, ...]]] = Decoder(Stored[tuple[Article, ...]]).decode
read_quotes: Final[Read[tuple[ProviderQuote, ...]]] = Decoder(Stored[tuple[ProviderQuote, ...]]).decode
read_listed: Final[Read[tuple[Listed, ...]]] = Decoder(Stored[tuple[Listed, ...]]).decode
read_sentiment: Final[Read[Sentiment]] = Decoder(Stored[Sentiment]).decode

_ENCODER: Final = Encoder()


def pack(stored: Stored[Any]) -> bytes:
    """Return the bytes to keep."""
    return _ENCODER.encode(stored)


def unpack(body: bytes, read: Read[T]) -> Stored[T] | None:
    """Return what was packed; None when these bytes are not of a shape that is known here.

    Args:
        body: The bytes.
        read: One of the readers above.
    """
    try:
        return read(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
