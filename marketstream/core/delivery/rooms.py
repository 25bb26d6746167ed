"""The names of rooms: the one place that knows how they are written.

Back ends emit to these names from outside, so they are part of the protocol.
"""

import re

from marketstream.core.market.symbols import normalise

_DELAYED = re.compile(r"delayed:(\d+(?:\.\d+)?(?:e[+-]\d+)?):", re.ASCII)


def symbol_room(symbol: str, delay: float = 0) -> str:
    """Room of everyone who watches a symbol, live or held back by a number of seconds."""
    return f"delayed:{delay:g}:{symbol}" if delay else f"symbol:{symbol}"


def tenant_room(tenant: str) -> str:
    """Room of everyone of a tenant."""
    return f"tenant:{tenant}"


def channel_room(channel: str) -> str:
    """Room of everyone who listens to a channel such as `indices`."""
    return f"channel:{channel}"


def symbol_of(room: str) -> str | None:
    """The symbol of a live symbol room; None for any other room."""
    kind, _, name = room.partition(":")
    return name if kind == "symbol" and name else None


def watched_by(room: str) -> str | None:
    """The symbol, live or held back, or the channel that a room waits to hear of; None for other rooms."""
    kind, _, name = room.partition(":")
    if kind == "delayed":
        name = name.partition(":")[2]
    return name if kind in ("symbol", "delayed", "channel") and name else None


def delay_of(room: str) -> float:
    """Seconds by which the prices of a room are held back; 0 for any other room."""
    found = _DELAYED.match(room)
    return float(found[1]) if found else 0.0


def demanded_by(room: str) -> str | None:
    """The symbol whose prices a room waits for, live or held back; None for a room that no feed can serve."""
    name = watched_by(room)
    return name if not room.startswith("channel:") and normalise(name) == name else None
