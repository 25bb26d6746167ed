"""The lease in orders that a real Redis gives once in a thousand runs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from marketstream.bus.pulse import PULSE
from marketstream.bus.redis import RedisBus
from marketstream.bus.sender import PUBLISH
from marketstream.coordination.lease import FENCE, RELEASE, STEP, TAKE, TTL_MS, RedisLease
from marketstream.core.delivery.frame import Frame
from marketstream.errors import BusError
from marketstream.wire import envelope, keys, messages
from tests.support.builders import best_price
from tests.support.fake_redis import FakeRedis
from tests.support.instant import LoopClock, Running, instant, settled

SHARDS = 2
LATER = b"4000000000000000"

Duty = Callable[[Sequence[Frame]], Awaitable[None]]


class Process:
    """One process that would feed the market.

    Attributes:
        bus: Its bus.
        lease: Its lease.
        served: The last values that its duty was given, each time.
        resumed: How often it was told that others had given it up.
    """

    def __init__(self, redis: FakeRedis) -> None:
        self.bus = RedisBus(client=redis.client(), clock=LoopClock(), shards=SHARDS)
        self.resumed = 0
        self.lease = RedisLease(self.bus, SHARDS, self._resume)
        self.served: list[list[bytes]] = []

    async def duty(self, known: Sequence[Frame]) -> None:
        """Publishes nothing until cancelled."""
        self.served.append([frame.body for frame in known])
        await asyncio.Event().wait()

    def hold(self) -> Running:
        """Waits for the lease and does the duty."""
        return Running(self.lease.hold(self.duty))

    def _resume(self) -> None:
        self.resumed += 1


def price(symbol: str, bid: float = 1.0) -> Frame:
    return messages.price(best_price(symbol, bid))


def stored(redis: FakeRedis, frame: Frame) -> None:
    """Puts a last value there."""
    shard = keys.shard_of(frame.symbol, SHARDS)
    field = keys.field(frame.tenant, frame.key or "").encode()
    redis.hash(keys.last_values(shard))[field] = envelope.render_value(frame)


@instant
async def test_the_duty_is_given_what_was_published_before_and_nothing_that_cannot_be_read() -> None:
    redis = FakeRedis()
    stored(redis, price("A"))
    redis.hash(keys.last_values(1))[b"broken"] = b"?"
    process = Process(redis)
    with capture_logs() as said:
        async with process.hold():
            assert process.lease.held
            assert process.served == [[price("A").body]]
    assert [each["event"] for each in said] == ["lease_taken", "bus_message_refused"]
    assert not process.lease.held


@instant
async def test_who_is_first_has_the_lease_and_the_next_one_has_it_once_it_is_given_up() -> None:
    redis = FakeRedis()
    first, second = Process(redis), Process(redis)
    async with first.hold(), second.hold():
        await asyncio.sleep(20)
        assert (first.lease.held, second.lease.held) == (True, False)
    assert redis.live(keys.LEASE) is None
    async with second.hold():
        await asyncio.sleep(STEP * 4)
        assert second.lease.held


@instant
async def test_every_shard_is_closed_to_earlier_terms_before_the_duty_begins() -> None:
    redis = FakeRedis()
    process = Process(redis)
    async with process.hold():
        term = redis.live(keys.TERM)
        assert [redis.live(keys.fence(shard)) for shard in range(SHARDS)] == [term, term]


@instant
async def test_a_process_that_begins_while_redis_comes_back_does_not_take_the_lease_from_its_holder() -> None:
    """The lease ran out while Redis was away, but not the term: its holder renews it in a moment."""
    redis = FakeRedis()
    first = Process(redis)
    async with first.hold():
        redis.down = True
        await asyncio.sleep(TTL_MS / 1000 + 1)
        assert redis.live(keys.LEASE) is None
        redis.down = False
        async with Process(redis).hold():
            await asyncio.sleep(10)
        assert first.lease.held
        assert len(first.served) == 1


@instant
async def test_a_holder_that_died_is_followed_within_seconds() -> None:
    redis = FakeRedis()
    second = Process(redis)
    redis.store(keys.LEASE, b"somebody")
    redis.store(keys.TERM, b"7")
    redis.expire(keys.LEASE, TTL_MS)
    async with second.hold():
        await asyncio.sleep(TTL_MS / 1000 - 0.1)
        assert not second.lease.held
        await asyncio.sleep(STEP * 4)
        assert second.lease.held


@instant
async def test_a_term_that_was_taken_without_a_word_about_it_is_not_begun_twice() -> None:
    """The reply to the taking is lost: it is the same holder who asks again."""
    redis = FakeRedis()
    redis.lose(TAKE)
    process = Process(redis)
    async with process.hold():
        assert not process.lease.held
        await asyncio.sleep(TTL_MS / 1000 + STEP * 4)
        assert process.lease.held
        assert redis.live(keys.fence(0)) == redis.live(keys.TERM)


@instant
async def test_who_is_overtaken_between_taking_and_closing_does_not_begin() -> None:
    redis = FakeRedis()

    def overtake() -> None:
        redis.store(keys.fence(1), LATER)
        redis.store(keys.TERM, LATER)
        redis.store(keys.LEASE, b"somebody")

    redis.before(FENCE, overtake)
    process = Process(redis)
    async with process.hold():
        await asyncio.sleep(5)
        assert not process.lease.held
        assert process.served == []


@instant
async def test_the_duty_ends_when_another_has_the_lease_and_what_waits_is_let_go() -> None:
    redis = FakeRedis()
    process = Process(redis)
    with capture_logs() as said:
        async with process.hold():
            process.bus.publish([price("A")])
            waiting = asyncio.ensure_future(process.bus.flushed())
            redis.store(keys.TERM, LATER)
            redis.store(keys.LEASE, b"somebody")
            await asyncio.sleep(STEP * 2)
            assert not process.lease.held
            assert len(process.bus.sender) == 0
            with pytest.raises(BusError, match="another term has begun"):
                await waiting
    assert [each["event"] for each in said] == ["lease_taken", "lease_lost"]


@instant
async def test_a_redis_that_lost_its_memory_gets_a_new_term_of_the_same_holder() -> None:
    """The duty goes on, and what waits is published in the new term."""
    redis = FakeRedis()
    process = Process(redis)
    async with process.hold():
        before = redis.live(keys.TERM)
        redis.restart()
        await asyncio.sleep(STEP * 2)
        after = redis.live(keys.TERM)
        assert int(after) > int(before)
        assert [redis.live(keys.fence(shard)) for shard in range(SHARDS)] == [after, after]
        assert process.lease.held
        assert len(process.served) == 1


@instant
async def test_who_is_fenced_though_it_has_the_lease_begins_a_new_term_or_ends() -> None:
    """What opened the shard to a later term decides."""
    redis = FakeRedis()
    process = Process(redis)
    async with process.hold(), Running(process.bus.run()):
        await asyncio.sleep(1)
        redis.store(keys.fence(keys.shard_of("A", SHARDS)), LATER)
        process.bus.publish([price("A")])
        await settled()
        assert process.bus.sender.fenced
        assert not process.lease.held
        await asyncio.sleep(STEP * 2)
        assert redis.live(keys.LEASE) is not None
        assert process.bus.sender.fenced is False


@instant
async def test_a_redis_that_is_away_ends_no_duty() -> None:
    redis = FakeRedis()
    process = Process(redis)
    async with process.hold():
        redis.down = True
        await asyncio.sleep(60)
        assert process.lease.held
        redis.down = False
        await asyncio.sleep(STEP * 2)
        assert process.lease.held
        assert len(process.served) == 1


@instant
async def test_what_cannot_be_read_at_first_is_read_again_and_said_once() -> None:
    redis = FakeRedis()
    stored(redis, price("A"))
    redis.drop("HSCAN", 3)
    process = Process(redis)
    with capture_logs() as said:
        async with process.hold():
            assert not process.lease.held
            await asyncio.sleep(STEP * 4)
            assert process.served == [[price("A").body]]
    assert [each["event"] for each in said] == ["lease_taken", "bus_read_failed"]


@instant
async def test_signs_of_life_are_given_only_where_prices_can_travel() -> None:
    redis = FakeRedis()
    process = Process(redis)
    async with process.hold():
        await asyncio.sleep(STEP * 3)
        assert redis.count(PULSE) == 0
        async with Running(process.bus.run()):
            await asyncio.sleep(STEP * 3)
            assert redis.live(keys.pulse(0)) == redis.live(keys.TERM)


@instant
async def test_who_was_given_up_by_others_and_goes_on_is_told() -> None:
    """Once, when signs of life go through again."""
    redis = FakeRedis()
    process = Process(redis)
    async with process.hold(), Running(process.bus.run()):
        await asyncio.sleep(3)
        redis.answer(PULSE, ResponseError("no writes"), 100)
        await asyncio.sleep(30)
        assert process.resumed == 0
        await asyncio.sleep(30)
        assert process.resumed == 1
        assert process.lease.held


@instant
async def test_a_lease_that_cannot_be_given_up_ends_by_itself() -> None:
    redis = FakeRedis()
    process = Process(redis)
    async with process.hold():
        redis.drop(RELEASE)
    assert redis.live(keys.LEASE) is not None
    await asyncio.sleep(TTL_MS / 1000)
    assert redis.live(keys.LEASE) is None


@instant
async def test_what_is_published_in_a_term_that_is_over_arrives_nowhere() -> None:
    """Also by a process that was frozen and does not know yet."""
    redis = FakeRedis()
    process = Process(redis)
    async with process.hold(), Running(process.bus.run()):
        await asyncio.sleep(1)
        for shard in range(SHARDS):
            redis.store(keys.fence(shard), LATER)
        process.bus.publish([price("A")])
        await settled()
        assert redis.count(PUBLISH) == 1
        assert redis.live(keys.last_values(keys.shard_of("A", SHARDS))) is None
