"""When jobs run, how often, and what is remembered of it, in time that a test owns."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from marketstream.bus.memory import MemoryClaims
from marketstream.core.jobs.schedule import Schedule, every
from marketstream.engine.jobs.scheduler import REMEMBERED, RETRIES, WEEK_MS, Job, Jobs
from marketstream.engine.stats import Stats
from marketstream.errors import BusError, NotFoundError, UnavailableError
from marketstream.ports import Claims
from tests.support.timeline import Timeline


class Script:
    """A job that fails as it is told to, and otherwise ends well.

    Attributes:
        times: When it was tried, milliseconds since the start.
    """

    def __init__(self, clock: Timeline, *failures: Exception | float) -> None:
        self.times: list[int] = []
        self._clock = clock
        self._began = clock.wall_ms()
        self._steps = list(failures)

    async def __call__(self) -> None:
        """Does the job once."""
        self.times.append(self._clock.wall_ms() - self._began)
        step = self._steps.pop(0) if self._steps else 0.0
        if isinstance(step, Exception):
            raise step
        if step:
            await self._clock.sleep(step)


class Shared:
    """Claims that some processes share; an answer may be lost."""

    def __init__(self, *failures: Exception) -> None:
        self.owners: dict[tuple[str, int], str] = {}
        self.failures = list(failures)

    def of(self, process: str) -> Claims:
        """The claims as a process has them."""
        shared = self

        class One:
            async def take(self, job: str, due_ms: int, ttl: float) -> bool:
                assert ttl >= 3_600
                if shared.failures:
                    raise shared.failures.pop(0)
                return shared.owners.setdefault((job, due_ms), process) == process

        return One()


class Process:
    """A runner in the time of a test."""

    def __init__(self, clock: Timeline, *jobs: Job, claims: Claims | None = None) -> None:
        self.clock = clock
        self.stats = Stats()
        self.jobs = Jobs(
            jobs=jobs,
            claims=claims or MemoryClaims(),
            clock=clock,
            stats=self.stats,
            chance=lambda: 0.0,
            sleep=clock.sleep,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """It runs jobs inside the block."""
        task = asyncio.create_task(self.jobs.run())
        await asyncio.sleep(0)
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def job(name: str, work: Callable[[], Awaitable[None]], period: int = 60, *, shared: bool = True) -> Job:
    return Job(name, every(period), work, shared)


@pytest.fixture
async def clock() -> Timeline:
    """A clock at the full hour."""
    clock = Timeline()
    clock.advance((Schedule(3_600).next(clock.wall_ms()) - clock.wall_ms()) / 1000)
    return clock


async def test_a_job_runs_at_each_due_time_and_not_at_the_start(clock: Timeline) -> None:
    work = Script(clock)
    process = Process(clock, job("a", work))
    async with process.running():
        assert work.times == []
        await clock.sleep(200)
    assert work.times == [60_000, 120_000, 180_000]
    assert process.stats.job_runs == {("a", "ok"): 3}


async def test_a_slow_job_holds_up_no_other_and_leaves_out_what_it_missed(clock: Timeline) -> None:
    slow, quick = Script(clock, 150.0), Script(clock)
    async with Process(clock, job("slow", slow), job("quick", quick)).running():
        await clock.sleep(310)
    assert quick.times == [60_000, 120_000, 180_000, 240_000, 300_000]
    assert slow.times == [60_000, 210_000, 240_000, 300_000]


async def test_a_run_that_fails_is_tried_again_three_times(clock: Timeline) -> None:
    work = Script(clock, ValueError("with a key"), ValueError(), ValueError())
    process = Process(clock, job("a", work, 3_600))
    with capture_logs() as logged:
        async with process.running():
            await clock.sleep(3_700)
    assert work.times == [3_600_000, 3_602_000, 3_606_000, 3_614_000]
    (run,) = process.jobs.logs["a"].runs
    assert (run.state, run.attempts, run.error, run.duration_ms) == ("ok", RETRIES + 1, None, 14_000)
    (told,) = [entry for entry in logged if entry["event"] == "job_finished"]
    assert (told["job"], told["task_id"], told["attempts"]) == ("a", run.id, 4)
    assert "with a key" not in str(logged)


async def test_a_run_that_fails_for_good_says_why_and_the_next_one_comes(clock: Timeline) -> None:
    work = Script(clock, *[UnavailableError("nobody there")] * (RETRIES + 1))
    process = Process(clock, job("a", work))
    with capture_logs() as logged:
        async with process.running():
            await clock.sleep(130)
    failed, following = process.jobs.logs["a"].runs
    assert (failed.state, failed.error) == ("failed", "UNAVAILABLE: nobody there")
    assert following.state == "ok"
    assert [entry["task_id"] for entry in logged if entry["event"] == "job_failed"] == [failed.id]
    assert process.stats.job_runs == {("a", "failed"): 1, ("a", "ok"): 1}


async def test_two_processes_do_each_run_once(clock: Timeline) -> None:
    shared, work, own = Shared(), Script(clock), Script(clock)
    one, two = (
        Process(clock, job("a", work), job("own", own, shared=False), claims=shared.of(name))
        for name in ("one", "two")
    )
    async with one.running(), two.running():
        await clock.sleep(310)
    assert work.times == [60_000, 120_000, 180_000, 240_000, 300_000]
    assert len(own.times) == 10
    outcomes = one.stats.job_runs + two.stats.job_runs
    assert (outcomes["a", "ok"], outcomes["a", "elsewhere"]) == (5, 5)
    ids = [run.id for process in (one, two) for run in process.jobs.logs["a"].runs]
    assert len(ids) == len(set(ids)) == 5


async def test_a_run_that_cannot_be_claimed_is_not_done(clock: Timeline) -> None:
    work = Script(clock)
    claims = Shared(*[BusError("away")] * (RETRIES + 2))
    process = Process(clock, job("a", work), claims=claims.of("one"))
    async with process.running():
        await clock.sleep(130)
    assert work.times == [122_000]
    failed, following = process.jobs.logs["a"].runs
    assert (failed.state, failed.error) == ("failed", "BUS_UNAVAILABLE")
    assert (following.state, following.attempts) == ("ok", 2)


async def test_only_the_newest_runs_are_remembered_and_none_for_longer_than_a_week(clock: Timeline) -> None:
    process = Process(clock, job("a", Script(clock)))
    async with process.running():
        await clock.sleep(60 * (REMEMBERED + 5) + 1)
    runs = process.jobs.logs["a"].runs
    assert len(runs) == REMEMBERED
    clock.advance((WEEK_MS + runs[9].started_ms - clock.wall_ms()) / 1000 + 0.001)
    process.jobs.forget_old()
    assert len(runs) == REMEMBERED - 10


async def test_a_job_runs_by_hand_once_at_a_time(clock: Timeline) -> None:
    work = Script(clock, 5.0)
    process = Process(clock, job("a", work, 3_600))
    async with process.running():
        run = process.jobs.start("a")
        assert process.jobs.start("a") is run
        assert (run.state, process.jobs.find(run.id)) == ("running", run)
        await clock.sleep(6)
        assert (run.state, run.duration_ms, run.manual) == ("ok", 5_000, True)
        assert process.jobs.start("a").id != run.id


async def test_who_runs_no_jobs_says_so_and_what_is_not_there_is_not_found(clock: Timeline) -> None:
    process = Process(clock, job("a", Script(clock)))
    with pytest.raises(UnavailableError, match="runs no jobs"):
        process.jobs.start("a")
    with pytest.raises(NotFoundError, match="there are a"):
        process.jobs.start("b")
    with pytest.raises(NotFoundError):
        process.jobs.find("a-1")


async def test_a_running_job_ends_at_once_when_it_is_cancelled(clock: Timeline) -> None:
    process = Process(clock, job("a", asyncio.Event().wait))  # type: ignore[arg-type]  # what it returns does not matter
    async with process.running():
        await clock.sleep(61)
        assert [run.state for run in process.jobs.logs["a"].runs] == ["running"]
    assert [run.state for run in process.jobs.logs["a"].runs] == ["cancelled"]
    assert not process.jobs.active


async def test_a_clock_that_is_set_back_does_not_stop_a_job(clock: Timeline) -> None:
    work = Script(clock)
    async with Process(clock, job("a", work)).running():
        await clock.sleep(61)
        clock.correct_wall(-7_200_000)
        await clock.sleep(130)
    assert len(work.times) == 3
