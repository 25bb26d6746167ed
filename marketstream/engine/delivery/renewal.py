"""Judge everything that a connection holds again when its token is renewed.

What the newer token or its plan does not allow ends, and the client is told what and why: in the answer, and
by an `error`, which also those hear who do not see the answer. A plan with another delay moves the client to
other rooms; one with a longer delay shows it nothing that is older than what it has.
"""

from collections.abc import Callable, Sequence

from marketstream.core.delivery import rooms
from marketstream.core.delivery.commands import Authenticated, Join, SendSnapshot
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.session import Session
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.delay import STEP
from marketstream.engine.delivery.memberships import Memberships
from marketstream.engine.delivery.node import Node
from marketstream.engine.eager import settled
from marketstream.errors import NotEntitledError
from marketstream.ports import Bus
from marketstream.wire import messages

NAMED = 20
"""What ended that one `error` names; the answer names all of it."""


class Renewal:
    """See the module.

    Args:
        node: Whose connections.
        bus: Tells the time of cursors.
        memberships: Joins and leaves rooms.
    """

    def __init__(self, *, node: Node, bus: Bus, memberships: Memberships) -> None:
        self._node = node
        self._bus = bus
        self._memberships = memberships

    async def renew(
        self,
        connection: Connection,
        session: Session,
        token: str,
        answer: Callable[[Authenticated], None],
    ) -> None:
        """Answer `authenticate`.

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
        principal = await settled(self._node.verify(token))
        if connection.closed:
            return
        before = session.principal
        await self._take_place(connection, session, principal)
        if connection.closed:
            return
        connection.placed = principal.plan.max_connections > 0
        effects, ended = session.renew(principal, self._node.clock.now())
        self._memberships.apply(connection, session, effects, before.plan.delay)
        connection.expires_at = self._node.monotonic(principal.expires_at_ms)
        connection.warned = False
        ended = (*ended, *self._node.listener.renewed(connection, before))
        answer(Authenticated(principal.expires_at_ms, ended))
        if ended:
            self._node.send(connection, messages.error(NotEntitledError.code, _told(ended)))
        if principal.plan.delay != before.plan.delay:
            await self._move(connection, session, before.plan.delay)

    async def _take_place(self, connection: Connection, session: Session, principal: Principal) -> None:
        """Do what may fail: take a place under the newer plan, where the one that is held does not do."""
        session.require_same(principal)
        before, after = session.principal.plan, principal.plan
        if before.delay != after.delay and session.subscriptions:
            # It costs as much as subscribing to all of it again.
            session.spend(self._node.clock.now())
        if connection.placed and after.max_connections >= before.max_connections:
            return
        limits = self._node.limits
        if connection.placed:
            limits.release(principal.tenant, principal.user)
            connection.placed = False
        if after.max_connections:
            await settled(limits.acquire(principal.tenant, principal.user, after.max_connections))
            if connection.closed:
                limits.release(principal.tenant, principal.user)

    async def _move(self, connection: Connection, session: Session, before: float) -> None:
        """To the rooms of another delay, with the values that are shown there."""
        hub, outbox, after = self._node.hub, connection.outbox, session.principal.plan.delay
        held, since = list(session.subscriptions.values()), 0
        if after > before:
            # It has seen all up to here; a little more, since the bus' clock is never ahead.
            since = round((self._bus.clock.wall_ms() / 1000 - before + STEP) * 1_000_000)
        # Held before the others are left: the symbols are watched without a break, and stay known.
        entered = [rooms.symbol_room(each.symbol, after) for each in held]
        hub.hold(entered)
        for each in held:
            self._node.stats.discarded += outbox.supersede(each.symbol)
            hub.leave(rooms.symbol_room(each.symbol, before), outbox)
        try:
            joins = [Join(each, since) for each in held]
            snapshot = SendSnapshot(tuple(session.subscriptions), moved=True)
            await self._memberships.carry_out(connection, session, [*joins, snapshot] if joins else [])
        finally:
            hub.release(entered)


def _told(ended: Sequence[str]) -> str:
    more = len(ended) - NAMED
    return "; ".join(ended[:NAMED]) + (f"; and {more} more" if more > 0 else "")
