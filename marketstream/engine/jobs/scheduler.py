"""Run periodic jobs, each run once over all processes.

Each job has a task that waits for its next due time, claims that run and does it; a run that fails is tried
again three times. One that is late by more than its period is left out, and so is one whose process dies in
the middle of it: the next comes soon. What happened is remembered here, in the process that did it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import structlog

from marketstream.core.backoff import Backoff
from marketstream.core.jobs.schedule import HOUR, Schedule, identity
from marketstream.engine.stats import Stats
from marketstream.errors import MarketstreamError, NotFoundError, UnavailableError
from marketstream.ports import Claims, Clock

log = structlog.get_logger(__name__)

RETRIES = 3
"""Times that a run which failed is tried again."""

REMEMBERED = 20
"""Runs of each job that are remembered."""

WEEK_MS = 7 * 86_400_000

LONGEST_WAIT = 30.0
"""Seconds after which a job that waits looks at the clock again: somebody may have set it."""

State = Literal["running", "ok", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is done again and again.

    Attributes:
        name: Its name, such as `indices`.
        schedule: When.
        work: Does it once.
        shared: Whether one process does it for all; otherwise each does it for itself.
    """

    name: str
    schedule: Schedule
    work: Callable[[], Awaitable[None]]
    shared: bool = True


@dataclass(slots=True)
class Run:
    """One run of a job in this process.

    Attributes:
        id: Its name, by which it can be looked up.
        job: Name of the job.
        manual: Whether somebody asked for it.
        started_ms: When it began, epoch milliseconds.
        state: How it is.
        attempts: How often it was tried.
        duration_ms: How long it took, waiting included; None while it runs.
        error: What went wrong last; None when it ended well.
    """

    id: str
    job: str
    manual: bool
    started_ms: int
    state: State = "running"
    attempts: int = 0
    duration_ms: float | None = None
    error: str | None = None


@dataclass(slots=True)
class Log:
    """A job and its runs here, the newest last."""

    job: Job
    runs: deque[Run] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Jobs:
    """See the module.

    Args:
        jobs: What is done; names differ.
        claims: Decides which process does a run.
        clock: Time.
        stats: Counters to keep.
        chance: Random numbers from 0 to 1.
        sleep: Waits that many seconds.

    Attributes:
        logs: Every job by its name, with its runs.
    """

    def __init__(
        self,
        *,
        jobs: Sequence[Job],
        claims: Claims,
        clock: Clock,
        stats: Stats,
        chance: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.logs = {job.name: Log(job) for job in jobs}
        self._claims = claims
        self._clock = clock
        self._stats = stats
        self._chance = chance
        self._sleep = sleep
        self._tasks: asyncio.TaskGroup | None = None
        self._by_hand = 0

    @property
    def active(self) -> bool:
        """Whether this process runs jobs."""
        return self._tasks is not None

    async def run(self) -> None:
        """Run jobs when they are due, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for entry in self.logs.values():
                    tasks.create_task(self._follow(entry))
        finally:
            self._tasks = None

    def start(self, name: str) -> Run:
        """Run a job now; one that somebody asked for and that runs still is not begun again.

        Returns:
            The run, which has begun.

        Raises:
            NotFoundError: There is no such job.
            UnavailableError: This process runs no jobs.
        """
        entry = self.logs.get(name)
        if entry is None:
            raise NotFoundError(f"there is no such job; there are {', '.join(self.logs)}")
        if self._tasks is None:
            raise UnavailableError("this process runs no jobs: ask one of role jobs or all with jobs.enabled")
        for run in entry.runs:
            if run.manual and run.state == "running":
                return run
        self._by_hand += 1
        now = self._clock.wall_ms()
        run = Run(f"{identity(name, now)}-{self._by_hand}", name, manual=True, started_ms=now)
        entry.runs.append(run)
        self._tasks.create_task(self._do(entry, run))
        return run

    def find(self, run_id: str) -> Run:
        """Return a run of this process that is remembered.

        Raises:
            NotFoundError: There is none of that name.
        """
        for entry in self.logs.values():
            for run in entry.runs:
                if run.id == run_id:
                    return run
        raise NotFoundError("this process remembers no such run")

    def forget_old(self) -> None:
        """Forget runs that began more than a week ago."""
        since = self._clock.wall_ms() - WEEK_MS
        for entry in self.logs.values():
            while entry.runs and entry.runs[0].started_ms < since and entry.runs[0].state != "running":
                entry.runs.popleft()

    # One job

    async def _follow(self, entry: Log) -> None:
        schedule = entry.job.schedule
        done = schedule.last(self._clock.wall_ms())
        while True:
            now = self._clock.wall_ms()
            due = schedule.last(now)
            if due > done:
                await self._do_planned(entry, due)
            else:
                await self._sleep(min((schedule.next(now) - now) / 1000, LONGEST_WAIT))
            # A clock that was set back does not stop a job until it has caught up.
            done = due

    async def _do_planned(self, entry: Log, due: int) -> None:
        run = Run(identity(entry.job.name, due), entry.job.name, manual=False, started_ms=0)
        run.started_ms = self._clock.wall_ms()
        if not entry.job.shared:
            entry.runs.append(run)
        await self._do(entry, run, due if entry.job.shared else None)

    async def _do(self, entry: Log, run: Run, due: int | None = None) -> None:
        """Do a run to its end.

        Args:
            entry: Its job.
            run: The run.
            due: What must be claimed first; None: nothing.
        """
        began = self._clock.now()
        try:
            mine = await self._try(entry, run, due)
        except asyncio.CancelledError:
            run.state = "cancelled"
            raise
        finally:
            run.duration_ms = round((self._clock.now() - began) * 1000, 3)
        outcome = run.state if mine else "elsewhere"
        self._stats.job_runs[run.job, outcome] += 1
        if mine:
            self._tell(run)

    async def _try(self, entry: Log, run: Run, due: int | None) -> bool:
        """Claim a run and do it, again if need be; False when it is another process's."""
        backoff = Backoff()
        unclaimed = due
        while True:
            run.attempts += 1
            try:
                if unclaimed is not None:
                    if not await self._claim(entry.job, unclaimed):
                        return False
                    unclaimed = None
                    entry.runs.append(run)
                await entry.job.work()
            except Exception as error:  # noqa: BLE001  # whatever a job raises, the other jobs and the next run go on
                run.error = _text(error)
            else:
                run.state, run.error = "ok", None
                return True
            if run.attempts > RETRIES:
                run.state = "failed"
                if unclaimed is not None:
                    entry.runs.append(run)
                return True
            log.warning("job_retried", job=run.job, task_id=run.id, error=run.error)
            await self._sleep(backoff.next(0, self._chance()))

    async def _claim(self, job: Job, due: int) -> bool:
        # It must last longer than any other process may be late with the same run.
        return await self._claims.take(job.name, due, max(2 * job.schedule.period, HOUR))

    def _tell(self, run: Run) -> None:
        told = {"job": run.job, "task_id": run.id, "attempts": run.attempts, "duration_ms": run.duration_ms}
        if run.state == "ok":
            log.info("job_finished", **told)
        else:
            log.error("job_failed", **told, error=run.error)


def _text(error: Exception) -> str:
    """Return what may be shown of an error: not the text of one that may hold an address with a key in it."""
    if isinstance(error, MarketstreamError):
        return f"{error.code}: {error}" if error.public else error.code
    return type(error).__name__
