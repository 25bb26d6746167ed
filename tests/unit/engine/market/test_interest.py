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
    """A feed that does nothing but keep to the interest."""

    def __init__(self, interest: Interest) -> None:
        self.seen: list[frozenset[str]] = []
        self._interest = interest
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        known = NOTHING
        while True:
            known = await self._interest.differs(known)
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
    counts = InterestCounts()
    counts.hold("a", ["X"])
    counts.hold("b", ["X"])
    counts.release("a", ["X"], 10)
    assert counts.ends_at is None
    counts.forget("b", 20)
    counts.expire(24.9)
    assert ("X" in counts, list(counts.symbols())) == (True, ["X"])
    counts.expire(25)
    assert counts.ends_at is None
    assert ("X" in counts, len(counts)) == (False, 0)


def test_who_comes_back_in_time_changes_nothing() -> None:
    counts = InterestCounts()
    counts.hold("a", ["X"])
    changes = counts.changes
    counts.release("a", ["X"], 10)
    counts.hold("b", ["X"])
    counts.expire(100)
    assert (counts.changes, list(counts.symbols())) == (changes, ["X"])


def test_a_holder_may_say_all_that_it_holds() -> None:
    counts = InterestCounts(linger=0)
    counts.hold("a", ["X", "Y"])
    counts.replace("a", ["Y", "Z"], 1)
    counts.expire(1)
    assert set(counts.held_by("a")) == counts.symbols() == {"Y", "Z"}


def test_nothing_is_left_of_those_who_are_gone() -> None:
    counts = InterestCounts()
    for number in range(100):
        counts.hold(f"n{number}", ["X", f"S{number}"])
        counts.hold(f"n{number}", [])
        counts.forget(f"n{number}", number)
    counts.release("nobody", ["X"], 200)
    counts.expire(200)
    assert (counts._held, counts._counts, len(counts._lingering)) == ({}, {}, 0)


async def test_a_feed_learns_of_what_is_watched_here_and_elsewhere(clock: FakeClock) -> None:
    interest = Interest(clock=clock)
    interest.watch("A")
    interest.change("other", ["B"], [])
    interest.replace("third", ["A", "C"])
    assert await interest.differs(NOTHING) == {"A", "B", "C"}
    interest.forget("third")
    interest.change("other", ["D"], ["B"])
    clock.advance(5)
    assert await interest.differs(frozenset("ABC")) == {"A", "D"}


async def test_a_feed_waits_until_something_differs_from_what_it_knows(clock: FakeClock) -> None:
    interest = Interest(clock=clock)
    interest.watch("A")
    waiting = asyncio.create_task(interest.differs(frozenset("A")))
    interest.watch("A")
    interest.change("other", ["A"], [])
    for _ in range(3):
        await asyncio.sleep(module.SETTLE)
    assert not waiting.done()
    interest.watch("B")
    async with asyncio.timeout(scaled(5)):
        assert await waiting == {"A", "B"}


async def test_ten_thousand_subscribes_wake_a_feed_once(clock: FakeClock) -> None:
    pause = Pause()
    interest = Interest(clock=clock, sleep=pause)
    feed = Follower(interest)
    await pause.turn()
    for number in range(10_000):
        interest.watch(f"S{number}")
        if number % 1_000 == 0:
            await asyncio.sleep(0)
    await pause.turn()
    assert list(map(len, feed.seen)) == [10_000]
    for number in range(10_000):
        interest.unwatch(f"S{number}")
        interest.watch(f"S{number}")
    await pause.turn()
    assert len(feed.seen) == 1
    await feed.stop()


async def test_a_feed_that_asks_again_at_once_is_not_answered_for_every_change(clock: FakeClock) -> None:
    pause = Pause()
    interest = Interest(clock=clock, sleep=pause)
    interest.watch("A")
    feed = Follower(interest)
    await pause.turn()
    for number in range(50):
        interest.watch(f"S{number}")
        await asyncio.sleep(0)
    assert len(feed.seen) == 1
    await pause.turn()
    assert list(map(len, feed.seen)) == [1, 51]
    await feed.stop()


async def test_a_feed_is_told_when_a_symbol_has_lingered_without_anything_else_happening() -> None:
    interest = Interest(clock=SystemClock(), linger=0.01)
    interest.watch("A")
    interest.watch("B")
    known = await interest.differs(NOTHING)
    interest.unwatch("A")
    async with asyncio.timeout(scaled(5)):
        assert await interest.differs(known) == {"B"}


async def test_every_feed_learns_of_a_change(clock: FakeClock) -> None:
    interest = Interest(clock=clock)
    waiting = [asyncio.create_task(interest.differs(NOTHING)) for _ in range(3)]
    await asyncio.sleep(module.SETTLE * 2)
    interest.watch("A")
    async with asyncio.timeout(scaled(5)):
        assert await asyncio.gather(*waiting) == [{"A"}] * 3


@pytest.mark.parametrize("again", [True, False])
async def test_the_first_room_of_a_symbol_and_the_last_one_are_told(clock: FakeClock, again: bool) -> None:  # noqa: FBT001  # drawn
    interest, told = Interest(clock=clock), list[str]()
    interest.on_local = told.append
    interest.watch("A")
    if again:
        interest.watch("A")
        interest.unwatch("A")
    assert (told, list(interest.local)) == (["A"], ["A"])
    interest.change("other", ["B"], [])
    interest.unwatch("A")
    assert (told, list(interest.local)) == (["A", "A"], [])


async def test_what_was_let_go_does_not_pile_up_where_no_feed_asks(clock: FakeClock) -> None:
    interest = Interest(clock=clock)
    for number in range(100):
        interest.watch(f"S{number}")
        interest.unwatch(f"S{number}")
        clock.advance(1)
    assert len(interest._counts) <= 6
