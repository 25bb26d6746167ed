"""Time that passes at once: an event loop that jumps to the next timer instead of waiting for it.

With it a test of minutes takes milliseconds and ends the same way each time. It is for tests without sockets,
threads and processes: where nothing is due and nothing can happen any more, the test fails.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec

from marketstream.ports import Clock

P = ParamSpec("P")

WALL_MS = 1_700_000_000_000
"""Epoch milliseconds when such a loop starts."""

TURNS = 25
"""Turns of the loop in which a chain of tasks that waits for no timer gets done."""

FOREVER = 100_000
"""Jumps after which a test counts as one that never ends."""


class _JumpingSelector(selectors.SelectSelector):
    """Lets the time pass for which it should wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._jumps = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector.select`."""
        if timeout is None:
            raise AssertionError("the test waits for something that cannot happen any more")
        if timeout > 0:
            self._jumps += 1
            if self._jumps > FOREVER:
                raise AssertionError("the test waits for ever")
            # A timer is due when its time is reached; rounding must not leave it a hair ahead.
            self.now += timeout + 1e-9
        return super().select(0)


class InstantLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the loop was made, as far as they have passed for it."""
        return self._jumping.now


class LoopClock:
    """The clock of the running loop."""

    def now(self) -> float:
        """Monotonic seconds."""
        return asyncio.get_running_loop().time()

    def wall_ms(self) -> int:
        """Epoch milliseconds."""
        return WALL_MS + int(self.now() * 1000)


def instant(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test on such a loop, and fail it if it leaves a task behind."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=InstantLoop) as runner:
            runner.run(_checked(test(*args, **kwargs)))

    return run


async def _checked(test: Coroutine[Any, Any, None]) -> None:
    await test
    await settled()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"the test left tasks behind: {sorted(map(repr, left))}"


async def settled() -> None:
    """Lets everything happen that waits for no timer."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Running:
    """Something that is done inside a block, and cancelled at its end.

    Attributes:
        task: Does it.
    """

    def __init__(self, work: Awaitable[None]) -> None:
        self.task = asyncio.ensure_future(work)

    async def __aenter__(self) -> "asyncio.Future[None]":
        await settled()
        return self.task

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


_: type[Clock] = LoopClock
