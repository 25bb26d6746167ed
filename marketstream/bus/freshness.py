"""Pass on new frames, and tell clients which symbols are stale.

They are stale while Redis is away (`bus_lost`) and while nobody feeds the market (`no_feed`). Staleness of
the first kind ends when Redis has been read again. One of the second ends, once somebody feeds, for what is
published again, and for what was said not to be live before: that still holds.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from marketstream.bus.last_values import BUS_LOST, NO_FEED, Field, LastValues, stamp_order
from marketstream.bus.pulse import PulseWatch
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.ports import Clock
from marketstream.wire import keys, messages

GRACE = 0.25
"""Seconds in which an answer that is late may still be read."""


class Freshness:
    """See the module.

    Args:
        last_values: What is watched and known.
        pulse: Which shards are fed.
        clock: Time.
        shard_of: Shard of a name.

    Attributes:
        receive: Takes what clients are told.
        late: Whether Redis has not said in time that the market is fed.
        stirred: Set when something of a shard is published that nobody feeds: somebody may be back.
    """

    def __init__(
        self, last_values: LastValues, pulse: PulseWatch, clock: Clock, shard_of: Callable[[str], int]
    ) -> None:
        self.receive: Callable[[Sequence[Frame]], None] = _ignore
        self.late = False
        self.stirred = asyncio.Event()
        self._last_values = last_values
        self._pulse = pulse
        self._clock = clock
        self._shard_of = shard_of

    def begin(self, name: str, *, connected: bool) -> None:
        """Set the state of a name that is watched from now on; nobody needs to be told yet."""
        if self._shard_of(name) in self._pulse.silent:
            self._last_values.mark_stale([name], self._clock.wall_ms(), NO_FEED)
        elif not connected or self.late:
            self._last_values.mark_stale([name], self._clock.wall_ms(), BUS_LOST)

    async def watch(self) -> None:
        """Mark everything stale when Redis was silent for too long; run until cancelled.

        A connection that is half-open shows itself only by time-outs, which may add up to more than that.
        """
        while True:
            left = self._left()
            if left > 0:
                await asyncio.sleep(left)
                continue
            # Who was frozen itself has an answer to read first.
            await asyncio.sleep(GRACE)
            if not self.late and self._left() <= 0:
                self.late = True
                self.lose_bus()

    def received(self, came: Collection[int]) -> list[str]:
        """Note that Redis has said which shards are fed.

        Args:
            came: Those that are fed again.

        Returns:
            Names that must be read again.
        """
        late, self.late = self.late, False
        return [name for name in self._last_values if late or self._shard_of(name) in came]

    def lose_bus(self) -> None:
        """Mark everything stale because Redis is away."""
        self._say(self._last_values.mark_stale(list(self._last_values), self._clock.wall_ms(), BUS_LOST))

    def lose_feed(self) -> None:
        """Mark stale what nobody feeds."""
        names = [name for name in self._last_values if self._shard_of(name) in self._pulse.silent]
        self._say(self._last_values.mark_stale(names, self._clock.wall_ms(), NO_FEED))

    def stale_state(self, key: str) -> Frame | None:
        """Return what to tell of a stale state; None when it is live, or the key is no state's."""
        name = keys.subject(key)
        if name in self._last_values:
            return self._last_values.stale_state(key)
        if key != messages.status_key(name) or self._shard_of(name) not in self._pulse.silent:
            return None
        return messages.status(Status(name, "stale", None, self._clock.wall_ms(), NO_FEED))

    def publish(self, frames: Sequence[Frame]) -> None:
        """Take frames that are being published, in order."""
        self._take(frames, flowing=True)

    def read(self, frames: Iterable[Frame]) -> None:
        """Take last values that were read."""
        self._take(stamp_order(list(frames)), flowing=False)

    def refresh(self, found: dict[Field, Frame]) -> None:
        """Take all that is known of some names, after something may have been missed."""
        stale = set(self._last_values.stale({keys.subject(key) for _, key in found}))
        news = []
        for frame in stamp_order(list(found.values())):
            said = self._last_values.repeats(frame)
            if self._last_values.accept(frame) and not said and not _states_one_of(frame, stale):
                news.append(frame)
        self._mark_live(stale)
        self._say(news)

    def _left(self) -> float:
        # A little longer than until nobody feeds, which may be what Redis is about to say.
        return self._pulse.left() + self._pulse.patience / 8

    def _take(self, frames: Sequence[Frame], *, flowing: bool) -> None:
        last_values = self._last_values
        stale = set(last_values.stale(frame.symbol for frame in frames))
        received: dict[str, None] = {}
        news = []
        for frame in frames:
            # After a time of staleness the same may be published again; clients have it.
            repeated = frame.symbol in stale and last_values.repeats(frame)
            if last_values.accept(frame):
                received[frame.symbol] = None
                if not repeated and not _states_one_of(frame, stale):
                    news.append(frame)
                if flowing and frame.symbol in stale:
                    self._note_flow(frame)
        if stale:
            self._mark_live([name for name in received if name in stale])
        self._say(news)

    def _note_flow(self, frame: Frame) -> None:
        if frame.tenant is not None and self._last_values.get((None, frame.symbol)) is not None:
            # One tenant's own price says nothing about that of all.
            return
        self._last_values.flow(frame.symbol)
        if self._shard_of(frame.symbol) in self._pulse.silent:
            self.stirred.set()

    def _mark_live(self, names: Iterable[str]) -> None:
        silent = self._pulse.silent
        ready = [n for n in names if self._shard_of(n) not in silent and self._last_values.may_be_live(n)]
        self._say(self._last_values.mark_live(ready, self._clock.wall_ms()))

    def _say(self, frames: Sequence[Frame]) -> None:
        if frames:
            self.receive(frames)


def _states_one_of(frame: Frame, stale: Collection[str]) -> bool:
    """Return whether a frame is the state of a stale name: it is told when that is live again.

    A client that was told `live` would not be told that the symbol is still stale.
    """
    return frame.symbol in stale and frame.key == messages.status_key(frame.symbol)


def _ignore(_: object) -> None:
    """Who has no receiver yet has nothing to lose."""
