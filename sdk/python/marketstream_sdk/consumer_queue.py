"""What waits for one consumer.

Holds at most `depth` values of a key, so its size follows what the consumer subscribed to and never how
slow it is: of a key with depth 1 the newest value waits, of deeper ones the oldest are pushed out. Values
of a key leave in the order in which they came; keys take turns.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ClosedError(Exception):
    """Nothing comes any more; the consumer has left."""


class ConsumerQueue(Generic[T]):
    """A waiting room with one reader."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        self._filled = asyncio.Event()
        self._end: BaseException | None = None

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, key: str, value: T, depth: int = 1) -> int:
        """Adds a value; never waits.

        Args:
            key: What it is a value of.
            value: The value.
            depth: How many values of this key may wait.

        Returns:
            How many were pushed out that nobody will see; always 0 with a depth of 1.
        """
        if self._end is not None:
            return 0
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = deque()
        waiting.append(value)
        missed = max(0, len(waiting) - depth)
        for _ in range(missed):
            waiting.popleft()
        self._filled.set()
        return missed if depth > 1 else 0

    async def take(self) -> T:
        """The next value; waits for one.

        Raises:
            ClosedError: It was closed.
            BaseException: What it was closed with.
        """
        while not self._waiting:
            if self._end is not None:
                raise self._end
            self._filled.clear()
            await self._filled.wait()
        key, waiting = next(iter(self._waiting.items()))
        del self._waiting[key]
        value = waiting.popleft()
        if waiting:
            self._waiting[key] = waiting
        return value

    def discard(self, key: str) -> None:
        """Takes back what waits of a key."""
        self._waiting.pop(key, None)

    def close(self, error: BaseException | None = None) -> None:
        """Takes back all that waits and ends the reader, with an error if there is one."""
        self._end = error or ClosedError()
        self._waiting.clear()
        self._filled.set()
