"""What an admitted client asks is carried out here, and answered before anything that follows from it.

A symbol or channel is watched first, then its last values are read, which may take a while. From there on,
joining and the snapshot happen in one turn of the event loop, so that no price falls in between, none that
was sent before is newer, and none that follows is older. What a client may have is decided by its session;
this module only carries it out.
"""

from collections.abc import Awaitable, Sequence
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING

import structlog

from marketstream.core.delivery import closing, rooms
from marketstream.core.delivery.commands import (
    AckEvent,
    Authenticate,
    Command,
    Effect,
    EventCommand,
    GetQuote,
    Join,
    JoinChannel,
    JoinGroup,
    Leave,
    LeaveChannel,
    LeaveGroup,
    ListEventSubscriptions,
    Quoted,
    Reply,
    SendSnapshot,
    Subscribe,
    Subscribed,
    SubscribeEvents,
    Subscription,
    UnsubscribeEvents,
)
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.outbox import Lane
from marketstream.core.delivery.session import Session
from marketstream.core.market.model import Status
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.delay import DelayLine, DelayLines
from marketstream.engine.delivery.quotes import Quotes
from marketstream.engine.delivery.renewal import Answer, Renewal
from marketstream.errors import ConnectionLimitError, MarketstreamError
from marketstream.ports import Bus, ConnectionLimits
from marketstream.wire import messages

if TYPE_CHECKING:
    from marketstream.engine.delivery.node import Node

log = structlog.get_logger(__name__)


class _Call:
    """Gives an answer, and knows whether it did."""

    __slots__ = ("_answer", "answered")

    def __init__(self, answer: Answer) -> None:
        self.answered = False
        self._answer = answer

    def __call__(self, reply: Reply | MarketstreamError) -> None:
        self.answered = True
        self._answer(reply)


