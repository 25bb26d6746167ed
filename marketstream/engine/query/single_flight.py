"""Share one running question among all who ask it.

Promises that a question which many ask together is worked on once, and that one who stops waiting harms
neither the others nor the work. The work ends when it ends, also when nobody waits any more.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

from marketstream.errors import UnavailableError

T = TypeVar("T")

Spawn = Callable[[Coroutine[None, None, None]], object]
"""Starts a task that somebody else owns."""


class SingleFlight(Generic[T]):
    """See the module; `len(flights)` is how many questions are being worked on.

    Args:
        spawn: Starts the work; what it starts never raises but when it is cancelled.
    """

    def __init__(self, spawn: Spawn) -> None:
        self._spawn = spawn
        self._calls: dict[str, asyncio.Future[T | Exception]] = {}
        self._tasks: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        return len(self._calls)

    async def do(self, key: str, work: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return the answer to a question.

        Args:
            key: Same key, same question.
            work: Finds the answer, if nobody does so already.

        Raises:
            Exception: What the work raised, the same for all who wait.
        """
        call = self._calls.get(key)
        if call is None:
            call = self._start(key, work)
        found = await asyncio.shield(call)
        if isinstance(found, Exception):
            # Each of a thousand who wait would add its own steps to the one trace.
            raise found.with_traceback(None)
        return found

    def cancel(self) -> None:
        """End all work; those who wait are cancelled too. For a process that is going down."""
        for task in self._tasks:
            task.cancel()

    def _start(
        self, key: str, work: Callable[[], Coroutine[None, None, T]]
    ) -> "asyncio.Future[T | Exception]":
        call: asyncio.Future[T | Exception] = asyncio.get_running_loop().create_future()
        flying = self._run(key, call, work)
        self._calls[key] = call
        try:
            self._spawn(flying)
        except RuntimeError as error:
            # The task group of a process that is going down takes nothing new.
            flying.close()
            self._calls.pop(key, None)
            raise UnavailableError("the server is going down") from error
        return call

    async def _run(
        self, key: str, call: "asyncio.Future[T | Exception]", work: Callable[[], Coroutine[None, None, T]]
    ) -> None:
        found: T | Exception
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # it is spawned as one
        self._tasks.add(task)
        try:
            found = await work()
        except asyncio.CancelledError:
            call.cancel()
            raise
        except Exception as error:  # noqa: BLE001  # it is for those who wait; the owner of the task must live
            found = error
        finally:
            self._tasks.discard(task)
            del self._calls[key]
        call.set_result(found)
