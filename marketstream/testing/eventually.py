"""Waiting for something to become true, instead of sleeping and hoping.

A wait ends the moment its condition holds; its limit only bounds a failure. Every limit is stretched by the
environment's `TEST_TIME_SCALE`, a factor that `conftest.py` sets where nobody else did.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from inspect import isawaitable
from typing import Any, TypeVar, overload

T = TypeVar("T")

TIME_SCALE = "TEST_TIME_SCALE"
PAUSE = 0.01


def scaled(seconds: float) -> float:
    """Return a limit in seconds, stretched as the environment asks."""
    return seconds * float(os.environ.get(TIME_SCALE, "1"))


@overload
def eventually(
    predicate: Callable[[], Awaitable[T]], timeout: float = ..., what: str = ...
) -> Coroutine[Any, Any, T]: ...
@overload
def eventually(
    predicate: Callable[[], T], timeout: float = ..., what: str = ...
) -> Coroutine[Any, Any, T]: ...
async def eventually(
    predicate: Callable[[], Any],
    timeout: float = 5.0,  # noqa: ASYNC109  # the limit is scaled, and named in the failure
    what: str = "the condition",
) -> Any:
    """Asks again and again until the answer is true, and returns that answer.

    Args:
        predicate: Asked at once and then every hundredth of a second; may be asynchronous.
        timeout: Limit in seconds before scaling.
        what: What was waited for, as the failure shall name it.

    Raises:
        AssertionError: The limit passed.
    """
    deadline = time.monotonic() + scaled(timeout)
    while True:
        answer = predicate()
        value = await answer if isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(_failure(what, timeout, value))
        await asyncio.sleep(PAUSE)


def wait_until(predicate: Callable[[], T], timeout: float = 5.0, what: str = "the condition") -> T:
    """Do the same for code without an event loop.

    Raises:
        AssertionError: The limit passed.
    """
    deadline = time.monotonic() + scaled(timeout)
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(_failure(what, timeout, value))
        time.sleep(PAUSE)
    return value


def _failure(what: str, timeout: float, last: object) -> str:
    return f"{what} did not come true within {scaled(timeout):g} s; the last answer was {last!r}"
