import asyncio
import gc
import weakref

import pytest

from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.hub import Hub
from marketstream.core.delivery.outbox import LANE_BATCH, Lane
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.flusher import Flusher
from marketstream.engine.delivery.waiting import Waiting
from marketstream.engine.stats import Stats
from tests.support.clock import FakeClock
from tests.support.eventually import eventually, scaled
from tests.support.recording import RecordingTransport

FEW_TURNS = 5


class Works:
    """A flusher over a few connections."""

    def __init__(self, max_delay: float = 0.02) -> None:
        self.clock = FakeClock()
        self.hub: Hub[Connection] = Hub()
        self.stats = Stats()
        self.dead: list[Connection] = []
        self.flusher = Flusher(
            hub=self.hub, clock=self.clock, stats=self.stats, on_dead=self.dead.append, max_delay=max_delay
        )

    def connect(
        self, lane: Lane | None = None, sink: RecordingTransport | None = None
    ) -> tuple[Connection, RecordingTransport]:
        """A member of the room `A`."""
        sink = sink or RecordingTransport()
        connection = Connection(
            "c",
            "websocket",
            sink,
            self.clock.now(),
            control_capacity=10,
            call_bytes=0,
            waiting=Waiting(0, self.clock),
        )
        if lane is not None:
            connection.outbox.open_lane(lane)
        self.hub.join("A", connection.outbox, lane)
        return connection, sink

    def tick(self, number: int = 0, symbol: str = "A") -> None:
        """A price for its room."""
        self.hub.deliver(symbol, self._price(number, symbol))

    def receive(self, number: int, symbol: str = "A") -> None:
        """A price comes from the bus."""
        frame = self._price(number, symbol)
        self.hub.deliver(symbol, frame)
        self.flusher.wake([frame])

    def _price(self, number: int, symbol: str) -> Frame:
        return Frame("price", b"%d" % number, key=symbol, symbol=symbol, at_ms=self.clock.wall_ms())


class SlowTransport(RecordingTransport):
    """Every write takes its time on the fake clock."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds

    def write(self, data: bytes) -> None:
        """Keeps the bytes, later."""
        self._clock.advance(self._seconds)
        super().write(data)


async def turns(count: int = FEW_TURNS) -> None:
    """Lets the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
def works() -> Works:
    """A flusher without connections."""
    return Works()


async def test_an_idle_process_writes_at_the_end_of_the_turn(works: Works) -> None:
    _, sink = works.connect()
    works.tick()
    works.flusher.wake()
    assert sink.writes == []
    await asyncio.sleep(0)
    assert len(sink.writes) == 1


async def test_everything_that_waits_for_a_client_is_one_write(works: Works) -> None:
    connection, sink = works.connect()
    works.hub.send(connection.outbox, Frame("notice", b"1"))
    works.hub.send(connection.outbox, Frame("notice", b"2"))
    works.tick(3)
    works.tick(4)
    works.flusher.flush()
    assert len(sink.writes) == 1
    assert sink.events == [("notice", 1), ("notice", 2), ("price", 4)]
    assert (works.stats.writes, works.stats.delivered, works.stats.taken) == (1, 3, 1)


async def test_after_a_flush_that_took_long_the_next_waits_as_long(works: Works) -> None:
    """The duty cycle: under load, prices share a write."""
    _, sink = works.connect(sink=SlowTransport(works.clock, 0.01))
    works.tick(1)
    works.flusher.flush()
    works.tick(2)
    works.flusher.wake()
    await turns()
    works.tick(3)
    works.flusher.wake()
    assert sink.events == [("price", 1)]
    await eventually(lambda: len(sink.writes) == 2, what="the next flush")
    assert sink.events[1:] == [("price", 3)]


async def test_no_flush_however_long_delays_the_next_beyond_the_limit() -> None:
    works = Works(max_delay=0.02)
    _, sink = works.connect(sink=SlowTransport(works.clock, 3600.0))
    works.tick()
    works.flusher.flush()
    works.clock.advance(0.02)
    works.tick()
    works.flusher.wake()
    await asyncio.sleep(0)
    assert len(sink.writes) == 2


async def test_a_client_that_takes_nothing_is_passed_over_and_goes_on_conflating(works: Works) -> None:
    connection, sink = works.connect()
    _, other = works.connect()
    sink.full = True
    for number in range(5):
        works.tick(number)
        works.flusher.flush()
    assert (sink.writes, len(other.writes)) == ([], 5)
    assert len(connection.outbox) == 1
    sink.full = False
    works.hub.mark(connection.outbox)
    works.flusher.flush()
    assert sink.events == [("price", 4)]


