"""Gossip about interest in orders that a real Redis gives once in a thousand runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from marketstream.bus.redis import RedisBus
from marketstream.coordination.interest_gossip import REWRITTEN_AFTER, SCRIPT, TOGETHER, InterestGossip
from marketstream.coordination.membership import BEAT, DEAD_AFTER
from marketstream.engine.market.interest import Interest
from marketstream.errors import BusError
from marketstream.wire import interest as wire
from marketstream.wire import keys
from marketstream.wire.interest import Word
from tests.support.fake_redis import FakeRedis
from tests.support.instant import LoopClock, Running, instant, settled

LINGER = 0.001
"""Seconds that a symbol stays demanded after the last one let go of it."""


class Process:
    """One process that gossips.

    Attributes:
        bus: Its bus.
        gossip: What is tested.
        interest: What is watched, here and elsewhere.
    """

    def __init__(self, redis: FakeRedis) -> None:
        self.bus = RedisBus(client=redis.client(), clock=LoopClock(), shards=2)
        self.gossip = InterestGossip(bus=self.bus, clock=LoopClock())
        self.interest = Interest(clock=LoopClock(), linger=LINGER)
        self.gossip.attach(self.interest)

    @asynccontextmanager
    async def running(self, *, listens: bool = False) -> AsyncIterator[None]:
        """Runs it inside the block."""
        async with Running(self.bus.run()):
            await asyncio.sleep(0.1)
            if listens:
                self.gossip.listen(True)
            async with Running(self.gossip.run()):
                await asyncio.sleep(0.1)
                yield


@asynccontextmanager
async def pair(redis: FakeRedis) -> AsyncIterator[tuple[Process, Process]]:
    """A gateway, and who runs feeds."""
    gateway, feeder = Process(redis), Process(redis)
    async with feeder.running(listens=True), gateway.running():
        yield gateway, feeder


def names(process: Process) -> set[str]:
    return set(process.interest.current())


@instant
async def test_what_is_watched_at_one_is_demanded_at_the_other_until_nobody_watches_it() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        gateway.interest.watch("A")
        gateway.interest.watch("B")
        await asyncio.sleep(TOGETHER * 2)
        assert names(feeder) == {"A", "B"}
        gateway.interest.unwatch("A")
        await asyncio.sleep(TOGETHER * 2)
        assert names(feeder) == {"B"}
        assert names(gateway) == {"B"}
        assert redis.count("HGETALL") <= 2


@instant
async def test_many_changes_travel_together() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        before = redis.count(SCRIPT)
        for number in range(20):
            gateway.interest.watch(f"S{number}")
        await asyncio.sleep(TOGETHER * 2)
        assert len(names(feeder)) == 20
        assert redis.count(SCRIPT) == before + 1


@instant
async def test_a_word_whose_reply_was_lost_is_followed_by_everything() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        redis.lose(SCRIPT)
        gateway.interest.watch("A")
        await asyncio.sleep(5)
        gateway.interest.watch("B")
        await asyncio.sleep(1)
        assert names(feeder) == {"A", "B"}


@instant
async def test_a_word_that_redis_cannot_follow_is_followed_by_everything_at_once() -> None:
    """It forgot what the process holds, and nobody has noticed yet."""
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        gateway.interest.watch("A")
        await asyncio.sleep(0.1)
        redis.remove(keys.node_symbols(gateway.bus.node))
        gateway.interest.watch("B")
        await asyncio.sleep(TOGETHER * 4)
        assert names(feeder) == {"A", "B"}


@instant
async def test_a_word_that_was_not_heard_is_read_when_a_sign_of_life_names_it() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        feeder.bus._handlers.pop(keys.INTEREST)
        gateway.interest.watch("A")
        await asyncio.sleep(TOGETHER * 2)
        assert names(feeder) == set()
        await asyncio.sleep(BEAT * 2)
        assert names(feeder) == {"A"}


@instant
async def test_what_is_heard_while_all_is_read_is_not_undone_by_it() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        gateway.interest.watch("A")
        await asyncio.sleep(0.1)
        gate = redis.hold("HGETALL")
        feeder.gossip._missed([gateway.bus.node])
        await settled()
        gateway.interest.watch("B")
        await asyncio.sleep(TOGETHER * 2)
        gate.set()
        await settled()
        assert names(feeder) == {"A", "B"}


@instant
async def test_who_says_that_it_ends_is_forgotten_at_once() -> None:
    redis = FakeRedis()
    feeder, gateway = Process(redis), Process(redis)
    async with feeder.running(listens=True):
        async with gateway.running():
            gateway.interest.watch("A")
            await asyncio.sleep(0.1)
            assert names(feeder) == {"A"}
        await asyncio.sleep(LINGER * 2)
        assert names(feeder) == set()
    assert redis.live(keys.node_symbols(gateway.bus.node)) is None


@instant
async def test_who_dies_without_a_word_is_forgotten_when_it_was_silent_for_too_long() -> None:
    redis = FakeRedis()
    feeder = Process(redis)
    async with feeder.running(listens=True):
        await asyncio.sleep(DEAD_AFTER + 1)
        seen = b"%d" % (redis.micros // 1000)
        redis.hash(keys.NODES_SEEN)[b"dead"] = seen
        redis.hash(keys.NODES_NUMBERS)[b"dead"] = b"1"
        redis.hash(keys.node_symbols("dead")).update({b"": b"1", b"A": b""})
        await asyncio.sleep(BEAT * 2)
        assert names(feeder) == {"A"}
        await asyncio.sleep(DEAD_AFTER + BEAT)
        assert names(feeder) == set()


@instant
async def test_a_redis_that_comes_back_empty_makes_nobody_forget_who_is_about_to_come_back_too() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        gateway.interest.watch("A")
        await asyncio.sleep(DEAD_AFTER * 2)
        redis.data.clear()
        # The other one cannot say at once that it is there.
        redis.hash(keys.NODES_SEEN)
        gateway.gossip._membership.beat = lambda _: asyncio.sleep(3600)  # type: ignore[method-assign,assignment,return-value]  # it is late
        for _ in range(8):
            await asyncio.sleep(DEAD_AFTER / 10)
            assert names(feeder) == {"A"}


@instant
async def test_a_loss_of_redis_changes_nothing_and_everything_is_told_again() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        gateway.interest.watch("A")
        await asyncio.sleep(1)
        redis.down = True
        redis.cut()
        await asyncio.sleep(60)
        assert names(feeder) == {"A"}
        gateway.interest.watch("B")
        redis.down = False
        redis.data.clear()
        await asyncio.sleep(15)
        assert names(feeder) == {"A", "B"}


@instant
async def test_everything_is_written_again_now_and_then() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, _):
        gateway.interest.watch("A")
        await asyncio.sleep(10)
        before = redis.count(SCRIPT)
        await asyncio.sleep(REWRITTEN_AFTER)
        assert redis.count(SCRIPT) == before + 2


@instant
async def test_who_does_not_listen_any_more_forgets_the_others() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        gateway.interest.watch("A")
        await asyncio.sleep(0.1)
        feeder.gossip.listen(False)
        await asyncio.sleep(LINGER * 2)
        assert names(feeder) == set()
        assert not feeder.gossip.listens
        feeder.gossip.listen(True)
        feeder.gossip.listen(True)
        await asyncio.sleep(BEAT)
        assert names(feeder) == {"A"}


@instant
async def test_words_that_make_no_sense_are_said_and_cost_nothing() -> None:
    redis = FakeRedis()
    async with pair(redis) as (gateway, feeder):
        with capture_logs() as said:
            redis.publish(keys.INTEREST, b"?")
            redis.hash(keys.node_symbols("odd"))[b""] = b"?"
            redis.publish(keys.INTEREST, wire.render(Word("odd", 1, "whole")))
            await asyncio.sleep(0.1)
        assert [each["event"] for each in said] == ["bus_message_refused"] * 2
        gateway.interest.watch("A")
        await asyncio.sleep(0.1)
        assert names(feeder) == {"A"}


@instant
async def test_that_redis_is_there_and_will_not_do_it_is_said_once() -> None:
    redis = FakeRedis()
    process = Process(redis)
    async with process.running():
        with capture_logs() as said:
            redis.answer(SCRIPT, ResponseError("OOM"), 1_000)
            process.gossip.rewrite()
            await asyncio.sleep(120)
    assert [each["event"] for each in said].count("presence_failed") == 1


@instant
async def test_who_cannot_be_asked_about_is_nobody_of_whom_anything_is_said() -> None:
    redis = FakeRedis()
    process = Process(redis)
    assert await process.gossip.dead([]) == ()
    redis.down = True
    with pytest.raises(BusError, match="who is alive"):
        await process.gossip.dead(["a"])


@instant
async def test_a_goodbye_that_does_not_get_through_ends_all_the_same() -> None:
    redis = FakeRedis()
    process = Process(redis)
    async with process.running():
        redis.hold("DEL")
