"""A cancellation is never lost, whatever the client of Redis does with it."""

import asyncio

import pytest
from redis.exceptions import RedisError

from marketstream.bus.reply import reply


async def forgetful(begun: asyncio.Event, *, fails: bool) -> str:
    """Goes on when it is cancelled, as `asyncio.wait_for` of Python 3.11 may."""
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if fails:
            raise ConnectionError from None
    return "sent"


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancellation_that_the_client_forgets_is_remembered(*, fails: bool) -> None:
    begun, after = asyncio.Event(), list[str]()

    async def call() -> None:
        after.append(await reply(forgetful(begun, fails=fails)))

    task = asyncio.create_task(call())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert after == []


async def test_who_was_cancelled_before_may_still_say_goodbye() -> None:
    said = []

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            said.append(await reply(asyncio.sleep(0, "goodbye")))

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), said) == (True, ["goodbye"])


async def test_answers_and_errors_come_as_they_are() -> None:
    assert await reply(asyncio.sleep(0, 7)) == 7
    broken: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    broken.set_exception(ConnectionError("gone"))
    with pytest.raises(ConnectionError, match="gone"):
        await reply(broken)


async def test_a_connection_that_another_task_has_closed_is_a_lost_one() -> None:
    """redis-py writes to it as if it were there."""

    async def write() -> str:
        raise AttributeError("'NoneType' object has no attribute 'writelines'")

    with pytest.raises(RedisError, match="closed meanwhile"):
        await reply(write())
