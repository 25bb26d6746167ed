"""Execute commands of admitted clients: reply, then effects, in order.

What a client may have is decided by its session; this module only carries it out.
"""

from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from marketstream.core.delivery import closing
from marketstream.core.delivery.commands import (
    AckEvent,
    Authenticate,
    Command,
    EventCommand,
    EventReply,
    GetQuote,
    JoinGroup,
    LeaveGroup,
    ListEventSubscriptions,
    Quoted,
    Reply,
    Subscribed,
    SubscribeEvents,
    UnsubscribeEvents,
    WorkCommand,
    WorkReply,
)
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.session import Session
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.memberships import Memberships
from marketstream.engine.delivery.node import Node
from marketstream.engine.delivery.quotes import Quotes
from marketstream.engine.delivery.renewal import Renewal
from marketstream.engine.eager import settled
from marketstream.errors import ConnectionLimitError, MarketstreamError, UnavailableError
from marketstream.ports import Bus
from marketstream.wire import messages

log = structlog.get_logger(__name__)

Answer = Callable[[Reply | MarketstreamError], None]
EventHandler = Callable[[Principal, EventCommand], Awaitable[EventReply]]
WorkHandler = Callable[[Connection, WorkCommand], WorkReply]


async def reject_event_command(_who: Principal, _command: EventCommand) -> EventReply:
    """Refuse what a client asks about event streams, where there are none."""
    raise UnavailableError("there are no event streams here")


def reject_work_command(_connection: Connection, _command: WorkCommand) -> WorkReply:
    """Refuse what a client asks about the work of groups, where there is none."""
    raise UnavailableError("there is no work of groups here")


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
    """Carries out the commands of clients.

    Args:
        node: Whose connections.
        bus: Where last values are.
        on_event_command: Carries out what a client asks about event streams.
        on_work_command: The same about the work of groups.

    Attributes:
        node: See above.
        quotes: Answers `get_quote`.
    """

    def __init__(
        self,
        *,
        node: Node,
        bus: Bus,
        on_event_command: EventHandler = reject_event_command,
        on_work_command: WorkHandler = reject_work_command,
    ) -> None:
        self.node = node
        self._clock = node.clock
        self._stats = node.stats
        self._on_event_command = on_event_command
        self._on_work_command = on_work_command
        self.quotes = Quotes(bus=bus, clock=node.clock, lines=node.fanout.lines)
        self._memberships = Memberships(
            fanout=node.fanout,
            bus=bus,
            clock=node.clock,
            stats=node.stats,
            lane_capacity=node.delivery.lane_capacity,
        )
        self._renewal = Renewal(node=node, bus=bus, memberships=self._memberships)

    async def execute(self, connection: Connection, command: Command, answer: Answer) -> None:
        """Carry out what an admitted client asks, and answer it before anything that follows from it.

        Whatever goes wrong here, the client gets its answer, and nobody else notices. It may be run by
        `eager.start`.
        """
        session = connection.session
        assert session is not None  # noqa: S101  # edges let nobody in before `admit`
        call = _Call(answer)
        try:
            await self._execute(connection, session, command, call)
        except MarketstreamError as error:
            self._fail(call, error)
            if isinstance(error, ConnectionLimitError):
                # The newer plan has no place for it.
                farewell = messages.error(error.code, str(error))
                self.node.close(connection, closing.CONNECTION_LIMIT, farewell)
        except Exception as error:  # noqa: BLE001  # as said
            log.warning("client_call_failed", error=repr(error))
            if not call.answered:
                self._fail(call, MarketstreamError())
        self.node.settle()

    async def _execute(
        self, connection: Connection, session: Session, command: Command, answer: Answer
    ) -> None:
        now = self._clock.now()
        match command:
            case Authenticate(token):
                await self._renewal.renew(connection, session, token, partial(self._say, answer))
            case GetQuote(raw):
                session.spend(now)
                session.require_reader()
                body = await self.quotes.get(session.require_symbol(raw), session.principal)
                self._say(answer, Quoted(body))
            case JoinGroup() | LeaveGroup() | AckEvent():
                if not isinstance(command, AckEvent):
                    session.spend(now)
                self._say(answer, self._on_work_command(connection, command))
            case SubscribeEvents() | UnsubscribeEvents() | ListEventSubscriptions():
                session.spend(now)
                session.require_reader()
                self._say(answer, await settled(self._on_event_command(session.principal, command)))
            case _:
                reply, effects = session.handle(command, now, self._clock.wall_ms())
                self._say(answer, reply)
                if isinstance(reply, Subscribed):
                    self._note_subscribed(connection, reply)
                await self._memberships.carry_out(connection, session, effects)

    def _say(self, answer: Answer, reply: Reply) -> None:
        self._stats.commands["ok"] += 1
        answer(reply)

    def _fail(self, answer: Answer, error: MarketstreamError) -> None:
        self._stats.commands[error.code] += 1
        answer(error)

    def _note_subscribed(self, connection: Connection, reply: Subscribed) -> None:
        self._stats.subscriptions += len(reply.symbols)
        log.info("subscription_processed", connection=connection.id, symbols_count=len(reply.symbols))
