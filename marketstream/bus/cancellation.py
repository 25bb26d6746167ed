"""Cancellation that must not get lost between this server and redis-py.

redis-py writes with `asyncio.wait_for`, which before Python 3.12 forgets that it was cancelled when the write
was done in the same moment. The task then goes on, and whoever cancelled it waits for ever.
"""

import asyncio


def heed() -> None:
    """Ends the present task if it was cancelled and did not notice; for loops that never end.

    Raises:
        asyncio.CancelledError: It was.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
