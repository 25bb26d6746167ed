"""Tell other processes which symbols are watched here, and forget those of dead processes.

A gateway keeps its watched symbols in Redis and tells every change, numbered, a few hundredths of a second
together. Who runs feeds listens: it applies the changes, and reads a gateway's symbols anew where a number is
missing, where Redis or the channel was lost, or where a sign of life names a newer number than was heard. So
nothing depends on every message arriving.

While Redis is away others keep what they were last known to watch, and nothing is collected: everything is
written again afterwards.
"""

import asyncio
import random
from collections.abc import Sequence
from importlib.resources import files

import structlog
from redis.exceptions import RedisError

from marketstream.bus.client import Script
from marketstream.bus.client import Word as Argument
from marketstream.bus.redis import STEPS, RedisBus
from marketstream.coordination.connection_limits import RedisConnectionLimits
from marketstream.coordination.gossip_state import Announcements, Others
from marketstream.coordination.membership import BEAT, DEAD_AFTER, Membership
from marketstream.core.backoff import Backoff
from marketstream.engine.market.interest import Interest
from marketstream.errors import BusError, InvalidMessageError
from marketstream.ports import Clock
from marketstream.wire import interest as wire
from marketstream.wire import keys
from marketstream.wire.interest import Word

log = structlog.get_logger(__name__)

TOGETHER = 0.03
"""Seconds by which a change is told later, so that many are told at once."""

REWRITTEN_AFTER = 600.0
"""Seconds after which everything is written again, whatever happened to it."""

KEPT = 3600.0
"""Seconds that Redis keeps the symbols of a process of which it hears nothing."""

GOODBYE = 1.0
"""Seconds that saying goodbye may take."""

SCRIPT = Script(files("marketstream.coordination").joinpath("lua/announce.lua").read_text())


