"""Readers of feeds' parameters, for `FeedSpec.parameters`: text to value, or a ValueError that says why."""

import math
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from marketstream.core.market.symbols import normalise
from marketstream.core.number import decimal, whole

MAX_RATE = 100_000
MAX_SYMBOLS = 100_000

_SERIES = re.compile(r"([^*]+)\*([0-9]{1,9})")


def symbols(text: str) -> tuple[str, ...]:
    """Symbols and numbered series of them, each once, in the order given."""
    symbols: dict[str, None] = {}
    for item in text.split(","):
        series = _SERIES.fullmatch(item)
        count = int(series[2]) if series else 1
        if not 1 <= count <= MAX_SYMBOLS - len(symbols):
            raise ValueError(f"must name 1 to {MAX_SYMBOLS} symbols")
        for name in (f"{series[1]}{number}" for number in range(count)) if series else (item,):
            symbol = normalise(name)
            if symbol is None:
                raise ValueError(
                    f"where {name!r} is not a symbol: must be a list such as AAPL,SYM*100, "
                    "each 1 to 32 of A-Z 0-9 . - _ / = ^ : &"
                )
            symbols[symbol] = None
    return tuple(symbols)


def _finite(text: str) -> float:
    """Return a plain number; NaN for what is not one, which no range contains."""
    value = decimal(text)
    return math.nan if value is None else value


def rate(text: str) -> float:
    """Return updates per symbol and second."""
    value = _finite(text)
    if not 0 < value <= MAX_RATE:
        raise ValueError(f"must be a number above 0, up to {MAX_RATE}")
    return value


def seconds(text: str) -> float:
    """How long something may take."""
    value = _finite(text)
    if not 0 < value < math.inf:
        raise ValueError("must be a number of seconds above 0")
    return value


def speed(text: str) -> float:
    """How many times faster than recorded."""
    value = _finite(text)
    if not 0 <= value < math.inf:
        raise ValueError("must be a number from 0, where 0 means as fast as possible")
    return value


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a parser of whole numbers within a range."""

    def parse(text: str) -> int:
        value = whole(text)
        if value is None or not lowest <= value <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return value

    return parse


def flag(text: str) -> bool:
    """Whether, said as a digit."""
    if text not in {"0", "1"}:
        raise ValueError("must be 0 or 1")
    return text == "1"


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser of a choice."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be {' or '.join(choices)}")
        return text

    return parse


def websocket_url(text: str) -> str:
    """Address of a websocket."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("must be a URL that begins with wss:// or ws://")
    return text
