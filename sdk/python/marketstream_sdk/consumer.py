"""Who wants quotes: callbacks and streams, each with a queue of its own.

No consumer waits for another one. A callback is called for one value at a time, in order, by a task of its
own; one that raises is logged, and goes on with the next value.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, Generic, TypeVar

from marketstream_sdk.consumer_queue import ClosedError, ConsumerQueue
from marketstream_sdk.reconcile import Terms

T = TypeVar("T")

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
        """Gives it a value; never waits.

        Returns:
            How many values of mode `every` it will not see because it is too slow.
        """
        terms = self.terms.get(key)
        if terms is None:
            return 0
        return self.consumer_queue.put(key, value, EVERY_DEPTH if terms.mode == "every" else 1)

    def drop(self, key: str) -> None:
        """Takes a key away from it, with what waits of it."""
        self.terms.pop(key, None)
        self.consumer_queue.discard(key)

    def end(self, error: BaseException | None = None) -> None:
        """Ends it: nothing more is delivered, and who waits for it hears the error, if there is one."""
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
    """Calls a user's function and waits for it if it is asynchronous; what it raises is logged."""
    try:
        result = callback(value)
        if isawaitable(result):
            await result
    except Exception:  # noqa: BLE001 - whatever it was, the others go on
        _log.exception("the callback %r failed with %r", callback, value)
