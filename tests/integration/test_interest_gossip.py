"""What processes tell each other of their symbols arrives, whatever gets lost on the way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.coordination.connection_limits import RedisConnectionLimits
from marketstream.coordination.interest_gossip import InterestGossip
from marketstream.engine.market.interest import Interest
from marketstream.observability.clock import SystemClock
from marketstream.wire import interest as wire
from marketstream.wire import keys
from tests.support.eventually import eventually
from tests.support.valkey import Valkey, running_valkey

NOTHING: frozenset[str] = frozenset()


class Process:
    """The parts of a process that have to do with interest.

    Attributes:
        bus: Where it meets others.
        interest: What is watched, here and elsewhere.
        gossip: What tells and listens.
        limits: Connections of users.
    """

    def __init__(self, url: str) -> None:
        clock = SystemClock()
        bus = build_bus(url, clock=clock)
        assert isinstance(bus, RedisBus)
        self.bus = bus
        self.interest = Interest(clock=clock, linger=0.05)
        self.gossip = InterestGossip(bus=bus, clock=clock)
        self.gossip.attach(self.interest)
        self.limits: RedisConnectionLimits = self.gossip.connection_limits

    async def knows(self, *symbols: str) -> None:
        """Waits until these symbols are demanded and no others."""

        async def known() -> bool:
            return await self.interest.differs(frozenset({"not a symbol"})) == set(symbols)

        await eventually(known, 10, f"a demand of {len(symbols)} symbols")


@asynccontextmanager
async def process(url: str, *, listens: bool = False) -> AsyncIterator[Process]:
    """A process that runs inside the block."""
    made = Process(url)
    made.gossip.listen(listens)
    tasks = [asyncio.create_task(made.gossip.run()), asyncio.create_task(made.bus.run())]
    try:
        await eventually(lambda: made.bus.connected, what="a connection to Valkey")
        yield made
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def mortal() -> Iterator[Valkey]:
    """A Valkey of the test's own."""
    with running_valkey() as valkey:
        yield valkey


def stored(valkey: Valkey, gateway: Process) -> set[str]:
    """What Redis has of a gateway."""
    with valkey.client() as client:
        return set(wire.parse_symbols(client.hgetall(keys.node_symbols(gateway.bus.node)))[1])


async def test_ten_thousand_symbols_are_told_in_a_few_words(valkey: Valkey) -> None:
    names = [f"S{number}" for number in range(10_000)]
    async with process(valkey.url, listens=True) as feed, process(valkey.url) as gateway:
        for name in names:
            gateway.interest.watch(name)
            if name.endswith("99"):
                await asyncio.sleep(0)
        await feed.knows(*names)
        assert gateway.gossip._announcements.number <= 10
        for name in names[1:]:
            gateway.interest.unwatch(name)
        await feed.knows(names[0])
        assert stored(valkey, gateway) == {names[0]}


async def test_who_comes_and_goes_in_one_moment_is_not_told_at_all(valkey: Valkey) -> None:
    async with process(valkey.url, listens=True) as feed, process(valkey.url) as gateway:
        gateway.interest.watch("A")
        await feed.knows("A")
        told = gateway.gossip._announcements.number
        for number in range(1_000):
            gateway.interest.watch(f"S{number}")
            gateway.interest.unwatch("A")
            gateway.interest.unwatch(f"S{number}")
            gateway.interest.watch("A")
        assert len(gateway.gossip._announcements._touched) <= 1
        gateway.interest.watch("B")
        await feed.knows("A", "B")
        assert gateway.gossip._announcements.number == told + 1


@pytest.mark.parametrize("sees_more", [True, False])
async def test_a_word_that_was_not_heard_is_noticed(valkey: Valkey, *, sees_more: bool) -> None:
    """By the number of the next one, or by a sign of life if there is none."""
    async with process(valkey.url, listens=True) as feed, process(valkey.url) as gateway:
        gateway.interest.watch("A")
        await feed.knows("A")
        feed.bus.unsubscribe(keys.INTEREST)
        gateway.interest.watch("B")
        gateway.interest.unwatch("A")
        await eventually(lambda: stored(valkey, gateway) == {"B"}, what="the change in Redis")
        if sees_more:
            feed.bus.subscribe(keys.INTEREST, feed.gossip._receive)
            gateway.interest.watch("C")
            await feed.knows("B", "C")
        else:
            await feed.knows("B")


