"""Recognise symbols that vendors cannot have.

Made of how exchanges name things: shares by letters, with digits only before the suffix of an exchange or in
a few forms of their own. What might be one is let through; that nobody has it the vendor must say.
"""

import re

from marketstream.errors import UnknownSymbolError

_PARTS = (
    r"[A-Z]{1,6}",  # shares, funds; pairs of currencies without a slash
    r"[A-Z0-9]{2,8}(USD|USDT|EUR|GBP|BTC|ETH)",  # crypto
    r"\d{6}",  # Chinese shares
    r"[A-Z0-9&]{1,12}([.\-][A-Z0-9]{1,8}){1,2}",  # with the suffix of an exchange or a class
    r"[A-Z0-9]{1,12}=[A-Z]{1,2}",  # futures, currencies
    r"\^[A-Z0-9]{1,12}([.\-][A-Z0-9]{1,4})?",  # indices
    r"[A-Z0-9]{2,10}/[A-Z]{2,6}",  # pairs
    r"[A-Z]{1,6}\d{6}[CP]\d{8}",  # options
    r"0P[A-Z0-9]{8}",  # funds that have no other name
)
_POSSIBLE = re.compile("|".join(_PARTS))


def require_possible(symbol: str) -> str:
    """Return the symbol, if a vendor may have it.

    Args:
        symbol: Upper-case symbol.

    Raises:
        UnknownSymbolError: None has.
    """
    if not _POSSIBLE.fullmatch(symbol):
        raise UnknownSymbolError(f"{symbol}: no exchange names anything so")
    return symbol
