"""Keep the newest frame of each watched key, and note which of them may be out of date.

It decides whether a frame is news, and answers for Redis where it can. It knows what may be out of date while
Redis is away or nobody feeds the market. Its size follows what is watched here. It does no input or output.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.wire import keys, messages

Field = tuple[str | None, str]
"""Tenant (None: everybody) and key."""

Reason = Literal["bus_lost", "no_feed"]
"""Why nobody can say how fresh a price is."""

BUS_LOST: Reason = "bus_lost"
NO_FEED: Reason = "no_feed"


def fields(name_keys: Iterable[str], tenant: str) -> list[Field]:
    """Return all values that a tenant may be shown under some keys."""
    return [(owner, key) for key in name_keys for owner in (None, tenant)]


def best(known: Iterable[Frame | None]) -> Frame | None:
    """Return the newer of the public value and the tenant's: by source time, then by cursor."""
    found = [frame for frame in known if frame is not None]
    return max(found, key=lambda frame: (frame.at_ms, frame.cursor)) if found else None


class Watched:
    """One symbol or channel that somebody here watches.

    Attributes:
        count: How many times it is watched.
        frames: The newest frame of each field.
        loaded: Fields that are known, be it that there is nothing.
    """

    __slots__ = ("count", "frames", "loaded")

    def __init__(self) -> None:
        self.count = 0
        self.frames: dict[Field, Frame] = {}
        self.loaded: set[Field] = set()


class LastValues:
    """See the module; `name in last_values` tells whether a symbol or channel is watched."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._stale: dict[str, _Stale] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._watched

    def __iter__(self) -> Iterator[str]:
        return iter(self._watched)

    def watch(self, name: str) -> bool:
        """Note interest; True when it is the first."""
        watched = self._watched.setdefault(name, Watched())
        watched.count += 1
        return watched.count == 1

    def unwatch(self, name: str) -> bool:
        """End an interest; True when it was the last."""
        watched = self._watched.get(name)
        if watched is None:
            return False
        watched.count -= 1
        if watched.count > 0:
            return False
        del self._watched[name]
        self._stale.pop(name, None)
        return True

    def accept(self, frame: Frame) -> bool:
        """Take a frame; False when it is not newer than what was known, or nobody watches it."""
        watched = self._watched.get(frame.symbol or keys.subject(frame.key or ""))
        if watched is None:
            return False
        if frame.key is None:
            return True
        known = watched.frames.get((frame.tenant, frame.key))
        if known is not None and known.cursor >= frame.cursor:
            return False
        watched.frames[frame.tenant, frame.key] = frame
        return True

    def repeats(self, frame: Frame) -> bool:
        """Return whether a frame says nothing but what is known."""
        known = self.get((frame.tenant, frame.key or ""))
        return known is not None and (known.body, known.trade) == (frame.body, frame.trade)

    def get(self, field: Field) -> Frame | None:
        """Return the newest frame of a field."""
        watched = self._watched.get(keys.subject(field[1]))
        return watched.frames.get(field) if watched else None

    def frames(self) -> list[Frame]:
        """Return the newest frame of every field."""
        return [frame for watched in self._watched.values() for frame in watched.frames.values()]

    def load(self, loaded: Iterable[Field]) -> None:
        """Note that Redis was asked for fields."""
        for field in loaded:
            watched = self._watched.get(keys.subject(field[1]))
            if watched is not None:
                watched.loaded.add(field)

    def missing(self, wanted: Iterable[Field]) -> list[Field]:
        """Return those fields that only Redis can know."""
        absent = []
        for field in wanted:
            watched = self._watched.get(keys.subject(field[1]))
            if watched is None or field not in watched.loaded:
                absent.append(field)
        return absent

    def everything(self, names: Iterable[str]) -> list[Field]:
        """Return what must be asked of Redis to know again all that was known of some names."""
        found: dict[Field, None] = {}
        for name in names:
            if (watched := self._watched.get(name)) is not None:
                found |= dict.fromkeys([(None, name), (None, messages.status_key(name))])
                found |= dict.fromkeys(watched.loaded)
        return list(found)

    # Doubt

    def mark_stale(self, names: Iterable[str], at_ms: int, reason: Reason) -> list[Frame]:
        """Mark names stale: from now on nobody can say how fresh they are.

        Returns:
            What their members must be told: each is stale, and why; nothing for what was stale before,
            unless it was for a lesser reason.
        """
        said = []
        for name in names:
            known = self._stale.get(name)
            if known is None or (known.reason, reason) == (BUS_LOST, NO_FEED):
                stale = self._stale[name] = _Stale(name, reason, known.since_ms if known else at_ms)
                said.append(stale.frame)
        return said

    def flow(self, name: str) -> None:
        """Note that a frame of a stale name was published."""
        self._stale[name].flows = True

    def may_be_live(self, name: str) -> bool:
        """Return whether a name is live again once its shard is fed.

        What was said to be live while nobody fed must first be heard of again. That a market is closed, or a
        source silent, holds until something else is said.
        """
        stale = self._stale[name]
        if stale.reason == BUS_LOST or stale.flows:
            return True
        state = self.get((None, messages.status_key(name)))
        return state is not None and not messages.is_live(state)

    def mark_live(self, names: Iterable[str], at_ms: int) -> list[Frame]:
        """Mark names live.

        Returns:
            What their members must be told: the state that is known, or that they are live.
        """
        said = []
        for name in names:
            if self._stale.pop(name, None) is None:
                continue
            key = messages.status_key(name)
            watched = self._watched[name]
            if (None, key) not in watched.frames:
                said.append(messages.status(Status(name, "live", None, at_ms)))
            said += [frame for field, frame in watched.frames.items() if field[1] == key]
        return said

    def stale(self, names: Iterable[str]) -> list[str]:
        """Return the names that are stale."""
        return [name for name in names if name in self._stale] if self._stale else []

    def stale_state(self, key: str) -> Frame | None:
        """Return what to tell of a stale state; None when it is live, or the key is no state's."""
        stale = self._stale.get(keys.subject(key)) if self._stale else None
        return stale.frame if stale is not None and stale.frame.key == key else None


class _Stale:
    """Why a name is stale.

    Attributes:
        reason: The reason.
        since_ms: Epoch milliseconds.
        frame: What its members are told.
        flows: Whether a frame of it was published since.
    """

    __slots__ = ("flows", "frame", "reason", "since_ms")

    def __init__(self, name: str, reason: Reason, since_ms: int) -> None:
        self.reason = reason
        self.since_ms = since_ms
        self.frame = messages.status(Status(name, "stale", None, since_ms, reason))
        self.flows = False


def stamp_order(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames in the order in which they were published."""
    return sorted(frames, key=lambda frame: frame.cursor)
