"""Socket.IO over a websocket, by python-socketio, whose own reconnecting is switched off.

Promises that a call has its answer, fails after a while, or ends with the connection. What fails is that call
and nothing else; only where the server does not say what it sends from now on, begins everything anew.
Half-open connections are noticed by the pings of Engine.IO, at the pace the server asks for.
"""

import asyncio
import logging
import ssl as tls
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import aiohttp
import socketio

from marketstream_sdk.address import Address
from marketstream_sdk.errors import (
    ConnectionLostError,
    InvalidMessageError,
    MarketDataError,
    SubscriptionError,
)
from marketstream_sdk.event_model import EventFilter
from marketstream_sdk.model import MarketQuote
from marketstream_sdk.payload import named
from marketstream_sdk.reconcile import Call, EventCall, Terms, reconcile
from marketstream_sdk.transports.base import Connection, Goal, Receive, Transport
from marketstream_sdk.transports.calls import Calls
from marketstream_sdk.wire import (
    REFUSALS,
    Fault,
    Refused,
    parse_event,
    parse_failure,
    parse_market_quote,
    parse_refused,
    parse_subscriptions,
    unreachable,
)

NAMESPACE = "/market-data"

_FAREWELL = 1.0  # seconds for saying good-bye to a server that may not be there

_log = logging.getLogger("marketstream_sdk")
# The library tells of every packet, and complains of what reaches users as an error of this package anyway.
_quiet = logging.getLogger("marketstream_sdk.socketio")
_quiet.setLevel(logging.CRITICAL)


class SocketIoTransport:
    """See `Transport`.

    Args:
        address: Where the server is.
        path: Path of Socket.IO below it.
        ssl: TLS settings; None for the usual ones.
        call_timeout: Seconds that an answer may take.
    """

    name = "socketio"
    every = True
    channels = True

    def __init__(
        self, address: Address, *, path: str, ssl: tls.SSLContext | None, call_timeout: float
    ) -> None:
        self._address = address
        self._path = address.path(path).strip("/")
        self._ssl = ssl
        self._call_timeout = call_timeout

    async def connect(self, token: str, goal: Callable[[], Goal], receive: Receive) -> Connection:  # noqa: ARG002 - here symbols are named afterwards
        """See `Transport.connect`."""
        connector = aiohttp.TCPConnector(ssl=self._ssl or True)
        connection = SocketIoConnection(connector, receive, self._call_timeout)
        try:
            await connection.open(self._address.root, self._path, token, self._call_timeout)
        except BaseException:
            await connection.close()
            raise
        return connection


