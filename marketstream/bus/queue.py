"""Hold frames that wait for Redis, by shard, with a bound.

In order and complete while there is room. Beyond that the newest of each key is kept and the others are
let go, as they would be in any outbox; so its size follows the number of keys, and that has a bound too.
"""

from collections.abc import Sequence

from marketstream.core.delivery.frame import Frame
from marketstream.wire import keys

CAPACITY = 2_000
"""Frames of one shard that wait in order."""

MAX_KEYS = 20_000
"""Keys of one shard of which the newest is kept; beyond that the oldest goes."""

BATCH = 500
"""Frames of one shard that travel together at most."""


class Queue:
    """See the module.

    Args:
        shards: Number of shards.
        capacity: Frames of one shard that wait in order.
        max_keys: Keys of one shard of which the newest is kept.

    Attributes:
        lost: Frames let go that no newer one of their key replaced.
    """

    def __init__(self, shards: int, *, capacity: int = CAPACITY, max_keys: int = MAX_KEYS) -> None:
        self.lost = 0
        self._shards = shards
        self._capacity = capacity
        self._max_keys = max_keys
        self._waiting: dict[int, list[Frame]] = {}
        self._full_at: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, frames: Sequence[Frame]) -> None:
        """Add frames behind the others of their shards."""
        for frame in frames:
            shard = keys.shard_of(frame.symbol or keys.subject(frame.key or ""), self._shards)
            waiting = self._waiting.setdefault(shard, [])
            waiting.append(frame)
            if len(waiting) > self._full_at.get(shard, self._capacity):
                self._conflate(shard)

    def put_back(self, batches: Sequence[tuple[int, list[Frame]]]) -> None:
        """Return what may or may not have arrived to where it was.

        Only the newest of each key: if it did arrive, an older one sent again would come after it. What has
        no key goes at most once, and is lost.
        """
        for shard, frames in batches:
            kept = self._newest(frames)
            self._waiting[shard] = kept + self._waiting.get(shard, [])
            if len(self._waiting[shard]) > self._full_at.get(shard, self._capacity):
                self._conflate(shard)

    def take(self) -> list[tuple[int, list[Frame]]]:
        """Return the next batch of each shard that has something."""
        batches = []
        for shard, waiting in list(self._waiting.items()):
            batches.append((shard, waiting[:BATCH]))
            if len(waiting) > BATCH:
                self._waiting[shard] = waiting[BATCH:]
            else:
                del self._waiting[shard]
                self._full_at.pop(shard, None)
        return batches

    def drop(self, frames: Sequence[Frame]) -> None:
        """Remove these very frames, as far as they still wait."""
        unwanted = set(map(id, frames))
        for shard, waiting in list(self._waiting.items()):
            self._waiting[shard] = [frame for frame in waiting if id(frame) not in unwanted]
            if not self._waiting[shard]:
                del self._waiting[shard]

    def clear(self) -> None:
        """Drop everything."""
        self._waiting.clear()
        self._full_at.clear()

    def _conflate(self, shard: int) -> None:
        newest = self._newest(self._waiting[shard])
        surplus = max(0, len(newest) - self._max_keys)
        self.lost += surplus
        self._waiting[shard] = newest[surplus:]
        # Not at each frame again: only when as many more have come.
        self._full_at[shard] = len(self._waiting[shard]) + self._capacity

    def _newest(self, frames: Sequence[Frame]) -> list[Frame]:
        newest: dict[tuple[str | None, str], Frame] = {}
        for frame in frames:
            if frame.key is None:
                self.lost += 1
                continue
            # Behind the others: their order is that of their last word.
            newest.pop((frame.tenant, frame.key), None)
            newest[frame.tenant, frame.key] = frame
        return list(newest.values())
