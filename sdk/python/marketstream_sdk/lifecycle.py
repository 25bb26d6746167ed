"""Where a client is between `connect` and `close`, and the one task that keeps it there.

Whatever ends the task, somebody is told: those who wait for `connect`, every stream, and the listeners.
"""

import asyncio
import logging
from collections.abc import Callable

from marketstream_sdk.dispatcher import Dispatcher
from marketstream_sdk.errors import MarketDataError, NotConnectedError
from marketstream_sdk.link import Announce, Link
from marketstream_sdk.model import State, StreamStatus

_log = logging.getLogger("marketstream_sdk")


class Lifecycle:
    """See the module.

    Args:
        dispatcher: Whose consumers are told, and end with the client.
        make_link: Makes what keeps the client connected, given whom to tell of states.

    Attributes:
        state: Where the client is.
        error: What led there; None where nothing went wrong.
        link: What keeps it connected; None unless it is, or tries to be.
    """

    def __init__(self, dispatcher: Dispatcher, make_link: Callable[[Announce], Link]) -> None:
        self.state: State = "idle"
        self.error: MarketDataError | None = None
        self.link: Link | None = None
        self._dispatcher = dispatcher
        self._make_link = make_link
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()

    async def connect(self) -> None:
        """See `MarketDataClient.connect`."""
        if self._task is None:
            self.link = self._make_link(self._announce)
            self._task = asyncio.create_task(self._run(self.link), name="marketstream link")
            self._announce("connecting", None)
        while self.state in {"connecting", "reconnecting"}:
            self._moved.clear()
            await self._moved.wait()
        if self.state == "failed" and self.error is not None:
            raise self.error
        if self.state == "closed":
            raise NotConnectedError("the client was closed")

    async def close(self) -> None:
        """See `MarketDataClient.close`."""
        link, self._task = self._task, None
        ending = self._dispatcher.clear() | ({link} if link else set())
        # A callback, or the token function, may be what closes the client: it cannot wait for itself.
        myself = asyncio.current_task()
        others = {task for task in ending if task is not myself}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
        # Unless somebody has connected again meanwhile.
        if self._task is None:
            self.link = None
            if self.state != "closed":
                self._announce("closed", None)
        if link is not None and link not in others:
            link.cancel()

    def status(self) -> StreamStatus:
        """See `MarketDataClient.get_stream_status`."""
        link, dispatcher = self.link, self._dispatcher
        connection = link.connection if link else None
        return StreamStatus(
            state=self.state,
            connected=self.state == "connected",
            subscribed_symbols=connection.confirmed if connection else (),
            wanted_symbols=tuple(dispatcher.quotes.wanted()),
            active_callbacks=len(dispatcher.quotes.callbacks)
            + len(dispatcher.updates.callbacks)
            + dispatcher.events.callbacks,
            active_streams=len(dispatcher.quotes.streams) + dispatcher.events.streams,
            reconnect_attempts=link.attempts if link else 0,
            error=self.error,
            wanted_events=tuple(dispatcher.events.wanted()),
        )

    async def settle(self) -> None:
        """Wait until the server has been told of a change, or cannot be."""
        if self.link is not None and self.link.connection is not None:
            await self.link.settling.wait()

    async def settle_events(self) -> None:
        """Wait until the server has been told of a change of events, or cannot be."""
        await self.settle()
        if self.link is not None and self.link.connection is not None:
            await self.link.upkeep.settling.wait()

    def change(self) -> None:
        """Tell the link that what is wanted may have changed."""
        if self.link is not None:
            self.link.change()

    def change_events(self) -> None:
        """Tell the link that wanted events may have changed."""
        if self.link is not None:
            self.link.upkeep.change()
            self.link.change()

    def expire(self) -> None:
        """Renew the token, which ends soon."""
        if self.link is not None:
            self.link.expire()

    async def _run(self, link: Link) -> None:
        try:
            await link.run()
        except MarketDataError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - nobody shall wait for a client that is broken
            _log.exception("this is a fault of the client")
            self._fail(MarketDataError(f"the client failed: {error!r}", code="INTERNAL"))

    def _fail(self, error: MarketDataError) -> None:
        self._task = None
        self._announce("failed", error)
        self._dispatcher.fail(error)

    def _announce(self, state: State, error: MarketDataError | None) -> None:
        self.state, self.error = state, error
        self._moved.set()
        self._dispatcher.states.tell(state, error)