@pytest.mark.parametrize("error", [RuntimeError("closed"), ConnectionResetError(), BrokenPipeError()])
async def test_a_dead_client_costs_the_others_nothing(works: Works, error: Exception) -> None:
    _, before = works.connect()
    connection, broken = works.connect()
    _, after = works.connect()
    broken.dead = error
    works.tick()
    works.flusher.flush()
    assert (len(before.writes), len(after.writes)) == (1, 1)
    assert works.dead == [connection]
    assert works.stats.dead_writes == 1


async def test_a_client_that_is_closed_in_the_middle_of_a_flush_is_told_of_after_it(works: Works) -> None:
    """Who closes a connection may touch rooms, which the flush must not notice."""
    order: list[str] = []
    broken = works.connect()[1]
    broken.dead = RuntimeError()
    _, after = works.connect()
    works.flusher = Flusher(
        hub=works.hub,
        clock=works.clock,
        stats=works.stats,
        on_dead=lambda _: order.append(f"dead after {len(after.writes)}"),
    )
    works.tick()
    works.flusher.flush()
    assert order == ["dead after 1"]


async def test_a_loss_is_told_before_the_values_that_follow_it(works: Works) -> None:
    lane = Lane("A", lossless=True, capacity=2)
    _, sink = works.connect(lane)
    for number in range(5):
        works.tick(number)
    works.flusher.flush()
    assert sink.events == [("lagged", {"symbol": "A", "missed": 3}), ("price", 3), ("price", 4)]
    assert (works.stats.lagged, lane.missed) == (3, 0)
    works.tick(5)
    works.flusher.flush()
    assert sink.events[3:] == [("price", 5)]


async def test_a_paced_value_goes_out_when_its_time_has_come_and_once(works: Works) -> None:
    lane = Lane("A", lossless=True, max_rate=100)
    connection, sink = works.connect(lane)
    lane.due = works.clock.now() + 0.01
    works.tick(1)
    works.flusher.flush()
    assert sink.writes == []
    works.clock.advance(0.01)
    await eventually(lambda: sink.writes, what="the alarm")
    works.flusher.flush()
    assert sink.events == [("price", 1)]
    assert (connection.outbox.alarm_at, works.flusher._alarm._timer, works.flusher._alarms) == (
        None,
        None,
        [],
    )


async def test_all_paced_values_go_out_one_after_the_other_without_further_prices(works: Works) -> None:
    _, sink = works.connect(Lane("A", lossless=True, max_rate=100))
    for number in range(4):
        works.tick(number)
    works.flusher.wake()

    def all_out() -> bool:
        works.clock.advance(0.005)
        return len(sink.events) == 4

    await eventually(all_out, what="every value")
    assert sink.events == [("price", number) for number in range(4)]
    works.flusher.stop()


async def test_an_earlier_alarm_is_not_held_up_by_a_later_one(works: Works) -> None:
    slow, fast = Lane("A", lossless=True, max_rate=0.01), Lane("A", lossless=True, max_rate=100)
    for lane, seconds in ((slow, 3600.0), (fast, 0.01)):
        lane.due = works.clock.now() + seconds
    _, patient = works.connect(slow)
    _, hasty = works.connect(fast)
    works.tick()
    works.flusher.flush()
    works.clock.advance(0.01)
    await eventually(lambda: hasty.writes, what="the earlier alarm")
    assert patient.writes == []
    works.flusher.stop()


async def test_more_than_one_batch_goes_out_in_several_flushes_by_itself(works: Works) -> None:
    _, sink = works.connect(Lane("A", lossless=True))
    for number in range(LANE_BATCH * 2 + 1):
        works.tick(number)
    works.flusher.wake()
    await eventually(lambda: len(sink.events) == LANE_BATCH * 2 + 1, what="every value")
    assert len(sink.writes) == 3
    assert [number for _, number in sink.events] == list(range(LANE_BATCH * 2 + 1))


