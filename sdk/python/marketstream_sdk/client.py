"""The client: quotes by callbacks and iterators, kept going over reconnects.

Promises that each consumer of a symbol gets its newest quotes in order, none older than one it had and none
twice, whatever happens to the connection; that no consumer delays another; and that everyone who waits is
told when there is nothing more to wait for. It lives in one event loop.
"""

import asyncio
import random
import ssl as tls
from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Self

from marketstream_sdk.address import Address
from marketstream_sdk.consumer import Callback, CallbackConsumer, Consumer
from marketstream_sdk.dispatcher import Dispatcher, taken
from marketstream_sdk.errors import NotConnectedError, UnsupportedError
from marketstream_sdk.event_client import EventClient
from marketstream_sdk.lifecycle import Lifecycle
from marketstream_sdk.link import Link, Pace, Token
from marketstream_sdk.model import Channel, ChannelUpdate, MarketQuote, Mode, Quote, State, StreamStatus
from marketstream_sdk.reconcile import Terms
from marketstream_sdk.retry import Backoff
from marketstream_sdk.stream import QuoteStream
from marketstream_sdk.symbols import channel_names, normalise
from marketstream_sdk.transports import Transport, Way, make_transport

_REAL = Pace(sleep=asyncio.sleep, chance=random.random)


