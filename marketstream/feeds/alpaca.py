"""Stream shares from Alpaca's market-data stream v2.

One connection at a time, as an account has no more. The reader only moves bytes, into a backlog of bounded
size; they are parsed and offered by another task, frame by frame, with everybody else's turn in between. A
backlog that is full ends the connection: its prices are old, and a frame left out may hold an answer.

Of the symbols that somebody watches it has as many as fit into `cap` streams (`alpaca_streams`). Whatever the
vendor sends of a symbol that was not chosen is left out: it goes on for a while after it was told to stop.

It refuses to go on (`FeedError`) when the vendor does not know the keys or does not sell this. After every
other end it raises `FeedLostError` and keeps in mind what it had, for the next `run` to have it again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, ClientWSTimeout, WSMsgType

from marketstream.core.backoff import HEALTHY_AFTER
from marketstream.core.market.model import Quote
from marketstream.core.market.ticker import Tickers
from marketstream.errors import FeedError, FeedLostError
from marketstream.feeds.alpaca_streams import Streams
from marketstream.feeds.reception import Reception
from marketstream.ports import Clock, Feed, QuoteSink, Streaming, StreamStatus
from marketstream.wire.vendors import alpaca
from marketstream.wire.vendors.alpaca_request import auth_headers, reaction, render_auth

PATIENCE = 10.0
"""Seconds that the vendor may take for an answer."""

SILENCE = 30.0
"""Seconds without a byte, be it the answer to a ping, after which a connection counts as lost."""

BUSY_WAIT = 60.0
"""Seconds before the next try while the account's only connection is held by somebody else."""

DELAY = 30 * 60.0
"""Seconds by which no price of the vendor should be late: those that are sold late are by fifteen minutes."""

BACKLOG = 8 * 1024 * 1024
"""Bytes that may wait to be parsed: about a second of the busiest minute of all shares."""

_OVERHEAD = 64  # a frame in the backlog is more than its bytes
_LOOK = 1.0
_FAREWELL = ClientWSTimeout(ws_close=0.5)


@dataclass(frozen=True, slots=True)
class Access:
    """How to be let in.

    Attributes:
        url: Address of the stream.
        key: Key id of the account.
        secret: Its secret.
        by_headers: Whether the keys go with the upgrade instead of the first message.
    """

    url: str
    key: str
    secret: str = field(repr=False)
    by_headers: bool = False


