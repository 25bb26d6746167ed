import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketstream_sdk.mailbox import ClosedError, Mailbox

PUTS = st.lists(st.tuples(st.sampled_from("ABC"), st.integers()))


async def drained(mailbox: Mailbox[tuple[str, int]]) -> list[tuple[str, int]]:
    return [await mailbox.take() for _ in range(len(mailbox))]


@settings(deadline=None)  # each example has an event loop of its own
@given(PUTS, st.integers(1, 4))
def test_a_slow_reader_finds_the_newest_of_each_key_in_order(puts: list[tuple[str, int]], depth: int) -> None:
    async def scene() -> None:
        mailbox: Mailbox[tuple[str, int]] = Mailbox()
        missed = sum(mailbox.put(key, (key, value), depth) for key, value in puts)
        left = await drained(mailbox)
        for key in "ABC":
            mine = [put for put in puts if put[0] == key]
            assert [put for put in left if put[0] == key] == mine[-depth:]
        assert missed == (len(puts) - len(left) if depth > 1 else 0)

    asyncio.run(scene())


async def test_a_busy_key_does_not_keep_others_waiting() -> None:
    mailbox: Mailbox[tuple[str, int]] = Mailbox()
    for number in range(3):
        mailbox.put("A", ("A", number), 10)
    mailbox.put("B", ("B", 0), 10)
    assert [key for key, _ in await drained(mailbox)] == ["A", "B", "A", "A"]


async def test_a_reader_waits_for_what_comes() -> None:
    mailbox: Mailbox[int] = Mailbox()
    reading = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    assert not reading.done()
    mailbox.put("A", 7)
    assert await reading == 7


async def test_a_reader_that_is_cancelled_takes_nothing_with_it() -> None:
    mailbox: Mailbox[int] = Mailbox()
    reading = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    mailbox.put("A", 7)
    reading.cancel()
    await asyncio.wait([reading])
    assert await mailbox.take() == 7


async def test_closing_ends_the_reader_and_takes_back_what_waits() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put("A", 7)
    mailbox.close()
    mailbox.put("A", 8)
    with pytest.raises(ClosedError):
        await mailbox.take()


async def test_closing_with_an_error_tells_the_reader_every_time() -> None:
    mailbox: Mailbox[int] = Mailbox()
    reading = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    mailbox.close(ValueError("why"))
    for take in (reading, mailbox.take()):
        with pytest.raises(ValueError, match="why"):
            await take


async def test_what_waits_of_a_key_can_be_taken_back() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put("A", 1)
    mailbox.put("B", 2)
    mailbox.discard("A")
    mailbox.discard("C")
    assert await mailbox.take() == 2
    assert len(mailbox) == 0
