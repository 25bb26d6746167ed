"""Keeps one client connected: makes connections, says what is wanted, renews tokens, tries again.

One connection at a time, and one task. What users notice of a lost connection is a pause: the next one is
told all that is wanted, and `Delivery` lets nothing through twice.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from itertools import count

from marketstream_sdk.dispatcher import Dispatcher
from marketstream_sdk.errors import ConnectionLostError, MarketDataError
from marketstream_sdk.model import State
from marketstream_sdk.retry import Backoff, Retry
from marketstream_sdk.transports.base import Connection, Transport
from marketstream_sdk.upkeep import Upkeep

Token = str | Callable[[], Awaitable[str] | str]
"""A token, or a function that gets a new one; the function may be asynchronous."""

Announce = Callable[[State, MarketDataError | None], None]
"""Told of a state, and what led to it."""

MATURE = 30.0
"""Seconds after which a connection counts as healthy though its subscriptions are not confirmed yet.

Longer than an answer may take: a server that answers no subscription must not seem healthy each time.
"""

_log = logging.getLogger("marketstream_sdk")


@dataclass(frozen=True, slots=True)
class Pace:
    """Time, as a client has it; tests have their own.

    Attributes:
        sleep: Waits so many seconds.
        chance: Gives a random number from 0 to 1.
    """

    sleep: Callable[[float], Awaitable[None]]
    chance: Callable[[], float]


class Link:
    """See the module.

    Args:
        dispatcher: Knows what is wanted, and is told of each message.
        announce: Told of each new state, and what led to it.
        transport: Makes connections.
        token: Who the client is.
        backoff: When to try again.
        connect_timeout: Seconds that getting a token and connecting may take together.
        pace: Time.

    Attributes:
        connection: The present one; None while there is none.
        settling: Done when the server has been told all, or when the connection has ended.
        upkeep: Sees to the user's subscriptions to events.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        announce: Announce,
        *,
        transport: Transport,
        token: Token,
        backoff: Backoff,
        connect_timeout: float,
        pace: Pace,
    ) -> None:
        self.connection: Connection | None = None
        self.settling = asyncio.Event()
        self._dispatcher = dispatcher
        self._announce = announce
        self._transport = transport
        self._token = token
        self._backoff = backoff
        self._retry = Retry(backoff, renewable=callable(token))
        self._connect_timeout = connect_timeout
        self._pace = pace
        self.upkeep = Upkeep(
            dispatcher.events, delay=lambda attempt: backoff.delay(attempt, pace.chance()), sleep=pace.sleep
        )
        self._changed = asyncio.Event()
        self._expiring = asyncio.Event()

    @property
    def attempts(self) -> int:
        """Attempts since the connection was last in order."""
        return self._retry.attempts

    def change(self) -> None:
        """Note that what is wanted has changed; tell all changes of one turn of the loop together."""
        self.settling.clear()
        self._changed.set()

    def expire(self) -> None:
        """Renew the token, which ends soon."""
        self._expiring.set()

    async def run(self) -> None:
        """Connect, again and again.

        Raises:
            ConnectionFailedError: The last attempt failed.
            AuthenticationError: The server does not accept the token.
        """
        while True:
            try:
                wait = await self._stay()
            finally:
                self.settling.set()
                self.upkeep.settling.set()
            await self._pace.sleep(wait)

    async def _stay(self) -> float:
        """Run one connection to its end; return the seconds until the next."""
        self._expiring.clear()
        try:
            connection = await self._connect()
        except MarketDataError as error:
            wait = self._retry.after(error, self._pace.chance())
            _log.info("%s; next attempt in %.1f s", error, wait)
            return wait
        self.connection = connection
        try:
            self._announce("connected", None)
            loss = await self._serve(connection)
            self.connection = None
            wait = self._retry.after(loss, self._pace.chance())
            _log.warning("the connection was lost: %s; next attempt in %.1f s", loss, wait)
            self._announce("reconnecting", loss)
            return wait
        finally:
            self.connection = None
            await connection.close()

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout):
                token = await self._fetch()
                return await self._transport.connect(token, self._dispatcher.goal, self._dispatcher.receive)
        except TimeoutError as error:
            raise ConnectionLostError(f"no connection within {self._connect_timeout:g} s") from error

    async def _fetch(self) -> str:
        """Return a token.

        Raises:
            ConnectionLostError: The function that gives them failed.
        """
        if not callable(self._token):
            return self._token
        try:
            token = self._token()
            return await token if isawaitable(token) else token
        except Exception as error:
            # The text may hold anything; the error itself travels as the cause.
            text = f"the token function failed with {type(error).__name__}"
            raise ConnectionLostError(text, code="TOKEN_FUNCTION") from error

    async def _serve(self, connection: Connection) -> MarketDataError:
        """Do all that a connection needs; return why it ended."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._align(connection))
                group.create_task(self.upkeep.run(connection))
                group.create_task(self._renew(connection))
                group.create_task(self._mature())
                raise await asyncio.shield(connection.lost)
        except BaseExceptionGroup as group:
            lost, others = group.split(MarketDataError)
            if lost is None or others is not None:
                raise
            return next(error for error in lost.exceptions if isinstance(error, MarketDataError))

    async def _align(self, connection: Connection) -> None:
        while True:
            self._changed.clear()
            await connection.align(self._dispatcher.goal)
            self._retry.healthy()
            self._dispatcher.settled()
            self.settling.set()
            await self._changed.wait()

    async def _mature(self) -> None:
        await asyncio.sleep(MATURE)
        self._retry.healthy()

    async def _renew(self, connection: Connection) -> None:
        while True:
            await self._expiring.wait()
            self._expiring.clear()
            if not callable(self._token):
                _log.warning("the token ends soon, and there is no function to get another one")
                continue
            await self._renew_until_done(connection)

    async def _renew_until_done(self, connection: Connection) -> None:
        """Try again for as long as the old token lasts; after that the connection ends anyway."""
        for attempt in count(1):
            try:
                await connection.renew(await self._fetch())
            except MarketDataError as error:
                _log.warning("the token could not be renewed: %s", error)
                await self._pace.sleep(self._backoff.delay(attempt, self._pace.chance()))
            else:
                self.change()
                return
