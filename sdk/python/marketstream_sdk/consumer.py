"""Who wants quotes: callbacks and streams, each with a queue of its own, and all of them together.

No consumer waits for another one. A callback is called for one value at a time, in order, by a task of its
own; one that raises is logged, and goes on with the next value.

A queue holds at most `depth` values of a key, so its size follows what the consumer subscribed to and never
how slow it is: of a key with depth 1 the newest value waits, of deeper ones the oldest are pushed out. Values
of a key leave in the order in which they came; keys take turns.

Consumers are counted per key: the first one of a symbol makes it wanted, the last one to leave ends that, and
none of the others notices either.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import Any, Generic, TypeVar

from marketstream_sdk.reconcile import Terms, joined

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
        """Add a value; never waits.

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
        """Return the next value; waits for one.

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
        """Take back what waits of a key."""
        self._waiting.pop(key, None)

    def close(self, error: BaseException | None = None) -> None:
        """Take back all that waits and ends the reader, with an error if there is one."""
        self._end = error or ClosedError()
        self._waiting.clear()
        self._filled.set()


Callback = Callable[[T], Awaitable[Any] | Any]
"""Called with each value; may be asynchronous."""

EVERY_DEPTH = 1_000
"""Values per symbol that wait for a slow consumer in mode `every`; the server keeps as many."""

_log = logging.getLogger("marketstream_sdk")


class Consumer(Generic[T]):
    """Wants some keys, each on its own terms.

    Attributes:
        terms: The keys (symbols, channels, subscriptions to events) and how each is wanted, in the order of
            the asking.
        consumer_queue: What waits for it.
    """

    def __init__(self) -> None:
        self.terms: dict[str, Terms] = {}
        self.consumer_queue: ConsumerQueue[T] = ConsumerQueue()

    def offer(self, key: str, value: T) -> int:
        """Give it a value; never wait.

        Returns:
            How many values of mode `every` it will not see because it is too slow.
        """
        terms = self.terms.get(key)
        if terms is None:
            return 0
        return self.consumer_queue.put(key, value, EVERY_DEPTH if terms.mode == "every" else 1)

    def drop(self, key: str) -> None:
        """Take a key away from it, with what waits of it."""
        self.terms.pop(key, None)
        self.consumer_queue.discard(key)

    def end(self, error: BaseException | None = None) -> None:
        """End it: nothing more is delivered, and who waits for it hears the error, if there is one."""
        self.terms.clear()
        self.consumer_queue.close(error)


class CallbackConsumer(Consumer[T]):
    """Calls a function; made inside a running event loop.

    Attributes:
        callback: The function.
        task: What calls it; ends by itself after `end`.
    """

    def __init__(self, callback: Callback[T]) -> None:
        super().__init__()
        self.callback = callback
        self.task = asyncio.create_task(self._run(), name=f"marketstream callback {callback!r}")

    async def _run(self) -> None:
        while True:
            try:
                value = await self.consumer_queue.take()
            except ClosedError:
                return
            await call(self.callback, value)


async def call(callback: Callback[T], value: T) -> None:
    """Call a user's function and wait for it if it is asynchronous; what it raises is logged."""
    try:
        result = callback(value)
        if isawaitable(result):
            await result
    except Exception:  # noqa: BLE001 - whatever it was, the others go on
        _log.exception("the callback %r failed with %r", callback, value)


class ConsumerRegistry(Generic[T]):
    """Who wants which keys.

    Args:
        changed: Called when what is wanted may have changed.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._consumers: list[Consumer[T]] = []
        self._by_key: dict[str, list[Consumer[T]]] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._by_key

    @property
    def callbacks(self) -> list[CallbackConsumer[T]]:
        """Those of them that call a function."""
        return [consumer for consumer in self._consumers if isinstance(consumer, CallbackConsumer)]

    @property
    def streams(self) -> list[Consumer[T]]:
        """Those of them that somebody iterates over."""
        return [consumer for consumer in self._consumers if not isinstance(consumer, CallbackConsumer)]

    @property
    def keys(self) -> tuple[str, ...]:
        """What they want, in the order in which it came to be wanted."""
        return tuple(self._by_key)

    def wanted(self) -> dict[str, Terms]:
        """Return what they want together, in the order in which keys came to be wanted."""
        return joined(
            (key, consumer.terms[key]) for key, consumers in self._by_key.items() for consumer in consumers
        )

    def find(self, callback: Callback[T]) -> CallbackConsumer[T] | None:
        """Return the consumer that calls a function, if there is one."""
        return next((each for each in self.callbacks if each.callback == callback), None)

    def join(self, consumer: Consumer[T], keys: Iterable[str], terms: Terms) -> None:
        """Lets a consumer want keys, from now on under these terms."""
        if consumer not in self._consumers:
            self._consumers.append(consumer)
        for key in keys:
            if key not in consumer.terms:
                self._by_key.setdefault(key, []).append(consumer)
            consumer.terms[key] = terms
        self._changed()

    def leave(self, consumer: Consumer[T], keys: Iterable[str] | None = None) -> None:
        """Take keys away from a consumer, or all of them; without any left it is no consumer any more."""
        if consumer not in self._consumers:
            return
        for key in list(consumer.terms if keys is None else keys):
            if key in consumer.terms:
                self._unlink(key, consumer)
        if not consumer.terms:
            self._consumers.remove(consumer)
            consumer.end()
        self._changed()

    def refuse(self, key: str, error: Exception) -> bool:
        """Take a key that is not to be had away from all; those who have nothing left end with the error.

        Returns:
            Whether anybody wanted it.
        """
        consumers = list(self._by_key.get(key, ()))
        for consumer in consumers:
            self._unlink(key, consumer)
            if not consumer.terms:
                self._consumers.remove(consumer)
                consumer.end(None if isinstance(consumer, CallbackConsumer) else error)
        self._changed()
        return bool(consumers)

    def who_want(self, keys: Iterable[str]) -> dict[Consumer[T], str]:
        """Who wants any of some keys, each once, with one of these that it wants."""
        return {consumer: key for key in keys for consumer in self._by_key.get(key, ())}

    def deliver(self, key: str, value: T) -> int:
        """Give a value to all who want it; never waits.

        Returns:
            How many values of mode `every` were pushed out of queues.
        """
        return sum(consumer.offer(key, value) for consumer in self._by_key.get(key, ()))

    def end(self, consumers: Iterable[Consumer[T]], error: Exception | None = None) -> None:
        """End some consumers, with an error if there is one."""
        for consumer in consumers:
            for key in list(consumer.terms):
                self._unlink(key, consumer)
            self._consumers.remove(consumer)
            consumer.end(error)
        self._changed()

    def _unlink(self, key: str, consumer: Consumer[T]) -> None:
        consumer.drop(key)
        members = self._by_key[key]
        members.remove(consumer)
        if not members:
            del self._by_key[key]