async def test_many_large_messages_go_out_in_several_writes_by_themselves(works: Works) -> None:
    """And what has to go first never waits for more than one of them."""
    connection, sink = works.connect()
    for _ in range(8):
        works.hub.send(connection.outbox, Frame("", b"x" * 30_000))
    works.tick(1)
    works.flusher.wake()
    await eventually(lambda: not len(connection.outbox), what="an empty outbox")
    assert [len(data) // 30_000 for data in sink.writes] == [2, 2, 2, 2]
    assert works.stats.taken == 1


async def test_last_words_are_one_write_however_much_waits(works: Works) -> None:
    connection, sink = works.connect()
    for _ in range(8):
        works.hub.send(connection.outbox, Frame("", b"x" * 30_000))
    works.flusher.finish(connection)
    assert [len(data) // 30_000 for data in sink.writes] == [8]


async def test_nothing_waits_once_the_flusher_is_idle(works: Works) -> None:
    """What a feed that can wait, such as a tape, relies on."""
    _, sink = works.connect(Lane("A", lossless=True))
    await works.flusher.idle()
    for number in range(LANE_BATCH * 2 + 1):
        works.tick(number)
    works.flusher.wake()
    async with asyncio.timeout(scaled(5)):
        await works.flusher.idle()
    assert len(sink.events) == LANE_BATCH * 2 + 1


async def test_a_client_that_takes_nothing_does_not_keep_the_flusher_busy(works: Works) -> None:
    works.connect()[1].full = True
    works.tick()
    works.flusher.wake()
    async with asyncio.timeout(scaled(5)):
        await works.flusher.idle()


async def test_a_price_is_observed_once_with_the_time_it_took(works: Works) -> None:
    works.connect()
    works.receive(1)
    works.clock.advance(0.2)
    works.flusher.flush()
    works.flusher.flush()
    assert (sum(works.stats.latency.counts), works.stats.latency.total) == (1, 200)


async def test_the_newest_value_wins_where_writing_takes_its_time(works: Works) -> None:
    _, sink = works.connect(sink=SlowTransport(works.clock, 0.01))
    works.receive(0)
    await asyncio.sleep(0)
    for number in range(1, 5):
        works.receive(number)
    await turns()
    assert sink.events == [("price", 0)]
    await eventually(lambda: len(sink.writes) == 2, what="the next flush")
    assert sink.events == [("price", 0), ("price", 4)]


async def test_a_price_that_nobody_watches_is_not_kept_and_not_observed_later(works: Works) -> None:
    """A server without clients lives for weeks, and its first client is not to be blamed for them."""
    for number in range(100):
        works.receive(number, f"S{number % 7}")
    assert len(works.flusher._fresh) <= 1
    works.clock.advance(3600)
    works.connect()
    works.receive(1)
    works.flusher.flush()
    assert works.stats.latency.total < 1_000


async def test_what_was_taken_back_before_it_was_written_is_no_write(works: Works) -> None:
    """An empty answer to a poll would be no packet at all."""
    connection, sink = works.connect()
    works.tick()
    connection.outbox.forget(("A",))
    works.flusher.flush()
    assert sink.writes == []
    assert works.stats.writes == 0


async def test_what_a_dead_client_was_not_sent_does_not_count_as_delivered(works: Works) -> None:
    works.connect()[1].dead = RuntimeError()
    works.tick()
    works.flusher.flush()
    assert (works.stats.writes, works.stats.delivered, works.stats.dead_writes) == (0, 0, 1)


async def test_a_client_that_is_gone_is_not_kept_by_an_alarm() -> None:
    """A rate of one value a day must not keep what a client leaves behind for a day."""

    class Referable(RecordingTransport):
        """What a weak reference can point at."""

    works = Works()
    lane = Lane("A", lossless=True, max_rate=1e-5)
    lane.due = works.clock.now() + 86_400
    connection, sink = works.connect(lane, Referable())
    watched = weakref.ref(sink)
    works.tick()
    works.flusher.flush()
    works.hub.leave("A", connection.outbox)
    connection.closed = True
    del connection, sink
    gc.collect()
    kept = watched() is not None
    works.flusher.stop()
    assert not kept


async def test_a_stopped_flusher_writes_nothing_more(works: Works) -> None:
    _, sink = works.connect()
    works.tick()
    works.flusher.wake()
    works.flusher.stop()
    await turns()
    assert sink.writes == []


async def test_last_words_go_out_at_once_if_they_can(works: Works) -> None:
    connection, sink = works.connect()
    works.tick()
    works.flusher.finish(connection)
    assert len(sink.writes) == 1
    sink.full = True
    works.tick()
    works.flusher.finish(connection)
    assert len(sink.writes) == 1