class AlpacaFeed:
    """Offers quotes that carry the last trade, and the volume of the day where daily bars are asked for.

    Args:
        access: How to be let in.
        source: Name that its quotes carry.
        channels: Channels to have each symbol on, of `alpaca.CHANNELS`.
        cap: Streams that the account may have; None: any number.
        stale_after: Seconds after which a symbol of it that is silent leaves the best price; None: as the
            server does.
        mute_after: Seconds without any price, while symbols are subscribed, after which the link counts
            as lost; None: prices may stay away for ever, as they do at night.
        busy_wait: Seconds before the next try while somebody else holds the account's connection.
        clock: Time.
        sleep: Waits that many seconds.
    """

    name = "alpaca"

    def __init__(  # noqa: PLR0913  # each is a parameter of `--feed`, and all are given by name
        self,
        *,
        access: Access,
        source: str,
        channels: Sequence[str] = ("quotes", "trades"),
        cap: int | None = 30,
        stale_after: float | None = None,
        mute_after: float | None = None,
        busy_wait: float = BUSY_WAIT,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stale_after = stale_after
        self.access = access
        self.source = source
        self.channels = tuple(channels)
        self.mute_after = mute_after
        self.busy_wait = busy_wait
        self.clock = clock
        self.sleep = sleep
        self.reception = Reception(source, clock, DELAY)
        self.last_ms: int | None = None
        self._cap = cap
        self._room = cap
        self._held: frozenset[str] = frozenset()
        self._attempts = 0
        self._session: _Session | None = None

    def status(self) -> StreamStatus:
        """See `ports.Streaming.status`."""
        session = self._session
        return StreamStatus(
            connected=session is not None and session.admitted,
            symbols=0 if session is None else len(session.streams.symbols),
            left_out=0 if session is None else len(session.streams.left_out),
            attempts=self._attempts,
            last_ms=self.last_ms,
            skipped=self.reception.skipped,
            ahead=self.reception.ahead,
            offset_ms=self.reception.offset_ms,
        )

    async def run(self, sink: QuoteSink) -> None:
        """Keep one connection and follow what is watched, until the connection is lost.

        Args:
            sink: Where quotes go, and who knows what is watched.

        Raises:
            FeedError: The vendor refuses the keys, or the account may not have this.
            FeedLostError: The connection was lost, or could not be had.
        """
        self._attempts += 1
        began = self.clock.now()
        streams = Streams(self.source, self.channels, self._room, self._held)
        session = self._session = _Session(self, streams)
        try:
            await session.run(sink)
        except TimeoutError as error:
            raise FeedLostError(f"{self.source}: no answer for {PATIENCE:g} s") from error
        except (ClientError, OSError) as error:
            raise FeedLostError(f"{self.source}: {error}") from error
        finally:
            self._session = None
            self._held = session.streams.chosen
            if session.too_slow:
                self._room = max(len(self.channels), len(session.streams) // 2)
            elif self.clock.now() - began >= HEALTHY_AFTER:
                self._room = self._cap


class _Session:
    """One connection, from the greeting to its end.

    Attributes:
        streams: What it has, and what it should have.
        admitted: Whether the vendor has let us in, and has not gone since.
        too_slow: Whether the vendor ended it because we did not read fast enough.
    """

    def __init__(self, feed: AlpacaFeed, streams: Streams) -> None:
        self.streams = streams
        self.admitted = False
        self.too_slow = False
        self._feed = feed
        self._clock = feed.clock
        self._greeted = False
        self._introduced = feed.access.by_headers
        self._tickers = Tickers(feed.source, sided="quotes" in feed.channels)
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._work = asyncio.Event()
        self._end: FeedLostError | None = None
        self._received_at = self._priced_at = self._clock.now()
        self._asked_at: float | None = self._received_at  # None: no answer is awaited

    async def run(self, sink: QuoteSink) -> None:
        """Connect and talk until the end.

        Raises:
            FeedError: It is of no use.
            FeedLostError: The connection ended.
            ClientError: It could not be made.
            OSError: The same, or no answer came in time.
        """
        access = self._feed.access
        headers = auth_headers(access.key, access.secret) if access.by_headers else None
        async with ClientSession() as http:
            async with asyncio.timeout(PATIENCE):
                socket = await http.ws_connect(
                    access.url, headers=headers, autoping=False, decode_text=False, timeout=_FAREWELL
                )
            try:
                await self._converse(socket, sink)
            finally:
                self.admitted = False
                await socket.close()

    async def _converse(self, socket: ClientWebSocketResponse[bool], sink: QuoteSink) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(socket))
                tasks.create_task(self._follow(sink))
                tasks.create_task(self._watch(socket))
                # In no task of its own: once cancelled, not one more price is offered.
                await self._answer(socket, sink)
        except ExceptionGroup as group:
            # Whatever ended it came first; what the other tasks made of it does not matter.
            raise group.exceptions[0] from group

    async def _read(self, socket: ClientWebSocketResponse[bool]) -> None:
        """Move frames into the backlog; the end is the last thing in it, after what was said before."""
        while self._end is None:
            message = await socket.receive()
            self._received_at = self._clock.now()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._keep(message.data)
            elif message.type is WSMsgType.PING:
                await self._send(socket.pong(message.data))
            elif message.type is not WSMsgType.PONG:
                why = socket.exception() or f"code {socket.close_code}"
                self._end = self._lost(f"the connection was closed: {why}")
            self._work.set()

    def _keep(self, frame: bytes) -> None:
        self._backlog_bytes += len(frame) + _OVERHEAD
        if self._backlog_bytes > BACKLOG:
            self._backlog.clear()
            self._end = self._lost("frames come faster than they can be parsed")
        else:
            self._backlog.append(frame)

    async def _follow(self, sink: QuoteSink) -> None:
        """Keep to what is watched."""
        known: frozenset[str] = frozenset()
        while True:
            known = await sink.interest(known)
            self.streams.want(known)
            self._tickers.keep(self.streams.chosen)
            sink.lack(self.streams.lacking)
            self._work.set()

    async def _watch(self, socket: ClientWebSocketResponse[bool]) -> None:
        """End a connection that is there and does not do what it should."""
        while True:
            await self._feed.sleep(_LOOK)
            now, mute_after = self._clock.now(), self._feed.mute_after
            if self._asked_at is not None and now - self._asked_at >= PATIENCE:
                raise self._lost(f"no answer for {PATIENCE:g} s")
            if now - self._received_at >= SILENCE:
                raise self._lost(f"not a byte for {SILENCE:g} s")
            if mute_after is not None and len(self.streams) and now - self._priced_at >= mute_after:
                raise self._lost(f"no price for {mute_after:g} s")
            if now - self._received_at >= SILENCE / 2:
                await self._send(socket.ping())

    async def _answer(self, socket: ClientWebSocketResponse[bool], sink: QuoteSink) -> None:
        """Read what waits in the backlog, then say what is to be said."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._backlog:
                frame = self._backlog.popleft()
                self._backlog_bytes -= len(frame) + _OVERHEAD
                self._receive(frame, sink)
                await asyncio.sleep(0)
            if self._end is not None:
                raise self._end
            request = self._next()
            if request is not None:
                self._asked_at = self._clock.now()
                await self._send(socket.send_str(request.decode()))

    def _next(self) -> bytes | None:
        """Return what is to be said now."""
        access = self._feed.access
        if not self._introduced and self._greeted:
            self._introduced = True
            return render_auth(access.key, access.secret)
        request = self.streams.next() if self.admitted else None
        return None if request is None else request.render()

    async def _send(self, sending: Awaitable[None]) -> None:
        # A connection that ended has something left to read, which says why.
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                await sending

    def _receive(self, frame: bytes, sink: QuoteSink) -> None:
        """Do what the messages of a frame come to."""
        feed = self._feed
        feed.last_ms = self._clock.wall_ms()
        messages, faults = alpaca.parse(frame, feed.source, feed.last_ms)
        feed.reception.refuse(faults)
        quotes: list[Quote] = []
        for message in messages:
            match message:
                case alpaca.Subscription():
                    self._confirm(message)
                    sink.lack(self.streams.lacking)
                case alpaca.Refusal():
                    self._react(message)
                    sink.lack(self.streams.lacking)
                case alpaca.Control():
                    self._step(message.text, sink)
                case _ if message.symbol in self.streams.chosen:
                    self._priced_at = self._clock.now()
                    quote = self._price(message)
                    if quote is not None:
                        quotes.append(quote)
        if quotes:
            feed.reception.take(quotes[-1].at_ms)
            sink.offer(quotes)

    def _price(self, message: Quote | alpaca.Trade | alpaca.Volume) -> Quote | None:
        """Return what the source says of a symbol now."""
        match message:
            case Quote():
                return self._tickers.quote(message)
            case alpaca.Trade():
                return self._tickers.trade(message.symbol, message.price, message.at_ms)
            case alpaca.Volume():
                self._tickers.volume(message.symbol, message.volume)
                return None

    def _step(self, text: str, sink: QuoteSink) -> None:
        """One step of the handshake."""
        if text == "connected":
            self._greeted = True
        elif text == "authenticated":
            self.admitted, self._asked_at = True, None
            sink.alive()

    def _confirm(self, subscription: alpaca.Subscription) -> None:
        self._asked_at = None
        if not len(self.streams):
            self._priced_at = self._clock.now()
        if not self.streams.confirm(subscription.streams):
            raise self._lost("what was given back is still there")

    def _react(self, refusal: alpaca.Refusal) -> None:
        """Do what an error asks for.

        Raises:
            FeedError: It will be the same next time.
            FeedLostError: The next connection may do better.
        """
        text = f"error {refusal.code}: {refusal.text}"
        match reaction(refusal.code):
            case "give up":
                raise FeedError(f"{self._feed.source}: {text}")
            case "fewer" if self.streams.refuse():
                self._asked_at = None
            case "slower":
                self.too_slow = True
                raise self._lost(text)
            case "later":
                raise self._lost(text, self._feed.busy_wait)
            case _:
                raise self._lost(text)

    def _lost(self, text: str, wait: float = 0.0) -> FeedLostError:
        return FeedLostError(f"{self._feed.source}: {text}", wait=wait)


_: type[Feed] = AlpacaFeed
__: type[Streaming] = AlpacaFeed
