"""Validate symbols, and decide which of them are served.

`normalise` is the one door between what a peer wrote and what the rest of the server calls a symbol:
what it lets through is upper-case ASCII of bounded length, so it is safe as a key, a room and a label.
It refuses everything else, whatever its type, without raising.
"""

import re
from collections.abc import Iterable
from typing import Literal, get_args

from marketstream.core.glob import compile_globs
from marketstream.errors import ConfigurationError

SymbolMode = Literal["open", "listed"]

MAX_LENGTH = 32

_WELL_FORMED = re.compile(rf"[A-Z0-9.\-_/=^:&]{{1,{MAX_LENGTH}}}")
_GLOB = re.compile(r"[*?\[]")


def normalise(raw: object) -> str | None:
    """Return the symbol that a peer means, upper-cased; None when it is not one.

    Only ASCII is upper-cased: `str.upper` turns a few foreign letters into ASCII ones, and two spellings
    that look different must not become one symbol.
    """
    if not isinstance(raw, str) or len(raw) > MAX_LENGTH or not raw.isascii():
        return None
    symbol = raw.upper()
    return symbol if _WELL_FORMED.fullmatch(symbol) else None


class SymbolRegistry:
    """The symbols that this server serves, as `config/symbols.toml` says.

    Args:
        mode: `open` serves whatever is well formed; `listed` only what the list names.
        listed: Symbols, or globs of them, in any case.

    Raises:
        ConfigurationError: The mode is neither of the two.
    """

    __slots__ = ("_exact", "_globs", "_open")

    def __init__(self, mode: SymbolMode, listed: Iterable[str] = ()) -> None:
        if mode not in get_args(SymbolMode):
            raise ConfigurationError("symbols.mode", f"is {mode!r}, must be one of {get_args(SymbolMode)}")
        names = {name.upper() for name in listed}
        globs = {name for name in names if _GLOB.search(name)}
        self._open = mode == "open"
        self._exact = frozenset(names - globs)
        self._globs = compile_globs(sorted(globs))

    def accepts(self, symbol: str) -> bool:
        """Return whether a symbol is served; one that `normalise` would not return as it is never is."""
        if not _WELL_FORMED.fullmatch(symbol):
            return False
        return self._open or symbol in self._exact or self._globs.match(symbol) is not None