async def test_of_several_who_hold_a_symbol_the_last_one_ends_it(valkey: Valkey) -> None:
    async with process(valkey.url, listens=True) as feed, process(valkey.url) as one:
        async with process(valkey.url) as two:
            feed.interest.watch("A")
            one.interest.watch("A")
            two.interest.watch("A")
            two.interest.watch("B")
            await feed.knows("A", "B")
            feed.interest.unwatch("A")
            one.interest.unwatch("A")
            one.interest.watch("C")
            await feed.knows("A", "B", "C")
        # It said goodbye.
        await feed.knows("C")


async def test_listening_can_be_switched_off_and_on(valkey: Valkey) -> None:
    async with process(valkey.url) as feed, process(valkey.url) as gateway:
        gateway.interest.watch("A")
        feed.interest.watch("MINE")
        for _ in range(2):
            feed.gossip.listen(True)
            assert feed.gossip.listens
            await feed.knows("A", "MINE")
            feed.gossip.listen(False)
            await feed.knows("MINE")
        gateway.interest.watch("B")
        await eventually(lambda: stored(valkey, gateway) == {"A", "B"}, what="the change in Redis")
        assert feed.gossip._others.known == []


async def test_nothing_piles_up_while_redis_is_away_and_everything_is_told_afterwards(mortal: Valkey) -> None:
    async with process(mortal.url, listens=True) as feed, process(mortal.url) as gateway:
        gateway.interest.watch("A")
        gateway.interest.watch("B")
        await _take(gateway, "stays")
        await _take(gateway, "leaves")
        await feed.knows("A", "B")
        mortal.kill()
        await eventually(lambda: not gateway.bus.connected, what="the loss")
        for number in range(1_000):
            gateway.interest.watch(f"S{number}")
            gateway.interest.unwatch(f"S{number}")
            await _take(gateway, f"u{number}")
            gateway.limits.release("acme", f"u{number}")
        assert len(gateway.gossip._announcements._touched) <= 1
        assert len(gateway.limits._stale | gateway.limits._written) <= 2
        gateway.interest.unwatch("A")
        gateway.interest.watch("C")
        gateway.limits.release("acme", "leaves")
        await _take(gateway, "new")
        await feed.knows("A", "B")
        mortal.start()
        await feed.knows("B", "C")
        with mortal.client() as client:
            users = {
                keys.user_connections("acme", user).encode(): user for user in ("stays", "leaves", "new")
            }
            await eventually(
                lambda: (
                    {users[name] for name in client.scan_iter("marketstream:places:*")} == {"stays", "new"}
                ),
                what="the counts in Redis",
            )
        assert gateway.limits._stale == set()


async def test_words_that_make_no_sense_change_nothing(valkey: Valkey) -> None:
    async with process(valkey.url, listens=True) as feed, process(valkey.url) as gateway:
        gateway.interest.watch("A")
        await feed.knows("A")
        with valkey.client() as client:
            for word in (b"", b"{}", b"\xff", wire.render(wire.Word(gateway.bus.node, 0, "gone"))):
                client.publish(keys.INTEREST, word)
        gateway.interest.watch("B")
        await feed.knows("A", "B")


async def test_a_script_that_redis_has_forgotten_is_taught_again(valkey: Valkey) -> None:
    async with process(valkey.url, listens=True) as feed, process(valkey.url) as gateway:
        gateway.interest.watch("A")
        await feed.knows("A")
        with valkey.client() as client:
            client.script_flush()
        gateway.interest.watch("B")
        await _take(gateway, "u")
        await feed.knows("A", "B")
        assert not gateway.limits._failing


async def _take(gateway: Process, user: str) -> None:
    waiting = gateway.limits.acquire("acme", user, 5)
    if waiting is not None:
        await waiting
