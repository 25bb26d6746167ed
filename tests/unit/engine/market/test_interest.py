"""Whose symbols feeds are told of, and how often they are woken."""

import asyncio

import pytest

from marketstream.core.market.interest import InterestCounts
from marketstream.engine.market import interest as module
from marketstream.engine.market.interest import Interest
from marketstream.observability.clock import SystemClock
from tests.support.clock import FakeClock
from tests.support.eventually import scaled

NOTHING: frozenset[str] = frozenset()


class Follower:
    """A feed that does nothing but keep to the demand."""

    def __init__(self, demand: Interest) -> None:
        self.seen: list[frozenset[str]] = []
        self._demand = demand
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        known = NOTHING
        while True:
            known = await self._demand.differs(known)
            self.seen.append(known)

    async def stop(self) -> None:
        """Ends it."""
        self._task.cancel()
        await asyncio.wait([self._task])


class Pause:
    """A sleep that lasts until the test ends it."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    async def __call__(self, _: float) -> None:
        """Sleeps."""
        self.begun.set()
        await self.over.wait()
        self.over.clear()

    async def turn(self) -> None:
        """Lets who sleeps go on, until it sleeps again or waits for something else."""
        await self.begun.wait()
        self.begun.clear()
        self.over.set()
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def clock() -> FakeClock:
    """A clock of the test's own."""
    return FakeClock()


def test_a_symbol_is_demanded_while_anyone_holds_it_and_five_seconds_more() -> None:
    holdings = InterestCounts()
    holdings.hold("a", ["X"])
    holdings.hold("b", ["X"])
    holdings.release("a", ["X"], 10)
    assert holdings.ends_at is None
    holdings.forget("b", 20)
    holdings.expire(24.9)
    assert ("X" in holdings, list(holdings.symbols())) == (True, ["X"])
    holdings.expire(25)
    assert holdings.ends_at is None
    assert ("X" in holdings, len(holdings)) == (False, 0)


def test_who_comes_back_in_time_changes_nothing() -> None:
    holdings = InterestCounts()
    holdings.hold("a", ["X"])
    changes = holdings.changes
    holdings.release("a", ["X"], 10)
    holdings.hold("b", ["X"])
    holdings.expire(100)
    assert (holdings.changes, list(holdings.symbols())) == (changes, ["X"])


def test_a_holder_may_say_all_that_it_holds() -> None:
    holdings = InterestCounts(linger=0)
    holdings.hold("a", ["X", "Y"])
    holdings.replace("a", ["Y", "Z"], 1)
    holdings.expire(1)
    assert set(holdings.held_by("a")) == holdings.symbols() == {"Y", "Z"}


def test_nothing_is_left_of_those_who_are_gone() -> None:
    holdings = InterestCounts()
    for number in range(100):
        holdings.hold(f"n{number}", ["X", f"S{number}"])
        holdings.hold(f"n{number}", [])
        holdings.forget(f"n{number}", number)
    holdings.release("nobody", ["X"], 200)
    holdings.expire(200)
    assert (holdings._held, holdings._counts, len(holdings._lingering)) == ({}, {}, 0)


async def test_a_feed_hears_of_what_is_watched_here_and_elsewhere(clock: FakeClock) -> None:
    demand = Interest(clock=clock)
    demand.watch("A")
    demand.change("other", ["B"], [])
    demand.replace("third", ["A", "C"])
    assert await demand.differs(NOTHING) == {"A", "B", "C"}
    demand.forget("third")
    demand.change("other", ["D"], ["B"])
    clock.advance(5)
    assert await demand.differs(frozenset("ABC")) == {"A", "D"}


async def test_a_feed_waits_until_something_differs_from_what_it_knows(clock: FakeClock) -> None:
    demand = Interest(clock=clock)
    demand.watch("A")
    waiting = asyncio.create_task(demand.differs(frozenset("A")))
    demand.watch("A")
    demand.change("other", ["A"], [])
    for _ in range(3):
        await asyncio.sleep(module.SETTLE)
    assert not waiting.done()
    demand.watch("B")
    async with asyncio.timeout(scaled(5)):
        assert await waiting == {"A", "B"}


async def test_ten_thousand_subscribes_wake_a_feed_once(clock: FakeClock) -> None:
    pause = Pause()
    demand = Interest(clock=clock, sleep=pause)
    feed = Follower(demand)
    await pause.turn()
    for number in range(10_000):
        demand.watch(f"S{number}")
        if number % 1_000 == 0:
            await asyncio.sleep(0)
    await pause.turn()
    assert list(map(len, feed.seen)) == [10_000]
    for number in range(10_000):
        demand.unwatch(f"S{number}")
        demand.watch(f"S{number}")
    await pause.turn()
    assert len(feed.seen) == 1
    await feed.stop()


async def test_a_feed_that_asks_again_at_once_is_not_answered_for_every_change(clock: FakeClock) -> None:
    pause = Pause()
    demand = Interest(clock=clock, sleep=pause)
    demand.watch("A")
    feed = Follower(demand)
    await pause.turn()
    for number in range(50):
        demand.watch(f"S{number}")
        await asyncio.sleep(0)
    assert len(feed.seen) == 1
    await pause.turn()
    assert list(map(len, feed.seen)) == [1, 51]
    await feed.stop()


async def test_a_feed_is_told_when_a_symbol_has_lingered_without_anything_else_happening() -> None:
    demand = Interest(clock=SystemClock(), linger=0.01)
    demand.watch("A")
    demand.watch("B")
    known = await demand.differs(NOTHING)
    demand.unwatch("A")
    async with asyncio.timeout(scaled(5)):
        assert await demand.differs(known) == {"B"}


async def test_every_feed_hears_of_a_change(clock: FakeClock) -> None:
    demand = Interest(clock=clock)
    waiting = [asyncio.create_task(demand.differs(NOTHING)) for _ in range(3)]
    await asyncio.sleep(module.SETTLE * 2)
    demand.watch("A")
    async with asyncio.timeout(scaled(5)):
        assert await asyncio.gather(*waiting) == [{"A"}] * 3


@pytest.mark.parametrize("again", [True, False])
async def test_the_first_room_of_a_symbol_and_the_last_one_are_told(clock: FakeClock, again: bool) -> None:  # noqa: FBT001  # drawn
    demand, told = Interest(clock=clock), list[str]()
    demand.on_local = told.append
    demand.watch("A")
    if again:
        demand.watch("A")
        demand.unwatch("A")
    assert (told, list(demand.local)) == (["A"], ["A"])
    demand.change("other", ["B"], [])
    demand.unwatch("A")
    assert (told, list(demand.local)) == (["A", "A"], [])


async def test_what_was_let_go_does_not_pile_up_where_no_feed_asks(clock: FakeClock) -> None:
    demand = Interest(clock=clock)
    for number in range(100):
        demand.watch(f"S{number}")
        demand.unwatch(f"S{number}")
        clock.advance(1)
    assert len(demand._counts) <= 6
