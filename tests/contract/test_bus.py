"""What every bus promises, whatever carries the frames.

An implementation joins by one entry in `BUSES`: how to make it for a clock, ready to publish. One that has
several roads is asked to put everything on one, so that order between symbols can be looked at too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from inspect import isawaitable
from itertools import pairwise

import pytest

from marketstream.bus.memory import MemoryBus
from marketstream.bus.url import build_bus
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.ports import Bus, Clock
from marketstream.wire import messages
from tests.support.builders import best_price
from tests.support.clock import FakeClock
from tests.support.cluster import Cluster
from tests.support.eventually import eventually
from tests.support.valkey import Valkey

Open = Callable[[Clock, pytest.FixtureRequest], AbstractAsyncContextManager[Bus]]


@asynccontextmanager
async def memory(clock: Clock, _request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """The bus of a single process."""
    yield MemoryBus(clock=clock)


@asynccontextmanager
async def redis(clock: Clock, request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """The bus of many processes, over a real Valkey."""
    valkey: Valkey = request.getfixturevalue("valkey")
    async with running(valkey.url, clock) as bus:
        yield bus


@asynccontextmanager
async def cluster(clock: Clock, request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """The same over a cluster."""
    valkeys: Cluster = request.getfixturevalue("cluster")
    async with running(valkeys.url, clock) as bus:
        yield bus


@asynccontextmanager
async def running(url: str, clock: Clock) -> AsyncIterator[Bus]:
    """A bus that is connected."""
    bus = build_bus(url, clock=clock, shards=1)
    task = asyncio.create_task(bus.run())
    try:
        await eventually(lambda: bus.connected, what="a connection to Valkey")
        yield bus
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


BUSES: dict[str, Open] = {"memory": memory, "redis": redis, "cluster": cluster}
WATCHED = ("A", "B", "EUR/USD", "indices", "")


class Line:
    """A bus under test and what its receiver got.

    Attributes:
        batches: The frames of each call of the receiver, oldest first.
    """

    def __init__(self, bus: Bus, clock: FakeClock) -> None:
        self.bus = bus
        self.clock = clock
        self.batches: list[list[Frame]] = []
        bus.attach(lambda frames: self.batches.append(list(frames)))

    async def listen(self, *names: str) -> None:
        """Watches symbols and channels, and waits until they are heard."""
        for name in names:
            self.bus.watch(name)
        await self.last(*names)

    @property
    def frames(self) -> list[Frame]:
        """Everything received so far."""
        return [frame for batch in self.batches for frame in batch]

    async def publish(self, *frames: Frame) -> None:
        """Publishes a batch and waits until all of it has come back."""
        expected = len(self.frames) + len(frames)
        self.bus.publish(frames)
        await eventually(lambda: len(self.frames) >= expected, what="the batch")

    async def last(self, *keys: str, tenant: str = "acme") -> list[bytes]:
        """Bodies of the last frames of some keys."""
        return [frame.body for frame in await now(self.bus.last(keys, tenant))]


async def now(found: Sequence[Frame] | Awaitable[Sequence[Frame]]) -> Sequence[Frame]:
    """Last values, whether they were at hand or not."""
    return await found if isawaitable(found) else found


def price(symbol: str, bid: float = 1, tenant: str | None = None, at_ms: int = 5) -> Frame:
    return messages.price(best_price(symbol, bid, at_ms), tenant)


@pytest.fixture(params=list(BUSES.values()), ids=list(BUSES))
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    """A bus of each kind."""
    clock = FakeClock()
    make: Open = request.param
    async with make(clock, request) as bus:
        line = Line(bus, clock)
        await line.listen(*WATCHED)
        yield line


async def test_a_bus_that_works_says_so(line: Line) -> None:
    await line.publish(price("A"))
    assert line.bus.connected is True


async def test_frames_arrive_in_the_order_of_their_batch_and_together(line: Line) -> None:
    batch = [price("A", 1), price("B", 2), price("A", 3), messages.status(Status("A", "live", None, 5))]
    await line.publish(*batch)
    assert [[frame.body for frame in received] for received in line.batches] == [[f.body for f in batch]]


async def test_batches_arrive_in_the_order_in_which_they_were_published(line: Line) -> None:
    for number in range(50):
        await line.publish(price("A", number))
    bodies = [frame.body for frame in line.frames]
    assert bodies == [price("A", number).body for number in range(50)]


async def test_a_frame_arrives_as_it_was_sent(line: Line) -> None:
    sent = [
        price("EUR/USD", 1.5, "acme", 1_700_000_000_000),
        messages.status(Status("A", "stale", "x", 9)),
        messages.channel_update("indices", {"ö": [None]}, 7),
        messages.custom("own", [1, 2]),
        messages.price(best_price("A"), None, frozenset({"acme", "rival"})),
        messages.price(replace(best_price("B"), last=150.25, volume=81_000.0)),
        messages.price(replace(best_price("B"), last=150.25)),
    ]
    await line.publish(*sent)
    for frame, received in zip(sent, line.frames, strict=True):
        for name in ("event", "body", "key", "symbol", "tenant", "at_ms", "arity", "withheld", "trade"):
            assert getattr(received, name) == getattr(frame, name)


async def test_each_frame_arrives_once(line: Line) -> None:
    for _ in range(5):
        await line.publish(price("A"), price("B"))
    assert len(line.frames) == 10
    cursors = [frame.cursor for frame in line.frames if frame.symbol == "A"]
    assert len(set(cursors)) == 5


def assert_rising(frames: Sequence[Frame]) -> None:
    """The cursors of each symbol rise strictly."""
    for symbol in {frame.symbol for frame in frames}:
        cursors = [frame.cursor for frame in frames if frame.symbol == symbol]
        assert all(earlier < later for earlier, later in pairwise(cursors)), symbol


async def test_cursors_rise_strictly_while_the_clock_stands_still(line: Line) -> None:
    for _ in range(20):
        await line.publish(*[price(symbol) for symbol in "ABABA"])
    assert_rising(line.frames)
    assert all(frame.cursor > 0 for frame in line.frames)


@pytest.mark.parametrize("milliseconds", [-1, -60_000, -86_400_000, 86_400_000])
async def test_cursors_rise_strictly_when_the_clock_is_corrected(line: Line, milliseconds: int) -> None:
    await line.publish(price("A"), price("B"))
    line.clock.correct_wall(milliseconds)
    await line.publish(price("A"), price("B"))
    line.clock.correct_wall(-milliseconds)
    await line.publish(price("A"), price("B"))
    assert_rising(line.frames)


async def test_the_clock_of_a_bus_is_the_one_that_its_cursors_are_stamped_by(line: Line) -> None:
    """Whatever the clock of this machine says: that of the test is years behind."""
    await line.listen("A")
    await line.publish(price("A"))
    (frame,) = line.frames
    assert abs(line.bus.clock.wall_ms() - frame.cursor / 1000) < 60_000


async def test_a_tenants_frames_and_everybodys_share_the_cursors_of_a_symbol(line: Line) -> None:
    await line.publish(price("A"), price("A", 2, "acme"), price("A", 3, "rival"), price("A", 4))
    assert_rising(line.frames)


async def test_the_last_value_is_there_as_soon_as_it_arrives(line: Line) -> None:
    """Stored in the same step: a snapshot never misses what a member was just sent."""
    seen: list[Sequence[Frame] | Awaitable[Sequence[Frame]]] = []
    line.bus.attach(lambda frames: seen.append(line.bus.last([frame.symbol for frame in frames], "acme")))
    line.bus.publish([price("A", 1), price("B", 2)])
    await eventually(lambda: seen)
    assert [[f.body for f in await now(found)] for found in seen] == [
        [price("A", 1).body, price("B", 2).body]
    ]


async def test_the_last_value_is_the_newest_and_carries_its_cursor(line: Line) -> None:
    for bid in (1, 2, 3):
        await line.publish(price("A", bid))
    (last,) = await now(line.bus.last(["A"], "acme"))
    assert (last.body, last.cursor) == (price("A", 3).body, line.frames[-1].cursor)


async def test_last_values_come_in_the_order_asked_for_without_the_unknown(line: Line) -> None:
    await line.publish(price("A", 1), price("B", 2))
    assert await line.last("B", "unknown", "A") == [price("B", 2).body, price("A", 1).body]
    assert await line.last() == []


async def test_a_tenant_sees_the_newer_of_everybodys_value_and_its_own(line: Line) -> None:
    await line.publish(price("A", 1))
    await line.publish(price("A", 2, "acme"))
    assert await line.last("A") == [price("A", 2).body]
    assert await line.last("A", tenant="rival") == [price("A", 1).body]
    await line.publish(price("A", 3))
    assert await line.last("A") == await line.last("A", tenant="rival") == [price("A", 3).body]


async def test_the_newer_value_is_the_one_of_the_newer_source_time(line: Line) -> None:
    """A tenant's own price may be ahead of one that is published to everybody after it."""
    await line.publish(price("A", 1, "acme", at_ms=9))
    await line.publish(price("A", 2, at_ms=8))
    assert await line.last("A") == [price("A", 1, at_ms=9).body]
    assert await line.last("A", tenant="rival") == [price("A", 2, at_ms=8).body]