class InterestGossip:
    """See the module.

    Args:
        bus: Where processes meet.
        clock: Time.

    Attributes:
        connection_limits: Connections of users over all processes.
    """

    def __init__(self, *, bus: RedisBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._membership = Membership(client=bus.client, node=bus.node)
        self.connection_limits = RedisConnectionLimits(
            client=bus.client, membership=self._membership, connected=lambda: bus.connected
        )
        self._interest = Interest(clock=clock)
        self._announcements = Announcements(bus.node)
        self._work = asyncio.Event()
        self._rewrite_at = 0.0
        self._listens = False
        self._others = Others(bus.node)
        self._unread: set[str] = set()
        self._reading = asyncio.Event()
        self._beat_now = asyncio.Event()
        self._beaten_at = 0.0
        self._failures = 0
        bus.on_reconnected(self.rewrite)

    def attach(self, interest: Interest) -> None:
        """Name what is watched here, and where to tell what is watched elsewhere; called before `run`."""
        self._interest = interest
        interest.on_local = self._touch

    @property
    def listens(self) -> bool:
        """Whether it is known here what is watched at other processes: only who runs feeds needs that."""
        return self._listens

    def listen(self, on: bool) -> None:  # noqa: FBT001  # a switch
        """Begin to follow what is watched elsewhere, or let go of it; may be switched at any time."""
        if on == self._listens:
            return
        self._listens = on
        if on:
            self._bus.subscribe(keys.INTEREST, self._receive)
        else:
            self._bus.unsubscribe(keys.INTEREST)
        self._forget(self._others.known)
        self._unread.clear()
        self._beat_now.set()

    async def dead(self, nodes: Sequence[str]) -> Sequence[str]:
        """Return those of some processes that are dead.

        Raises:
            BusError: Nobody can say.
        """
        try:
            return await self._membership.dead(nodes) if nodes else ()
        except (RedisError, OSError) as error:
            raise BusError("who is alive cannot be read now") from error

    async def follow(self) -> None:
        """Listen until cancelled: for who runs feeds at the moment."""
        self.listen(True)
        try:
            await asyncio.Event().wait()
        finally:
            self.listen(False)

    def rewrite(self) -> None:
        """Sees to it that Redis is told everything of this process again."""
        self._announcements.rewrite()
        self._work.set()
        self.connection_limits.rewrite()
        self._rewrite_at = self._clock.now() + REWRITTEN_AFTER

    async def run(self) -> None:
        """Tell and listen until cancelled, and then say goodbye."""
        backoff = Backoff(STEPS)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.connection_limits.run())
                while True:
                    began = self._clock.now()
                    # A task of its own: a group that is falling apart forgets that it was cancelled.
                    await asyncio.wait([tasks.create_task(self._try_session())])
                    lasted = self._clock.now() - began
                    await asyncio.sleep(backoff.next(lasted, random.random()))  # noqa: S311  # jitter
        finally:
            await self._leave()

    async def _try_session(self) -> None:
        """Exchange messages as long as Redis answers."""
        try:
            self.rewrite()
            self._beaten_at = self._clock.now()
            self._others.be_patient(self._beaten_at + DEAD_AFTER)
            await self._tell()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._beat_on())
                tasks.create_task(self._tell_on())
                tasks.create_task(self._read_on())
        except* Exception as group:  # noqa: BLE001  # whatever it was, the process and its clients go on
            self._failures += 1
            # The bus says that Redis is away; this is for a Redis that is there and will not do it.
            if self._failures == len(STEPS) and self._bus.connected:
                log.warning("presence_failed", error=repr(group.exceptions[0]))

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(GOODBYE):
                await self.connection_limits.write()
                await self._bus.client.ask([("DEL", keys.node_symbols(self._membership.node))])
                await self._membership.leave()
                word = Word(self._membership.node, self._announcements.number + 1, "gone")
                await self._bus.client.publish(keys.INTEREST, wire.render(word))
        except (RedisError, OSError) as error:
            # They find out by themselves.
            log.debug("goodbye_unheard", error=repr(error))

    # Out

    def _touch(self, symbol: str) -> None:
        """Something changed about a symbol here."""
        self._announcements.touch(symbol, self._interest.local)
        self._work.set()

    async def _tell_on(self) -> None:
        while True:
            await self._work.wait()
            await asyncio.sleep(TOGETHER)
            await self._tell()

    async def _tell(self) -> None:
        self._work.clear()
        word = self._announcements.next(self._interest.local)
        if word is None:
            return
        told = False
        try:
            told = await self._announce(word)
        finally:
            if not told:
                self._announcements.failed()
                self._work.set()

    async def _announce(self, word: Word) -> bool:
        whole = word.kind == "whole"
        # What is written anew is read by the others: it does not travel in the word.
        message = wire.render(Word(word.node, word.number, "whole") if whole else word)
        head: list[Argument] = [keys.INTEREST, message, word.number, int(whole)]
        head += round(KEPT * 1000), len(word.added)
        call = ([keys.node_symbols(word.node)], [*head, *word.added, *word.dropped])
        (told,) = await self._bus.client.evaluate(SCRIPT, [call])
        return bool(told)

    # Signs of life

    async def _beat_on(self) -> None:
        while True:
            self._beat_now.clear()
            known, alive = await self._membership.beat(self._announcements.number)
            self._failures = 0
            now = self._clock.now()
            if not known:
                # Redis has forgotten everybody: the others are about to come back too.
                self._others.be_patient(now + DEAD_AFTER)
            if not known or now - self._beaten_at > DEAD_AFTER or now >= self._rewrite_at:
                # In the second case the others may have taken this process for dead.
                self.rewrite()
            self._beaten_at = now
            if self._listens:
                # Who is new, or of whom something was not heard, and who is gone.
                missed, gone = self._others.compare(alive, now)
                self._missed(missed)
                self._forget(gone)
            try:
                async with asyncio.timeout(BEAT):
                    await self._beat_now.wait()
            except TimeoutError:
                continue

    # In

    def _receive(self, data: bytes) -> None:
        try:
            word = wire.parse(data)
        except InvalidMessageError as error:
            log.warning("bus_message_refused", error=str(error))
            return
        match self._others.heard(word):
            case "gone":
                self._unread.discard(word.node)
                self._forget([word.node])
            case "news":
                self._interest.change(word.node, word.added, word.dropped)
            case "missed":
                self._missed([word.node])

    def _missed(self, nodes: Sequence[str]) -> None:
        if nodes:
            self._unread.update(nodes)
            self._reading.set()

    def _forget(self, nodes: Sequence[str]) -> None:
        for node in self._others.forget(nodes):
            self._interest.forget(node)

    async def _read_on(self) -> None:
        while True:
            await self._reading.wait()
            self._reading.clear()
            while self._unread:
                await self._read(self._unread.pop())

    async def _read(self, node: str) -> None:
        """Read all that a node holds."""
        (stored,) = await self._bus.client.ask([("HGETALL", keys.node_symbols(node))])
        try:
            number, symbols = wire.parse_symbols(stored)
        except InvalidMessageError as error:
            log.warning("bus_message_refused", error=str(error))
            return
        # Changes may have been applied meanwhile that are newer than what was read.
        if self._listens and self._others.read(node, number):
            self._interest.replace(node, symbols)
