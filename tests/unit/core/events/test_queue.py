import pytest

from marketstream.core.events.event import Priority
from marketstream.core.events.queue import EMPTY, EventQueue, PriorityQueue, QueuedEvent

LOW, MEDIUM, HIGH, CRITICAL = Priority


def events(count: int, priority: Priority = MEDIUM, since: int = 0) -> list[QueuedEvent]:
    return [QueuedEvent(b"%d" % number, priority) for number in range(since, since + count)]


def put(queue: EventQueue, some: list[QueuedEvent], now: float) -> None:
    for event in some:
        assert not queue.offer(event, now)


def test_what_comes_within_a_window_goes_out_in_one_batch() -> None:
    queue = EventQueue(window=0.1)
    first, second = events(2)
    assert queue.due is None
    assert not queue.offer(first, 5.0)
    assert queue.due == pytest.approx(5.1)
    assert not queue.offer(second, 5.09)
    assert queue.take(5.09) is EMPTY
    assert queue.take(5.11).events == (first, second)
    assert queue.due is None


def test_without_a_window_everything_is_due_at_once() -> None:
    queue = EventQueue(window=0)
    put(queue, events(1), 5.0)
    assert queue.due == 5.0
    assert len(queue.take(5.0).events) == 1


def test_higher_priorities_come_first_and_order_is_kept_within_one() -> None:
    queue = EventQueue()
    low, high, medium, high_too = (QueuedEvent(b"", priority) for priority in (LOW, HIGH, MEDIUM, HIGH))
    put(queue, [low, high, medium, high_too], 0.0)
    batch = queue.take(1.0).events
    assert [id(event) for event in batch] == [id(event) for event in (high, high_too, medium, low)]


def test_a_hundred_go_out_in_a_second_and_the_rest_waits() -> None:
    queue = EventQueue()
    put(queue, events(250), 0.0)
    batch = queue.take(0.1)
    assert (len(batch.events), batch.limited, batch.dropped) == (100, 150, 0)
    assert queue.due == 1.1
    batch = queue.take(1.1)
    assert (len(batch.events), batch.limited) == (100, 0)
    assert [event.body for event in queue.take(2.1).events] == [b"%d" % number for number in range(200, 250)]
    assert (queue.limited, queue.sent) == (150, 250)


def test_room_comes_back_as_what_was_sent_grows_old() -> None:
    """A sliding second, not one that begins anew."""
    queue = EventQueue(window=0.25, limit=4)
    put(queue, events(3), 0.0)
    assert len(queue.take(0.25).events) == 3
    put(queue, events(3), 0.75)
    assert len(queue.take(1.0).events) == 1
    assert queue.due == 1.25
    assert len(queue.take(1.25).events) == 2


def test_room_that_comes_back_within_a_window_does_not_shorten_it() -> None:
    queue = EventQueue(window=0.25, limit=1)
    put(queue, events(1), 0.0)
    queue.take(0.25)
    put(queue, events(1), 1.125)
    assert queue.due == 1.375


def test_critical_events_know_no_window_no_limit_and_no_queue() -> None:
    queue = EventQueue(limit=1, capacity=1)
    put(queue, events(1), 0.0)
    assert all(queue.offer(QueuedEvent(b"!", CRITICAL), 0.0) for _ in range(500))
    assert (queue.sent, len(queue)) == (500, 1)
    assert len(queue.take(0.1).events) == 1


def test_when_there_is_no_room_the_lowest_and_oldest_goes_and_is_told() -> None:
    queue = EventQueue(capacity=3)
    put(queue, [QueuedEvent(b"h", HIGH), QueuedEvent(b"l1", LOW), QueuedEvent(b"l2", LOW)], 0.0)
    put(queue, [QueuedEvent(b"m", MEDIUM), QueuedEvent(b"h2", HIGH)], 0.0)
    put(queue, [QueuedEvent(b"l3", LOW)], 0.0)
    batch = queue.take(0.1)
    assert [event.body for event in batch.events] == [b"h", b"h2", b"m"]
    assert (batch.dropped, queue.dropped) == (3, 3)
    put(queue, events(1), 1.0)
    assert queue.take(1.1).dropped == 0


def test_what_is_of_no_use_any_more_is_not_sent_and_takes_no_room() -> None:
    queue = EventQueue(limit=1, capacity=2)
    put(queue, [QueuedEvent(b"old", HIGH, 0.05), QueuedEvent(b"new", LOW, 0.2)], 0.0)
    batch = queue.take(0.1)
    assert [event.body for event in batch.events] == [b"new"]
    assert (batch.expired, batch.limited) == (1, 0)
    assert not queue.offer(QueuedEvent(b"late", CRITICAL, 1.0), 1.0)
    assert not queue.offer(QueuedEvent(b"late", LOW, 1.0), 1.0)
    assert (queue.expired, len(queue), queue.due) == (3, 0, None)


def test_an_expired_event_that_makes_room_is_not_told_as_dropped() -> None:
    queue = EventQueue(capacity=1)
    put(queue, [QueuedEvent(b"old", LOW, 0.05)], 0.0)
    put(queue, events(1), 0.06)
    batch = queue.take(0.1)
    assert (batch.dropped, batch.expired) == (0, 1)


def test_a_batch_may_have_nothing_but_a_loss_to_tell() -> None:
    queue = EventQueue(capacity=1)
    put(queue, [QueuedEvent(b"a", LOW), QueuedEvent(b"b", HIGH, 0.05)], 0.0)
    batch = queue.take(0.1)
    assert (batch.events, batch.dropped, batch.expired) == ((), 1, 1)


def test_waiting_again_for_the_limit_is_not_counted_again() -> None:
    queue = EventQueue(window=0, limit=1)
    put(queue, events(3), 0.0)
    assert [queue.take(now).limited for now in (0.0, 1.0, 2.0)] == [2, 0, 0]
    assert queue.limited == 2


@pytest.mark.parametrize(("limit", "capacity"), [(0, 1), (1, 0)])
def test_a_queue_that_could_let_nothing_through_is_refused(limit: int, capacity: int) -> None:
    with pytest.raises(ValueError, match="lets nothing through"):
        EventQueue(limit=limit, capacity=capacity)


def test_a_line_shows_what_it_would_give() -> None:
    line: PriorityQueue[str] = PriorityQueue()
    for item, priority in (("low", LOW), ("high", HIGH), ("high too", HIGH)):
        line.put(item, priority)
    assert list(line) == ["high", "high too", "low"]
    assert line.first == "high"
    assert (line.shed(), line.take(), line.take(), len(line)) == ("low", "high", "high too", 0)
    for give in (line.take, line.shed, lambda: line.first):
        with pytest.raises(ValueError, match="empty"):
            give()
