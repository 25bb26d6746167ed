import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketstream_sdk.consumer import ClosedError, ConsumerQueue

PUTS = st.lists(st.tuples(st.sampled_from("ABC"), st.integers()))


async def drained(consumer_queue: ConsumerQueue[tuple[str, int]]) -> list[tuple[str, int]]:
    return [await consumer_queue.take() for _ in range(len(consumer_queue))]


@settings(deadline=None)  # each example has an event loop of its own
@given(PUTS, st.integers(1, 4))
def test_a_slow_reader_finds_the_newest_of_each_key_in_order(puts: list[tuple[str, int]], depth: int) -> None:
    async def scene() -> None:
        consumer_queue: ConsumerQueue[tuple[str, int]] = ConsumerQueue()
        missed = sum(consumer_queue.put(key, (key, value), depth) for key, value in puts)
        left = await drained(consumer_queue)
        for key in "ABC":
            mine = [put for put in puts if put[0] == key]
            assert [put for put in left if put[0] == key] == mine[-depth:]
        assert missed == (len(puts) - len(left) if depth > 1 else 0)

    asyncio.run(scene())


async def test_a_busy_key_does_not_keep_others_waiting() -> None:
    consumer_queue: ConsumerQueue[tuple[str, int]] = ConsumerQueue()
    for number in range(3):
        consumer_queue.put("A", ("A", number), 10)
    consumer_queue.put("B", ("B", 0), 10)
    assert [key for key, _ in await drained(consumer_queue)] == ["A", "B", "A", "A"]


async def test_a_reader_waits_for_what_comes() -> None:
    consumer_queue: ConsumerQueue[int] = ConsumerQueue()
    reading = asyncio.create_task(consumer_queue.take())
    await asyncio.sleep(0)
    assert not reading.done()
    consumer_queue.put("A", 7)
    assert await reading == 7


async def test_a_reader_that_is_cancelled_takes_nothing_with_it() -> None:
    consumer_queue: ConsumerQueue[int] = ConsumerQueue()
    reading = asyncio.create_task(consumer_queue.take())
    await asyncio.sleep(0)
    consumer_queue.put("A", 7)
    reading.cancel()
    await asyncio.wait([reading])
    assert await consumer_queue.take() == 7


async def test_closing_ends_the_reader_and_takes_back_what_waits() -> None:
    consumer_queue: ConsumerQueue[int] = ConsumerQueue()
    consumer_queue.put("A", 7)
    consumer_queue.close()
    consumer_queue.put("A", 8)
    with pytest.raises(ClosedError):
        await consumer_queue.take()


async def test_closing_with_an_error_tells_the_reader_every_time() -> None:
    consumer_queue: ConsumerQueue[int] = ConsumerQueue()
    reading = asyncio.create_task(consumer_queue.take())
    await asyncio.sleep(0)
    consumer_queue.close(ValueError("why"))
    for take in (reading, consumer_queue.take()):
        with pytest.raises(ValueError, match="why"):
            await take


async def test_what_waits_of_a_key_can_be_taken_back() -> None:
    consumer_queue: ConsumerQueue[int] = ConsumerQueue()
    consumer_queue.put("A", 1)
    consumer_queue.put("B", 2)
    consumer_queue.discard("A")
    consumer_queue.discard("C")
    assert await consumer_queue.take() == 2
    assert len(consumer_queue) == 0
