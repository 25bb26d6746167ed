"""Count each user's connections over all processes, and refuse one too many.

A connection is let in by one script that adds up the counts of all processes. Before anybody is turned away
those that hold the other connections are looked at: what the dead had is free at once.

While Redis is away each process goes by what it has itself, and lets clients in. What it has is written again
when Redis is back, and now and then; until then there may be more than the limit, and nobody is sent away.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib.resources import files

import structlog

from marketstream.bus.client import Call, Client, Script, Word
from marketstream.coordination.membership import Membership
from marketstream.engine.delivery.connection_limits import LocalConnectionLimits, limit_reached
from marketstream.ports import ConnectionLimits
from marketstream.wire import keys

log = structlog.get_logger(__name__)

KEPT = 24 * 3600.0
"""Seconds that Redis keeps the counts of a user of whom it hears nothing."""

AGAIN = 1.0
"""Seconds between two attempts while Redis fails."""

BATCH = 200
"""Users whose counts are written, or who are let in, together."""

SCRIPT = Script(files("marketstream.coordination").joinpath("lua/place.lua").read_text())

User = tuple[str, str]
"""Tenant and user."""


@dataclass(frozen=True, slots=True)
class _Ask:
    """Somebody who waits to be let in, and where the answer goes."""

    who: User
    limit: int
    answer: "asyncio.Future[bool]"


class RedisConnectionLimits:
    """See the module and `ports.ConnectionLimits`.

    Args:
        client: Commands go through it.
        membership: Who is alive.
        connected: Whether Redis can be reached, as far as is known.
    """

    def __init__(self, *, client: Client, membership: Membership, connected: Callable[[], bool]) -> None:
        self._client = client
        self._membership = membership
        self._connected = connected
        # Those who ask are in the first, and in the second once they are let in.
        self._local = LocalConnectionLimits()
        self._held: Counter[User] = Counter()
        self._written: set[User] = set()
        self._stale: set[User] = set()
        self._asks: list[_Ask] = []
        self._work = asyncio.Event()
        self._failing = False

    def acquire(self, tenant: str, user: str, limit: int) -> Coroutine[None, None, None] | None:
        """Count one connection: by what this process has, then by what all have."""
        self._local.acquire(tenant, user, limit)
        if self._connected() and not self._failing:
            return self._ask((tenant, user), limit)
        self._let_in((tenant, user))
        return None

    def release(self, tenant: str, user: str) -> None:
        """Give a connection back."""
        who = (tenant, user)
        self._local.release(tenant, user)
        self._held[who] -= 1
        if self._held[who] <= 0:
            del self._held[who]
        self._note(who)

    def rewrite(self) -> None:
        """See to it that all counts are written again."""
        self._stale |= self._held.keys() | self._written
        self._work.set()

    async def run(self) -> None:
        """Ask and write, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            asks, self._asks = self._asks, []
            try:
                await self._settle(asks)
            except Exception as error:  # noqa: BLE001  # whatever it was, clients must be let in
                if not self._failing:
                    self._failing = True
                    log.warning("places_unchecked", error=repr(error))
                self._work.set()
                await asyncio.sleep(AGAIN)
            else:
                self._failing = False

    async def write(self) -> None:
        """Write the counts that changed.

        Raises:
            RedisError: Redis did not answer; they remain to be written.
        """
        stale, self._stale = self._stale, set()
        while stale:
            some = [stale.pop() for _ in range(min(BATCH, len(stale)))]
            try:
                await self._write(some)
            except BaseException:
                self._stale |= stale
                for who in some:
                    self._note(who)
                raise

    async def _settle(self, asks: list[_Ask]) -> None:
        """Answer who asked, in order, after what changed before was written."""
        waiting = [ask for ask in reversed(asks) if not ask.answer.cancelled()]
        try:
            await self.write()
            while waiting:
                some = waiting[: -BATCH - 1 : -1]
                for ask, found in zip(some, await self._try(some), strict=True):
                    self._answer(ask, await self._decide(ask, found))
                    waiting.pop()
                # Also the connection of one who stopped waiting while it was taken.
                await self.write()
        finally:
            # Nobody stays outside because Redis does not answer.
            for ask in reversed(waiting):
                self._answer(ask, granted=True)
                self._note(ask.who)

    async def _write(self, some: list[User]) -> None:
        counts = {who: self._held.get(who, 0) for who in some}
        commands: list[tuple[Word, ...]] = []
        for who, count in counts.items():
            name = keys.user_connections(*who)
            if count:
                self._written.add(who)
                commands.append(("HSET", name, self._membership.node, count))
                commands.append(("PEXPIRE", name, round(KEPT * 1000)))
            else:
                commands.append(("HDEL", name, self._membership.node))
        await self._client.ask(commands)
        self._written.difference_update(who for who, count in counts.items() if not count)

    async def _decide(self, ask: _Ask, found: list[bytes]) -> bool:
        taken, *holders = found
        if not taken and holders and (dead := await self._membership.dead(name.decode() for name in holders)):
            ((taken, *_),) = await self._try([ask], *dead)
        return bool(taken)

    async def _try(self, asks: list[_Ask], *dead: str) -> list[list[bytes]]:
        """Ask for connections together: many clients must not wait for Redis one by one."""
        self._written.update(ask.who for ask in asks)
        calls: list[Call] = []
        for ask in asks:
            held = self._held.get(ask.who, 0)
            words: list[Word] = [self._membership.node, held, ask.limit, round(KEPT * 1000), *dead]
            calls.append(([keys.user_connections(*ask.who)], words))
        return await self._client.evaluate(SCRIPT, calls)

    async def _ask(self, who: User, limit: int) -> None:
        ask = _Ask(who, limit, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        self._work.set()
        try:
            granted = await ask.answer
        except asyncio.CancelledError:
            if ask.answer.cancelled() or not ask.answer.result():
                self._local.release(*who)
            else:
                self.release(*who)
            raise
        if not granted:
            self._local.release(*who)
            raise limit_reached(limit)

    def _answer(self, ask: _Ask, granted: bool) -> None:  # noqa: FBT001  # what a future is given
        if ask.answer.cancelled():
            # Redis may count one who is not there.
            self._note(ask.who)
            return
        if granted:
            self._held[ask.who] += 1
        elif ask.who not in self._held:
            self._written.discard(ask.who)
        ask.answer.set_result(granted)

    def _let_in(self, who: User) -> None:
        self._held[who] += 1
        self._note(who)

    def _note(self, who: User) -> None:
        """Note that a count must be written, unless Redis never heard of it and need not."""
        if who in self._held or who in self._written:
            self._stale.add(who)
            self._work.set()
        else:
            self._stale.discard(who)


_: type[ConnectionLimits] = RedisConnectionLimits
