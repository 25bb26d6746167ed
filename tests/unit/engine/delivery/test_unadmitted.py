"""Who has to go when too many wait to be let in."""

import pytest
from structlog.testing import capture_logs

from marketstream.core.delivery import closing
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.terms import Delivery
from marketstream.engine.delivery.unadmitted import MAX_MESSAGE_BYTES, MAX_MESSAGES
from tests.support.builders import Bench, principal
from tests.support.recording import RecordingTransport


def crowd(capacity: int) -> Bench:
    """A bench where so many may wait."""
    return Bench(delivery=Delivery(max_unadmitted=capacity))


def test_the_longest_waiting_goes_and_the_newcomer_stays() -> None:
    bench = crowd(2)
    gone = RecordingTransport()
    first = bench.node.open("a", "polling", gone, "a")
    second, third = (bench.node.open(name, "polling", RecordingTransport(), name) for name in "bc")
    assert [each.closed for each in (first, second, third)] == [True, False, False]
    assert gone.closed == [closing.EVICTED]
    assert len(bench.node.unadmitted) == 2
    assert bench.node.stats.refused["EVICTED"] == 1


def test_who_is_let_in_or_leaves_makes_room() -> None:
    bench = crowd(2)
    kept = [bench.node.open(name, "polling", RecordingTransport(), name) for name in "ab"]
    bench.admit(kept[0], principal())
    bench.node.leave(kept[1], closing.CLIENT_LEFT)
    kept = [bench.node.open(name, "polling", RecordingTransport(), name) for name in "cd"]
    assert not any(each.closed for each in kept)


def test_a_flood_from_one_address_pushes_out_itself() -> None:
    """Whoever waits elsewhere stays, though it waits longest."""
    bench = crowd(10)
    honest = bench.node.open("honest", "polling", RecordingTransport(), "192.0.2.1")
    for number in range(100):
        bench.node.open(str(number), "polling", RecordingTransport(), "198.51.100.7")
    assert not honest.closed


@pytest.mark.parametrize("flood", ["2001:db8::%x", "2001:db8::%x:0:0:1"])
def test_addresses_that_one_client_can_have_count_as_one(flood: str) -> None:
    """Sixty-four bits of IPv6 are one customer's."""
    bench = crowd(10)
    honest = bench.node.open("honest", "polling", RecordingTransport(), "2001:db8:0:1::1")
    for number in range(1, 100):
        bench.node.open(str(number), "polling", RecordingTransport(), flood % number)
    assert not honest.closed


def test_addresses_of_ipv4_written_as_ipv6_are_told_apart() -> None:
    bench = crowd(10)
    honest = bench.node.open("honest", "polling", RecordingTransport(), "::ffff:192.0.2.1")
    for number in range(100):
        bench.node.open(str(number), "polling", RecordingTransport(), "::ffff:198.51.100.7")
    assert not honest.closed


def test_a_flood_is_logged_once_a_minute() -> None:
    bench = crowd(1)
    with capture_logs() as logs:
        for number in range(50):
            bench.node.open(str(number), "polling", RecordingTransport())
        bench.clock.advance(61)
        bench.node.open("later", "polling", RecordingTransport())
        bench.node.open("latest", "polling", RecordingTransport())
    told = [entry["evicted"] for entry in logs if entry["event"] == "unadmitted_evicted"]
    assert told == [1, 50]


def test_a_flood_is_over_when_half_of_the_room_is_free() -> None:
    bench = crowd(4)
    waiting = [bench.node.open(str(number), "polling", RecordingTransport()) for number in range(5)]
    over = []
    for connection in waiting[1:]:
        over.append(bench.node.unadmitted.ebbed())
        bench.node.leave(connection, closing.CLIENT_LEFT)
    assert over == [False, False, True, False]


@pytest.mark.parametrize("text", [b"x", b"x" * (MAX_MESSAGE_BYTES // 8)])
async def test_little_waits_for_who_is_not_let_in(text: bytes) -> None:
    bench = crowd(4)
    sink = RecordingTransport()
    sink.full = True
    connection = bench.node.open("c", "polling", sink)
    for _ in range(MAX_MESSAGES + 1):
        bench.node.send(connection, Frame("", text))
        bench.node.settle()
    assert connection.closed
