"""What waits takes no more bytes than it may, and gives them back."""

import asyncio

import pytest
from structlog.testing import capture_logs

from marketstream.bus.sender import MAX_NOTE_BYTES, Sender
from marketstream.core.delivery import closing
from marketstream.core.delivery.closing import CloseReason
from marketstream.engine.delivery.terms import Delivery
from marketstream.engine.delivery.waiting import Waiting
from marketstream.engine.eager import settled
from marketstream.errors import UnavailableError
from tests.support.builders import Bench, Client
from tests.support.clock import FakeClock
from tests.support.fake_redis import FakeRedis


def test_what_has_no_room_is_refused_until_there_is_some() -> None:
    waiting = Waiting(100, FakeClock())
    assert waiting.take(60)
    assert not waiting.take(60)
    waiting.give(60)
    assert waiting.take(60)
    assert waiting.refused == 1


def test_strangers_get_a_quarter() -> None:
    """They cannot take the place of those who are verified."""
    waiting = Waiting(100, FakeClock())
    assert waiting.take(25, stranger=True)
    assert not waiting.take(1, stranger=True)
    assert waiting.take(75)
    waiting.give(25, stranger=True)
    assert waiting.take(1, stranger=True)


def test_that_there_is_no_room_is_logged_once_a_minute() -> None:
    clock = FakeClock()
    waiting = Waiting(0, clock)
    with capture_logs() as logs:
        for _ in range(50):
            waiting.take(1)
        clock.advance(61)
        waiting.take(1)
    assert [entry["refused"] for entry in logs if entry["event"] == "waiting_refused"] == [1, 51]


def test_that_it_is_over_is_told_once() -> None:
    waiting = Waiting(1_600, FakeClock())
    waiting.take(800)
    first = waiting.ebbed()
    waiting.give(800)
    assert (first, waiting.ebbed(), waiting.ebbed()) == (False, True, False)


async def test_who_cannot_wait_for_a_stranger_does_not_begin() -> None:
    begun: list[bool] = []

    async def find() -> None:
        begun.append(True)

    waiting = Waiting(4_000, FakeClock())
    with pytest.raises(UnavailableError):
        await waiting.of_stranger(find(), lambda: 1_000)
    await waiting.of_stranger(find(), lambda: 100)
    assert (begun, waiting.bytes) == ([True], 0)


class Held:
    """A client whose first call waits until it is told; notes which of the others were carried out."""

    def __init__(self, bench: Bench, client: Client) -> None:
        self.bench = bench
        self.client = client
        self.done: list[int] = []
        self.release = asyncio.Event()
        self.submit(0, 0)

    def submit(self, number: int, size: int) -> CloseReason | None:
        """A call of so many bytes."""

        async def call() -> None:
            self.done.append(number)
            if not number:
                await settled(self.release.wait())

        return self.client.connection.submit(call, size, self.bench.node.wait_for)


async def test_calls_that_wait_are_bounded_by_their_bytes() -> None:
    bench = Bench(delivery=Delivery(waiting_bytes=10_000))
    held = Held(bench, bench.client())
    assert [held.submit(number, 4_000) for number in (1, 2)] == [None, None]
    assert held.submit(3, 4_000) is closing.TOO_MANY_MESSAGES
    assert bench.node.waiting.bytes >= 8_000
    held.release.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (held.done, bench.node.waiting.bytes) == ([0, 1, 2], 0)


async def test_calls_of_all_clients_are_bounded_together() -> None:
    bench = Bench(delivery=Delivery(max_waiting_bytes=10_000))
    one, two = (Held(bench, bench.client()) for _ in range(2))
    assert one.submit(1, 8_000) is None
    assert two.submit(1, 8_000) is closing.OVERLOADED
    # What is closed waits no more, though what it waited for has not come.
    bench.node.leave(one.client.connection, closing.CLIENT_LEFT)
    assert bench.node.waiting.bytes == 0
    assert two.submit(1, 8_000) is None
    one.release.set()
    two.release.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (one.done, two.done) == ([0], [0, 1])


async def test_who_is_not_admitted_may_have_little_waiting() -> None:
    bench = Bench()
    held = Held(bench, bench.open())
    assert held.submit(1, 10_000) is None
    assert held.submit(2, 10_000) is closing.TOO_MANY_MESSAGES
    held.release.set()
    await asyncio.sleep(0)


def test_messages_to_other_processes_that_wait_are_bounded_by_their_bytes() -> None:
    """The oldest goes, and it is told."""
    sender = Sender(FakeRedis().client(), 1)
    with capture_logs() as logs:
        for _ in range(3):
            sender.send("channel", b"x" * (MAX_NOTE_BYTES // 2))
        sender.send("channel", b"x" * MAX_NOTE_BYTES * 2)
    lost = [entry for entry in logs if entry["event"] == "bus_message_lost"]
    assert len(lost) == 3
