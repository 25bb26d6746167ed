"""What can be a symbol, or a list of channels, decided before anything is sent."""

import re
from collections.abc import Iterable

from marketstream_sdk.errors import InvalidSymbolError

_SYMBOL = re.compile(r"[A-Za-z0-9.\-_/=^:&]{1,32}")
_SHOWN = 64


def normalise(symbols: str | Iterable[str]) -> tuple[str, ...]:
    """Return symbols as the server writes them: trimmed, upper-case, each once, in order.

    Args:
        symbols: Several, or a single one.

    Raises:
        InvalidSymbolError: There is none, or one of them cannot be a symbol.
    """
    given = [symbols] if isinstance(symbols, str) else list(symbols)
    if not given:
        raise InvalidSymbolError("name at least one symbol")
    return tuple(dict.fromkeys(map(_normalise, given)))


def channel_names(channels: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names of channels, each once, in order.

    Raises:
        ValueError: There is none.
    """
    names = tuple(dict.fromkeys([channels] if isinstance(channels, str) else channels))
    if not names:
        raise ValueError("name at least one channel")
    return names


def _normalise(symbol: str) -> str:
    trimmed = str(symbol).strip()
    if not _SYMBOL.fullmatch(trimmed):
        shown = repr(symbol)[:_SHOWN]
        raise InvalidSymbolError(f"{shown} is not a symbol: 1 to 32 of A-Z 0-9 . - _ / = ^ : &")
    return trimmed.upper()
