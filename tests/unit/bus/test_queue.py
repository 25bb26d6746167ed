from marketstream.bus.queue import BATCH, Queue
from marketstream.core.delivery.frame import Frame
from marketstream.wire import messages
from marketstream.wire.keys import shard_of
from tests.support.builders import best_price


def price(symbol: str, bid: float = 1, tenant: str | None = None) -> Frame:
    return messages.price(best_price(symbol, bid), tenant)


def taken(queue: Queue) -> list[Frame]:
    """All that waits, shard by shard."""
    out: list[Frame] = []
    while batches := queue.take():
        out += [frame for _, frames in batches for frame in frames]
    return out


def test_frames_leave_by_shard_and_in_order() -> None:
    queue = Queue(4)
    sent = [price(f"S{number % 5}", number) for number in range(40)]
    queue.put(sent)
    for shard, frames in queue.take():
        assert frames == [frame for frame in sent if shard_of(frame.symbol, 4) == shard]
    assert len(queue) == 0


def test_a_state_goes_the_way_of_its_symbols_prices() -> None:
    queue = Queue(64)
    queue.put([price("EUR/USD"), Frame("status", b"{}", key="status EUR/USD")])
    assert len(queue.take()) == 1


def test_a_batch_has_a_bound() -> None:
    queue = Queue(1)
    queue.put([price("A", number) for number in range(BATCH + 1)])
    assert [len(frames) for _, frames in queue.take()] == [BATCH]
    assert len(queue) == 1


def test_beyond_its_capacity_the_newest_of_each_key_and_tenant_stays() -> None:
    queue = Queue(1, capacity=10)
    queue.put([price(symbol, number) for number in range(100) for symbol in ("A", "B")])
    queue.put([price("A", 1000, "acme")])
    assert len(queue) <= 20
    newest = {(frame.tenant, frame.key): frame.body for frame in taken(queue)}
    assert newest == {
        (None, "A"): price("A", 99).body,
        (None, "B"): price("B", 99).body,
        ("acme", "A"): price("A", 1000).body,
    }
    assert queue.lost == 0


def test_the_number_of_keys_has_a_bound_too_and_what_is_lost_is_counted() -> None:
    queue = Queue(1, capacity=10, max_keys=20)
    queue.put([price(f"S{number}") for number in range(1000)])
    assert len(queue) <= 31
    assert queue.lost == 1000 - len(queue)
    assert taken(queue)[-1].symbol == "S999"


def test_what_could_not_be_sent_goes_before_what_came_meanwhile() -> None:
    queue = Queue(1)
    queue.put([price("A", 1), messages.custom("own", [1]), price("B", 1)])
    batches = queue.take()
    queue.put([price("A", 2)])
    queue.put_back(batches)
    assert [frame.body for frame in taken(queue)] == [
        price("A", 1).body,
        price("B", 1).body,
        price("A", 2).body,
    ]
    assert queue.lost == 1


def test_of_what_may_have_arrived_only_the_newest_of_each_key_is_sent_again() -> None:
    """If it did arrive, clients have the newest and must not get an older one after it."""
    queue = Queue(1)
    queue.put([price("A", 1), price("A", 2), price("B", 1), price("A", 3)])
    queue.put_back(queue.take())
    assert [frame.body for frame in taken(queue)] == [price("B", 1).body, price("A", 3).body]


def test_what_is_put_back_again_and_again_does_not_grow() -> None:
    queue = Queue(1, capacity=10)
    for number in range(100):
        queue.put([price("A", number), price("B", number)])
        queue.put_back(queue.take())
    assert len(queue) <= 12
    assert taken(queue)[-1].body == price("B", 99).body


def test_frames_that_are_dropped_take_nothing_else_with_them() -> None:
    """It goes by the frame itself: an equal one that was published later stays."""
    queue = Queue(64)
    first, again, other = price("A"), price("A"), price("B")
    queue.put([first, again, other])
    queue.drop([first, other])
    assert [frames for _, frames in queue.take()] == [[again]]
    assert len(queue) == 0
