"""Encode what gateways tell each other of watched symbols.

JSON: {node, number, kind, added, dropped}. A change follows on the one numbered before; `whole` means that
what the node holds was written anew and must be read; `gone` that the node ends.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from msgspec import DecodeError
from msgspec.json import Decoder, Encoder

from marketstream.core.market.symbols import normalise
from marketstream.errors import InvalidMessageError

Kind = Literal["change", "whole", "gone"]


@dataclass(frozen=True, slots=True)
class Word:
    """One announcement of a node.

    Attributes:
        node: Who says it.
        number: One more than that of the node's word before.
        kind: See the module.
        added: Symbols that are watched there now.
        dropped: Symbols that are not watched there any more.
    """

    node: str
    number: int
    kind: Kind
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


_DECODER: Final = Decoder(Word)
_ENCODER: Final = Encoder()


def render(word: Word) -> bytes:
    """Return a word as it travels."""
    return _ENCODER.encode(word)


def parse(data: bytes) -> Word:
    """Return a word from the channel.

    Raises:
        InvalidMessageError: It is none.
    """
    try:
        word = _DECODER.decode(data)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessageError(f"not a word of a node: {error}") from error
    _well_formed((*word.added, *word.dropped))
    return word


def parse_symbols(stored: Mapping[Any, Any]) -> tuple[int, list[str]]:
    """Return the hash `keys.node_symbols`.

    Returns:
        The number of the word it came with, 0 for no hash at all, and the symbols.

    Raises:
        InvalidMessageError: It is not such a hash.
    """
    try:
        number = int(stored.get(b"", b"0"))
    except ValueError as error:
        raise InvalidMessageError("the number of a node's symbols is none") from error
    return number, _well_formed([name.decode("ascii", "replace") for name in stored if name])


def _well_formed(found: Iterable[Any]) -> list[str]:
    symbols = list(found)
    if any(normalise(symbol) != symbol for symbol in symbols):
        raise InvalidMessageError("what is watched must be symbols")
    return symbols
