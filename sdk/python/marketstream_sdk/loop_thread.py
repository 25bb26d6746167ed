"""An event loop in a thread of its own, for those who do not live in one."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from marketstream_sdk.errors import NotConnectedError

T = TypeVar("T")


class LoopThread:
    """An event loop that runs in a thread until it is stopped."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon: a script that forgets to close its client can end nevertheless.
        self._thread = threading.Thread(target=self._serve, name="marketstream-sdk", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it was not stopped yet."""
        return not self._loop.is_closed()

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine there and wait for it here.

        Raises:
            NotConnectedError: The loop has been stopped.
            TimeoutError: It took longer; it was cancelled.
        """
        if not self.running:
            work.close()
            raise NotConnectedError("the client was closed")
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a callback cannot wait for its client: they share a thread")
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Call a plain function there."""
        if threading.current_thread() is self._thread:
            return function()
        return self.run(_called(function))

    def stop(self) -> None:
        """End loop and thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


async def _called(function: Callable[[], T]) -> T:
    return function()
