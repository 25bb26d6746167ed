"""What every feed promises, whatever it reads from."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from marketstream.core.market.model import Quote
from marketstream.feeds.alpaca import Access, AlpacaFeed
from marketstream.feeds.replay import ReplayFeed
from marketstream.feeds.synthetic import DEFAULT_SYMBOLS, SyntheticFeed
from marketstream.feeds.yahoo import YahooFeed
from marketstream.ports import Feed, QuoteSink
from tests.support import alpaca
from tests.support.alpaca import FakeAlpaca, serving_alpaca
from tests.support.clock import FakeClock
from tests.support.eventually import scaled
from tests.support.sink import RecordingSink
from tests.support.tape import write_tape
from tests.support.yahoo import Streamer

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Place:
    """What a feed may need around it.

    Attributes:
        folder: For files.
        streamer: A server that speaks as Yahoo's.
    """

    folder: Path
    streamer: Streamer


Build = Callable[[FakeClock, Sleep, Place], Feed]


def _tape(folder: Path) -> Path:
    path = folder / "tape.csv.gz"
    write_tape(path, 400)
    return path


class Served:
    """A feed together with a vendor that never stops sending, who is there for as long as it is run."""

    name = AlpacaFeed.name
    stale_after: float | None = None

    def __init__(self, clock: FakeClock, sleep: Sleep) -> None:
        self._clock = clock
        self._sleep = sleep

    async def run(self, sink: QuoteSink) -> None:
        """See `ports.Feed.run`."""
        assert isinstance(sink, RecordingSink)
        await sink.unwant(*DEFAULT_SYMBOLS)
        await sink.want("AAPL", "MSFT", "EUR/USD")
        async with serving_alpaca() as vendor, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(vendor))
            access = Access(vendor.url, alpaca.KEY, alpaca.SECRET)
            feed = AlpacaFeed(access=access, source="alpaca-iex", clock=self._clock, sleep=self._unhurried)
            await feed.run(sink)

    async def _unhurried(self, seconds: float) -> None:
        # What is waited for here is a peer, who has no other time than the real one.
        await asyncio.sleep(seconds)
        await self._sleep(seconds)

    async def _send(self, vendor: FakeAlpaca) -> None:
        line = await vendor.subscribed({"AAPL", "MSFT"})
        while True:
            self._clock.advance(0.001)
            at_ms = self._clock.wall_ms()
            quotes = [alpaca.quote(symbol, 1, 2, at_ms) for symbol in ("AAPL", "MSFT")]
            with suppress(ConnectionError):
                await line.send({"T": "q"}, *quotes, alpaca.trade("AAPL", 1.5, at_ms - 1))
            await asyncio.sleep(0)


FEEDS: dict[str, Build] = {
    "synthetic, burst": lambda clock, sleep, _: SyntheticFeed(sources=3, clock=clock, sleep=sleep),
    "synthetic, spread": lambda clock, sleep, _: SyntheticFeed(shape="spread", clock=clock, sleep=sleep),
    "synthetic, on demand": lambda clock, sleep, _: SyntheticFeed(demand=True, clock=clock, sleep=sleep),
    "alpaca": lambda clock, sleep, _: Served(clock, sleep),
    "replay, paced": lambda clock, sleep, place: ReplayFeed(
        path=_tape(place.folder), loop=1, clock=clock, sleep=sleep
    ),
    "replay, unpaced": lambda clock, sleep, place: ReplayFeed(
        path=_tape(place.folder), speed=0, loop=1, clock=clock, sleep=sleep
    ),
    "yahoo": lambda clock, sleep, place: YahooFeed(url=place.streamer.url, clock=clock, sleep=sleep),
}


@pytest.fixture(params=list(FEEDS.values()), ids=list(FEEDS))
async def build(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Callable[[FakeClock, Sleep], Feed]]:
    """Builds the feed under test."""
    make: Build = request.param
    async with Streamer(endless=True) as streamer:
        yield lambda clock, sleep: make(clock, sleep, Place(tmp_path, streamer))


async def eager(sink: RecordingSink) -> RecordingSink:
    """A sink behind which everything is watched."""
    await sink.want(*DEFAULT_SYMBOLS)
    return sink


async def played(build: Callable[[FakeClock, Sleep], Feed], count: int) -> RecordingSink:
    """What a feed offered until it was cancelled after that many quotes."""
    clock, sink = FakeClock(), await eager(RecordingSink())
    task = asyncio.create_task(build(clock, clock.sleep).run(sink))
    await sink.until(count)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return sink


def test_a_feed_has_a_short_name(build: Callable[[FakeClock, Sleep], Feed]) -> None:
    """Logs and figures show it, so it must hold nothing that varies."""
    clock = FakeClock()
    assert re.fullmatch(r"[a-z][a-z0-9-]{1,30}", build(clock, clock.sleep).name)


async def test_only_well_formed_symbols_and_named_sources_are_offered(
    build: Callable[[FakeClock, Sleep], Feed],
) -> None:
    for quote in (await played(build, 1000)).quotes:
        assert re.fullmatch(r"[A-Z0-9.\-_/=^:&]{1,32}", quote.symbol)
        assert quote.source


async def test_a_source_never_goes_back_in_time(build: Callable[[FakeClock, Sleep], Feed]) -> None:
    times: dict[tuple[str, str], list[int]] = {}
    for quote in (await played(build, 1000)).quotes:
        times.setdefault((quote.symbol, quote.source), []).append(quote.at_ms)
    assert len(times) > 1
    for series in times.values():
        assert all(earlier <= later for earlier, later in pairwise(series))


async def test_an_offer_is_never_empty(build: Callable[[FakeClock, Sleep], Feed]) -> None:
    assert all((await played(build, 500)).offers)


async def test_an_offer_is_left_alone_once_made(build: Callable[[FakeClock, Sleep], Feed]) -> None:
    """A sink may keep the sequence it was handed instead of copying it."""
    handed: list[Sequence[Quote]] = []

    class KeepingSink(RecordingSink):
        def offer(self, quotes: Sequence[Quote]) -> None:
            handed.append(quotes)
            super().offer(quotes)

    clock, sink = FakeClock(), await eager(KeepingSink())
    task = asyncio.create_task(build(clock, clock.sleep).run(sink))
    await sink.until(500)
    task.cancel()
    await asyncio.wait([task])
    assert [tuple(quotes) for quotes in handed] == sink.offers


async def test_a_waiting_feed_ends_promptly_when_cancelled(build: Callable[[FakeClock, Sleep], Feed]) -> None:
    waiting = asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(build(FakeClock(), sleep).run(await eager(RecordingSink())))
    await waiting.wait()
    task.cancel()
    async with asyncio.timeout(scaled(1)):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_busy_feed_ends_promptly_when_cancelled(build: Callable[[FakeClock, Sleep], Feed]) -> None:
    """However far behind it is, it lets the loop in often enough to hear of it."""
    clock, sink = FakeClock(), await eager(RecordingSink())

    async def sleep(seconds: float) -> None:
        await clock.sleep(max(seconds, 0.9))

    task = asyncio.create_task(build(clock, sleep).run(sink))
    await sink.until(300)
    offered = len(sink.quotes)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(sink.quotes) == offered
