"""Waiting for Redis without losing a cancellation.

redis-py sends through `asyncio.wait_for`, which on Python 3.11 forgets a cancellation that comes in the
moment in which it is done. A task that goes on after that is not asked again, and the process would not end.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def reply(call: Awaitable[T]) -> T:
    """What Redis answers.

    Raises:
        CancelledError: The task was cancelled meanwhile, whether or not redis-py says so.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # coroutines run in tasks
    before = task.cancelling()
    try:
        return await call
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


def heed() -> None:
    """Ends the present task if it was cancelled and did not notice; for loops that never end.

    Raises:
        asyncio.CancelledError: It was.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