class SocketIoConnection:
    """See `Connection`.

    Args:
        connector: What it connects by; closed with it.
        receive: Told of each message.
        call_timeout: Seconds that an answer may take.
    """

    def __init__(self, connector: aiohttp.BaseConnector, receive: Receive, call_timeout: float) -> None:
        self.lost: asyncio.Future[MarketDataError] = asyncio.get_running_loop().create_future()
        self._opened: list[aiohttp.ClientResponse] = []
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._note)
        self._session = aiohttp.ClientSession(connector=connector, trace_configs=[trace])
        self._receive = receive
        self._confirmed: dict[str, Terms] = {}
        self._channels: set[str] = set()
        self._refusal: MarketDataError | None = None
        self._watch: asyncio.Task[None] | None = None
        self._socket = socketio.AsyncClient(
            reconnection=False,
            http_session=self._session,
            handle_sigint=False,
            logger=_quiet,
            engineio_logger=_quiet,
        )
        self._calls = Calls(partial(self._socket.emit, namespace=NAMESPACE), self.lost, call_timeout)
        self._socket.on("*", self._take, namespace=NAMESPACE)
        self._socket.on("connect_error", self._refused, namespace=NAMESPACE)

    @property
    def confirmed(self) -> tuple[str, ...]:
        """See `Connection.confirmed`."""
        return tuple(self._confirmed)

    async def open(self, root: str, path: str, token: str, timeout: float) -> None:  # noqa: ASYNC109 - python-socketio wants the seconds
        """Make the connection; see `Transport.connect`."""
        try:
            await self._socket.connect(
                root,
                auth={"token": token},
                transports=["websocket"],
                namespaces=[NAMESPACE],
                socketio_path=path,
                wait_timeout=timeout,
            )
        except socketio.exceptions.ConnectionError as error:
            raise self._refusal or ConnectionLostError(f"cannot connect to {root}: {error}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ConnectionLostError(f"cannot connect to {root}: {error}") from error
        # The library's reader waits as long as the protocol says, interval and time-out of pings together.
        # Its writer gives up sooner: a server that is busy for a moment would get a new connection for it.
        engine = self._socket.eio
        engine.ping_interval, engine.ping_timeout = 0.0, engine.ping_interval + engine.ping_timeout
        # The library's `disconnect` event has a gap while it connects; its reader's end has none.
        self._watch = asyncio.create_task(self._wait_for_end(), name="marketstream socket")

    async def align(self, goal: Callable[[], Goal]) -> None:
        """See `Connection.align`."""
        while True:
            wanted = goal()
            calls = reconcile(wanted.symbols, self._confirmed)
            if calls:
                await self._carry_out(calls[0])
            elif not await self._align_channels(wanted.channels):
                return

    async def renew(self, token: str) -> None:
        """See `Connection.renew`."""
        await self._calls.require("authenticate", {"token": token})
        # Under another plan the server leaves what it does not cover, and says so only when asked.
        left = await self._calls.make("subscriptions", {})
        if parse_failure(left) is None:
            kept = {str(entry["symbol"]) for entry in left.get("symbols", [])}
            self._confirmed = {key: terms for key, terms in self._confirmed.items() if key in kept}
            self._channels &= set(left.get("channels", []))

    async def get_quote(self, symbol: str) -> MarketQuote:
        """See `Connection.get_quote`."""
        return parse_market_quote(await self._calls.require("get_quote", {"symbol": symbol}))

    async def event_subscriptions(self) -> dict[str, EventFilter | None]:
        """See `Connection.event_subscriptions`."""
        return parse_subscriptions(await self._calls.require_of_events("event_subscriptions", {}))

    async def change_events(self, call: EventCall) -> None:
        """See `Connection.change_events`."""
        await self._calls.require_of_events(call.event, call.payload)

    async def close(self) -> None:
        """See `Connection.close`."""
        self._lose(ConnectionLostError("it was closed"))
        farewell = asyncio.ensure_future(self._socket.disconnect())
        await asyncio.wait([farewell], timeout=_FAREWELL)
        # Without its sockets the library's tasks come to their end, also those that waited for the server.
        await self._session.close()
        # The library forgets a websocket whose first packet does not come in time; nobody else would close it
        for response in self._opened:
            response.close()
        ending = [farewell] if self._watch is None else [farewell, self._watch]
        await asyncio.gather(*ending, return_exceptions=True)

    async def _note(self, _session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
        self._opened.append(end.response)

    async def _carry_out(self, call: Call) -> None:
        answer = await self._calls.settle(call.event, call.payload)
        if call.terms is None:
            for symbol in call.symbols:
                self._confirmed.pop(symbol, None)
            return
        self._confirmed |= dict.fromkeys(named(answer, "subscribed", call.symbols), call.terms)
        self._refuse(call.symbols, answer, lambda symbol: self._confirmed.get(symbol) == call.terms)

    async def _align_channels(self, wanted: tuple[str, ...]) -> bool:
        """Return whether there was something to say of channels; then one call is made."""
        leaving = sorted(self._channels.difference(wanted))
        joining = [name for name in wanted if name not in self._channels]
        if leaving:
            await self._calls.settle("unsubscribe", {"symbols": [], "channels": leaving})
            self._channels.difference_update(leaving)
        elif joining:
            answer = await self._calls.settle("subscribe", {"channels": joining})
            self._channels.update(named(answer, "channels", joining))
            self._refuse(joining, answer, self._channels.__contains__)
        return bool(leaving or joining)

    def _refuse(
        self, asked: tuple[str, ...] | list[str], answer: Mapping[str, Any], had: Callable[[str], bool]
    ) -> None:
        """Tell of what was asked for and is not confirmed."""
        reasons = {error.symbol: error for error in parse_refused(answer.get("errors"))}
        missing = [name for name in asked if not had(name)]
        if missing:
            self._receive(
                Refused(
                    tuple(reasons.get(name) or SubscriptionError(name, "not confirmed") for name in missing)
                )
            )
            for name in missing:
                self._confirmed.pop(name, None)

    async def _wait_for_end(self) -> None:
        await self._socket.eio.wait()
        self._lose(ConnectionLostError("the connection ended"))

    def _take(self, event: str, *arguments: object) -> None:
        try:
            message = parse_event(event, arguments[0] if arguments else None)
        except InvalidMessageError:
            _log.warning("passed over a message", exc_info=True)
            return
        if isinstance(message, Fault) and message.code in REFUSALS:
            self._lose(unreachable(message.code, message.text))
        if message is not None:
            self._receive(message)

    def _refused(self, reason: object = None) -> None:
        """Note why the server refused the client; `connect` fails with it."""
        if isinstance(reason, Mapping):
            data = reason.get("data")
            code = str(data.get("code", "")) if isinstance(data, Mapping) else str(reason.get("code", ""))
            self._refusal = unreachable(code, str(reason.get("message", "the server refused the connection")))

    def _lose(self, error: MarketDataError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)


_: type[Transport] = SocketIoTransport
__: type[Connection] = SocketIoConnection
