"""The `yahoo` feed against a server that speaks as Yahoo's streamer does, and fails as it may."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from marketstream.core.market.model import Quote
from marketstream.engine.market.supervisor import Supervisor
from marketstream.errors import FeedLostError
from marketstream.feeds.yahoo import YahooFeed
from marketstream.ports import StreamStatus
from tests.support.alarm import AlarmClock
from tests.support.builders import Bench
from tests.support.eventually import eventually, scaled
from tests.support.sink import RecordingSink
from tests.support.yahoo import AT_MS, Streamer, frame

TO_THE_OPENING = 58_600
"""Seconds from `AT_MS` to half past nine in New York on the next day."""
SHARE: dict[str, Any] = {"quote_type": 8, "exchange": "NMS"}


class Stage:
    """The feed, what it is connected to, and what it offers."""

    def __init__(self, streamer: Streamer, **options: Any) -> None:
        self.streamer = streamer
        self.clock = AlarmClock(wall_ms=AT_MS)
        self.sink = RecordingSink()
        url = options.pop("url", streamer.url)
        self.feed = YahooFeed(url=url, clock=self.clock, sleep=self.clock.sleep, **options)
        self.task: asyncio.Task[None] | None = None

    async def start(self, *symbols: str) -> None:
        """Runs the feed for those who watch these symbols, until they are asked for."""
        await self.sink.want(*symbols)
        before = self.streamer.connections
        self.task = asyncio.ensure_future(self.feed.run(self.sink))
        if symbols:
            await eventually(
                lambda: self.streamer.connections > before and self.streamer.subscribed, what="asking"
            )

    async def lost(self) -> str:
        """The reason with which the run ended."""
        assert self.task is not None
        async with asyncio.timeout(scaled(10)):
            with pytest.raises(FeedLostError) as caught:
                await self.task
        return str(caught.value)

    async def end(self) -> None:
        """Ends the run if it has not ended."""
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError, FeedLostError):
                await self.task


@pytest.fixture
async def streamer() -> AsyncIterator[Streamer]:
    """The server."""
    async with Streamer() as server:
        yield server


@pytest.fixture
async def stage(streamer: Streamer) -> AsyncIterator[Stage]:
    """The feed, not running yet."""
    made = Stage(streamer)
    yield made
    await made.end()


def prices(sink: RecordingSink) -> list[tuple[str, float | None]]:
    """Symbol and last trade of all quotes."""
    return [(quote.symbol, quote.last) for quote in sink.quotes]


async def test_what_is_watched_is_asked_for_in_yahoos_words_and_comes_in_ours(stage: Stage) -> None:
    await stage.start("EUR/USD", "BTC/USD", "^GSPC")
    await stage.streamer.until_asked("EURUSD=X", "BTC-USD", "^GSPC")
    await stage.streamer.push(
        frame("EURUSD=X", 1.0846, quote_type=14, price_hint=4),
        frame("BTC-USD", 37102.55, bid=37102.5, bid_size=3, ask=37103.0, price_hint=2, day_volume=7),
    )
    await stage.sink.until(2)
    assert stage.sink.quotes == [
        Quote("EUR/USD", "yahoo", None, None, None, None, AT_MS, 1.0846),
        Quote("BTC/USD", "yahoo", 37102.5, 3.0, 37103.0, None, AT_MS, 37102.55, 7.0),
    ]


async def test_two_names_of_one_instrument_are_asked_for_once_and_both_served(stage: Stage) -> None:
    await stage.start("EUR/USD", "EURUSD=X")
    await stage.streamer.push(frame("EURUSD=X", 1.5))
    await stage.sink.until(2)
    assert stage.streamer.calls == [{"subscribe": ["EURUSD=X"]}]
    assert prices(stage.sink) == [("EUR/USD", 1.5), ("EURUSD=X", 1.5)]


async def test_everything_is_asked_for_again_every_fifteen_seconds(stage: Stage) -> None:
    await stage.start("A", "B")
    for count in (2, 3):
        stage.clock.advance(14.9)
        await stage.streamer.push(frame("A", count))
        await stage.sink.until(count - 1)
        assert len(stage.streamer.calls) == count - 1
        stage.clock.advance(0.1)
        await eventually(lambda count=count: len(stage.streamer.calls) == count)  # type: ignore[misc]  # bound early
    assert stage.streamer.calls == [{"subscribe": ["A", "B"]}] * 3


async def test_there_is_no_connection_while_nobody_watches_and_that_is_no_trouble(stage: Stage) -> None:
    await stage.start()
    await eventually(lambda: stage.sink.signs == 1)
    assert (stage.streamer.connections, stage.feed.status().connected) == (0, False)
    await stage.sink.want("A")
    await stage.streamer.until_asked("A")
    await eventually(lambda: stage.sink.signs == 2, what="the connection")


async def test_only_changes_of_what_is_watched_are_told(stage: Stage) -> None:
    await stage.start("A", "B")
    await stage.sink.want("C")
    await stage.streamer.until_asked("A", "B", "C")
    await stage.sink.unwant("A", "C")
    await stage.streamer.until_asked("B")
    assert stage.streamer.calls == [
        {"subscribe": ["A", "B"]},
        {"subscribe": ["C"]},
        {"unsubscribe": ["A", "C"]},
    ]


async def test_what_goes_on_after_it_was_ended_is_left_out(stage: Stage) -> None:
    await stage.start("A", "B")
    await stage.sink.unwant("A")
    await stage.streamer.until_asked("B")
    await stage.streamer.push(frame("A", 1), frame("B", 2))
    await stage.sink.until(1)
    assert prices(stage.sink) == [("B", 2.0)]


@pytest.mark.parametrize("how", ["in order", "abruptly"])
async def test_an_end_is_told_after_the_last_price_and_what_is_watched_then_is_asked_for(
    stage: Stage, how: str
) -> None:
    await stage.start("A", "B")
    await stage.streamer.push(frame("A", 1))
    await stage.sink.until(1)
    if how == "in order":
        await stage.streamer.push(frame("A", 2))
        await stage.streamer.close()
        assert await stage.lost() == "the connection ended with code 1001"
        assert prices(stage.sink) == [("A", 1.0), ("A", 2.0)]
    else:
        stage.streamer.abort()
        assert await stage.lost() == "the connection ended with code 1006"
    assert not stage.feed.status().connected
    await stage.sink.unwant("A")
    await stage.sink.want("C")
    await stage.start()
    await stage.streamer.until_asked("B", "C")
    await stage.streamer.push(frame("C", 3))
    await stage.sink.until(len(stage.sink.quotes) + 1)
    assert stage.sink.quotes[-1].symbol == "C"


async def test_an_end_that_nobody_notices_is_no_loss(stage: Stage) -> None:
    await stage.start("A")
    await stage.sink.unwant("A")
    await stage.streamer.until_asked()
    await stage.streamer.close()
    await eventually(lambda: not stage.feed.status().connected)
    await stage.sink.want("B")
    await eventually(lambda: stage.streamer.connections == 2)
    await stage.streamer.until_asked("B")


async def test_what_makes_no_sense_is_counted_and_passed_over(stage: Stage) -> None:
    await stage.start("A")
    garbage: list[str | bytes] = [
        "",
        "hello",
        "[]",
        "{}",
        '{"message":7}',
        '{"message":"?"}',
        '{"message":"CgE="}',
        b"\x00\xff",
        frame("A", 0),
        frame("A", 1, time=AT_MS + 86_400_000),
    ]
    await stage.streamer.push(*garbage, frame("A", 3))
    await stage.sink.until(1)
    assert prices(stage.sink) == [("A", 3.0)]
    assert stage.feed.status() == StreamStatus(
        connected=True,
        symbols=1,
        left_out=0,
        attempts=1,
        last_ms=AT_MS,
        skipped=len(garbage),
        ahead=1,
        offset_ms=0,
    )


async def test_many_frames_at_once_all_arrive_in_order(stage: Stage) -> None:
    await stage.start("A")
    await stage.streamer.push(*(frame("A", number) for number in range(1, 3001)))
    await stage.sink.until(3000)
    assert [quote.last for quote in stage.sink.quotes] == [float(number) for number in range(1, 3001)]


async def test_a_lost_connection_brings_no_symbols(stage: Stage) -> None:
    await stage.start("A")
    assert stage.feed.status().symbols == 1
    stage.streamer.abort()
    await stage.lost()
    status = stage.feed.status()
    assert (status.connected, status.symbols) == (False, 0)


async def test_a_connection_that_falls_silent_while_a_market_trades_is_lost(stage: Stage) -> None:
    await stage.start("A")
    await stage.streamer.push(frame("A"))
    await stage.sink.until(1)
    stage.clock.advance(59)
    await eventually(lambda: len(stage.streamer.calls) == 2)
    assert stage.task is not None
    assert not stage.task.done()
    stage.clock.advance(1)
    assert await stage.lost() == "nothing was heard for 60 s while a market trades"


async def test_how_long_it_may_be_silent_can_be_said(streamer: Streamer) -> None:
    stage = Stage(streamer, mute_after=5)
    await stage.start("A")
    await streamer.push(frame("A"))
    await stage.sink.until(1)
    stage.clock.advance(5)
    assert await stage.lost() == "nothing was heard for 5 s while a market trades"


async def test_silence_of_what_never_spoke_says_nothing(stage: Stage) -> None:
    """Anybody may watch a symbol that does not exist."""
    await stage.start("NOSUCH")
    stage.clock.advance(1000)
    await eventually(lambda: len(stage.streamer.calls) == 2)
    await stage.streamer.push(frame("NOSUCH"))
    await stage.sink.until(1)


async def test_what_is_no_longer_watched_is_not_waited_for_and_rests_on(stage: Stage) -> None:
    await stage.start("A", "AAPL", "B")
    await stage.streamer.push(frame("A"), frame("AAPL", market_hours=2, **SHARE))
    await stage.sink.until(2)
    stage.clock.advance(1)
    await eventually(lambda: stage.sink.resting == {"AAPL"})
    await stage.sink.unwant("A", "AAPL")
    await stage.streamer.until_asked("B")
    stage.clock.advance(100)
    await eventually(lambda: len(stage.streamer.calls) == 3)
    await stage.streamer.push(frame("B", market_hours=2, **SHARE))
    await stage.sink.until(3)
    stage.clock.advance(1)
    await eventually(lambda: stage.sink.resting == {"AAPL", "B"})


async def test_after_hours_silence_is_expected_until_the_market_opens(stage: Stage) -> None:
    await stage.start("AAPL", "VOD.L")
    await stage.streamer.push(
        frame("AAPL", market_hours=2, **SHARE),
        frame("VOD.L", market_hours=2, quote_type=8, exchange="LSE"),
    )
    await stage.sink.until(2)
    stage.clock.advance(1)
    await eventually(lambda: stage.sink.resting == {"AAPL", "VOD.L"})
    stage.clock.advance(TO_THE_OPENING - 1.001)
    await eventually(lambda: len(stage.streamer.calls) == 2)
    assert stage.sink.resting == {"AAPL", "VOD.L"}
    stage.clock.advance(1)
    await eventually(lambda: stage.sink.resting == {"VOD.L"})
    stage.clock.advance(60)
    assert "while a market trades" in await stage.lost()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("refuses", "no connection: 403"),
        ("unresponsive", "no connection within 0.2 s"),
        ("gone", "no connection: "),
    ],
)
async def test_a_connection_that_does_not_come_about_says_why(
    streamer: Streamer, trouble: str, reason: str
) -> None:
    url = "ws://127.0.0.1:1/" if trouble == "gone" else streamer.url
    streamer.refuses, streamer.unresponsive = trouble == "refuses", trouble == "unresponsive"
    # Only the one that never answers has to be waited for.
    stage = Stage(streamer, url=url, handshake=0.2 if trouble == "unresponsive" else 20)
    await stage.sink.want("A")
    await stage.start()
    assert (await stage.lost()).startswith(reason)
    assert (stage.feed.status().attempts, stage.feed.status().connected) == (1, False)


async def test_a_feed_that_is_cancelled_while_its_connection_falls_apart_stays_cancelled(
    streamer: Streamer,
) -> None:
    """Else nobody could stop it any more: it would be started again."""
    leaving, leave = asyncio.Event(), asyncio.Event()

    class SlowSink(RecordingSink):
        async def interest(self, known: frozenset[str]) -> frozenset[str]:
            try:
                return await super().interest(known)
            except asyncio.CancelledError:
                leaving.set()
                await leave.wait()
                raise

    stage = Stage(streamer)
    stage.sink = SlowSink()
    await stage.start("A")
    await streamer.close()
    await leaving.wait()
    assert stage.task is not None
    stage.task.cancel()
    leave.set()
    await asyncio.wait([stage.task])
    assert stage.task.cancelled()


async def test_the_supervisor_connects_again_after_longer_and_longer_waits(streamer: Streamer) -> None:
    bench, slept = Bench(), list[float]()
    bench.client().subscribe("A")

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        streamer.refuses = len(slept) < 4
        await bench.clock.sleep(seconds)

    clock = AlarmClock(wall_ms=AT_MS)
    feed = YahooFeed(url=streamer.url, clock=clock, sleep=clock.sleep)
    supervisor = Supervisor(
        aggregator=bench.aggregator,
        interest=bench.node.interest,
        caught_up=bench.node.caught_up,
        clock=bench.clock,
        sleep=sleep,
    )
    streamer.refuses = True
    task = asyncio.ensure_future(supervisor.run(feed, supervisor.register(feed)))
    await streamer.until_asked("A")
    health = supervisor.feeds["yahoo"]
    await eventually(lambda: health.state == "live")
    assert health.restarts == 4
    assert all(step <= pause <= step * 1.1 for step, pause in zip((2, 4, 8, 16), slept, strict=True))
    bench.clock.advance(60)
    await streamer.close()
    await eventually(lambda: streamer.connections == 6)
    assert 2 <= slept[-1] <= 2.2
    await eventually(lambda: health.state == "live")
    task.cancel()
    await asyncio.wait([task])


async def test_a_symbol_whose_market_is_closed_is_closed_and_not_stale(streamer: Streamer) -> None:
    bench, clock = Bench(), AlarmClock(wall_ms=AT_MS)
    client = bench.client()
    client.subscribe("AAPL", "BTC/USD")
    feed = YahooFeed(url=streamer.url, clock=clock, sleep=clock.sleep)
    supervisor = Supervisor(
        aggregator=bench.aggregator,
        interest=bench.node.interest,
        caught_up=bench.node.caught_up,
        clock=bench.clock,
    )
    task = asyncio.ensure_future(supervisor.run(feed, supervisor.register(feed)))
    await streamer.until_asked("AAPL", "BTC-USD")
    await streamer.push(frame("AAPL", market_hours=2, **SHARE), frame("BTC-USD"))
    await eventually(lambda: bench.stats.quotes["yahoo"] == 2)
    clock.advance(1)
    await eventually(lambda: bench.aggregator._public._resting.get("yahoo"), what="the rest")
    bench.clock.advance(30)
    bench.aggregator.expire()
    bench.flush()
    states = [(status["symbol"], status["state"]) for status in client.sink.named("status")]
    assert sorted(states[-2:]) == [("AAPL", "closed"), ("BTC/USD", "stale")]
    await streamer.push(frame("AAPL", 11, market_hours=2, **SHARE))
    await eventually(lambda: bench.stats.quotes["yahoo"] == 3)
    bench.flush()
    assert client.sink.named("status")[-1]["state"] == "live"
    task.cancel()
    await asyncio.wait([task])
