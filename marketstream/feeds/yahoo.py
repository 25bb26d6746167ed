"""Stream prices from Yahoo's streamer.

It asks for what is watched and for nothing else, and again every 15 seconds, as other clients of it do. There
is no connection while nobody watches anything. One that breaks, that Yahoo closes, or that says nothing while
a market trades ends the run with the reason; the supervisor starts the next, which asks for what is watched
then. Outside of trading hours silence is taken for what it is.

The reader only moves bytes; frames are read by `wire.vendors.yahoo`. One that makes no sense is counted and
passed over. There are no sequence numbers, so nobody can tell what was lost on the way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Literal

from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, ClientWSTimeout, WSMsgType

from marketstream.core.market.hours import open_markets
from marketstream.core.market.model import Quote
from marketstream.errors import FeedLostError, InvalidMessageError
from marketstream.feeds.reception import Reception
from marketstream.ports import Clock, Feed, QuoteSink, Streaming, StreamStatus
from marketstream.wire.vendors import yahoo

URL = "wss://streamer.finance.yahoo.com/?version=2"
RESUBSCRIBE_EVERY = 15.0
"""Seconds between two askings for everything."""
MUTE_AFTER = 60.0
"""Seconds without a word, while a market trades of which there was a word before, that end a connection."""
CHECK_EVERY = 1.0
"""Seconds between two looks at what is silent."""
HANDSHAKE = 10.0
"""Seconds a connection may take to come about."""

_IDLE_AFTER = 0.5
_GOODBYE = 0.5
_PING_EVERY = 20.0
# Beyond this the socket is left to wait, and so is the other side.
_WAITING = 1024
_BATCH = 64

Socket = ClientWebSocketResponse[Literal[False]]


class YahooFeed:
    """See the module.

    Args:
        url: Where the streamer is.
        stale_after: Seconds of silence after which a symbol's price leaves; None for the server's.
        handshake: Seconds a connection may take to come about.
        mute_after: Seconds without a word, while one is due, that end a connection.
        clock: Time.
        sleep: Waits that many seconds.
    """

    name = "yahoo"

    def __init__(
        self,
        *,
        url: str = URL,
        stale_after: float | None = None,
        handshake: float = HANDSHAKE,
        mute_after: float = MUTE_AFTER,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stale_after = stale_after
        self._url = url
        self._handshake = handshake
        self.mute_after = mute_after
        self._clock = clock
        self._sleep = sleep
        self._connected = False
        self._attempts = 0
        # Of a market that is closed the last price comes, however old.
        self._reception = Reception(yahoo.SOURCE, clock)
        self._received_at = 0.0
        self._last_ms: int | None = None
        # What those who watch an instrument call it, by the symbol that stands for it.
        self._spellings: dict[str, list[str]] = {}
        # The last word of each symbol, also of those that nobody watches now: they are to be closed at night.
        self._ticks: dict[str, yahoo.Tick] = {}

    def status(self) -> StreamStatus:
        """See `ports.Streaming.status`."""
        return StreamStatus(
            connected=self._connected,
            symbols=len(self._spellings) if self._connected else 0,
            left_out=0,
            attempts=self._attempts,
            last_ms=self._last_ms,
            skipped=self._reception.skipped,
            ahead=self._reception.ahead,
            offset_ms=self._reception.offset_ms,
        )

    async def run(self, sink: QuoteSink) -> None:
        """Follow what is watched until the connection is lost while something is.

        Args:
            sink: Where quotes go.

        Raises:
            FeedLostError: There is no connection, or none any more that is of use.
        """
        while True:
            wanted = await _something(sink)
            self._turn_to(wanted)
            try:
                await self._stay(sink, wanted)
            except FeedLostError:
                if self._spellings:
                    raise
                # Nobody watches anything by now, so nobody misses it.

    async def _stay(self, sink: QuoteSink, wanted: frozenset[str]) -> None:
        """One connection, from its beginning to its end."""
        self._attempts += 1
        try:
            async with ClientSession() as http, await self._connect(http) as socket:
                self._connected = True
                sink.alive()
                await self._serve(socket, sink, wanted)
        finally:
            self._connected = False

    async def _connect(self, http: ClientSession) -> Socket:
        try:
            async with asyncio.timeout(self._handshake):
                return await http.ws_connect(
                    self._url,
                    decode_text=False,
                    heartbeat=_PING_EVERY,
                    timeout=ClientWSTimeout(ws_close=_GOODBYE),
                )
        except TimeoutError as error:
            raise FeedLostError(f"no connection within {self._handshake:g} s") from error
        except ClientError as error:
            raise FeedLostError(f"no connection: {error}") from error

    async def _serve(self, socket: Socket, sink: QuoteSink, wanted: frozenset[str]) -> None:
        """Everything that goes on on a connection, until some of it fails."""
        self._received_at = self._clock.now()
        frames: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        works = [
            asyncio.ensure_future(work)
            for work in (
                self._read(socket, frames, sink),
                self._watch(sink),
                _receive(socket, frames),
                self._follow(socket, sink, wanted),
                self._repeat(socket),
            )
        ]
        # Not a task group: one that is falling apart forgets that it was cancelled meanwhile.
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for work in works:
                work.cancel()
            await asyncio.wait(works)
        faults = [fault for work in works if not work.cancelled() and (fault := work.exception())]
        if isinstance(faults[0], ClientError):
            raise FeedLostError(f"the connection broke: {faults[0]}") from faults[0]
        raise faults[0]

    # What is asked for

    def _turn_to(self, wanted: frozenset[str]) -> None:
        """Take note of what is watched."""
        self._spellings = {}
        for symbol in sorted(wanted):
            # EUR/USD and EURUSD=X are one instrument.
            self._spellings.setdefault(yahoo.from_yahoo(yahoo.to_yahoo(symbol)), []).append(symbol)

    async def _follow(self, socket: Socket, sink: QuoteSink, wanted: frozenset[str]) -> None:
        """Keep what is asked for in line with what is watched."""
        await _send(socket, yahoo.subscribe, self._spellings)
        while True:
            wanted = await sink.interest(wanted)
            before = self._spellings.keys()
            self._turn_to(wanted)
            await _send(socket, yahoo.unsubscribe, before - self._spellings.keys())
            await _send(socket, yahoo.subscribe, self._spellings.keys() - before)

    async def _repeat(self, socket: Socket) -> None:
        while True:
            await self._sleep(RESUBSCRIBE_EVERY)
            await _send(socket, yahoo.subscribe, self._spellings)

    # What comes

    async def _read(self, socket: Socket, frames: asyncio.Queue[bytes | None], sink: QuoteSink) -> None:
        """Offer what frames say, up to the last one before the end."""
        while True:
            batch = [await frames.get()]
            while len(batch) < _BATCH and not frames.empty():
                batch.append(frames.get_nowait())
            received = [frame for frame in batch if frame is not None]
            if received:
                self._received_at, self._last_ms = self._clock.now(), self._clock.wall_ms()
                quotes = [quote for frame in received for quote in self._take(frame, self._last_ms)]
                if quotes:
                    sink.offer(quotes)
            if batch[-1] is None:
                raise FeedLostError(f"the connection ended with code {socket.close_code}")
            # A queue that always holds something lets nobody else in.
            await asyncio.sleep(0)

    def _take(self, frame: bytes, at_ms: int) -> list[Quote]:
        """Return the quotes of a frame: one for each name under which its instrument is watched."""
        try:
            tick = yahoo.parse(frame, at_ms)
        except InvalidMessageError as error:
            self._reception.refuse([error])
            return []
        if tick is None or tick.quote.symbol not in self._spellings:
            # What is no longer asked for may go on for a while.
            return []
        self._reception.take(tick.quote.at_ms)
        spellings = self._spellings[tick.quote.symbol]
        self._ticks.update(dict.fromkeys(spellings, tick))
        return [replace(tick.quote, symbol=symbol) for symbol in spellings]

    # What does not come

    async def _watch(self, sink: QuoteSink) -> None:
        """Tell the silence of a closed market from that of a dead connection."""
        resting: frozenset[str] | None = None
        while True:
            markets = open_markets(self._clock.wall_ms())
            closed = frozenset(s for s, tick in self._ticks.items() if not tick.is_open(markets))
            if closed != resting:
                resting = closed
                sink.rest(closed)
            watched = {symbol for symbols in self._spellings.values() for symbol in symbols}
            if watched.isdisjoint(self._ticks.keys() - closed):
                # Nothing is due, so this is as good as a word.
                self._received_at = self._clock.now()
            quiet = self._clock.now() - self._received_at
            if quiet >= self.mute_after:
                raise FeedLostError(f"nothing was heard for {quiet:.0f} s while a market trades")
            await self._sleep(CHECK_EVERY)


async def _something(sink: QuoteSink) -> frozenset[str]:
    """Return what is watched, once anything is.

    Until then the feed is well, whatever ended its last connection.
    """
    asking = asyncio.ensure_future(sink.interest(frozenset()))
    try:
        if not (await asyncio.wait([asking], timeout=_IDLE_AFTER))[0]:
            sink.alive()
        return await asking
    finally:
        asking.cancel()


async def _receive(socket: Socket, frames: asyncio.Queue[bytes | None]) -> None:
    """Move what comes, and say when there will be no more."""
    async for message in socket:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            await frames.put(message.data)
    await frames.put(None)


async def _send(socket: Socket, render: Callable[[Iterable[str]], bytes], instruments: Iterable[str]) -> None:
    """Ask for instruments, or for no more of them, if there are any."""
    names = sorted(map(yahoo.to_yahoo, instruments))
    if names:
        await socket.send_str(render(names).decode())


_: type[Feed] = YahooFeed
_streaming: type[Streaming] = YahooFeed