class Execution:
    """Carries out commands for a node.

    Args:
        node: Whose connections.
        bus: Where last values are.
        lines: Where prices are held back.

    Attributes:
        quotes: Answers `get_quote`.
    """

    def __init__(self, *, node: "Node", bus: Bus, lines: DelayLines, limits: ConnectionLimits) -> None:
        self._node = node
        self._bus = bus
        self._lines = lines
        self.quotes = Quotes(bus=bus, clock=node.clock)
        self._renewal = Renewal(
            node=node,
            bus=bus,
            limits=limits,
            apply=lambda connection, session, effects, delay: self._apply(
                connection, session, effects, delay=delay
            ),
            carry_out=self._carry_out,
        )

    def execute(self, connection: Connection, command: Command, answer: Answer) -> Awaitable[None] | None:
        """Carries out what an admitted client asks, and answers it before anything that follows from it.

        Whatever goes wrong here, the client gets its answer, and nobody else notices.

        Returns:
            None when it is done; an awaitable when something has to be waited for.
        """
        call = _Call(answer)
        try:
            waiting = self._execute(connection, command, call)
        except Exception as error:  # noqa: BLE001  # as said
            self._crashed(call, error)
            return None
        return None if waiting is None else self._finish_later(waiting, call)

    async def _finish_later(self, waiting: Awaitable[None], call: "_Call") -> None:
        try:
            await waiting
        except Exception as error:  # noqa: BLE001  # as said
            self._crashed(call, error)

    def _crashed(self, call: "_Call", error: Exception) -> None:
        log.warning("client_call_failed", error=repr(error))
        if not call.answered:
            self._fail(call, MarketstreamError())
        self._node.settle()

    def _execute(self, connection: Connection, command: Command, answer: Answer) -> Awaitable[None] | None:
        session = connection.session
        assert session is not None  # noqa: S101  # edges let nobody in before `admit`
        now = self._node.clock.now()
        try:
            match command:
                case Authenticate(token):
                    renewing = self._renewal.begin(connection, session, token, partial(self._say, answer))
                    if renewing is not None:
                        return self._renew_later(connection, renewing, answer)
                case GetQuote(raw):
                    session.spend(now)
                    session.require_reader()
                    body = self.quotes.get(
                        session.require_symbol(raw), session.principal, self._line_of(session)
                    )
                    if isawaitable(body):
                        return self._quote_later(body, answer)
                    self._say(answer, Quoted(body))
                case JoinGroup() | LeaveGroup() | AckEvent():
                    if not isinstance(command, AckEvent):
                        session.spend(now)
                    self._say(answer, self._node.on_work_command(connection, command))
                case SubscribeEvents() | UnsubscribeEvents() | ListEventSubscriptions():
                    session.spend(now)
                    session.require_reader()
                    return self._change_events(session.principal, command, answer)
                case _:
                    reply, effects = session.handle(command, now, self._node.clock.wall_ms())
                    self._say(answer, reply)
                    waiting = self._carry_out(connection, session, effects)
                    if isinstance(command, Subscribe):
                        self._note_subscribed(connection, reply)
                    self._node.settle()
                    return waiting
        except MarketstreamError as error:
            self._refuse(connection, answer, error)
        self._node.settle()
        return None

    async def _renew_later(self, connection: Connection, work: Awaitable[None], answer: Answer) -> None:
        try:
            await work
        except MarketstreamError as error:
            self._refuse(connection, answer, error)
        self._node.settle()

    def _refuse(self, connection: Connection, answer: Answer, error: MarketstreamError) -> None:
        """Answers a call that fails; a connection for which the newer plan has no place ends by it."""
        self._fail(answer, error)
        if isinstance(error, ConnectionLimitError):
            self._node.close(connection, closing.CONNECTION_LIMIT, messages.error(error.code, str(error)))

    async def _quote_later(self, body: Awaitable[bytes], answer: Answer) -> None:
        try:
            self._say(answer, Quoted(await body))
        except MarketstreamError as error:
            self._fail(answer, error)
        self._node.settle()

    async def _change_events(self, who: Principal, command: EventCommand, answer: Answer) -> None:
        try:
            self._say(answer, await self._node.on_event_command(who, command))
        except MarketstreamError as error:
            self._fail(answer, error)
        self._node.settle()

    def _say(self, answer: Answer, reply: Reply) -> None:
        self._node.stats.commands["ok"] += 1
        answer(reply)

    def _fail(self, answer: Answer, error: MarketstreamError) -> None:
        self._node.stats.commands[error.code] += 1
        answer(error)

    def _note_subscribed(self, connection: Connection, reply: Reply) -> None:
        assert isinstance(reply, Subscribed)  # noqa: S101  # the session answers a Subscribe with it
        self._node.stats.subscriptions += len(reply.symbols)
        log.info("subscription_processed", connection=connection.id, symbols_count=len(reply.symbols))

    def _carry_out(
        self, connection: Connection, session: Session, effects: Sequence[Effect]
    ) -> Awaitable[None] | None:
        """Applies effects once the last values they need are at hand."""
        symbols = [
            symbol for effect in effects if isinstance(effect, SendSnapshot) for symbol in effect.symbols
        ]
        channels = [effect.channel for effect in effects if isinstance(effect, JoinChannel)]
        names = [*symbols, *channels]
        if not names or connection.closed:
            # There may have been no room for the answer, and the client was closed for it.
            self._apply(connection, session, effects)
            return None
        for name in names:
            self._bus.watch(name)
        wanted = [*symbols, *map(messages.status_key, symbols), *map(messages.channel_key, channels)]
        known = self._bus.last(wanted, session.principal.tenant)
        if isawaitable(known):
            return self._carry_out_later(connection, session, effects, names, known)
        self._finish(connection, session, effects, names, known)
        return None

    async def _carry_out_later(
        self,
        connection: Connection,
        session: Session,
        effects: Sequence[Effect],
        names: Sequence[str],
        known: Awaitable[Sequence[Frame]],
    ) -> None:
        frames: Sequence[Frame] = ()
        try:
            frames = await known
        finally:
            self._finish(connection, session, effects, names, frames)
        self._node.settle()

    def _finish(
        self,
        connection: Connection,
        session: Session,
        effects: Sequence[Effect],
        names: Sequence[str],
        known: Sequence[Frame],
    ) -> None:
        self._apply(connection, session, effects, known=known)
        for name in names:
            # By now the rooms watch.
            self._bus.unwatch(name)

    def _apply(
        self,
        connection: Connection,
        session: Session,
        effects: Sequence[Effect],
        *,
        delay: float | None = None,
        known: Sequence[Frame] = (),
    ) -> None:
        if connection.closed:
            return
        outbox = connection.outbox
        held_back = session.principal.plan.delay if delay is None else delay
        for effect in effects:
            match effect:
                case Join(held, since):
                    self._join(connection, held, held_back, since)
                case Leave(symbol):
                    self._node.hub.leave(rooms.symbol_room(symbol, held_back), outbox)
                    self._node.stats.discarded += outbox.forget((symbol, messages.status_key(symbol)))
                case JoinChannel(channel):
                    self._node.hub.join(rooms.channel_room(channel), outbox)
                    for frame in known:
                        if frame.key == messages.channel_key(channel):
                            self._node.hub.send(outbox, frame)
                case LeaveChannel(channel):
                    self._node.hub.leave(rooms.channel_room(channel), outbox)
                    self._node.stats.discarded += outbox.forget((messages.channel_key(channel),))
                case SendSnapshot():
                    self._send_snapshot(connection, session, effect, known)

    def _join(self, connection: Connection, held: Subscription, delay: float, since: int) -> None:
        outbox, stats = connection.outbox, self._node.stats
        old = outbox.lanes.get(held.symbol) if outbox.lanes else None
        stats.discarded += outbox.supersede(held.symbol)
        if old is not None and old.missed:
            stats.lagged += old.missed
            self._node.hub.send(outbox, messages.lagged(held.symbol, old.missed))
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
                capacity=self._node.delivery.lane_capacity,
                since=since,
            )
            outbox.open_lane(lane)
        self._node.hub.join(rooms.symbol_room(held.symbol, delay), outbox, lane)

    def _send_snapshot(
        self, connection: Connection, session: Session, wanted: SendSnapshot, known: Sequence[Frame]
    ) -> None:
        symbols = wanted.symbols
        outbox, tenant, line = connection.outbox, session.principal.tenant, self._line_of(session)
        lanes = outbox.lanes or {}
        for symbol in symbols:
            self._node.stats.discarded += outbox.supersede(symbol)
        prices: Sequence[Frame] = [frame for frame in known if frame.event == "price"]
        if line is not None:
            at_ms = self._bus.clock.wall_ms()
            line.begin(known, self._node.clock.now(), at_ms)
            seen = {symbol: lane.since for symbol, lane in lanes.items() if lane.since}
            old_enough = line.last(symbols, tenant, prices, at_ms)
            prices = [frame for frame in old_enough if frame.cursor > seen.get(frame.symbol, -1)]
        if connection.sink.snapshots:
            self._node.hub.send(outbox, messages.snapshot(prices))
        else:
            # By cursor, so that the last one a client has seen covers all before it. A symbol with a lane may
            # have held a value back that is older than that.
            since = connection.since - self._bus.skew
            for frame in sorted(prices, key=lambda frame: frame.cursor):
                if frame.cursor > since or frame.symbol in lanes:
                    self._node.hub.send(outbox, frame)
        for frame in self._states(wanted, known, line):
            self._node.hub.send(outbox, frame)

    def _states(self, wanted: SendSnapshot, known: Sequence[Frame], line: DelayLine | None) -> list[Frame]:
        """What a new member must know of symbols that are not live for it, or were something else before."""
        since = self._node.clock.wall_ms()
        if line is not None:
            return [line.state(symbol, since) for symbol in wanted.symbols]
        if wanted.moved:
            told = {
                messages.status_key(symbol): messages.status(Status(symbol, "live", None, since))
                for symbol in wanted.symbols
            }
            told |= {frame.key or "": frame for frame in known if frame.event == "status"}
            return list(told.values())
        return [frame for frame in known if frame.event == "status" and not messages.is_live(frame)]

    def _line_of(self, session: Session) -> DelayLine | None:
        return self._lines.of(session.principal.plan.delay)
