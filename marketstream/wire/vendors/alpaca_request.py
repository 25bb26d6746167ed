"""Encode requests to Alpaca's stream, and say what its errors mean.

The vendor counts streams: a symbol on two channels is two of them. A request for too many is refused as a
whole and changes nothing.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from marketstream.wire.json import dumps

MAX_BYTES = 32_768
"""Every request is shorter; the rest of a longer one follows when the first part was acknowledged."""

Reaction = Literal["give up", "later", "fewer", "slower", "again"]
"""What to do about an error.

give up: it will be the same next time. later: somebody else holds the connection that the account may have.
fewer: the last request was too much, and changed nothing. slower: we did not read fast enough; come back and
ask for less. again: connect anew.
"""

_REACTIONS: Mapping[int, Reaction] = {
    402: "give up",  # auth failed
    405: "fewer",  # symbol limit exceeded
    406: "later",  # connection limit exceeded
    407: "slower",  # slow client
    409: "give up",  # insufficient subscription
    411: "give up",  # insufficient scope
}

# What a share is called there: BRK.B, FAKEPACA. Pairs, indices and futures of other feeds are not.
_SHARE = re.compile(r"[A-Z0-9][A-Z0-9.\-]*")


@dataclass(frozen=True, slots=True)
class Request:
    """A change of what the connection is subscribed to.

    Attributes:
        action: `subscribe` or `unsubscribe`.
        streams: Symbols by channel; none of them empty.
    """

    action: Literal["subscribe", "unsubscribe"]
    streams: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return sum(map(len, self.streams.values()))

    def render(self) -> bytes:
        """Return the request as the vendor takes it."""
        return dumps({"action": self.action, **self.streams})


def render_auth(key: str, secret: str) -> bytes:
    """Return the first request, unless the keys went with the headers."""
    return dumps({"action": "auth", "key": key, "secret": secret})


def auth_headers(key: str, secret: str) -> dict[str, str]:
    """Return the keys as headers of the upgrade."""
    return {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}


def reaction(code: int) -> Reaction:
    """Return what to do about an error; one that nobody knows is worth another try."""
    return _REACTIONS.get(code, "again")


def shares(symbols: Iterable[str]) -> frozenset[str]:
    """Return those of the symbols that the vendor could have."""
    return frozenset(symbol for symbol in symbols if _SHARE.fullmatch(symbol))


def choose(
    wanted: Collection[str], confirmed: Collection[str], held: Collection[str], room: int | None
) -> frozenset[str]:
    """Return which symbols to have, if not all of them fit.

    Who has a place keeps it, those that the vendor has confirmed before those that were only asked for; free
    places go by the alphabet. So the same interest ends in the same choice, and a new symbol takes none away.

    Args:
        wanted: Symbols that somebody watches.
        confirmed: Symbols that are subscribed now.
        held: Symbols that were chosen the last time.
        room: How many symbols fit; None: any number.
    """
    if room is None or len(wanted) <= room:
        return frozenset(wanted)
    ranked = sorted(wanted, key=lambda symbol: (symbol not in confirmed, symbol not in held, symbol))
    return frozenset(ranked[:room])


def next_request(
    chosen: Collection[str],
    confirmed: Mapping[str, Collection[str]],
    channels: Sequence[str],
    limit: int = MAX_BYTES,
) -> Request | None:
    """Return the next request towards what was chosen; None when there is none.

    What is too much is given back before anything is asked for, as the vendor counts both at once.

    Args:
        chosen: Symbols to have, on each of the channels.
        confirmed: Symbols that are subscribed now, by channel.
        channels: Channels to have them on.
        limit: Bytes that a request must stay below.
    """
    keep = frozenset(chosen)
    excess = {channel: frozenset(symbols) - keep for channel, symbols in confirmed.items()}
    if any(excess.values()):
        return Request("unsubscribe", _part(excess, limit))
    missing = {channel: keep.difference(confirmed.get(channel, ())) for channel in channels}
    if any(missing.values()):
        return Request("subscribe", _part(missing, limit))
    return None


def _part(streams: Mapping[str, Collection[str]], limit: int) -> dict[str, list[str]]:
    """As many of the streams as fit into one request, symbol by symbol; at least one symbol."""
    part: dict[str, list[str]] = {}
    left = limit - len('{"action":"unsubscribe"}') - sum(len(f',"{channel}":[]') for channel in streams)
    for symbol in sorted(frozenset().union(*streams.values())):
        channels = [channel for channel, symbols in streams.items() if symbol in symbols]
        left -= (len(dumps(symbol)) + len(",")) * len(channels)
        if left <= 0 and part:
            break
        for channel in channels:
            part.setdefault(channel, []).append(symbol)
    return part
