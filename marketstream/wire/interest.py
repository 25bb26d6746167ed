"""What gateways tell each other on `keys.DEMAND`: which symbols are watched there, change by change.

JSON: {node, number, kind, added, dropped}. A change follows on the one numbered before; `whole` means that
what the node holds was written anew and must be read; `gone` that the node ends.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from marketstream.core.market.symbols import normalise
from marketstream.errors import InvalidMessageError
from marketstream.wire.json import dumps, loads

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


def render(word: Word) -> bytes:
    """A word as it travels."""
    return dumps(
        {
            "node": word.node,
            "number": word.number,
            "kind": word.kind,
            "added": word.added,
            "dropped": word.dropped,
        }
    )


def parse(data: bytes) -> Word:
    """A word from the channel.

    Raises:
        InvalidMessageError: It is none.
    """
    given = loads(data)
    if not isinstance(given, dict):
        raise InvalidMessageError("must be an object")
    node, number = given.get("node"), given.get("number")
    kind: Kind | None = next((kind for kind in get_args(Kind) if kind == given.get("kind")), None)
    if not isinstance(node, str) or not isinstance(number, int) or kind is None:
        raise InvalidMessageError("node, number or kind is not what it must be")
    return Word(node, number, kind, _symbols(given, "added"), _symbols(given, "dropped"))


def parse_symbols(stored: Mapping[Any, Any]) -> tuple[int, list[str]]:
    """The hash `keys.node_symbols`.

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


def _symbols(given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = given.get(name, [])
    if not isinstance(found, list):
        raise InvalidMessageError(f"{name} must be a list", path=name)
    return tuple(_well_formed(found))


def _well_formed(found: Iterable[Any]) -> list[str]:
    symbols = list(found)
    if any(normalise(symbol) != symbol for symbol in symbols):
        raise InvalidMessageError("what is watched must be symbols")
    return symbols
