import asyncio
from collections.abc import Awaitable, Callable

import pytest

from marketstream.engine.market.supervisor import Supervisor
from marketstream.errors import FeedError, FeedLostError
from marketstream.ports import Feed, QuoteSink, StreamStatus
from tests.support.builders import Bench, quote

Run = Callable[[QuoteSink], Awaitable[None]]


class Scripted:
    """A feed whose runs are written by the test, one after the other.

    Args:
        runs: What each start does; after the last it fails for good.
    """

    name = "scripted"
    stale_after: float | None = None

    def __init__(self, *runs: Run) -> None:
        self.runs = list(runs)

    async def run(self, sink: QuoteSink) -> None:
        """See `ports.Feed.run`."""
        if not self.runs:
            raise FeedError("out of script")
        await self.runs.pop(0)(sink)


_: type[Feed] = Scripted


async def fail(_: QuoteSink) -> None:
    """A run that breaks at once."""
    raise ConnectionError("reset")


async def end(_: QuoteSink) -> None:
    """A run that has nothing to say."""


async def speak(sink: QuoteSink) -> None:
    """A run that offers one quote and ends."""
    sink.offer([quote("A")])


class Care:
    """A supervisor whose sleeps pass at once and are written down."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.slept: list[float] = []
        self.supervisor = Supervisor(
            aggregator=self.bench.aggregator,
            interest=self.bench.node.interest,
            caught_up=self.bench.node.caught_up,
            clock=self.bench.clock,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.bench.clock.sleep(seconds)

    async def run(self, feed: Feed) -> str:
        """Registers and runs a feed; returns its name."""
        name = self.supervisor.register(feed)
        await self.supervisor.run(feed, name)
        return name


@pytest.fixture
async def care() -> Care:
    """A supervisor without feeds."""
    return Care()


async def test_a_feed_that_breaks_comes_back_after_longer_and_longer_waits(care: Care) -> None:
    name = await care.run(Scripted(*[fail] * 7))
    for seconds, step in zip(care.slept, (2, 4, 8, 16, 32, 32, 32), strict=True):
        assert step <= seconds <= step * 1.1
    assert care.supervisor.feeds[name].restarts == 7


async def test_a_minute_of_health_starts_the_count_over(care: Care) -> None:
    async def last_a_minute(sink: QuoteSink) -> None:
        await speak(sink)
        care.bench.clock.advance(61)
        raise ConnectionError

    await care.run(Scripted(fail, fail, last_a_minute, fail))
    steps = (2, 4, 2, 4)
    assert all(step <= seconds <= step * 1.1 for seconds, step in zip(care.slept, steps, strict=True))


async def test_a_feed_that_asks_for_patience_is_left_alone_for_that_long(care: Care) -> None:
    async def lose(_: QuoteSink) -> None:
        raise FeedLostError("somebody else has it", wait=20)

    async def look(_: QuoteSink) -> None:
        assert care.supervisor.feeds["scripted"].detail == "somebody else has it"

    await care.run(Scripted(*[lose] * 5, look))
    assert care.slept[:4] == [20, 20, 20, 20]
    assert care.slept[4] >= 32


async def test_a_feed_is_live_when_its_source_is_there_though_it_says_nothing(care: Care) -> None:
    """A market that is closed for the night is no reason to send clients elsewhere."""

    async def connect(sink: QuoteSink) -> None:
        sink.alive()
        assert care.supervisor.feeds["scripted"].state == "live"
        raise ConnectionError

    await care.run(Scripted(connect, connect))
    assert care.supervisor.feeds["scripted"].restarts == 2


async def test_how_the_connection_of_a_feed_is_can_be_asked_while_it_is_run(care: Care) -> None:
    status = StreamStatus(connected=True, symbols=3, left_out=0, attempts=1, last_ms=None, skipped=0)

    class Connected(Scripted):
        def status(self) -> StreamStatus:
            return status

    name = await care.run(Connected(end))
    health = care.supervisor.feeds[name]
    assert health.status is not None
    assert health.status() == status
    care.supervisor.stand_by()
    assert health.status is None
    assert care.supervisor.feeds[await care.run(Scripted(end))].status is None


async def test_a_feeds_own_word_that_it_cannot_go_on_is_final(care: Care) -> None:
    name = await care.run(Scripted())
    health = care.supervisor.feeds[name]
    assert (health.state, health.detail, health.restarts) == ("failed", "out of script", 0)
    assert care.slept == []


async def test_a_feed_that_ends_is_not_started_again_and_its_symbols_are_closed(care: Care) -> None:
    client = care.bench.client()
    client.subscribe("A")
    name = await care.run(Scripted(speak, fail))
    care.bench.flush()
    assert (care.supervisor.feeds[name].state, care.slept) == ("ended", [])
    assert client.sink.named("status")[-1]["state"] == "closed"


async def test_the_state_of_a_feed_is_known_at_each_moment(care: Care) -> None:
    seen: list[tuple[str, str]] = []

    def note() -> None:
        health = care.supervisor.feeds["scripted"]
        seen.append((health.state, health.detail))

    async def look_and_break(sink: QuoteSink) -> None:
        note()
        sink.offer([quote("A")])
        note()
        raise ConnectionError("reset")

    async def look_and_end(_: QuoteSink) -> None:
        note()

    await care.run(Scripted(look_and_break, look_and_end))
    note()
    assert seen == [
        ("starting", ""),
        ("live", ""),
        ("retrying", "ConnectionError('reset')"),
        ("ended", ""),
    ]


async def test_no_two_feeds_share_a_name(care: Care) -> None:
    feeds = [Scripted(end) for _ in range(4)]
    feeds[1].name = "scripted-2"
    names = [care.supervisor.register(feed) for feed in feeds]
    assert names[:2] == ["scripted", "scripted-2"]
    assert len(set(names)) == 4
    assert set(care.supervisor.feeds) == set(names)


async def test_a_feed_that_is_cancelled_is_not_started_again(care: Care) -> None:
    started = asyncio.Event()

    async def stay(_: QuoteSink) -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(care.run(Scripted(stay)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert care.supervisor.feeds["scripted"].restarts == 0


async def test_the_quotes_of_a_feed_are_counted_under_its_own_name(care: Care) -> None:
    for _ in range(2):
        await care.run(Scripted(speak))
    assert care.bench.stats.quotes == {"scripted": 1, "scripted-2": 1}
