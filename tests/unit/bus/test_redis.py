"""The bus of many processes in orders that a real Redis gives once in a thousand runs."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from inspect import isawaitable
from typing import Any

from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from marketstream.bus.last_values import BUS_LOST
from marketstream.bus.pulse import PULSE
from marketstream.bus.redis import PATIENCE, RedisBus
from marketstream.bus.sender import PUBLISH
from marketstream.core.delivery.frame import Frame
from marketstream.wire import envelope, keys, messages
from marketstream.wire.json import loads
from tests.support.builders import best_price
from tests.support.fake_redis import FakeRedis
from tests.support.fake_scripts import HEAD
from tests.support.instant import LoopClock, Running, instant, settled

SHARDS = 2
SHARD = keys.shard_of("A", SHARDS)
TIMES = iter(range(1, 1_000_000))


class Process:
    """One process at a Redis.

    Attributes:
        bus: Its bus.
        got: What its receiver got.
    """

    def __init__(self, redis: FakeRedis, *, sharded: bool = False) -> None:
        self.bus = RedisBus(
            client=redis.client(sharded=sharded), clock=LoopClock(), shards=SHARDS, patience=600
        )
        self.got: list[Frame] = []
        self.bus.attach(self.got.extend)

    @property
    def prices(self) -> list[bytes]:
        """Bodies of the prices that it got."""
        return [frame.body for frame in self.got if frame.event == messages.PRICE]

    @property
    def states(self) -> list[tuple[Any, Any]]:
        """States that it got, and why."""
        said = [loads(frame.body) for frame in self.got if frame.event == messages.STATUS]
        return [(each["state"], each.get("reason")) for each in said]

    async def last(self, *wanted: str) -> list[bytes]:
        """Last values as a client would get them."""
        found = self.bus.last(wanted, "acme")
        known: Sequence[Frame] = await found if isawaitable(found) else found
        return [frame.body for frame in known]


@asynccontextmanager
async def running(redis: FakeRedis, *watched: str) -> AsyncIterator[Process]:
    """A process that is connected and watches something."""
    process = Process(redis)
    async with Running(process.bus.run()):
        await asyncio.sleep(0.1)
        for name in watched:
            process.bus.watch(name)
        await settled()
        yield process


def price(bid: float, symbol: str = "A") -> Frame:
    """Each is newer than the one before."""
    return messages.price(best_price(symbol, bid, next(TIMES)))


@instant
async def test_what_one_publishes_those_get_who_watch_it() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as one, running(redis, "B") as other:
        sent = price(1)
        other.bus.publish([sent])
        await settled()
        assert one.prices == [sent.body]
        assert other.prices == []
        one.bus.unwatch("A")
        other.bus.publish([price(2)])
        await settled()
        assert len(one.prices) == 1


@instant
async def test_what_is_watched_while_redis_is_away_is_in_doubt_from_the_first_moment() -> None:
    redis = FakeRedis()
    async with running(redis) as process:
        process.bus.publish([price(1)])
        await settled()
        redis.down = True
        redis.cut()
        await asyncio.sleep(1)
        process.bus.watch("A")
        (state,) = await process.last(messages.status_key("A"))
        assert loads(state)["reason"] == BUS_LOST
        redis.down = False
        await asyncio.sleep(10)
        assert await process.last(messages.status_key("A")) == []
        assert process.states[-1] == ("live", None)


@instant
async def test_a_loss_is_told_when_the_first_attempt_to_come_back_fails_and_its_end_too() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as process:
        process.bus.publish([price(1)])
        await settled()
        with capture_logs() as said:
            redis.cut()
            await asyncio.sleep(1)
            # A broken connection is no news.
            assert process.states == []
            redis.down = True
            redis.cut()
            await asyncio.sleep(30)
            assert process.states == [("stale", BUS_LOST)]
            assert not process.bus.connected
            redis.down = False
            await asyncio.sleep(10)
        assert process.states == [("stale", BUS_LOST), ("live", None)]
        assert [each["event"] for each in said] == ["bus_disconnected", "bus_reconnected"] * 2
        assert len(process.prices) == 1


@instant
async def test_what_was_published_while_it_was_away_arrives_once_when_it_is_back() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as process, running(redis) as other:
        first, missed = price(1), price(2)
        other.bus.publish([first])
        await settled()
        redis.links[0].lost.set()
        await settled()
        other.bus.publish([missed])
        await asyncio.sleep(1)
        assert process.prices == [first.body, missed.body]


@instant
async def test_a_message_that_was_lost_on_the_way_is_noticed_at_the_next_one() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as process, running(redis) as other:
        sent = [price(number) for number in range(3)]
        other.bus.publish(sent[:1])
        await settled()
        heard = redis.links[0].confirmed
        heard.discard(keys.frames_channel(SHARD))
        other.bus.publish([sent[1], price(9, "B")])
        await settled()
        heard.add(keys.frames_channel(SHARD))
        with capture_logs() as said:
            other.bus.publish([price(9, "B")])
            await settled()
        assert process.prices == [sent[0].body, sent[1].body]
        assert [each["event"] for each in said] == ["bus_gap"]


@instant
async def test_an_empty_message_says_that_all_must_be_asked_again() -> None:
    """Somebody gave Redis back what it had forgotten."""
    redis = FakeRedis()
    async with running(redis, "A") as process:
        process.bus.publish([price(1)])
        await settled()
        restored = price(2)
        restored.cursor = int(redis.live(keys.CURSOR)) + 1
        redis.hash(keys.last_values(SHARD))[keys.field(None, "A").encode()] = envelope.render_value(restored)
        redis.store(keys.CURSOR, b"%d" % restored.cursor)
        cursor = int(redis.live(keys.shard_cursor(SHARD)))
        redis.publish(keys.frames_channel(SHARD), HEAD.pack(1, cursor + 1, cursor, 0))
        await settled()
        assert process.prices[-1] == restored.body
        # And what follows is no gap.
        with capture_logs() as said:
            process.bus.publish([price(3)])
            await settled()
        assert len(process.prices) == 3
        assert said == []


@instant
async def test_a_redis_that_forgot_everything_is_given_back_what_is_known() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as process, running(redis, "B") as other:
        kept, known = price(1), price(2, "B")
        process.bus.publish([kept, known])
        await settled()
        with capture_logs() as said:
            redis.restart()
            await asyncio.sleep(2)
        assert await process.last("B") == [known.body]
        assert await other.last("A") == [kept.body]
        assert sum(each.get("restored", 0) for each in said) == 2
        later = price(3)
        process.bus.publish([later])
        await settled()
        assert process.prices == [kept.body, later.body]


@instant
async def test_who_asks_for_last_values_waits_until_what_is_watched_is_heard() -> None:
    """Nothing may fall between the answer and the first frame that is heard."""
    redis = FakeRedis()
    async with running(redis) as process, running(redis) as other:
        redis.confirms = False
        process.bus.watch("A")
        asked = asyncio.ensure_future(process.last("A"))
        await settled()
        assert redis.count("HMGET") == 0
        sent = price(1)
        other.bus.publish([sent])
        await settled()
        redis.confirm()
        assert await asked == [sent.body]
        redis.confirms = True


@instant
async def test_a_subscription_that_is_never_confirmed_ends_the_stay() -> None:
    redis = FakeRedis()
    redis.confirms = False
    process = Process(redis)
    async with Running(process.bus.run()):
        with capture_logs() as said:
            await asyncio.sleep(PATIENCE + 1)
        assert not process.bus.connected
        assert [each["event"] for each in said] == ["bus_disconnected"]
        redis.confirms = True
        await asyncio.sleep(PATIENCE + 5)
        assert process.bus.connected


@instant
async def test_who_asks_for_last_values_while_redis_is_lost_gets_what_is_known() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as process:
        sent = price(1)
        process.bus.publish([sent])
        await settled()
        gate = redis.hold("HMGET")
        asked = asyncio.ensure_future(process.last("A", "B"))
        await settled()
        redis.down = True
        redis.cut()
        gate.set()
        assert await asked == [sent.body]
        redis.down = False


@instant
async def test_a_deaf_subscription_is_noticed_by_the_words_that_do_not_come_back() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as process:
        link = redis.links[0]
        link.confirmed.clear()
        with capture_logs() as said:
            await asyncio.sleep(10)
        assert process.bus.connected
        assert redis.links[0] is not link
        assert said[0]["reason"] == "the subscription is deaf"


@instant
async def test_a_redis_that_takes_no_writes_makes_nobody_deaf() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as process:
        redis.answer("PUBLISH", ResponseError("OOM"), 5)
        with capture_logs() as said:
            await asyncio.sleep(9)
        assert process.bus.connected
        assert said == []


@instant
async def test_who_looks_for_signs_of_life_says_when_nobody_feeds_and_when_somebody_does() -> None:
    redis = FakeRedis()
    process = Process(redis)
    process.bus.pulse.patience = 2.0
    process.bus.watch("A")
    async with Running(process.bus.run()):
        with capture_logs() as said:
            await asyncio.sleep(4)
            assert ("stale", "no_feed") in process.states
            assert [each["event"] for each in said] == ["market_not_fed"]
            client = redis.client()
            for shard in range(SHARDS):
                redis.store(keys.fence(shard), b"7")
            names = [name for shard in range(SHARDS) for name in (keys.fence(shard), keys.pulse(shard))]
            await client.evaluate(PULSE, [(names, ["7", 4_000])])
            process.bus.publish([price(1)])
            await asyncio.sleep(1)
            assert process.states[-1][0] == "live"
            assert [each["event"] for each in said] == ["market_not_fed", "market_fed_again"]


@instant
async def test_words_beside_the_frames_arrive_while_they_are_listened_to() -> None:
    redis = FakeRedis()
    heard: list[bytes] = []
    async with running(redis) as one, running(redis) as other:
        one.bus.listen(heard.append)
        other.bus.send(b"to all")
        one.bus.subscribe("news", heard.append)
        await settled()
        redis.publish("news", b"first")
        redis.links[0].lost.set()
        await asyncio.sleep(1)
        redis.publish("news", b"second")
        one.bus.unsubscribe("news")
        redis.publish("news", b"third")
        assert heard == [b"to all", b"first", b"second"]


@instant
async def test_what_makes_no_sense_is_said_and_what_nobody_watches_passed_over() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as process:
        with capture_logs() as said:
            redis.publish(keys.frames_channel(SHARD), b"?")
            process.bus._dispatch(keys.frames_channel(1 - SHARD), b"?")
        assert [each["event"] for each in said] == ["bus_message_refused"]
        assert process.got == []


@instant
async def test_who_waits_is_told_when_what_it_published_is_there_though_redis_was_lost_meanwhile() -> None:
    redis = FakeRedis()
    async with running(redis, "A") as process:
        redis.lose(PUBLISH)
        sent = price(1)
        process.bus.publish([sent])
        await process.bus.flushed()
        assert process.prices == [sent.body]
        assert process.bus.backlog.waiting == 0