async def test_a_value_of_one_tenant_is_no_other_tenants_last(line: Line) -> None:
    await line.publish(price("A", 1, "acme"))
    assert await line.last("A", tenant="rival") == []
    assert await line.last("A", tenant="") == []


async def test_a_price_and_a_state_of_a_symbol_are_both_remembered(line: Line) -> None:
    await line.publish(price("A", 1), messages.status(Status("A", "stale", None, 5)))
    assert len(await line.last("A", messages.status_key("A"))) == 2


async def test_a_frame_without_a_key_is_carried_and_not_remembered(line: Line) -> None:
    await line.publish(messages.custom("own", [1]))
    assert [frame.event for frame in line.frames] == ["own"]
    assert await line.last("", "own") == []


async def test_the_last_value_of_what_nobody_watches_is_known_too(line: Line) -> None:
    line.bus.publish([price("UNWATCHED", 1), price("A", 2)])
    await eventually(lambda: [frame for frame in line.frames if frame.symbol == "A"])
    assert await line.last("UNWATCHED") == [price("UNWATCHED", 1).body]


async def test_what_was_let_go_and_is_watched_again_is_heard_again(line: Line) -> None:
    await line.publish(price("A", 1))
    line.bus.unwatch("A")
    await line.listen("A")
    assert await line.last("A") == [price("A", 1).body]
    await line.publish(price("A", 2))
    assert line.frames[-1].body == price("A", 2).body


async def test_who_watches_first_and_asks_then_misses_nothing(line: Line) -> None:
    """What was published before is in the answer, what is published after is received."""
    for number in range(20):
        name = f"S{number}"
        line.bus.publish([price(name, 1)])
        line.bus.watch(name)
        line.bus.publish([price(name, 2)])
        known = await line.last(name)
        heard = [frame.body for frame in line.frames if frame.symbol == name]
        newest = price(name, 2).body
        assert known == [newest] or newest not in heard
        await eventually(partial(heard_of, line, name, newest), what="the newest")


def heard_of(line: Line, symbol: str, body: bytes) -> bool:
    """Whether a body was received for a symbol."""
    return body in [frame.body for frame in line.frames if frame.symbol == symbol]
