"""Await an answer of Redis without losing a cancellation.

redis-py sends through `asyncio.wait_for`, which on Python 3.11 forgets a cancellation that comes in the
moment in which it is done. A task that goes on after that is not asked again, and the process would not end.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from marketstream.errors import BusError

T = TypeVar("T")


async def reply(call: Awaitable[T]) -> T:
    """Return what Redis answers.

    Raises:
        CancelledError: The task was cancelled meanwhile, whether or not redis-py says so.
        RedisError: As of the call, also where its connection was closed under it.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # coroutines run in tasks
    before = task.cancelling()
    try:
        return await call
    except (AttributeError, RuntimeError) as error:
        # redis-py writes to a connection that another task has closed as if it were there.
        raise RedisConnectionError("the connection was closed meanwhile") from error
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


def raise_if_cancelled() -> None:
    """End the present task if it was cancelled and did not notice; for loops that never end.

    Raises:
        asyncio.CancelledError: It was.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def first_reason(group: BaseExceptionGroup[BaseException]) -> str:
    """Return the first cause of a failure, in words."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = str(error) if isinstance(error, RedisError | OSError | BusError) and str(error) else repr(error)
    # redis-py may say no more than that it could not connect; what is behind it is what an operator needs.
    cause = str(error.__cause__ or error.__context__ or "")
    return said if not cause or cause in said else f"{said} {cause}"