class MarketDataClient(EventClient):
    """A client of one marketstream server.

    Use it as `async with MarketDataClient(url, token=...) as client`, or call `connect` and `close`.

    Args:
        url: Base URL of the server, such as `https://prices.example.com`.
        token: A token, or a function (asynchronous or not) that gets a new one: asked for each connection,
            and when a token ends soon.
        transport: `socketio`, or `sse` where only plain HTTP passes. The latter has no mode `every`, no
            channels, and one rate for all symbols. Or a way of your own, after `transports.base`.
        reconnect_attempts: Attempts in a row until the client gives up; 0 for never.
        connect_timeout: Seconds that one attempt may take, with getting a token.
        call_timeout: Seconds that the server may take for an answer; then that call has failed. One that says
            what the server shall send takes the connection with it.
        idle_timeout: Seconds of silence after which an SSE stream counts as lost.
        path: Path of Socket.IO below the URL.
        ssl: TLS settings; the usual ones unless given.
        pace: Time and chance; for tests.

    Raises:
        ValueError: The URL, or an option, is impossible.
    """

    def __init__(  # noqa: PLR0913 - options are keywords, each with a default
        self,
        url: str,
        *,
        token: Token,
        transport: Way | Transport = "socketio",
        reconnect_attempts: int = 5,
        connect_timeout: float = 10.0,
        call_timeout: float = 10.0,
        idle_timeout: float = 40.0,
        path: str = "/socket.io/",
        ssl: tls.SSLContext | None = None,
        pace: Pace = _REAL,
    ) -> None:
        self._url = url
        self._transport = make_transport(
            transport,
            Address.parse(url),
            path=path,
            ssl=ssl,
            call_timeout=call_timeout,
            idle_timeout=idle_timeout,
        )
        # The lifecycle needs the dispatcher, so it comes after it.
        dispatcher = Dispatcher(
            changed=lambda: self._life.change(),  # noqa: PLW0108
            expiring=lambda: self._life.expire(),  # noqa: PLW0108
            events_changed=lambda: self._life.change_events(),  # noqa: PLW0108
        )
        super().__init__(dispatcher)
        make_link = partial(
            Link,
            self._dispatcher,
            transport=self._transport,
            token=token,
            backoff=Backoff(reconnect_attempts),
            connect_timeout=connect_timeout,
            pace=pace,
        )
        self._life = Lifecycle(self._dispatcher, make_link)

    def __repr__(self) -> str:
        return f"<MarketDataClient {self._url} {self.state}>"

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except asyncio.CancelledError:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def state(self) -> State:
        """Where the client is."""
        return self._life.state

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self.state == "connected"

    async def connect(self) -> None:
        """Connect, trying again as often as it may; does nothing when connected.

        Raises:
            ConnectionFailedError: The server cannot be reached.
            AuthenticationError: It does not accept the token.
            NotConnectedError: The client was closed meanwhile.
        """
        await self._life.connect()

    async def close(self) -> None:
        """End every stream and callback and the connection; `connect` begins anew.

        Streams end as if there were no more quotes. A callback that is running is cancelled.
        """
        await self._life.close()

    async def disconnect_stream(self) -> None:
        """Call `close` at the end of the block."""
        await self.close()

    def get_stream_status(self) -> StreamStatus:
        """Return what the client can say of itself at this moment."""
        return self._life.status()

    async def subscribe(
        self,
        symbols: str | Iterable[str],
        callback: Callback[Quote],
        *,
        mode: Mode = "latest",
        max_rate: float = 0,
    ) -> tuple[str, ...]:
        """Have a function called with each new quote of some symbols.

        It is called once per quote, however often it is subscribed; subscribing it again adds symbols, or
        changes mode and rate. It gets the last known quote at once, if there is one. While there is no
        connection this returns at once, and is made good later.

        Args:
            symbols: Several, or a single one.
            callback: The function; may be asynchronous, and is then waited for before its next call.
            mode: `latest`: the newest value; `every`: all values in order (Socket.IO only).
            max_rate: Updates a second and symbol at most; 0 for no limit. Consumers of one symbol share the
                highest.

        Returns:
            The symbols that it is subscribed to now of those that were named.

        Raises:
            InvalidSymbolError: One of them cannot be a symbol, or there is none.
            SubscriptionError: The server has refused all of them; this is the first.
            UnsupportedError: The transport has no such mode.
        """
        names, terms = normalise(symbols), self._terms(mode, max_rate)
        consumer = self._dispatcher.quotes.find(callback) or CallbackConsumer(callback)
        with self._dispatcher.refusals() as refused:
            self._dispatcher.join(consumer, names, terms)
            await self._life.settle()
        return taken(names, refused)

    async def unsubscribe(
        self, symbols: str | Iterable[str], callback: Callback[Quote] | None = None
    ) -> None:
        """End the calls for some symbols; streams are not touched.

        Args:
            symbols: Several, or a single one.
            callback: The only one to silence; None for all of them.

        Raises:
            InvalidSymbolError: One of them cannot be a symbol, or there is none.
        """
        names = normalise(symbols)
        for consumer in self._dispatcher.quotes.callbacks:
            if callback is None or consumer.callback == callback:
                self._dispatcher.quotes.leave(consumer, names)
        await self._life.settle()

    def remove_callback(self, callback: Callback[Quote]) -> bool:
        """End all calls of a function; return whether there were any to end."""
        consumer = self._dispatcher.quotes.find(callback)
        if consumer is not None:
            self._dispatcher.quotes.leave(consumer)
        return consumer is not None

    def stream_quotes(
        self,
        symbols: str | Iterable[str],
        callback: Callback[Quote] | None = None,
        *,
        mode: Mode = "latest",
        max_rate: float = 0,
    ) -> QuoteStream:
        """Quotes of some symbols, as they come: `async for quote in client.stream_quotes(["EUR/USD"])`.

        Each stream is on its own, and ends when it is closed or dropped. Arguments and errors are those of
        `subscribe`; what the server refuses is raised from the stream once it has refused all.

        Args:
            symbols: Several, or a single one.
            callback: Called with each quote before the loop gets it; may be asynchronous.
            mode: See `subscribe`.
            max_rate: See `subscribe`.
        """
        names, terms = normalise(symbols), self._terms(mode, max_rate)
        consumer: Consumer[Quote] = Consumer()
        stream = QuoteStream(consumer, partial(self._dispatcher.quotes.leave, consumer), callback)
        if self.state in {"closed", "failed"}:
            consumer.end(self._life.error or NotConnectedError("the client is closed"))
        else:
            self._dispatcher.join(consumer, names, terms)
        return stream

    async def get_quote(self, symbol: str) -> MarketQuote:
        """Return one quote, now.

        Raises:
            InvalidSymbolError: It cannot be a symbol.
            NotConnectedError: There is no connection.
            RequestError: The server has no such quote, does not give it, or does not answer (`TIMEOUT`).
        """
        [name] = normalise(symbol)
        connection = self._life.link.connection if self._life.link else None
        if connection is None:
            raise NotConnectedError(f"there is no connection now: the client is {self.state}")
        return await connection.get_quote(name)

    async def subscribe_channels(
        self, channels: Channel | Iterable[Channel], callback: Callback[ChannelUpdate]
    ) -> tuple[str, ...]:
        """Have a function called with each update of some channels (Socket.IO only).

        Args:
            channels: `indices`, `sectors`, `sentiment`, `movers`.
            callback: The function; may be asynchronous.

        Returns:
            The channels that it hears now.

        Raises:
            ValueError: No channel is named.
            SubscriptionError: The server has refused all of them; this is the first.
            UnsupportedError: The transport has no channels.
        """
        names = channel_names(channels)
        if not self._transport.channels:
            raise UnsupportedError(f"there are no channels over {self._transport.name}; use socketio")
        with self._dispatcher.refusals() as refused:
            self._dispatcher.updates.join(
                self._dispatcher.updates.find(callback) or CallbackConsumer(callback), names, Terms()
            )
            await self._life.settle()
        return taken(names, refused)

    async def unsubscribe_channels(
        self, channels: Channel | Iterable[Channel], callback: Callback[ChannelUpdate] | None = None
    ) -> None:
        """End the calls for some channels; with a callback only those of that one."""
        names = channel_names(channels)
        for consumer in self._dispatcher.updates.callbacks:
            if callback is None or consumer.callback == callback:
                self._dispatcher.updates.leave(consumer, names)
        await self._life.settle()

    def _terms(self, mode: Mode, max_rate: float) -> Terms:
        terms = Terms(mode, max_rate)
        if mode == "every" and not self._transport.every:
            raise UnsupportedError(f"there is no mode 'every' over {self._transport.name}; use socketio")
        return terms
