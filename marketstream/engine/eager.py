"""Run coroutines at once as far as they get, with a task only for those that must wait.

Nearly every call of a client is answered from memory. A task for each would cost a turn of the event loop;
two versions of the same steps, one that waits and one that does not, would cost the reader. So the steps are
one coroutine. `start` runs it like a function, and whoever started it awaits the rest, in a task, where there
is one.

Before it waits for the first time such a coroutine has no task: `asyncio.timeout` and its like do not work
there, and nothing could cancel it. So it waits by `settled` only, which comes back in the task before it
touches what is waited for.
"""

from collections.abc import Awaitable, Coroutine, Generator
from inspect import isawaitable
from types import coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")


def start(work: Coroutine[object, None, None]) -> Awaitable[None] | None:
    """Run a coroutine until it is done or has to wait.

    What it does before it waits happens in the caller's context, as in a function that is called. What it
    does then happens in the task that awaits the rest, in its context, and is cancelled with it.

    Args:
        work: The coroutine; it waits by `settled` before it waits for anything else.

    Returns:
        None when it is done; the rest of it, to be awaited, when it has to wait.

    Raises:
        BaseException: Whatever it raises before it waits.
        RuntimeError: It waits by something else than `settled`; it was ended.
    """
    try:
        waited = work.send(None)
    except StopIteration:
        return None
    if waited is not None:
        work.close()
        raise RuntimeError(f"{work!r} waits outside of a task")
    return _rest(work)


@overload
def settled(found: Awaitable[T]) -> Coroutine[Any, Any, T]: ...
@overload
def settled(found: T | Awaitable[T]) -> Coroutine[Any, Any, T]: ...
async def settled(found: Any) -> Any:
    """Return what is at hand, or wait for it in a task."""
    if not isawaitable(found):
        return found
    await _leave()
    return await found


@coroutine
def _leave() -> Generator[None, None, None]:
    """Go back to `start`, or, where a task runs already, take the next turn of the loop."""
    yield


@coroutine
def _rest(work: Coroutine[object, None, None]) -> Generator[object, None, None]:
    # `await` refuses a coroutine that was begun already; `yield from` goes on with it, and hands on what the
    # task throws into it.
    yield from work
