"""The sender in orders that a real Redis gives once in a thousand runs."""

import asyncio

import pytest
from redis.exceptions import ClusterDownError, ReadOnlyError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from structlog.testing import capture_logs

from marketstream.bus.sender import DEMOTED, MAX_NOTES, PAUSE, PUBLISH, RESTORE, Sender
from marketstream.core.delivery.frame import Frame
from marketstream.errors import BusError
from marketstream.wire import envelope, keys, messages
from tests.support.builders import best_price
from tests.support.fake_redis import FakeListener, FakeRedis
from tests.support.instant import Running, instant, settled

SHARDS = 2
SHARD = keys.shard_of("A", SHARDS)


class Line:
    """A sender at a Redis, and what arrives at those who listen.

    Attributes:
        redis: The Redis.
        sender: The sender.
        got: What arrived: bodies of frames, and notes.
    """

    def __init__(self) -> None:
        self.redis = FakeRedis()
        self.sender = Sender(self.redis.client(), SHARDS)
        self.got: list[bytes] = []
        listener = FakeListener(self.redis, self._take)
        self.redis.links.append(listener)
        listener.subscribe(["notes", *(keys.frames_channel(shard) for shard in range(SHARDS))])

    def _take(self, channel: str, data: bytes) -> None:
        if channel == "notes":
            self.got.append(data)
        else:
            self.got += [frame.body for frame in envelope.parse_batch(data, ["A", "B"]).frames]

    def publish(self, *frames: Frame) -> None:
        """Puts frames into the queue."""
        self.sender.publish(frames)

    async def fail(self) -> None:
        """Runs it until Redis is lost."""
        with pytest.raises(RedisConnectionError):
            await self.sender.run()


def price(bid: float, symbol: str = "A", at_ms: int = 5) -> Frame:
    return messages.price(best_price(symbol, bid, at_ms))


@instant
async def test_what_was_put_in_before_it_runs_is_sent_too() -> None:
    line = Line()
    line.publish(price(1))
    line.sender.send("notes", b"hello")
    async with Running(line.sender.run()):
        line.publish(price(2))
        await settled()
    assert line.got == [b"hello", price(1).body, price(2).body]
    assert line.sender.newest == int(line.redis.live(keys.CURSOR))


@instant
async def test_a_batch_whose_reply_was_lost_is_found_and_not_sent_again() -> None:
    line = Line()
    line.publish(price(1))
    line.redis.lose(PUBLISH)
    await line.fail()
    assert len(line.sender) == 1
    async with Running(line.sender.run()):
        await line.sender.flushed()
    assert line.got == [price(1).body]


@instant
async def test_a_batch_that_was_lost_is_sent_again_though_an_older_value_is_there() -> None:
    """What is stored in its field is another value, and does not count as sent."""
    line = Line()
    line.publish(price(1))
    async with Running(line.sender.run()):
        await line.sender.flushed()
    line.publish(price(2))
    line.redis.drop(PUBLISH)
    await line.fail()
    async with Running(line.sender.run()):
        await line.sender.flushed()
    assert line.got == [price(1).body, price(2).body]


@instant
async def test_a_redis_that_is_lost_again_while_it_is_asked_is_asked_again() -> None:
    line = Line()
    line.publish(price(1))
    line.redis.lose(PUBLISH)
    await line.fail()
    line.redis.lose("HMGET")
    await line.fail()
    async with Running(line.sender.run()):
        await line.sender.flushed()
    assert line.got == [price(1).body]


@instant
async def test_who_waits_for_what_was_published_waits_over_a_loss() -> None:
    line = Line()
    line.publish(price(1))
    waiting = asyncio.ensure_future(line.sender.flushed())
    line.redis.drop(PUBLISH)
    await line.fail()
    await settled()
    assert not waiting.done()
    async with Running(line.sender.run()):
        await waiting


@instant
async def test_who_waits_does_not_wait_for_what_comes_later() -> None:
    line = Line()
    line.publish(price(1))
    first, second = line.redis.hold(PUBLISH), line.redis.hold(PUBLISH)
    waiting = asyncio.ensure_future(line.sender.flushed())
    await settled()
    async with Running(line.sender.run()):
        line.publish(price(2))
        first.set()
        await settled()
        assert waiting.done()
        assert line.got == [price(1).body]
        late = asyncio.ensure_future(line.sender.flushed())
        await settled()
        assert not late.done()
        second.set()
        await late


@instant
async def test_who_waits_when_nothing_is_left_to_send_is_answered_at_once() -> None:
    line = Line()
    async with Running(line.sender.run()):
        await line.sender.flushed()
    assert line.redis.calls == []


@instant
async def test_what_is_published_in_a_term_that_is_over_waits_and_who_waits_for_it_is_told() -> None:
    line = Line()
    line.redis.store(keys.fence(SHARD), b"8")
    line.sender.start_term("7")
    line.publish(price(1))
    async with Running(line.sender.run()):
        waiting = asyncio.ensure_future(line.sender.flushed())
        await settled()
        assert (line.sender.fenced, waiting.done(), len(line.sender)) == (True, False, 1)
        line.sender.end_term()
        with pytest.raises(BusError, match="another term has begun"):
            await waiting
    assert line.got == []


@instant
async def test_who_begins_the_next_term_itself_publishes_what_waited() -> None:
    line = Line()
    line.redis.store(keys.fence(SHARD), b"8")
    line.sender.start_term("7")
    line.publish(price(1))
    async with Running(line.sender.run()):
        await settled()
        line.sender.start_term("8")
        await line.sender.flushed()
    assert line.got == [price(1).body]


