"""Send frames of all shards to Redis in one call, and short messages to other processes.

Nothing here waits while it is given something to send. What finds no room is counted and told. What is sent
next, and what becomes of what may have been lost, is decided by `bus.outgoing`.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from importlib.resources import files

import structlog
from redis.exceptions import ReadOnlyError, RedisError

from marketstream.bus.client import Client, Script
from marketstream.bus.outgoing import Batch, Outgoing
from marketstream.core.delivery.frame import Frame
from marketstream.errors import BusError
from marketstream.wire import keys

log = structlog.get_logger(__name__)

_LUA = files("marketstream.bus").joinpath("lua")
PUBLISH = Script(_LUA.joinpath("publish.lua").read_text())
RESTORE = Script(_LUA.joinpath("restore.lua").read_text())

MAX_NOTES = 1_000
"""Short messages that wait."""

MAX_NOTE_BYTES = 16 * 1024 * 1024
"""Bytes that they may have."""

PAUSE = 0.5
"""Seconds between two attempts at a Redis that takes no writes."""

DEMOTED = 5.0
"""Seconds after which a Redis that is read-only is looked for anew."""


class Sender:
    """See the module; `len` is the number of frames that wait.

    Args:
        client: Commands go through it.
        shards: Number of shards.

    Attributes:
        refused: Whether Redis is there and takes no frames: it is full, read-only, or lets writes wait.
    """

    def __init__(self, client: Client, shards: int) -> None:
        self.refused = False
        self._refused_at = 0.0
        self._client = client
        self._outgoing = Outgoing(shards, sharded=client.sharded)
        self._notes: deque[tuple[str, bytes]] = deque()
        self._note_bytes = 0
        self._work = asyncio.Event()
        self._asked: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._outgoing)

    @property
    def lost(self) -> int:
        """Frames that found no room."""
        return self._outgoing.lost

    @property
    def late(self) -> int:
        """Frames that Redis left out because it knew a newer one of their key."""
        return self._outgoing.late

    @property
    def newest(self) -> int:
        """The greatest cursor seen."""
        return self._outgoing.newest

    @property
    def fenced(self) -> bool:
        """Whether Redis takes nothing more in the present term; what is published waits."""
        return self._outgoing.fenced

    def publish(self, frames: Sequence[Frame]) -> None:
        """Put frames into the queue."""
        lost = self.lost
        self._outgoing.put(frames)
        self._work.set()
        if self.lost and not lost:
            log.warning("bus_queue_overflowed", waiting=len(self))

    def send(self, channel: str, note: bytes) -> None:
        """Put a message behind the others; the oldest goes when there is no room."""
        self._notes.append((channel, note))
        self._note_bytes += len(note)
        # A note that is as large as the bound alone is kept: it could never be sent otherwise.
        while len(self._notes) > MAX_NOTES or (self._note_bytes > MAX_NOTE_BYTES and len(self._notes) > 1):
            log.warning("bus_message_lost", waiting=len(self._notes))
            self._take_note()
        self._work.set()

    async def flushed(self) -> None:
        """Return when all frames that were put in before have been sent, however long that takes.

        Raises:
            BusError: They never will be, because another term has begun.
        """
        asked = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self._work.set()
        try:
            await asked
        finally:
            self._asked.remove(asked)

    def seen(self, cursor: int) -> None:
        """Note a cursor."""
        self._outgoing.seen(cursor)

    # Terms of office

    def start_term(self, term: str) -> None:
        """Publish in the name of a term from now on, and also what waits."""
        self._outgoing.start_term(term)
        self._work.set()

    def end_term(self) -> None:
        """End the term: drop what waits, which was published in its name."""
        self._outgoing.end_term()
        for asked in self._asked:
            if not asked.done():
                asked.set_exception(BusError("another term has begun"))

    # Sending

    async def run(self) -> None:
        """Send what waits, until cancelled or until Redis fails; may be run again."""
        self._work.set()
        # What was sent before the connection broke may have arrived: that is found out first.
        await self._settle_doubts()
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._send_all()
            except RedisError as error:
                # A Redis that is full or read-only is waited for; any other failure ends the connection.
                if not await self._client.refuses(error):
                    raise
                await self._wait(error)

    async def _send_all(self) -> None:
        if self.refused and not self:
            # Nothing waits that would show it: it was a note, or was let go with the lease.
            await self._client.ask([("SET", keys.TRIAL, b"", "PX", 1_000)])
            self._accepted()
        while self._notes:
            # Taken out first: an event twice would be worse than one that is lost with its connection.
            await self._client.publish(*self._take_note())
        while batch := self._outgoing.take():
            # Who asked before all of it was taken waits for this batch and for none that comes later.
            asked = list(self._asked) if batch.is_last else []
            await self._send(batch)
            self._answer(asked)
            self._accepted()
        self._answer(self._asked)

    async def _send(self, batch: Batch) -> None:
        for reason in batch.refused:
            log.warning("bus_message_refused", error=reason)
        try:
            replies = await self._client.evaluate(PUBLISH, batch.calls)
        except BaseException:
            # Also when cancelled: whether it arrived is not known, so it must be asked for.
            self._outgoing.failed(batch)
            raise
        late = self.late
        left_out = self._outgoing.sent(batch, replies)
        if left_out and not late:
            log.warning("older_prices_left_out", count=len(left_out), example=left_out[0])

    def _accepted(self) -> None:
        if self.refused:
            self.refused = False
            log.info("bus_writes_resumed", waiting=len(self))

    async def _wait(self, error: RedisError) -> None:
        """Wait a moment for a Redis that is there and takes no writes: reading goes on meanwhile."""
        now = asyncio.get_running_loop().time()
        if not self.refused:
            self.refused = True
            self._refused_at = now
            log.warning("bus_writes_refused", reason=str(error) or "Redis lets writes wait")
        if isinstance(error, ReadOnlyError) and now > self._refused_at + DEMOTED:
            # What was the master may be one no longer: the next stay looks for the one that is.
            self._refused_at = now
            raise error
        await asyncio.sleep(PAUSE)
        await self._settle_doubts()
        self._work.set()

    async def _settle_doubts(self) -> None:
        """Find out which frames arrived without an answer saying so."""
        doubts = self._outgoing.doubts()
        questions = [("HMGET", key, *(field for _, field, _ in entries)) for key, entries in doubts]
        self._outgoing.settle(doubts, await self._client.ask(questions) if questions else [])

    def _take_note(self) -> tuple[str, bytes]:
        channel, note = self._notes.popleft()
        self._note_bytes -= len(note)
        return channel, note

    def _answer(self, asked: Iterable[asyncio.Future[None]]) -> None:
        for each in asked:
            if not each.done() and not self.fenced:
                each.set_result(None)

    async def restore(self, known: Iterable[Frame]) -> int:
        """Give Redis back what it forgot of what was said here, and of what is known otherwise.

        Args:
            known: Frames with their cursors, such as those of what is watched.

        Returns:
            How many values it did not have.
        """
        calls = self._outgoing.memories(known)
        return sum(await self._client.evaluate(RESTORE, calls)) if calls else 0
