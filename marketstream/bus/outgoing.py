"""Decide what is sent to Redis next, and what again after a failure; no I/O.

It keeps no time: `bus.sender` sends what this says, and tells it what came back.
In a term frames are sent in its name; once another term has begun, Redis takes none of them any more.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from marketstream.bus.last_values import Field
from marketstream.bus.queue import Queue
from marketstream.core.delivery.frame import Frame
from marketstream.errors import InvalidMessageError
from marketstream.wire import envelope, keys

STEP = 1_000
"""Frames that are published in one step, about: Redis does nothing else meanwhile."""

MAX_SAID = 100_000
"""Values that are remembered in case that Redis forgets them."""

PAGE = 1_000
"""Values given back in one call."""

Word = str | bytes | int

Call = tuple[Sequence[str], Sequence[Word]]
"""KEYS and ARGV of a script."""

Entry = tuple[Frame, str, bytes]
"""A frame, the field it is stored under (empty: not at all), and itself as it travels."""

Listed = tuple[int, list[Entry]]
"""A shard and what goes to it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent at once.

    Attributes:
        term: In whose name; empty for nobody's.
        frames: Of each shard, as they were taken out of the queue.
        entries: The same as they travel, without those that cannot.
        refused: Why some cannot.
        calls: Of `publish.lua`.
        is_last: Whether nothing waited behind it.
    """

    term: str
    frames: list[tuple[int, list[Frame]]]
    entries: list[Listed]
    refused: list[str]
    calls: list[Call]
    is_last: bool


class Outgoing:
    """See the module; `len` is the number of frames that wait.

    Args:
        shards: Number of shards.
        sharded: Whether no key is near to all shards, as in a cluster.

    Attributes:
        late: Frames that Redis left out because it knew a newer one of their key.
        newest: The greatest cursor seen; what is sent from now on gets a greater one, whatever Redis forgets.
        fenced: Whether Redis takes nothing more in the present term; what is published waits.
    """

    def __init__(self, shards: int, *, sharded: bool) -> None:
        self.late = 0
        self.newest = 0
        self.fenced = False
        self._term = ""
        self._shards = shards
        self._sharded = sharded
        self._queue = Queue(shards)
        self._said: dict[Field, bytes] = {}
        # Of these it is not known whether they arrived before Redis was lost.
        self._unsure: list[Frame] = []

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def lost(self) -> int:
        """Frames that found no room."""
        return self._queue.lost

    def put(self, frames: Sequence[Frame]) -> None:
        """Put frames behind the others."""
        self._queue.put(frames)

    def seen(self, cursor: int) -> None:
        """Note a cursor."""
        self.newest = max(self.newest, cursor)

    def start_term(self, term: str) -> None:
        """Send in the name of a term from now on; what waits too."""
        self._term, self.fenced = term, False

    def end_term(self) -> None:
        """Send in nobody's name; what waits was said in another's and is let go."""
        self._term, self.fenced = "", False
        self._queue.clear()
        self._unsure.clear()

    # One batch

    def take(self) -> Batch | None:
        """Take out what is sent next; None when nothing waits, or nothing may be sent."""
        if self.fenced or not (frames := self._queue.take()):
            return None
        refused: list[str] = []
        entries = [(shard, list(_entries(listed, refused))) for shard, listed in frames]
        calls = [self._call(together) for together in self._together(entries)]
        return Batch(self._term, frames, entries, refused, calls, is_last=not self._queue)

    def failed(self, batch: Batch) -> None:
        """Keep what may or may not have arrived: the newest value twice is better than not at all."""
        if batch.term == self._term:
            self._queue.put_back(batch.frames)
            self._unsure += (frame for _, frames in batch.frames for frame in frames if frame.key is not None)

    def sent(self, batch: Batch, replies: Sequence[Sequence[Sequence[Any]]]) -> list[str]:
        """Note what Redis says of a batch.

        Args:
            batch: What was sent.
            replies: Of each call.

        Returns:
            Fields of frames that it left out because it knew a newer one.
        """
        left_out: list[str] = []
        of_shards = chain.from_iterable(replies)
        for frames, (_, entries), reply in zip(batch.frames, batch.entries, of_shards, strict=True):
            if reply:
                late = {int(number) for number in reply[1:]}
                self._arrived(entries, int(reply[0]), late)
                left_out += (entries[number - 1][1] for number in sorted(late))
            elif batch.term == self._term:
                # Another term has begun: nothing of this was taken.
                self._queue.put_back([frames])
                self.fenced = True
        self.late += len(left_out)
        return left_out

    def _arrived(self, entries: list[Entry], last: int, late: set[int]) -> None:
        self.seen(last)
        cursor = last - (len(entries) - len(late))
        for number, (frame, _, entry) in enumerate(entries, 1):
            if number not in late:
                cursor += 1
                if frame.key is not None:
                    self._said[frame.tenant, frame.key] = cursor.to_bytes(8, "big") + entry
        while len(self._said) > MAX_SAID:
            del self._said[next(iter(self._said))]

    def _together(self, entries: list[Listed]) -> Iterator[list[Listed]]:
        """Yield the frames published in one step, so that they arrive and are written together."""
        limit = 0 if self._sharded else STEP
        together: list[Listed] = []
        size = 0
        for shard, listed in entries:
            if together and size + len(listed) > limit:
                yield together
                together, size = [], 0
            together.append((shard, listed))
            size += len(listed)
        yield together

    def _call(self, together: list[Listed]) -> Call:
        words: list[Word] = [self.newest, self._term]
        for _, listed in together:
            words.append(len(listed))
            for _, field, entry in listed:
                words += field, entry
        return [name for shard, _ in together for name in self._names(shard)], words

    def _names(self, shard: int) -> tuple[str, ...]:
        # A cluster has no key that is near to all shards: there the cursors of a shard stand for themselves.
        newest = keys.shard_cursor(shard) if self._sharded else keys.CURSOR
        channel, fence = keys.frames_channel(shard), keys.fence(shard)
        return keys.last_values(shard), keys.shard_cursor(shard), newest, channel, fence

    # What is not known to have arrived

    def doubts(self) -> list[tuple[str, list[Entry]]]:
        """Return frames that may have arrived unconfirmed, under the keys where that can be read."""
        by_shard: dict[int, list[Entry]] = {}
        for entry in _entries(self._unsure, []):
            by_shard.setdefault(self._shard(entry[0].key or ""), []).append(entry)
        return [(keys.last_values(shard), entries) for shard, entries in by_shard.items()]

    def settle(
        self, doubts: Sequence[tuple[str, list[Entry]]], values: Sequence[Sequence[bytes | None]]
    ) -> None:
        """Let go of frames that did arrive: they would be there twice.

        Args:
            doubts: As they were asked about.
            values: What is stored in the field of each.
        """
        for (_, entries), stored in zip(doubts, values, strict=True):
            # A stored value has its cursor in front.
            pairs = zip(entries, stored, strict=True)
            same = [frame for (frame, _, sent), value in pairs if value is not None and value[8:] == sent]
            self._queue.drop(same)
        self._unsure.clear()

    # What Redis forgot

    def memories(self, known: Iterable[Frame]) -> list[Call]:
        """Call of `restore.lua` that give Redis back what was said here, and what is known otherwise.

        Args:
            known: Frames with their cursors, such as those of what is watched.
        """
        values = {(frame.tenant, frame.key): envelope.render_value(frame) for frame in known if frame.key}
        for field, said in self._said.items():
            # Both begin with their cursor: somebody else may have said something newer that is watched here.
            values[field] = max(said, values.get(field, b""), key=lambda value: value[:8])
        by_shard: dict[int, list[Word]] = {}
        for (tenant, key), value in values.items():
            if key is not None:
                by_shard.setdefault(self._shard(key), []).extend((keys.field(tenant, key), value))
        return [
            (self._names(shard)[:4], [self.newest, *words[at : at + 2 * PAGE]])
            for shard, words in by_shard.items()
            for at in range(0, len(words), 2 * PAGE)
        ]

    def _shard(self, key: str) -> int:
        return keys.shard_of(keys.subject(key), self._shards)


def _entries(frames: Iterable[Frame], refused: list[str]) -> Iterator[Entry]:
    """Yield frames as they travel; why one cannot is added to `refused`."""
    for frame in frames:
        try:
            entry = envelope.render(frame)
        except InvalidMessageError as error:
            refused.append(str(error))
            continue
        yield frame, "" if frame.key is None else keys.field(frame.tenant, frame.key), entry