@instant
async def test_a_term_that_ends_while_a_batch_is_underway_takes_it_along() -> None:
    """It is in nobody's queue afterwards, whether or not it arrived."""
    line = Line()
    line.sender.start_term("")
    line.publish(price(1))
    gate = line.redis.hold(PUBLISH)
    async with Running(line.sender.run()) as sending:
        line.sender.start_term("7")
        line.sender.end_term()
        line.sender.start_term("8")
        gate.set()
        await settled()
        assert not sending.done()
        assert len(line.sender) == 0


@pytest.mark.parametrize(
    "error", [ResponseError("OOM command not allowed"), RedisTimeoutError("Timeout reading from socket")]
)
@instant
async def test_a_redis_that_is_there_and_takes_no_writes_is_tried_again(error: Exception) -> None:
    line = Line()
    line.publish(price(1))
    line.redis.answer(PUBLISH, error, 3)
    with capture_logs() as said:
        async with Running(line.sender.run()):
            assert line.sender.refused
            line.publish(price(2))
            await asyncio.sleep(PAUSE * 3 + 0.1)
            assert not line.sender.refused
    assert line.got == [price(2).body]
    assert [each["event"] for each in said] == ["bus_writes_refused", "bus_writes_resumed"]


@instant
async def test_that_writes_are_taken_again_is_seen_though_nothing_waits() -> None:
    """What was refused was a note, which is not sent twice."""
    line = Line()
    line.sender.send("notes", b"lost")
    line.redis.answer("PUBLISH", ResponseError("OOM"))
    line.redis.answer("SET", ResponseError("OOM"))
    async with Running(line.sender.run()):
        assert line.sender.refused
        await asyncio.sleep(PAUSE * 1.5)
        assert line.sender.refused
        await asyncio.sleep(PAUSE)
        assert not line.sender.refused
    assert line.got == []


@instant
async def test_a_redis_that_stays_read_only_is_looked_for_anew() -> None:
    line = Line()
    line.publish(price(1))
    line.redis.answer(PUBLISH, ReadOnlyError("READONLY"), 100)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ReadOnlyError):
        await line.sender.run()
    assert DEMOTED < asyncio.get_running_loop().time() - began < DEMOTED + 2 * PAUSE
    # The next stay gets as long again.
    with pytest.raises(ReadOnlyError):
        await line.sender.run()
    assert asyncio.get_running_loop().time() - began > 2 * DEMOTED


@instant
async def test_a_redis_that_does_not_answer_at_all_is_lost() -> None:
    line = Line()
    line.publish(price(1))
    line.redis.answer(PUBLISH, RedisTimeoutError("Timeout reading from socket"))
    line.redis.drop("EXISTS")
    with pytest.raises(RedisTimeoutError):
        await line.sender.run()
    assert len(line.sender) == 1


@instant
async def test_an_error_of_a_cluster_that_moves_is_a_loss() -> None:
    line = Line()
    line.publish(price(1))
    line.redis.answer(PUBLISH, ClusterDownError("CLUSTERDOWN"))
    with pytest.raises(ClusterDownError):
        await line.sender.run()
    assert not line.sender.refused


@instant
async def test_older_prices_that_redis_leaves_out_are_said_once() -> None:
    line = Line()
    line.publish(price(1, at_ms=9))
    with capture_logs() as said:
        async with Running(line.sender.run()):
            await line.sender.flushed()
            for bid in (2, 3):
                line.publish(price(bid, at_ms=8))
                await line.sender.flushed()
    assert line.got == [price(1, at_ms=9).body]
    assert line.sender.late == 2
    example = keys.field(None, "A")
    assert [(each["event"], each["example"]) for each in said] == [("older_prices_left_out", example)]


@instant
async def test_what_cannot_travel_is_said_and_costs_no_other() -> None:
    line = Line()
    line.publish(Frame("e", b"{}", key="k" * 70_000, symbol="A"), price(1))
    with capture_logs() as said:
        async with Running(line.sender.run()):
            await line.sender.flushed()
    assert line.got == [price(1).body]
    assert [each["event"] for each in said] == ["bus_message_refused"]


@instant
async def test_notes_that_find_no_room_are_let_go_from_the_oldest_on() -> None:
    line = Line()
    with capture_logs() as said:
        for number in range(MAX_NOTES + 2):
            line.sender.send("notes", b"%d" % number)
    async with Running(line.sender.run()):
        await asyncio.sleep(1)
    assert line.got[0] == b"2"
    assert len(line.got) == MAX_NOTES
    assert [each["event"] for each in said] == ["bus_message_lost"] * 2


@instant
async def test_a_note_whose_reply_was_lost_is_not_sent_twice() -> None:
    line = Line()
    line.sender.send("notes", b"once")
    line.redis.lose("PUBLISH")
    await line.fail()
    async with Running(line.sender.run()):
        await settled()
    assert line.got == [b"once"]


@instant
async def test_a_script_that_redis_forgot_is_shown_to_it_again() -> None:
    line = Line()
    async with Running(line.sender.run()):
        line.publish(price(1))
        await line.sender.flushed()
        line.redis._known.clear()
        line.publish(price(2))
        await line.sender.flushed()
    assert line.got == [price(1).body, price(2).body]


@instant
async def test_what_redis_forgot_is_given_back_once() -> None:
    line = Line()
    line.publish(price(1), price(2, "B"))
    async with Running(line.sender.run()):
        await line.sender.flushed()
        line.redis.data.clear()
        assert [await line.sender.restore([]), await line.sender.restore([])] == [2, 0]
    asked = line.redis.count(RESTORE)
    assert await Sender(line.redis.client(), SHARDS).restore([]) == 0
    assert line.redis.count(RESTORE) == asked
