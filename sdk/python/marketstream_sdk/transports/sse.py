"""Server-sent events over a response that does not end.

A stream's symbols are named when it is opened, so another set is another stream: the new one is opened
before the old one is closed. Events of the user come over a stream of their own, which names nothing. The
token travels in a header, never in the URL. Half-open streams are noticed by silence: a server says something
every 15 s.
"""

import asyncio
import json
import logging
import ssl as tls
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import quote

import aiohttp

from marketstream_sdk.address import Address
from marketstream_sdk.errors import (
    ConnectionLostError,
    InvalidMessageError,
    MarketDataError,
    RateLimitedError,
)
from marketstream_sdk.event_model import EventFilter
from marketstream_sdk.model import MarketQuote
from marketstream_sdk.progress import Cursors
from marketstream_sdk.reconcile import EventCall, Terms
from marketstream_sdk.transports.base import Connection, Goal, Receive, Transport
from marketstream_sdk.transports.event_stream import Event, Reading, comes_too_late, read_refused, stream_path
from marketstream_sdk.transports.http import (
    ACCEPT,
    Http,
    change_events,
    event_subscriptions,
    open_events,
    read_answer,
    read_obstacle,
)
from marketstream_sdk.wire import (
    REFUSALS,
    Fault,
    Prices,
    Refused,
    parse_event,
    parse_market_quote,
    patience,
    unreachable,
)

QUOTE = "/api/v1/market/quote/"
PROBE = "/api/v1/market/providers"

CONNECTION_LIMIT = "CONNECTION_LIMIT"

OVERLAP = 0.5
"""Seconds that a stream of events goes on beside the next one: a server may collect events for a moment."""

_NOT_NOW = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS})

_log = logging.getLogger("marketstream_sdk")


class SseTransport:
    """See `Transport`.

    Args:
        address: Where the server is.
        ssl: TLS settings; None for the usual ones.
        call_timeout: Seconds that an answer may take.
        idle_timeout: Seconds of silence after which a stream counts as lost.
    """

    name = "sse"
    every = False
    channels = False

    def __init__(
        self, address: Address, *, ssl: tls.SSLContext | None, call_timeout: float, idle_timeout: float
    ) -> None:
        self._address = address
        self._ssl = ssl
        self._call_timeout = call_timeout
        self._idle_timeout = idle_timeout
        # Kept from one connection to the next: that is what they are for.
        self._cursors = Cursors()

    async def connect(self, token: str, goal: Callable[[], Goal], receive: Receive) -> Connection:
        """See `Transport.connect`."""
        http = Http(self._address, self._ssl, self._call_timeout, self._idle_timeout)
        connection = SseConnection(http, token, receive, self._cursors)
        try:
            if goal().symbols or goal().events:
                await connection.align(goal)
            else:
                await connection.probe()
        except BaseException:
            await connection.close()
            raise
        return connection


