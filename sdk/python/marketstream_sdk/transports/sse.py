"""Server-sent events over a response that does not end.

A stream's symbols are named when it is opened, so another set is another stream: the new one is opened
before the old one is closed. The token travels in a header, never in the URL. Half-open streams are noticed
by silence: a server says something every 15 s.
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
from marketstream_sdk.cursors import Cursors
from marketstream_sdk.errors import (
    ConnectionLostError,
    InvalidMessageError,
    MarketDataError,
    RateLimitedError,
    SubscriptionError,
)
from marketstream_sdk.events import Event, EventParser
from marketstream_sdk.model import MarketQuote
from marketstream_sdk.reconcile import Terms
from marketstream_sdk.transports.base import Connection, Goal, Receive, Transport
from marketstream_sdk.transports.http import Http, read_body, read_error, read_obstacle, retry_after
from marketstream_sdk.wire import (
    REFUSALS,
    Fault,
    Prices,
    Refused,
    parse_event,
    parse_market_quote,
    parse_refused,
    refusal,
    unreachable,
)

STREAM = "/market-data/stream"
QUOTE = "/api/v1/market/quote/"
PROBE = "/api/v1/market/providers"

CONNECTION_LIMIT = "CONNECTION_LIMIT"

_UNQUOTED = "/,:=@"
_NOT_TO_BE_HAD = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN})
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
            if goal().symbols:
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
        self._response: aiohttp.ClientResponse | None = None
        self._reader: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def confirmed(self) -> tuple[str, ...]:
        """See `Connection.confirmed`."""
        return tuple(self._confirmed)

    async def align(self, goal: Callable[[], Goal]) -> None:
        """See `Connection.align`."""
        async with self._turn:
            while (wanted := dict(goal().symbols)) != self._confirmed:
                if wanted:
                    await self._switch(wanted)
                else:
                    await self._change({}, None)

    async def probe(self) -> None:
        """Finds out whether the server is there and takes the token, as long as there is nothing to stream.

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
            except MarketDataError:
                self._token = before
                raise

    async def get_quote(self, symbol: str) -> MarketQuote:
        """See `Connection.get_quote`."""
        response = await self._http.get(QUOTE + quote(symbol, safe=""), self._token)
        async with response:
            body = await read_body(response)
            if response.status == HTTPStatus.OK:
                return parse_market_quote(body)
            if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                raise RateLimitedError(retry_after(response))
            raise refusal(*read_error(response, body))

    async def close(self) -> None:
        """See `Connection.close`."""
        self._lose(ConnectionLostError("it was closed"))
        await self._change({}, None)
        await self._http.close()

    async def _switch(self, wanted: dict[str, Terms]) -> None:
        """Opens a stream of these symbols, then ends the one before."""
        try:
            response = await self._open(wanted)
        except ConnectionLostError as error:
            if error.code != CONNECTION_LIMIT or self._reader is None:
                raise
            # There is no room for two: then without an overlap.
            await self._change({}, None)
            response = await self._open(wanted)
        if response is not None:
            await self._change(wanted, response)

    async def _open(self, wanted: Mapping[str, Terms]) -> aiohttp.ClientResponse | None:
        """The response whose body is the stream; None when some symbols are not to be had, which was told."""
        query = "symbols=" + quote(",".join(wanted), safe=_UNQUOTED)
        rates = {terms.max_rate for terms in wanted.values()}
        if 0 not in rates:
            query += f"&maxRate={max(rates)}"
        last = self._cursors.resume(wanted)
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        response = await self._http.get(f"{STREAM}?{query}", self._token, headers)
        if response.status == HTTPStatus.OK:
            return response
        if response.status not in _NOT_TO_BE_HAD:
            raise await read_obstacle(response)
        async with response:
            _, text = read_error(response, await read_body(response))
        told = [error for error in parse_refused(text.split("; ")) if error.symbol in wanted]
        # A server that names none of them means all of them.
        self._receive(Refused(tuple(told or (SubscriptionError(symbol, text) for symbol in wanted))))
        return None

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        """Reads a stream to its end, which is that of the connection."""
        parser = EventParser()
        try:
            async for chunk in response.content.iter_any():
                for event in parser.feed(chunk):
                    self._take(event)
            self._lose(ConnectionLostError("the stream ended"))
        except TimeoutError:
            self._lose(ConnectionLostError("the stream has been silent for too long"))
        except (aiohttp.ClientError, OSError, InvalidMessageError) as error:
            self._lose(ConnectionLostError(f"the stream broke: {error}"))

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

    async def _change(self, confirmed: dict[str, Terms], response: aiohttp.ClientResponse | None) -> None:
        """Goes on with another stream, or with none, and ends the one before."""
        reader, before = self._reader, self._response
        self._confirmed, self._response, self._reader = confirmed, response, None
        if response is not None:
            self._reader = asyncio.create_task(self._read(response), name="marketstream stream")
        if reader is not None and before is not None:
            reader.cancel()
            before.close()
            await asyncio.wait([reader])

    def _lose(self, error: MarketDataError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


_: type[Transport] = SseTransport
__: type[Connection] = SseConnection
