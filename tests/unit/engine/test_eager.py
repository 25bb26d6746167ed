"""A coroutine that is started runs like a function, and waits in the task that awaits the rest."""

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar

import pytest

from marketstream.engine.eager import settled, start

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


def test_what_is_at_hand_needs_no_loop() -> None:
    """Nothing waits: all is done when `start` returns."""
    got: list[int] = []

    async def inner() -> int:
        return await settled(1)

    async def work() -> None:
        got.append(await inner() + await settled(2))

    assert start(work()) is None
    assert got == [3]


def test_an_error_before_it_waits_is_raised_by_start() -> None:
    async def work() -> None:
        raise KeyError("at once")

    with pytest.raises(KeyError, match="at once"):
        start(work())


async def test_the_rest_goes_on_where_it_stopped() -> None:
    """Steps are taken once each, in order, across several waits."""
    steps: list[object] = []
    first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        steps.append("begun")
        steps.append(await settled(first))
        await asyncio.sleep(0)
        steps.append(await settled("at hand"))

    rest = start(work())
    assert steps == ["begun"]
    assert rest is not None
    task = asyncio.ensure_future(_awaited(rest))
    await asyncio.sleep(0)
    assert steps == ["begun"]
    first.set_result("came")
    await task
    assert steps == ["begun", "came", "at hand"]


async def test_what_is_waited_for_begins_in_the_task() -> None:
    """A time-out needs a task, which there is none of before the first wait."""
    begun: list[bool] = []

    async def slow() -> None:
        begun.append(True)
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()

    async def work() -> None:
        await settled(slow())

    loop = asyncio.get_running_loop()
    started: asyncio.Future[Awaitable[None] | None] = loop.create_future()
    loop.call_soon(lambda: started.set_result(start(work())))
    rest = await started
    assert begun == []
    assert rest is not None
    with pytest.raises(TimeoutError):
        await rest


async def test_it_is_cancelled_with_the_task_that_awaits_the_rest() -> None:
    """What is waited for is cancelled, and the coroutine may clean up, and wait for that."""
    ended: list[str] = []
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            await settled(never)
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    rest = start(work())
    assert rest is not None
    task = asyncio.ensure_future(_awaited(rest))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert never.cancelled()
    assert ended == ["cleaned up"]


async def test_a_task_that_is_cancelled_before_its_turn_ends_it_too() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await settled(asyncio.sleep(0))
        finally:
            ended.append("closed")

    async def awaiting() -> None:
        rest = start(work())
        assert rest is not None
        await rest

    task = asyncio.ensure_future(awaiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["closed"]


async def test_the_rest_runs_in_the_context_of_its_task() -> None:
    """What a task sets stays in it, though the coroutine began outside."""
    seen: list[str] = []
    wait = asyncio.Event()

    async def work() -> None:
        seen.append(WHO.get())
        await settled(wait.wait())
        seen.append(WHO.get())

    async def awaiting(rest: Awaitable[None]) -> None:
        WHO.set("the task")
        await rest

    rest = start(work())
    assert rest is not None
    task = asyncio.ensure_future(awaiting(rest))
    wait.set()
    await task
    assert (seen, WHO.get()) == (["nobody", "the task"], "nobody")


async def test_waiting_by_anything_else_is_refused() -> None:
    """It would wait for something that was begun without a task."""
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await never

    with pytest.raises(RuntimeError, match="outside of a task"):
        start(work())
    never.cancel()


async def _awaited(rest: Awaitable[None]) -> None:
    await rest
