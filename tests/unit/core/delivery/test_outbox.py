import math

import pytest

from marketstream.core.delivery import outbox as module
from marketstream.core.delivery.frame import Frame
from marketstream.core.delivery.outbox import CONTROL_BYTES, LANE_BATCH, WRITE_BYTES, Lane, Outbox


def frame(key: str = "A", body: bytes = b"{}") -> Frame:
    return Frame("price", body, key=key, symbol=key)


def message(body: bytes = b"{}") -> Frame:
    return Frame("notice", body)


def outbox(*lanes: Lane) -> Outbox[str]:
    made: Outbox[str] = Outbox("me")
    for lane in lanes:
        made.open_lane(lane)
    return made


def filled(lane: Lane, count: int) -> list[Frame]:
    """Offers as many values to a lane and returns them."""
    frames = [frame(lane.key) for _ in range(count)]
    for each in frames:
        lane.offer(each)
    return frames


def test_ordered_messages_go_before_prices_and_keep_their_order() -> None:
    box = outbox()
    price, first, second = frame(), message(), message()
    box.slots["A"] = price
    box.push(first)
    box.push(second)
    assert box.take(0) == ([first, second, price], [])
    assert box.take(0) == ([], [])
    assert len(box) == 0


def test_what_was_taken_is_not_touched_by_what_comes_later() -> None:
    box = outbox()
    box.push(message())
    taken, _ = box.take(0)
    box.push(message())
    assert len(taken) == 1


def test_a_sign_of_life_goes_before_all_that_waits() -> None:
    """A pong too late is a client that leaves: RFC 6455, 5.5.2."""
    lane = Lane("L", lossless=True)
    box = outbox(lane)
    lossless, price, answer, pong, ping = filled(lane, 1), frame(), message(), message(), message()
    box.slots["A"] = price
    box.push(answer)
    box.put_first("pong", pong)
    box.put_first("ping", ping)
    assert box.take(0) == ([ping, pong, answer, price, *lossless], [])


def test_only_the_latest_of_each_kind_waits() -> None:
    """So a client that asks without reading needs no room for the answers: RFC 6455, 5.5.3."""
    box = outbox()
    pongs = [message() for _ in range(2_000)]
    for pong in pongs:
        box.put_first("pong", pong)
        box.put_first("ping", pong)
    assert len(box) == 2
    assert box.push(message())
    assert box.take(0)[0][:2] == [pongs[-1]] * 2


def test_a_sign_of_life_after_a_write_goes_before_what_is_left_of_it() -> None:
    box = outbox()
    messages = [message(b"x" * 40_000) for _ in range(4)]
    for each in messages:
        box.push(each)
    price = box.slots["A"] = frame()
    assert box.take(5) == (messages[:1], [])
    assert box.wake_at == 5
    pong = message()
    box.put_first("pong", pong)
    assert box.take(5) == ([pong, messages[1]], [])
    assert box.take(5) == ([messages[2]], [])
    assert box.take(5) == ([messages[3], price], [])
    assert box.wake_at is None


def test_prices_wait_until_all_that_comes_before_them_is_written() -> None:
    """A snapshot that is still waiting must not be overtaken by a newer price."""
    box = outbox()
    snapshot, price = message(b"x" * WRITE_BYTES), frame()
    box.push(message(b"x"))
    box.push(snapshot)
    box.slots["A"] = price
    assert len(box.take(0)[0]) == 1
    assert box.take(0)[0] == [snapshot, price]


def test_what_is_left_of_a_write_still_counts_against_the_bounds() -> None:
    box = outbox()
    for _ in range(100):
        assert box.push(message(b"x" * 40_000))
    box.take(0)
    assert (box.control_bytes, box.pushed) == (99 * 40_000, 99)
    box.take(0, math.inf)
    assert (box.control_bytes, box.pushed, box.control) == (0, 0, [])


def test_ordered_messages_are_refused_beyond_their_number() -> None:
    box: Outbox[str] = Outbox("me", control_capacity=2)
    assert [box.push(message()) for _ in range(3)] == [True, True, False]
    assert len(box.control) == 2
    box.take(0)
    assert box.push(message())


