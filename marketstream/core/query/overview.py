"""Compute views of the market from quotes of single symbols."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from marketstream.core.query.model import ProviderQuote

Movement = Literal["gainers", "losers", "active"]
MOVEMENTS: tuple[Movement, ...] = get_args(Movement)

LONGEST = 10
"""Symbols in a list of movers at most."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A quote under the name that people know it by, such as `S&P 500`."""

    name: str
    quote: ProviderQuote


def movers(quotes: Iterable[ProviderQuote], movement: Movement) -> tuple[ProviderQuote, ...]:
    """Return those that moved most, the first the most; equal ones by symbol.

    Args:
        quotes: Quotes of the popular symbols.
        movement: gainers and losers by change in percent, only what rose or fell; active by volume, only
            what was traded.
    """
    if movement == "active":
        traded = [(-quote.volume, quote.symbol, quote) for quote in quotes if quote.volume]
        return _first(traded)
    sign = -1 if movement == "gainers" else 1
    moved = [(sign * (quote.change_percent or 0.0), quote.symbol, quote) for quote in quotes]
    return _first([item for item in moved if item[0] < 0])


def _first(ranked: list[tuple[float, str, ProviderQuote]]) -> tuple[ProviderQuote, ...]:
    return tuple(quote for _, _, quote in sorted(ranked, key=lambda item: item[:2])[:LONGEST])
