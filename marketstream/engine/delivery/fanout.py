"""Hand frames from the bus to rooms, at once or held back for delayed plans.

A room that opens is watched on the bus, and its symbol becomes part of what feeds are asked for.
"""

from collections.abc import Callable, Sequence

from marketstream.core.delivery import rooms
from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.hub import Hub
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.delay import DelayLines
from marketstream.engine.delivery.flusher import Flusher
from marketstream.engine.delivery.terms import Delivery
from marketstream.engine.market.interest import Interest
from marketstream.engine.stats import Stats
from marketstream.ports import Bus, Clock
from marketstream.wire import keys


class Fanout:
    """See the module.

    Args:
        bus: Brings frames.
        clock: Time.
        stats: Counters to keep.
        delivery: How connections are treated.
        on_dead: Called with a connection that cannot be written to any more.

    Attributes:
        hub: The rooms.
        flusher: Writes what waits for their members.
        interest: What feeds should subscribe to.
        lines: Prices held back for delayed plans.
        bus_lag_ms: Milliseconds between publishing and receiving, of the newest frame.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        stats: Stats,
        delivery: Delivery,
        on_dead: Callable[[Connection], None],
    ) -> None:
        self.hub: Hub[Connection] = Hub(self._opened, self._emptied)
        self.flusher = Flusher(
            hub=self.hub, clock=clock, stats=stats, on_dead=on_dead, max_delay=delivery.max_delay
        )
        self.interest = Interest(clock=clock)
        self.lines = DelayLines(on_held=bus.watch, on_dropped=bus.unwatch, max_bytes=delivery.delayed_bytes)
        self.bus_lag_ms = 0.0
        self._bus = bus
        self._clock = clock
        bus.attach(self.receive)

    def receive(self, frames: Sequence[Frame]) -> None:
        """Take what the bus brings and offer it to the rooms."""
        hub, watched = self.hub, []
        for frame in frames:
            if frame.event != "price":
                hub.post(_room_of(frame), frame)
            elif hub.deliver(rooms.symbol_room(frame.symbol), frame):
                watched.append(frame)
        for line in filter(None, self.lines):
            line.put(frames, self._clock.now())
        # What a bus says of itself was never underway.
        if frames and frames[-1].cursor:
            self.bus_lag_ms = max(0.0, self._clock.wall_ms() - frames[-1].cursor / 1000)
        self.flusher.wake(watched)

    def release_delayed(self) -> None:
        """Let the delay lines give out what is old enough; called once a second."""
        now = self._clock.now()
        for line in self.lines:
            for frame in line.release(now):
                room = rooms.symbol_room(frame.symbol, line.delay)
                (self.hub.deliver if frame.event == "price" else self.hub.post)(room, frame)
        self.flusher.wake()

    def _opened(self, room: str) -> None:
        if (watched := rooms.watched_by(room)) is None:
            return
        self._bus.watch(watched.name)
        if watched.delay and (line := self.lines.of(watched.delay)) is not None:
            line.watch(watched.name)
        if watched.demanded:
            self.interest.watch(watched.name)

    def _emptied(self, room: str) -> None:
        if (watched := rooms.watched_by(room)) is None:
            return
        self._bus.unwatch(watched.name)
        if watched.delay and (line := self.lines.of(watched.delay)) is not None:
            line.unwatch(watched.name, self._clock.now())
        if watched.demanded:
            self.interest.unwatch(watched.name)


def _room_of(frame: Frame) -> str:
    """Return who hears a frame that is not a price: those who watch its symbol, or listen to its channel."""
    if frame.symbol:
        return rooms.symbol_room(frame.symbol)
    return rooms.channel_room(keys.subject(frame.key or ""))
