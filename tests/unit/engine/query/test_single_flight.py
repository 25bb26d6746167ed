import asyncio
from collections.abc import Coroutine

import pytest

from marketstream.engine.query.single_flight import SingleFlight
from marketstream.errors import UnavailableError

CROWD = 1_000


class Work:
    """A piece of work that a test ends."""

    def __init__(self) -> None:
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.calls = 0

    async def __call__(self) -> str:
        """Works until the test ends it."""
        self.calls += 1
        return await self.done


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_thousand_who_ask_together_cost_one_piece_of_work() -> None:
    single_flight, work = SingleFlight[str](asyncio.ensure_future), Work()
    waiting = [asyncio.ensure_future(single_flight.do("q", work)) for _ in range(CROWD)]
    await turns()
    assert (work.calls, len(single_flight)) == (1, 1)
    work.done.set_result("answer")
    assert await asyncio.gather(*waiting) == ["answer"] * CROWD
    assert (work.calls, len(single_flight)) == (1, 0)


async def test_one_who_stops_waiting_harms_no_other() -> None:
    """Not even the one who asked first."""
    single_flight, work = SingleFlight[str](asyncio.ensure_future), Work()
    waiting = [asyncio.ensure_future(single_flight.do("q", work)) for _ in range(3)]
    await turns()
    waiting[0].cancel()
    await turns()
    work.done.set_result("answer")
    assert await asyncio.gather(*waiting[1:]) == ["answer", "answer"]
    assert waiting[0].cancelled()


async def test_work_goes_on_when_nobody_waits_any_more() -> None:
    single_flight, work = SingleFlight[str](asyncio.ensure_future), Work()
    waiting = asyncio.ensure_future(single_flight.do("q", work))
    await turns()
    waiting.cancel()
    await turns()
    assert len(single_flight) == 1
    work.done.set_result("answer")
    await turns()
    assert len(single_flight) == 0


async def test_a_failure_reaches_everybody_who_waits_and_nobody_after() -> None:
    single_flight, work = SingleFlight[str](asyncio.ensure_future), Work()
    waiting = [asyncio.ensure_future(single_flight.do("q", work)) for _ in range(3)]
    await turns()
    work.done.set_exception(UnavailableError("gone"))
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in found] == [UnavailableError] * 3
    again = Work()
    again.done.set_result("answer")
    assert await single_flight.do("q", again) == "answer"


async def test_different_questions_are_worked_on_apart() -> None:
    single_flight, first, second = SingleFlight[str](asyncio.ensure_future), Work(), Work()
    first.done.set_result("1")
    second.done.set_result("2")
    found = await asyncio.gather(single_flight.do("a", first), single_flight.do("b", second))
    assert list(found) == ["1", "2"]


async def test_those_who_wait_are_let_go_when_the_process_ends() -> None:
    single_flight, work = SingleFlight[str](asyncio.ensure_future), Work()
    waiting = asyncio.ensure_future(single_flight.do("q", work))
    await turns()
    single_flight.cancel()
    await turns()
    assert waiting.cancelled()
    assert len(single_flight) == 0


async def test_a_process_that_is_going_down_refuses_new_questions() -> None:
    def closed(_work: Coroutine[None, None, None]) -> None:
        raise RuntimeError("the group is shutting down")

    single_flight = SingleFlight[str](closed)
    with pytest.raises(UnavailableError):
        await single_flight.do("q", Work())
    assert len(single_flight) == 0