def test_ordered_messages_are_refused_beyond_their_bytes() -> None:
    box = outbox()
    half = b"x" * (CONTROL_BYTES // 2)
    assert [box.push(message(half)) for _ in range(3)] == [True, True, False]
    box.take(0, math.inf)
    assert box.push(message(half))


def test_the_length_counts_what_waits_of_every_kind() -> None:
    lane = Lane("L", lossless=True)
    box = outbox(lane)
    filled(lane, 3)
    box.slots["A"] = frame()
    box.push(message())
    assert (len(box), box.replaceable()) == (5, 4)


def test_mode_every_delivers_every_value_in_order() -> None:
    lane = Lane("L", lossless=True)
    values = filled(lane, 10)
    assert outbox(lane).take(0) == (values, [])


def test_an_overflow_of_mode_every_costs_the_oldest_and_is_counted() -> None:
    lane = Lane("L", lossless=True, capacity=3)
    values = filled(lane, 5)
    taken, lagging = outbox(lane).take(0)
    assert taken == values[2:]
    assert lagging == [lane]
    assert lane.missed == 2


def test_a_lane_holds_a_thousand_values_unless_told_otherwise() -> None:
    lane = Lane("L", lossless=True)
    filled(lane, 1_001)
    assert (len(lane.waiting), lane.missed) == (1_000, 1)


def test_a_paced_lane_that_may_skip_keeps_only_the_newest_and_reports_no_loss() -> None:
    lane = Lane("L", lossless=False, max_rate=1)
    values = filled(lane, 5)
    assert outbox(lane).take(0) == ([values[-1]], [])
    assert lane.missed == 0


def test_a_loss_is_reported_even_while_nothing_may_go_out() -> None:
    lane = Lane("L", lossless=True, max_rate=1, capacity=1)
    lane.due = 100.0
    box = outbox(lane)
    filled(lane, 2)
    assert box.take(0) == ([], [lane])


def test_one_batch_of_lanes_leaves_room_for_other_clients() -> None:
    lane = Lane("L", lossless=True)
    values = filled(lane, LANE_BATCH + 1)
    box = outbox(lane)
    assert box.take(5) == (values[:-1], [])
    assert box.wake_at == 5
    assert box.take(5) == (values[-1:], [])
    assert box.wake_at is None


def test_a_batch_is_shared_by_all_lanes_of_a_client() -> None:
    first, second = Lane("A", lossless=True), Lane("B", lossless=True)
    box = outbox(first, second)
    filled(first, LANE_BATCH - 10)
    filled(second, 100)
    assert len(box.take(0)[0]) == LANE_BATCH
    assert len(second.waiting) == 90


def test_a_paced_lane_gives_one_value_each_interval() -> None:
    lane = Lane("L", lossless=True, max_rate=4)
    lane.due = 100.0
    box = outbox(lane)
    values = filled(lane, 3)
    assert box.take(99.9) == ([], [])
    assert box.wake_at == 100.0
    assert box.take(100.0) == ([values[0]], [])
    assert box.wake_at == 100.25
    assert box.take(100.2) == ([], [])
    assert box.take(100.25) == ([values[1]], [])


def test_a_late_flush_does_not_lower_the_rate() -> None:
    """Each flush here comes a little after the value was due."""
    lane = Lane("L", lossless=True, max_rate=1)
    lane.due = 100.0
    filled(lane, 10)
    for second in range(10):
        assert len(lane.take(100.05 + second, LANE_BATCH)) == 1


def test_a_value_that_was_a_little_late_does_not_shift_those_that_follow() -> None:
    """They are due when they would have been; only one that is much too late counts from when it came."""
    lane = Lane("L", lossless=True, max_rate=1)
    lane.due = 100.0
    filled(lane, 10)
    for now, due in ((100.09, 101.0), (101.05, 102.0), (102.0, 103.0), (103.2, 104.2)):
        assert len(lane.take(now, LANE_BATCH)) == 1
        assert lane.due == pytest.approx(due)


def test_a_lane_that_was_quiet_keeps_the_interval_between_its_next_two_values() -> None:
    """A pause is no credit for a burst."""
    lane = Lane("L", lossless=True, max_rate=1)
    filled(lane, 2)
    assert len(lane.take(100.0, LANE_BATCH)) == 1
    assert lane.take(100.5, LANE_BATCH) == []


def test_the_earliest_of_several_lanes_decides_when_to_come_back() -> None:
    slow, fast = Lane("A", lossless=True, max_rate=1), Lane("B", lossless=True, max_rate=10)
    slow.due, fast.due = 101.0, 100.1
    box = outbox(slow, fast)
    filled(slow, 1)
    filled(fast, 1)
    assert box.take(100) == ([], [])
    assert box.wake_at == 100.1


def test_a_later_lane_does_not_put_off_an_earlier_one() -> None:
    fast, slow = Lane("A", lossless=True, max_rate=10), Lane("B", lossless=True, max_rate=1)
    fast.due, slow.due = 100.1, 101.0
    box = outbox(fast, slow)
    filled(fast, 1)
    filled(slow, 1)
    assert box.take(100) == ([], [])
    assert box.wake_at == 100.1


def test_what_is_forgotten_is_never_sent() -> None:
    lane = Lane("L", lossless=True)
    box = outbox(lane)
    filled(lane, 3)
    box.slots["A"], box.slots["B"] = frame("A"), frame("B")
    assert box.forget(("L", "A", "unknown")) == 4
    assert [each.key for each in box.take(0)[0]] == ["B"]
    assert not box.lanes


def test_a_snapshot_supersedes_the_price_that_waits() -> None:
    box = outbox()
    box.slots["A"], box.slots["B"] = frame("A"), frame("B")
    assert box.supersede("A") == 1
    assert box.supersede("A") == 0
    assert [each.key for each in box.take(0)[0]] == ["B"]


def test_a_snapshot_supersedes_the_value_of_a_paced_lane_and_leaves_the_lane() -> None:
    lane = Lane("L", lossless=False, max_rate=1)
    box = outbox(lane)
    filled(lane, 1)
    assert box.supersede("L") == 1
    assert len(box) == 0
    assert box.lanes == {"L": lane}


def test_a_snapshot_comes_after_every_value_of_a_lossless_lane() -> None:
    """Mode every loses nothing, and nothing older follows the snapshot."""
    lane = Lane("L", lossless=True)
    box = outbox(lane)
    values = filled(lane, 3)
    assert box.supersede("L") == 3
    snapshot = message()
    box.push(snapshot)
    assert box.take(0)[0] == [*values, snapshot]


def test_what_snapshots_push_out_of_lanes_is_bounded_and_what_is_beyond_is_missed() -> None:
    """A client that takes nothing may subscribe as often as it likes."""
    lane, other = Lane("L", lossless=True, capacity=3), Lane("M", lossless=True, capacity=3)
    box = outbox(lane, other)
    for _ in range(10):
        filled(lane, 3)
        box.supersede("L")
    assert len(box.control) == 6
    assert lane.missed == 24
    assert box.push(message())


def test_what_snapshots_push_out_of_lanes_takes_no_room_from_messages() -> None:
    lane = Lane("L", lossless=True)
    box = outbox(lane)
    filled(lane, 1_000)
    box.supersede("L")
    assert box.push(message())
    box.take(0)
    filled(lane, 1_000)
    box.supersede("L")
    assert len(box.control) == 1_000


def test_the_bounds_are_those_of_the_protocol() -> None:
    assert module.LANE_CAPACITY == 1_000
    assert outbox().control_capacity == module.CONTROL_CAPACITY == 1_000


@pytest.mark.parametrize("lossless", [True, False])
def test_a_lane_without_a_rate_is_not_paced(lossless: bool) -> None:  # noqa: FBT001  # a case
    lane = Lane("L", lossless=lossless)
    filled(lane, 1)
    assert len(lane.take(0, LANE_BATCH)) == 1
    filled(lane, 1)
    assert len(lane.take(0, LANE_BATCH)) == 1
