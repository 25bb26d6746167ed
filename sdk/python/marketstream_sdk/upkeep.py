"""Sees to it that the server holds the user's subscriptions to events as they are wanted here.

They outlive connections, so mostly there is nothing to do; but a server may have forgotten them. So each
connection begins with the question what is held, and what is missing or differs is subscribed again. What
the server cannot do now is tried again for as long as the connection lasts; prices do not wait for that.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from marketstream_sdk.errors import (
    EventSubscriptionError,
    InvalidMessageError,
    MarketDataError,
    NoAnswerError,
    RateLimitedError,
    RequestError,
)
from marketstream_sdk.event_dispatcher import EventDispatcher
from marketstream_sdk.event_model import EventFilter
from marketstream_sdk.reconcile import EventCall, reconcile_events
from marketstream_sdk.transports.base import Connection

T = TypeVar("T")

Held = dict[str, EventFilter | None]

_PASSING = frozenset({"UNAVAILABLE", "BUS_UNAVAILABLE", NoAnswerError.code})
"""Codes that say that it may go well another time; so do the statuses of proxies that find no server."""

_log = logging.getLogger("marketstream_sdk")


class Upkeep:
    """See the module.

    Args:
        dispatcher: Knows what is wanted.
        delay: Seconds to wait after so many failures in a row.
        sleep: Waits so many seconds.

    Attributes:
        settling: Done when the server has been told all, or cannot be now, or when the connection has ended.
    """

    def __init__(
        self,
        dispatcher: EventDispatcher,
        *,
        delay: Callable[[int], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.settling = asyncio.Event()
        self._dispatcher = dispatcher
        self._delay = delay
        self._sleep = sleep
        self._changed = asyncio.Event()

    def change(self) -> None:
        """Note that what is wanted has changed."""
        self.settling.clear()
        self._changed.set()

    async def run(self, connection: Connection) -> None:
        """Do this for as long as a connection lasts.

        Raises:
            MarketDataError: The connection is of no use any more.
        """
        held: Held | None = None
        failures = 0
        while True:
            self._changed.clear()
            try:
                held = await self._align(connection, held)
            except RequestError as error:
                failures += 1
                held = None
                await self._put_off(error, failures)
            else:
                failures = 0
                self.settling.set()
                await self._changed.wait()

    async def _align(self, connection: Connection, held: Held | None) -> Held | None:
        """Tell the server what is to be told; return what it holds then, None where that was not asked.

        Raises:
            RequestError: The server cannot do that now.
        """
        if held is None and not self._dispatcher.wanted() and not self._dispatcher.left:
            return None
        if held is None:
            held = await self._ask_what_is_held(connection)
        while calls := reconcile_events(self._dispatcher.wanted(), held, self._dispatcher.left):
            await self._carry_out(connection, calls[0], held)
        return held

    async def _ask_what_is_held(self, connection: Connection) -> Held:
        try:
            return await self._patiently(connection.event_subscriptions)
        except (RequestError, InvalidMessageError) as error:
            if _passes(error):
                raise
            for name in [*self._dispatcher.wanted(), *self._dispatcher.left]:
                self._dispatcher.refuse(EventSubscriptionError(name, str(error), code=error.code))
            return {}

    async def _carry_out(self, connection: Connection, call: EventCall, held: Held) -> None:
        try:
            await self._patiently(partial(connection.change_events, call))
        except (RequestError, InvalidMessageError) as error:
            if _passes(error):
                raise
            self._dispatcher.refuse(EventSubscriptionError(call.name, str(error), code=error.code))
            return
        if call.filter is None:
            self._dispatcher.left.pop(call.name, None)
            held.pop(call.name, None)
        else:
            held[call.name] = call.filter

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to a call, which is made again after each time it comes too early."""
        while True:
            try:
                return await ask()
            except RateLimitedError as error:
                _log.info("the server asks to wait %g s before the next call", error.retry_after)
                await self._sleep(error.retry_after)

    async def _put_off(self, error: RequestError, failures: int) -> None:
        """Wait until it is to be tried again, or until something else is wanted."""
        wait = self._delay(failures)
        _log.warning("subscriptions to events cannot be told: %s; next attempt in %.1f s", error, wait)
        self.settling.set()
        if failures == 1:
            self._dispatcher.errors.tell(error)
        nap = asyncio.ensure_future(self._sleep(wait))
        change = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait([nap, change], return_when=asyncio.FIRST_COMPLETED)
        finally:
            nap.cancel()
            change.cancel()


def _passes(error: MarketDataError) -> bool:
    return error.code in _PASSING or error.code.startswith("HTTP_5")
