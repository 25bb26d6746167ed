"""Hands on what is news, and says of which prices nobody knows how fresh they are.

They are in doubt while Redis is away (`bus_lost`) and while nobody feeds the market (`no_feed`). A doubt of
the first kind ends when Redis has been read again. One of the second ends, once somebody feeds, for what is
published again, and for what was said not to be live before: that still holds.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from marketstream.bus.last_values import BUS_LOST, NO_FEED, Field, Mirror, stamp_order
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
        mirror: What is watched and known.
        pulse: Which shards are fed.
        clock: Time.
        shard_of: Shard of a name.

    Attributes:
        receive: Takes what clients are told.
        late: Whether Redis has not said in time that the market is fed.
        stirred: Set when something of a shard is published that nobody feeds: somebody may be back.
    """

    def __init__(
        self, mirror: Mirror, pulse: PulseWatch, clock: Clock, shard_of: Callable[[str], int]
    ) -> None:
        self.receive: Callable[[Sequence[Frame]], None] = _ignore
        self.late = False
        self.stirred = asyncio.Event()
        self._mirror = mirror
        self._pulse = pulse
        self._clock = clock
        self._shard_of = shard_of

    def begin(self, name: str, *, connected: bool) -> None:
        """Says how it is with a name that is watched from now on; nobody is there yet to be told."""
        if self._shard_of(name) in self._pulse.silent:
            self._mirror.doubt([name], self._clock.wall_ms(), NO_FEED)
        elif not connected or self.late:
            self._mirror.doubt([name], self._clock.wall_ms(), BUS_LOST)

    async def watch(self) -> None:
        """Puts everything in doubt when Redis was silent for too long, however that came; until cancelled.

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

    def heard(self, came: Collection[int]) -> list[str]:
        """Notes that Redis has said which shards are fed.

        Args:
            came: Those that are fed again.

        Returns:
            Names that must be read again.
        """
        late, self.late = self.late, False
        return [name for name in self._mirror if late or self._shard_of(name) in came]

    def lose_bus(self) -> None:
        """Puts everything in doubt because Redis is away."""
        self._say(self._mirror.doubt(list(self._mirror), self._clock.wall_ms(), BUS_LOST))

    def lose_feed(self) -> None:
        """Puts in doubt what nobody feeds."""
        names = [name for name in self._mirror if self._shard_of(name) in self._pulse.silent]
        self._say(self._mirror.doubt(names, self._clock.wall_ms(), NO_FEED))

    def doubt_of(self, key: str) -> Frame | None:
        """What to say of a state that is in doubt; None when it is not, or the key is no state's."""
        name = keys.subject(key)
        if name in self._mirror:
            return self._mirror.doubt_of(key)
        if key != messages.status_key(name) or self._shard_of(name) not in self._pulse.silent:
            return None
        return messages.status(Status(name, "stale", None, self._clock.wall_ms(), NO_FEED))

    def publish(self, frames: Sequence[Frame]) -> None:
        """Takes frames that are being published, in order."""
        self._take(frames, flowing=True)

    def read(self, frames: Iterable[Frame]) -> None:
        """Takes last values that were read."""
        self._take(stamp_order(list(frames)), flowing=False)

    def refresh(self, found: dict[Field, Frame]) -> None:
        """Takes all that is known of some names, after something may have been missed."""
        doubt = set(self._mirror.doubted({keys.subject(key) for _, key in found}))
        news = []
        for frame in stamp_order(list(found.values())):
            said = self._mirror.repeats(frame)
            if self._mirror.accept(frame) and not said and not _states_one_of(frame, doubt):
                news.append(frame)
        self._end_doubt(doubt)
        self._say(news)

    def _left(self) -> float:
        # A little longer than until nobody feeds, which may be what Redis is about to say.
        return self._pulse.left() + self._pulse.patience / 8

    def _take(self, frames: Sequence[Frame], *, flowing: bool) -> None:
        mirror = self._mirror
        doubt = set(mirror.doubted(frame.symbol for frame in frames))
        heard: dict[str, None] = {}
        news = []
        for frame in frames:
            # After a doubt the same may be said again; a client has it.
            repeated = frame.symbol in doubt and mirror.repeats(frame)
            if mirror.accept(frame):
                heard[frame.symbol] = None
                if not repeated and not _states_one_of(frame, doubt):
                    news.append(frame)
                if flowing and frame.symbol in doubt:
                    self._note_flow(frame)
        if doubt:
            self._end_doubt([name for name in heard if name in doubt])
        self._say(news)

    def _note_flow(self, frame: Frame) -> None:
        if frame.tenant is not None and self._mirror.get((None, frame.symbol)) is not None:
            # One tenant's own price says nothing about that of all.
            return
        self._mirror.flow(frame.symbol)
        if self._shard_of(frame.symbol) in self._pulse.silent:
            self.stirred.set()

    def _end_doubt(self, names: Iterable[str]) -> None:
        silent = self._pulse.silent
        ready = [n for n in names if self._shard_of(n) not in silent and self._mirror.may_trust(n)]
        self._say(self._mirror.trust(ready, self._clock.wall_ms()))

    def _say(self, frames: Sequence[Frame]) -> None:
        if frames:
            self.receive(frames)


def _states_one_of(frame: Frame, doubt: Collection[str]) -> bool:
    """Whether a frame is the state of a name in doubt: it is told when the doubt ends, and not before.

    A client that had heard `live` would not be told that the doubt goes on.
    """
    return frame.symbol in doubt and frame.key == messages.status_key(frame.symbol)


def _ignore(_: object) -> None:
    """Who has no receiver yet has nothing to lose."""
