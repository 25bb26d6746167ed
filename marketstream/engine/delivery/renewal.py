"""A connection goes on under a newer token: all that it holds is judged again.

What the newer token or its plan does not allow ends, and the client is told what and why: in the answer, and
by an `error`, which also those hear who do not see the answer. A plan with another delay moves the client to
other rooms; one with a longer delay shows it nothing that is older than what it has.
"""

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING

from marketstream.core.delivery import rooms
from marketstream.core.delivery.commands import Authenticated, Effect, Join, Reply, SendSnapshot
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.session import Session
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.delay import STEP
from marketstream.errors import MarketstreamError, NotEntitledError
from marketstream.ports import Bus, ConnectionLimits
from marketstream.wire import messages

if TYPE_CHECKING:
    from marketstream.engine.delivery.node import Node

Answer = Callable[[Reply | MarketstreamError], None]
Apply = Callable[[Connection, Session, Sequence[Effect], float], None]
CarryOut = Callable[[Connection, Session, Sequence[Effect]], Awaitable[None] | None]

NAMED = 20
"""What ended that one `error` names; the answer names all of it."""


class Renewal:
    """See the module.

    Args:
        node: Whose connections.
        bus: Where last values are.
        places: Connections of users.
        apply: Applies effects to the rooms of a delay.
        carry_out: Applies effects once the last values that they need are at hand.
    """

    def __init__(
        self, *, node: "Node", bus: Bus, limits: ConnectionLimits, apply: Apply, carry_out: CarryOut
    ) -> None:
        self._node = node
        self._bus = bus
        self._limits = limits
        self._apply = apply
        self._carry_out = carry_out

    def begin(
        self, connection: Connection, session: Session, token: str, answer: Answer
    ) -> Awaitable[None] | None:
        """Answers `authenticate`; what is returned must be awaited first.

        Args:
            connection: Whose.
            session: Of it.
            token: The newer one.
            answer: Takes the answer; never an error, which is raised.

        Raises:
            AuthFailedError: The token is no good, or somebody else's; nothing was changed.
            ConnectionLimitError: The newer plan allows fewer connections; this one must be closed.
            RateLimitedError: The move to another delay comes too early; nothing was changed.
        """
        found = self._node.verify(token)
        if isawaitable(found):
            return self._verify_later(connection, session, found, answer)
        waiting = self._prepare(connection, session, found)
        if waiting is not None:
            return self._acquire_later(connection, session, found, waiting, answer)
        return self._go_on(connection, session, found, answer)

    async def _verify_later(
        self, connection: Connection, session: Session, found: Awaitable[Principal], answer: Answer
    ) -> None:
        principal = await found
        waiting = None if connection.closed else self._prepare(connection, session, principal)
        if waiting is not None:
            await self._acquire_later(connection, session, principal, waiting, answer)
        elif (rest := self._go_on(connection, session, principal, answer)) is not None:
            await rest

    async def _acquire_later(
        self,
        connection: Connection,
        session: Session,
        principal: Principal,
        waiting: Awaitable[None],
        answer: Answer,
    ) -> None:
        await waiting
        if connection.closed:
            self._limits.release(principal.tenant, principal.user)
        elif (rest := self._go_on(connection, session, principal, answer)) is not None:
            await rest

    def _prepare(
        self, connection: Connection, session: Session, principal: Principal
    ) -> Awaitable[None] | None:
        """Does what may fail: takes a place under the newer plan, where the one that is held does not do."""
        session.require_same(principal)
        before, after = session.principal.plan, principal.plan
        if before.delay != after.delay and session.subscriptions:
            # It costs as much as subscribing to all of it again.
            session.spend(self._node.clock.now())
        if connection.placed and after.max_connections >= before.max_connections:
            return None
        if connection.placed:
            self._limits.release(principal.tenant, principal.user)
            connection.placed = False
        if not after.max_connections:
            return None
        return self._limits.acquire(principal.tenant, principal.user, after.max_connections)

    def _go_on(
        self, connection: Connection, session: Session, principal: Principal, answer: Answer
    ) -> Awaitable[None] | None:
        if connection.closed:
            return None
        connection.placed = principal.plan.max_connections > 0
        before = session.principal
        effects, ended = session.renew(principal, self._node.clock.now())
        self._apply(connection, session, effects, before.plan.delay)
        connection.expires_at = self._node.monotonic(principal.expires_at_ms)
        connection.warned = False
        ended = (*ended, *self._node.on_renewed(connection, before))
        answer(Authenticated(principal.expires_at_ms, ended))
        if ended:
            self._node.send(connection, messages.error(NotEntitledError.code, _told(ended)))
        if principal.plan.delay == before.plan.delay:
            return None
        return self._move(connection, session, before.plan.delay)

    def _move(self, connection: Connection, session: Session, before: float) -> Awaitable[None] | None:
        """To the rooms of another delay, with the values that are shown there."""
        outbox, held = connection.outbox, list(session.subscriptions.values())
        since = 0
        if session.principal.plan.delay > before:
            # It has seen all up to here; a little more, since the bus' clock is never ahead.
            since = round((self._bus.clock.wall_ms() / 1000 - before + STEP) * 1_000_000)
        for each in held:
            # Watched without a break: what is known of it stays known.
            self._bus.watch(each.symbol)
            self._node.stats.discarded += outbox.supersede(each.symbol)
            self._node.hub.leave(rooms.symbol_room(each.symbol, before), outbox)
        joins = [Join(each, since) for each in held]
        snapshot = SendSnapshot(tuple(session.subscriptions), moved=True)
        waiting = self._carry_out(connection, session, [*joins, snapshot] if joins else [])
        for each in held:
            self._bus.unwatch(each.symbol)
        return waiting


def _told(ended: Sequence[str]) -> str:
    more = len(ended) - NAMED
    return "; ".join(ended[:NAMED]) + (f"; and {more} more" if more > 0 else "")
