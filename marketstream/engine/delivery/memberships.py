"""Join clients to rooms and take them out, and send the snapshot in between.

The rooms are held first, so that the bus watches their symbols and channels; then their last values are read,
which may take a while. From there on, joining and the snapshot happen in one turn of the event loop, so that
no price falls in between, none that was sent before is newer, and none that follows is older.
"""

from collections.abc import Sequence

from marketstream.core.delivery import rooms
from marketstream.core.delivery.commands import (
    Effect,
    Join,
    JoinChannel,
    Leave,
    LeaveChannel,
    SendSnapshot,
    Subscription,
)
from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.outbox import Lane
from marketstream.core.delivery.session import Session
from marketstream.core.market.model import Status
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.delay import DelayLine
from marketstream.engine.delivery.fanout import Fanout
from marketstream.engine.eager import settled
from marketstream.engine.stats import Stats
from marketstream.ports import Bus, Clock
from marketstream.wire import messages


class Memberships:
    """See the module.

    Args:
        fanout: The rooms, and the prices that are held back for some.
        bus: Where last values are.
        clock: Time.
        stats: Counters to keep.
        lane_capacity: Values of mode `every` that may wait, per symbol.
    """

    def __init__(self, *, fanout: Fanout, bus: Bus, clock: Clock, stats: Stats, lane_capacity: int) -> None:
        self._hub = fanout.hub
        self._lines = fanout.lines
        self._bus = bus
        self._clock = clock
        self._stats = stats
        self._lane_capacity = lane_capacity

    async def carry_out(self, connection: Connection, session: Session, effects: Sequence[Effect]) -> None:
        """Apply effects once the last values that they need are at hand."""
        delay = session.principal.plan.delay
        symbols = [
            symbol for effect in effects if isinstance(effect, SendSnapshot) for symbol in effect.symbols
        ]
        channels = [effect.channel for effect in effects if isinstance(effect, JoinChannel)]
        if connection.closed or not (symbols or channels):
            # There may have been no room for the answer, and the client was closed for it.
            self.apply(connection, session, effects, delay)
            return
        # Without the delay: what the bus says meanwhile of its last values was never underway, and a line
        # that took it would hold it back. A line is begun with what was read, as its room is joined.
        held = [rooms.symbol_room(symbol) for symbol in symbols]
        held += map(rooms.channel_room, channels)
        self._hub.hold(held)
        wanted = [*symbols, *map(messages.status_key, symbols), *map(messages.channel_key, channels)]
        known: Sequence[Frame] = ()
        try:
            known = await settled(self._bus.last(wanted, session.principal.tenant))
        finally:
            self.apply(connection, session, effects, delay, known)
            self._hub.release(held)

    def apply(
        self,
        connection: Connection,
        session: Session,
        effects: Sequence[Effect],
        delay: float,
        known: Sequence[Frame] = (),
    ) -> None:
        """Apply effects in order; on one that is gone they have none.

        Args:
            connection: Whose outbox.
            session: Of it.
            effects: What is to be done.
            delay: Seconds by which prices are held back in the rooms of symbols.
            known: The last values that are to be sent.
        """
        if connection.closed:
            return
        outbox, hub = connection.outbox, self._hub
        for effect in effects:
            match effect:
                case Join(held, since):
                    self._join(connection, held, delay, since)
                case Leave(symbol):
                    hub.leave(rooms.symbol_room(symbol, delay), outbox)
                    self._stats.discarded += outbox.forget((symbol, messages.status_key(symbol)))
                case JoinChannel(channel):
                    hub.join(rooms.channel_room(channel), outbox)
                    for frame in known:
                        if frame.key == messages.channel_key(channel):
                            hub.send(outbox, frame)
                case LeaveChannel(channel):
                    hub.leave(rooms.channel_room(channel), outbox)
                    self._stats.discarded += outbox.forget((messages.channel_key(channel),))
                case SendSnapshot():
                    self._send_snapshot(connection, session, effect, known)

    def _join(self, connection: Connection, held: Subscription, delay: float, since: int) -> None:
        outbox, stats = connection.outbox, self._stats
        old = outbox.lanes.get(held.symbol) if outbox.lanes else None
        stats.discarded += outbox.supersede(held.symbol)
        if old is not None and old.missed:
            stats.lagged += old.missed
            self._hub.send(outbox, messages.lagged(held.symbol, old.missed))
        stats.discarded += outbox.forget((held.symbol,))
        lane = None
        if delay:
            # Also of a client that comes back and had live prices before.
            since = max(since, connection.since - self._bus.skew, old.since if old else 0)
        if held.mode == "every" or held.max_rate or since:
            lane = Lane(
                held.symbol,
                lossless=held.mode == "every",
                max_rate=held.max_rate,
                capacity=self._lane_capacity,
                since=since,
            )
            outbox.open_lane(lane)
        self._hub.join(rooms.symbol_room(held.symbol, delay), outbox, lane)

    def _send_snapshot(
        self, connection: Connection, session: Session, wanted: SendSnapshot, known: Sequence[Frame]
    ) -> None:
        symbols = wanted.symbols
        outbox, principal = connection.outbox, session.principal
        delay = principal.plan.delay
        line = self._lines.of(delay) if delay else None
        lanes = outbox.lanes or {}
        for symbol in symbols:
            self._stats.discarded += outbox.supersede(symbol)
        prices: Sequence[Frame] = [frame for frame in known if frame.event == "price"]
        if line is not None:
            at_ms = self._bus.clock.wall_ms()
            line.begin(known, self._clock.now(), at_ms)
            seen = {symbol: lane.since for symbol, lane in lanes.items() if lane.since}
            old_enough = line.last(symbols, principal.tenant, prices, at_ms)
            prices = [frame for frame in old_enough if frame.cursor > seen.get(frame.symbol, -1)]
        if connection.sink.snapshots:
            self._hub.send(outbox, messages.snapshot(prices))
        else:
            # By cursor, so that the last one a client has seen covers all before it. A symbol with a lane may
            # have held a value back that is older than that.
            since = connection.since - self._bus.skew
            for frame in sorted(prices, key=lambda frame: frame.cursor):
                if frame.cursor > since or frame.symbol in lanes:
                    self._hub.send(outbox, frame)
        for frame in self._states(wanted, known, line):
            self._hub.send(outbox, frame)

    def _states(self, wanted: SendSnapshot, known: Sequence[Frame], line: DelayLine | None) -> list[Frame]:
        """Return the states that a new member must know: not live, or changed."""
        if line is not None:
            since = self._clock.wall_ms()
            return [line.state(symbol, since) for symbol in wanted.symbols]
        if wanted.moved:
            since = self._clock.wall_ms()
            told = {
                messages.status_key(symbol): messages.status(Status(symbol, "live", None, since))
                for symbol in wanted.symbols
            }
            told |= {frame.key or "": frame for frame in known if frame.event == "status"}
            return list(told.values())
        return [frame for frame in known if frame.event == "status" and not messages.is_live(frame)]