class SseConnection:
    """See `Connection`.

    Args:
        http: What it asks by; closed with it.
        token: Who the client is.
        receive: Told of each message.
        cursors: Where the client is in the stream.
    """

    def __init__(self, http: Http, token: str, receive: Receive, cursors: Cursors) -> None:
        self.lost: asyncio.Future[MarketDataError] = asyncio.get_running_loop().create_future()
        self._http = http
        self._token = token
        self._receive = receive
        self._cursors = cursors
        self._confirmed: dict[str, Terms] = {}
        self._prices: Reading | None = None
        self._events: Reading | None = None
        self._has_events = False
        self._turn = asyncio.Lock()

    @property
    def confirmed(self) -> tuple[str, ...]:
        """See `Connection.confirmed`."""
        return tuple(self._confirmed)

    async def align(self, goal: Callable[[], Goal]) -> None:
        """See `Connection.align`."""
        async with self._turn:
            more = True
            while more:
                try:
                    more = await self._step(goal())
                except ConnectionLostError as error:
                    await self._wait_for_turn(error)

    async def _step(self, wanted: Goal) -> bool:
        """Do one thing towards what is wanted; return whether there was one to do."""
        if wanted.events != self._has_events:
            await self._switch_events(wanted=wanted.events)
        elif not wanted.symbols and self._confirmed:
            await self._change({}, None)
        elif wanted.symbols != self._confirmed:
            await self._switch(dict(wanted.symbols))
        else:
            return False
        return True

    async def probe(self) -> None:
        """Find out whether the server is there and take the token, as long as there is nothing to stream.

        Raises:
            AuthenticationError: It does not take the token.
            ConnectionLostError: It is not there.
        """
        response = await self._http.get(PROBE, self._token)
        if response.status in _NOT_NOW or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise await read_obstacle(response)
        response.release()

    async def renew(self, token: str) -> None:
        """See `Connection.renew`."""
        async with self._turn:
            before, self._token = self._token, token
            try:
                if self._confirmed:
                    await self._switch(dict(self._confirmed))
                if self._has_events:
                    await self._switch_events(wanted=True)
            except MarketDataError:
                self._token = before
                raise

    async def get_quote(self, symbol: str) -> MarketQuote:
        """See `Connection.get_quote`."""
        answer = await read_answer(await self._http.get(QUOTE + quote(symbol, safe=""), self._token))
        return parse_market_quote(answer)

    async def event_subscriptions(self) -> dict[str, EventFilter | None]:
        """See `Connection.event_subscriptions`."""
        return await event_subscriptions(self._http, self._token)

    async def change_events(self, call: EventCall) -> None:
        """See `Connection.change_events`."""
        await change_events(self._http, self._token, call)

    async def close(self) -> None:
        """See `Connection.close`."""
        self._lose(ConnectionLostError("it was closed"))
        try:
            await self._change({}, None)
            await self._change_events(None)
        finally:
            # Also when whoever closes it is cancelled meanwhile: nobody else would.
            await self._http.close()

    async def _switch(self, wanted: dict[str, Terms]) -> None:
        """Open a stream of these symbols, then end the one before."""
        try:
            response = await self._open(wanted)
        except ConnectionLostError as error:
            if error.code != CONNECTION_LIMIT or self._prices is None:
                raise
            # There is no room for two: then without an overlap.
            await self._change({}, None)
            response = await self._open(wanted)
        if response is not None:
            await self._change(wanted, response)

    async def _open(self, wanted: Mapping[str, Terms]) -> aiohttp.ClientResponse | None:
        """Return the response whose body is the stream; None where some are not to be had, which was told."""
        last = self._cursors.resume(wanted)
        headers = ACCEPT | ({"Last-Event-ID": last} if last else {})
        response = await self._http.get(stream_path(wanted), self._token, headers)
        if response.status == HTTPStatus.OK:
            return response
        self._receive(await read_refused(response, wanted, self._confirmed))
        return None

    async def _wait_for_turn(self, error: ConnectionLostError) -> None:
        """Wait after a stream that came too early, while what streams there are go on; raise any other."""
        if error.code != RateLimitedError.code or (self._prices is None and self._events is None):
            raise error
        await asyncio.wait([self.lost], timeout=patience(error.retry_after))
        if self.lost.done():
            raise self.lost.result()

    def _take(self, event: Event) -> None:
        try:
            message = parse_event(event.name, json.loads(event.data))
        except (InvalidMessageError, ValueError):
            _log.warning("passed over a message", exc_info=True)
            return
        match message:
            case Prices((only,)):
                self._cursors.note(only.symbol, event.ident)
            case Refused(errors):
                for error in errors:
                    self._confirmed.pop(error.symbol, None)
            case Fault(code, text) if code in REFUSALS:
                self._lose(unreachable(code, text))
        if message is not None:
            self._receive(message)

    def _take_event(self, event: Event) -> None:
        # Both streams say it; the token is to be replaced once.
        if event.name != "token_expiring" or self._prices is None:
            self._take(event)

    async def _change(self, confirmed: dict[str, Terms], response: aiohttp.ClientResponse | None) -> None:
        """Go on with another stream of prices, or with none, and end the one before."""
        if comes_too_late(response, self.lost):
            return
        before = self._prices
        self._confirmed = confirmed
        self._prices = None if response is None else Reading(response, self._take, self._lose)
        if before is not None:
            await before.end()

    async def _switch_events(self, *, wanted: bool) -> None:
        """Open a stream of events, or none, then end the one before; for a moment both bring the same."""
        response = await self._open_events() if wanted else None
        self._has_events = wanted
        await self._change_events(response, OVERLAP)

    async def _open_events(self) -> aiohttp.ClientResponse | None:
        """Return the response whose body is the stream; None where there are no events for this user."""
        try:
            return await open_events(self._http, self._token)
        except ConnectionLostError as error:
            if error.code != CONNECTION_LIMIT or self._events is None:
                raise
            await self._change_events(None)
            return await open_events(self._http, self._token)

    async def _change_events(self, response: aiohttp.ClientResponse | None, overlap: float = 0.0) -> None:
        if comes_too_late(response, self.lost):
            return
        before = self._events
        self._events = None if response is None else Reading(response, self._take_event, self._lose)
        if before is None:
            return
        try:
            if response is not None:
                await asyncio.sleep(overlap)
        finally:
            await before.end()

    def _lose(self, error: MarketDataError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


_: type[Transport] = SseTransport
__: type[Connection] = SseConnection
