"""Write and read the names of rooms.

Back ends emit to these names from outside, so they are part of the protocol.
"""

import re
from typing import NamedTuple

from marketstream.core.market.symbols import normalise

_DELAYED = re.compile(r"delayed:(\d+(?:\.\d+)?(?:e[+-]\d+)?):", re.ASCII)


def symbol_room(symbol: str, delay: float = 0) -> str:
    """Return the room of everyone who watches a symbol, live or held back by a number of seconds."""
    return f"delayed:{delay:g}:{symbol}" if delay else f"symbol:{symbol}"


def tenant_room(tenant: str) -> str:
    """Return the room of everyone of a tenant."""
    return f"tenant:{tenant}"


def channel_room(channel: str) -> str:
    """Return the room of everyone who listens to a channel such as `indices`."""
    return f"channel:{channel}"


def symbol_of(room: str) -> str | None:
    """Return the symbol of a live symbol room; None for any other room."""
    kind, _, name = room.partition(":")
    return name if kind == "symbol" and name else None


class Watched(NamedTuple):
    """What a room waits to hear of.

    Attributes:
        name: A symbol or a channel.
        delay: Seconds by which its prices are held back.
        demanded: Whether feeds can serve it: it is a symbol that peers may name.
    """

    name: str
    delay: float
    demanded: bool


def watched_by(room: str) -> Watched | None:
    """Return what a room waits to hear of; None for rooms of anything but a symbol or a channel."""
    kind, _, name = room.partition(":")
    delay = 0.0
    if kind == "delayed":
        if found := _DELAYED.match(room):
            delay = float(found[1])
        name = name.partition(":")[2]
    if kind not in ("symbol", "delayed", "channel") or not name:
        return None
    return Watched(name, delay, kind != "channel" and normalise(name) == name)
