"""Plain functions that are told of what happens, in order and at once.

One that raises is logged and harms no other. They must not wait: what takes time belongs into a callback.
"""

import logging
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Generic, ParamSpec

P = ParamSpec("P")

_log = logging.getLogger("marketstream_sdk")


class Listeners(Generic[P]):
    """Those who listen to one kind of event."""

    def __init__(self) -> None:
        self._listeners: list[Callable[P, object]] = []

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Callable[P, object]) -> Callable[[], None]:
        """Add one; return what takes it away again.

        Raises:
            TypeError: It is a coroutine function, which nobody would wait for.
        """
        if iscoroutinefunction(listener):
            raise TypeError("a listener must be a plain function; start a task in it if something takes time")
        self._listeners.append(listener)
        return lambda: self._remove(listener)

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call all of them."""
        for listener in list(self._listeners):
            try:
                listener(*args, **kwargs)
            except Exception:  # noqa: BLE001 - whatever it was, the others go on
                _log.exception("the listener %r failed", listener)

    def _remove(self, listener: Callable[P, object]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)
