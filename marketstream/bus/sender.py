"""What goes out to Redis: frames of all shards in one call, and short messages to other processes.

Nothing here waits while it is given something to send. What finds no room is counted and told. In a term of
office frames are sent in its name; once another term has begun, Redis takes none of them any more.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from itertools import chain

import structlog
from redis.exceptions import ReadOnlyError, RedisError

from marketstream.bus.client import Call, Client, Script, Word
from marketstream.bus.last_values import Field
from marketstream.bus.queue import Queue
from marketstream.core.delivery.frame import Frame
from marketstream.errors import BusError, InvalidMessageError
from marketstream.wire import envelope, keys

log = structlog.get_logger(__name__)

_LUA = files("marketstream.bus").joinpath("lua")
PUBLISH = Script(_LUA.joinpath("publish.lua").read_text())
RESTORE = Script(_LUA.joinpath("restore.lua").read_text())

MAX_NOTES = 1_000
"""Short messages that wait."""

MAX_NOTE_BYTES = 16 * 1024 * 1024
"""Bytes that they may have."""

STEP = 1_000
"""Frames that are published in one step, about: Redis does nothing else meanwhile."""

PAUSE = 0.5
"""Seconds between two attempts at a Redis that takes no writes."""

DEMOTED = 5.0
"""Seconds after which a Redis that is read-only is looked for anew."""

MAX_SAID = 100_000
"""Values that are remembered in case that Redis forgets them."""

PAGE = 1_000
"""Values given back in one call."""

Entry = tuple[Frame, str, bytes]
"""A frame, the field it is stored under (empty: not at all), and itself as it travels."""


class Sender:
    """See the module; `len` is the number of frames that wait.

    Args:
        client: Commands go through it.
        shards: Number of shards.

    Attributes:
        late: Frames that Redis left out because it knew a newer one of their key.
        refused: Whether Redis is there and takes no frames: it is full, read-only, or lets writes wait.
        newest: The greatest cursor seen; what is sent from now on gets a greater one, whatever Redis forgets.
    """

    def __init__(self, client: Client, shards: int) -> None:
        self.late = 0
        self.newest = 0
        self.refused = False
        self._refused_at = 0.0
        self._client = client
        self._shards = shards
        self._queue = Queue(shards)
        self._notes: deque[tuple[str, bytes]] = deque()
        self._note_bytes = 0
        self._said: dict[Field, bytes] = {}
        # Of these it is not known whether they arrived before Redis was lost.
        self._unsure: list[Frame] = []
        self._term = ""
        self._fenced = False
        self._work = asyncio.Event()
        self._asked: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def lost(self) -> int:
        """Frames that found no room."""
        return self._queue.lost

    @property
    def fenced(self) -> bool:
        """Whether Redis takes nothing more in the present term; what is published waits."""
        return self._fenced

    def publish(self, frames: Sequence[Frame]) -> None:
        """Puts frames into the queue."""
        lost = self._queue.lost
        self._queue.put(frames)
        self._work.set()
        if self._queue.lost and not lost:
            log.warning("bus_queue_overflowed", waiting=len(self._queue))

    def send(self, channel: str, note: bytes) -> None:
        """Puts a message behind the others; the oldest goes when there is no room."""
        self._notes.append((channel, note))
        self._note_bytes += len(note)
        while len(self._notes) > MAX_NOTES or (self._note_bytes > MAX_NOTE_BYTES and len(self._notes) > 1):
            log.warning("bus_message_lost", waiting=len(self._notes))
            self._take_note()
        self._work.set()

    async def flushed(self) -> None:
        """Returns when all frames that were put in before have been sent, however long that takes.

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
        """Notes a cursor."""
        self.newest = max(self.newest, cursor)

    # Terms of office

    def start_term(self, term: str) -> None:
        """Publishes in the name of a term from now on; what waits too."""
        self._term, self._fenced = term, False
        self._work.set()

    def end_term(self) -> None:
        """Publishes in nobody's name; what waits was said in another's and is let go."""
        self._term, self._fenced = "", False
        self._queue.clear()
        self._unsure.clear()
        for asked in self._asked:
            if not asked.done():
                asked.set_exception(BusError("another term has begun"))

    # Sending

    async def run(self) -> None:
        """Sends what waits, until cancelled or until Redis fails; may be run again."""
        self._work.set()
        await self._make_sure()
        while True:
            await self._work.wait()
            self._work.clear()
            try:
                await self._send_all()
            except RedisError as error:
                if not await self._client.refuses(error):
                    raise
                await self._wait(error)

    async def _send_all(self) -> None:
        if self.refused and not self._queue:
            # Nothing waits that would show it: it was a note, or was let go with the lease.
            await self._client.ask([("SET", keys.TRIAL, b"", "PX", 1_000)])
            self._accepted()
        while self._notes:
            # Taken out first: an event twice would be worse than one that is lost with its connection.
            await self._client.publish(*self._take_note())
        while not self._fenced and (batches := self._queue.take()):
            # Who asked before all of it was taken waits for this batch and for none that comes later.
            asked = [] if self._queue else list(self._asked)
            await self._send(batches)
            self._answer(asked)
            self._accepted()
        self._answer(self._asked)

    def _accepted(self) -> None:
        if self.refused:
            self.refused = False
            log.info("bus_writes_resumed", waiting=len(self._queue))

    async def _wait(self, error: RedisError) -> None:
        """Waits a moment for a Redis that is there and takes no writes: reading goes on meanwhile."""
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
        await self._make_sure()
        self._work.set()

    async def _make_sure(self) -> None:
        """Lets go of frames that arrived without a word about it: they would be there twice."""
        by_shard: dict[int, list[Entry]] = {}
        for entry in self._entries(self._unsure):
            shard = keys.shard_of(keys.subject(entry[0].key or ""), self._shards)
            by_shard.setdefault(shard, []).append(entry)
        questions = [
            ("HMGET", keys.last_values(shard), *(field for _, field, _ in entries))
            for shard, entries in by_shard.items()
        ]
        answers = await self._client.ask(questions) if questions else []
        for entries, values in zip(by_shard.values(), answers, strict=True):
            # A stored value has its cursor in front.
            same = [
                frame
                for (frame, _, sent), value in zip(entries, values, strict=True)
                if value is not None and value[8:] == sent
            ]
            self._queue.drop(same)
        self._unsure.clear()

    def _take_note(self) -> tuple[str, bytes]:
        channel, note = self._notes.popleft()
        self._note_bytes -= len(note)
        return channel, note

    def _answer(self, asked: Iterable[asyncio.Future[None]]) -> None:
        for each in asked:
            if not each.done() and not self._fenced:
                each.set_result(None)

    async def _send(self, batches: list[tuple[int, list[Frame]]]) -> None:
        entries = [(shard, self._entries(frames)) for shard, frames in batches]
        term = self._term
        try:
            calls = [self._call(together, term) for together in self._together(entries)]
            replies = chain.from_iterable(await self._client.evaluate(PUBLISH, calls))
        except BaseException:
            # Whether it arrived is not known: the newest value twice is better than not at all.
            if term == self._term:
                self._queue.put_back(batches)
                self._unsure += (frame for _, frames in batches for frame in frames if frame.key is not None)
            raise
        for batch, (_, listed), reply in zip(batches, entries, replies, strict=True):
            if reply:
                self._sent(listed, int(reply[0]), {int(number) for number in reply[1:]})
            elif term == self._term:
                self._queue.put_back([batch])
                self._fenced = True

    def _together(self, entries: list[tuple[int, list[Entry]]]) -> Iterator[list[tuple[int, list[Entry]]]]:
        """What is published in one step, so that it arrives in one piece and is written to clients as one."""
        limit = 0 if self._client.sharded else STEP
        together: list[tuple[int, list[Entry]]] = []
        size = 0
        for shard, listed in entries:
            if together and size + len(listed) > limit:
                yield together
                together, size = [], 0
            together.append((shard, listed))
            size += len(listed)
        yield together

    def _call(self, together: list[tuple[int, list[Entry]]], term: str) -> Call:
        names = [name for shard, _ in together for name in self._names(shard)]
        words: list[Word] = [self.newest, term]
        for _, listed in together:
            words.append(len(listed))
            for _, field, entry in listed:
                words += field, entry
        return names, words

    def _sent(self, entries: list[Entry], last: int, left_out: set[int]) -> None:
        self.seen(last)
        if left_out and not self.late:
            log.warning("older_prices_left_out", count=len(left_out), example=entries[min(left_out) - 1][1])
        self.late += len(left_out)
        cursor = last - (len(entries) - len(left_out))
        for number, (frame, _, entry) in enumerate(entries, 1):
            if number not in left_out:
                cursor += 1
                if frame.key is not None:
                    self._said[frame.tenant, frame.key] = cursor.to_bytes(8, "big") + entry
        while len(self._said) > MAX_SAID:
            del self._said[next(iter(self._said))]

    async def restore(self, known: Iterable[Frame]) -> int:
        """Gives Redis back what it forgot of what was said here, and of what is known otherwise.

        Args:
            known: Frames with their cursors, such as those of what is watched.

        Returns:
            How many values it did not have.
        """
        values = {(frame.tenant, frame.key): envelope.render_value(frame) for frame in known if frame.key}
        for field, said in self._said.items():
            # Both begin with their cursor: somebody else may have said something newer that is watched here.
            values[field] = max(said, values.get(field, b""), key=lambda value: value[:8])
        by_shard: dict[int, list[Word]] = {}
        for (tenant, key), value in values.items():
            if key is not None:
                shard = keys.shard_of(keys.subject(key), self._shards)
                by_shard.setdefault(shard, []).extend((keys.field(tenant, key), value))
        calls: list[Call] = [
            (self._names(shard)[:4], [self.newest, *words[at : at + 2 * PAGE]])
            for shard, words in by_shard.items()
            for at in range(0, len(words), 2 * PAGE)
        ]
        return sum(await self._client.evaluate(RESTORE, calls)) if calls else 0

    def _names(self, shard: int) -> tuple[str, ...]:
        # A cluster has no key that is near to all shards: there the cursors of a shard stand for themselves.
        newest = keys.shard_cursor(shard) if self._client.sharded else keys.CURSOR
        channel, fence = keys.frames_channel(shard), keys.fence(shard)
        return keys.last_values(shard), keys.shard_cursor(shard), newest, channel, fence

    @staticmethod
    def _entries(frames: list[Frame]) -> list[Entry]:
        entries: list[Entry] = []
        for frame in frames:
            try:
                entry = envelope.render(frame)
            except InvalidMessageError as error:
                log.warning("bus_message_refused", error=str(error))
                continue
            entries.append((frame, "" if frame.key is None else keys.field(frame.tenant, frame.key), entry))
        return entries
