"""What `--feed` says, turned into a feed.

    synthetic[?symbols=EUR/USD,AAPL,SYM*100&rate=10&sources=2&shape=burst|spread&seed=7&demand=0]
    replay:FILE[?speed=1&loop=0&wait=0]
    alpaca[?feed=iex|sip|delayed_sip|test&channels=quotes,trades&cap=30&auth=message|headers&mute_after=&busy_wait=60
           &url=]
    yahoo[?mute_after=60&url=]
    none

Every feed also takes `stale_after=SECONDS`: how long a source of it may be silent.

Parameters follow the first question mark and may be percent-encoded. Left out, they are what stands above,
the first of several choices, for `symbols` a handful of currencies, shares and a coin, and for `cap` none (0)
where `feed` is `sip`. What they mean is said at the feeds. Anything unknown, given twice or impossible is
refused with a sentence that says what is accepted. Nothing is started or read yet, but a tape must exist, and
`alpaca` must have its keys.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from marketstream.core.market.symbols import normalise
from marketstream.core.number import decimal, whole
from marketstream.errors import ConfigurationError
from marketstream.feeds.alpaca import Access, AlpacaFeed
from marketstream.feeds.replay import ReplayFeed
from marketstream.feeds.synthetic import SHAPES, Shape, SyntheticFeed
from marketstream.feeds.yahoo import YahooFeed
from marketstream.ports import Clock, Feed
from marketstream.wire.vendors.alpaca import CHANNELS

ALPACA = "wss://stream.data.alpaca.markets/v2/"
ALPACA_FEEDS = ("iex", "sip", "delayed_sip", "test")
ALPACA_CAP = 30
MAX_RATE = 100_000
MAX_SOURCES = 32
MAX_SYMBOLS = 100_000

_SERIES = re.compile(r"([^*]+)\*([0-9]{1,9})")


def build_feed(
    spec: str, *, clock: Clock, alpaca_key: str | None = None, alpaca_secret: str | None = None
) -> Feed | None:
    """Builds the feed that a specification names.

    Args:
        spec: Kind of feed and its parameters, as the head of this module shows them.
        clock: Time for the feed.
        alpaca_key: Key id of the Alpaca account.
        alpaca_secret: Its secret.

    Returns:
        The feed, not running yet; None for `none`.

    Raises:
        ConfigurationError: Some part of the specification is not accepted, or a feed lacks its keys.
    """
    head, _, query = spec.partition("?")
    kind, _, file = head.partition(":")
    if head == "synthetic":
        return SyntheticFeed(clock=clock, **_parameters(head, query, _SYNTHETIC))
    if kind == "replay" and file:
        if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises for a path that is no path
            raise ConfigurationError("feed", f"replay: there is no file {file!r}, a CSV or CSV.gz is needed")
        return ReplayFeed(path=Path(file), clock=clock, **_parameters(kind, query, _REPLAY))
    if head == "alpaca":
        return _alpaca(_parameters(head, query, _ALPACA), clock, alpaca_key, alpaca_secret)
    if head == "yahoo":
        return YahooFeed(clock=clock, **_parameters(head, query, _YAHOO))
    if head == "none":
        _parameters(head, query, {})
        return None
    raise ConfigurationError(
        "feed", f"{head!r} is not a feed: there are synthetic, replay:FILE, alpaca, yahoo and none"
    )


def _alpaca(given: dict[str, Any], clock: Clock, key: str | None, secret: str | None) -> AlpacaFeed:
    """Shares from Alpaca, if there are keys to have them with."""
    if not key or not secret:
        name = "secret" if key else "key"
        text = "the feed alpaca needs both ALPACA_API_KEY and ALPACA_API_SECRET"
        raise ConfigurationError(f"providers.alpaca_api_{name}", text)
    feed = given.pop("feed", ALPACA_FEEDS[0])
    url, by_headers = given.pop("url", ALPACA + feed), given.pop("auth", "message") == "headers"
    given["cap"] = given.get("cap", 0 if feed == "sip" else ALPACA_CAP) or None
    access = Access(url, key, secret, by_headers)
    # Sources of different delay must not be taken for one.
    return AlpacaFeed(access=access, source=f"alpaca-{feed.replace('_', '-')}", clock=clock, **given)


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
                    "each 1 to 32 of A-Z 0-9 . - _ / = ^ : &"
                )
            symbols[symbol] = None
    return tuple(symbols)


def _finite(text: str) -> float:
    """A plain number; NaN for what is not one, which no range contains."""
    value = decimal(text)
    return math.nan if value is None else value


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
        value = whole(text)
        if value is None or not lowest <= value <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return value

    return parse


def _flag(text: str) -> bool:
    """Whether, said as a digit."""
    if text not in {"0", "1"}:
        raise ValueError("must be 0 or 1")
    return text == "1"


def _one_of(*choices: str) -> Callable[[str], str]:
    """A parser of a choice."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be {' or '.join(choices)}")
        return text

    return parse


def _channels(text: str) -> tuple[str, ...]:
    """Channels, each once, in the order given."""
    channels = tuple(dict.fromkeys(text.split(",")))
    if not set(channels) <= set(CHANNELS) or channels == ("dailyBars",):
        raise ValueError(f"must be a list of {', '.join(CHANNELS)}, with more in it than dailyBars")
    return channels


def _stream_url(text: str) -> str:
    """Address of a websocket."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"ws", "wss"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("must be a URL that begins with wss:// or ws://")
    return text


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
_ALPACA = {
    "feed": _one_of(*ALPACA_FEEDS),
    "channels": _channels,
    "cap": _whole(0, 999_999_999),
    "auth": _one_of("message", "headers"),
    "mute_after": _seconds,
    "busy_wait": _seconds,
    "url": _stream_url,
    "stale_after": _seconds,
}
_YAHOO = {"mute_after": _seconds, "url": _stream_url, "stale_after": _seconds}
