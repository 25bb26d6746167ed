"""What `--feed` says, turned into a feed.

    synthetic[?symbols=EUR/USD,AAPL,SYM*100&rate=10&sources=2&shape=burst|spread&seed=7&demand=0]
    replay:FILE[?speed=1&loop=0&wait=0]
    none

Every feed also takes `stale_after=SECONDS`: how long a source of it may be silent.

Parameters follow the first question mark and may be percent-encoded. Left out, they are what stands above,
the first of several choices, and for `symbols` a handful of currencies, shares and a coin. What they mean
is said at the feeds. Anything unknown, given twice or impossible is refused with a sentence that says what
is accepted. Nothing is started or read yet, but a tape must exist.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from marketstream.core.symbols import normalise
from marketstream.errors import ConfigurationError
from marketstream.feeds.replay import ReplayFeed
from marketstream.feeds.synthetic import SHAPES, Shape, SyntheticFeed
from marketstream.ports import Clock, Feed

MAX_RATE = 100_000
MAX_SOURCES = 32
MAX_SYMBOLS = 100_000

_DIGITS = re.compile(r"[0-9]{1,9}")
_SERIES = re.compile(r"([^*]+)\*([0-9]{1,9})")


def build_feed(spec: str, *, clock: Clock) -> Feed | None:
    """Builds the feed that a specification names.

    Args:
        spec: Kind of feed and its parameters, as the head of this module shows them.
        clock: Time for the feed.

    Returns:
        The feed, not running yet; None for `none`.

    Raises:
        ConfigurationError: Some part of the specification is not accepted.
    """
    head, _, query = spec.partition("?")
    kind, _, file = head.partition(":")
    if head == "synthetic":
        return SyntheticFeed(clock=clock, **_parameters(head, query, _SYNTHETIC))
    if kind == "replay" and file:
        if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises for a path that is no path
            raise ConfigurationError("feed", f"replay: there is no file {file!r}, a CSV or CSV.gz is needed")
        return ReplayFeed(path=Path(file), clock=clock, **_parameters(kind, query, _REPLAY))
    if head == "none":
        _parameters(head, query, {})
        return None
    raise ConfigurationError("feed", f"{head!r} is not a feed: there are synthetic, replay:FILE and none")


def _parameters(kind: str, query: str, known: Mapping[str, Callable[[str], object]]) -> dict[str, Any]:
    """The parameters of a query by name, each as its parser reads it."""
    values: dict[str, Any] = {}
    for part in query.split("&") if query else ():
        name, _, text = part.partition("=")
        if name not in known:
            accepted = ", ".join(known) or "none at all"
            raise ConfigurationError("feed", f"{kind}: {part!r} is not a parameter, accepted are {accepted}")
        if name in values:
            raise ConfigurationError("feed", f"{kind}: {name} is given twice")
        try:
            values[name] = known[name](unquote(text))
        except ValueError as error:
            raise ConfigurationError("feed", f"{kind}: {name} is {text!r}, {error}") from error
    return values


def _symbols(text: str) -> tuple[str, ...]:
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
                    "each 1 to 32 of A-Z 0-9 . - _ / = ^ :"
                )
            symbols[symbol] = None
    return tuple(symbols)


def _finite(text: str) -> float:
    """A plain number; NaN for what is not one, which no range contains."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return math.nan if "_" in text else value


def _rate(text: str) -> float:
    """Updates per symbol and second."""
    value = _finite(text)
    if not 0 < value <= MAX_RATE:
        raise ValueError(f"must be a number above 0, up to {MAX_RATE}")
    return value


def _seconds(text: str) -> float:
    """How long something may take."""
    value = _finite(text)
    if not 0 < value < math.inf:
        raise ValueError("must be a number of seconds above 0")
    return value


def _speed(text: str) -> float:
    """How many times faster than recorded."""
    value = _finite(text)
    if not 0 <= value < math.inf:
        raise ValueError("must be a number from 0, where 0 means as fast as possible")
    return value


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    """A parser of whole numbers within a range."""

    def parse(text: str) -> int:
        if not _DIGITS.fullmatch(text) or not lowest <= int(text) <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def _flag(text: str) -> bool:
    """Whether, said as a digit."""
    if text not in {"0", "1"}:
        raise ValueError("must be 0 or 1")
    return text == "1"


def _shape(text: str) -> Shape:
    """How updates lie within a second."""
    for shape in SHAPES:
        if text == shape:
            return shape
    raise ValueError(f"must be {' or '.join(SHAPES)}")


_SYNTHETIC = {
    "symbols": _symbols,
    "rate": _rate,
    "sources": _whole(1, MAX_SOURCES),
    "shape": _shape,
    "seed": _whole(0, 999_999_999),
    "demand": _flag,
    "stale_after": _seconds,
}
_REPLAY = {
    "speed": _speed,
    "loop": _whole(0, 999_999_999),
    "wait": _flag,
    "stale_after": _seconds,
}
