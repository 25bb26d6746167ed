"""Serve `jobs/...`.

They tell of this process alone: another one remembers the runs that it did.
"""

from typing import Annotated, Literal

from aiohttp import web
from pydantic import ConfigDict, Field

from marketstream.core.delivery.entitlements import Principal
from marketstream.engine.jobs.scheduler import Jobs, Log, Run
from marketstream.ports import Clock
from marketstream.transports.rest.admin import SCOPE
from marketstream.transports.rest.endpoint import Answered, Endpoint
from marketstream.transports.rest.openapi import Operation
from marketstream.transports.rest.schema import Shape, iso
from marketstream.transports.rest.stream import TICK, Look, StateStreams

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class JobShape(Shape):
    """A message whose names are written as they are here."""

    model_config = ConfigDict(alias_generator=None)


class RunBody(JobShape):
    """One run."""

    task_id: str
    job: str
    status: Literal["running", "ok", "failed", "cancelled"]
    manual: Annotated[bool, Field(description="whether somebody asked for it")]
    started: Time
    duration_ms: Annotated[float | None, Field(description="null while it runs")]
    attempts: int
    error: Annotated[str | None, Field(description="what went wrong last")]


class JobBody(JobShape):
    """One job; the newest of its runs in this process first."""

    name: str
    schedule: str
    status: Literal["idle", "running"]
    next_run: Annotated[Time | None, Field(description="null where jobs are not run")]
    runs: list[RunBody]


class JobsAnswer(JobShape):
    """The jobs, as this process sees them."""

    active: Annotated[bool, Field(description="whether this process runs jobs")]
    jobs: list[JobBody]


class StartedAnswer(JobShape):
    """A run that has begun."""

    task_id: str


class JobsAdmin:
    """Answers operators.

    Args:
        endpoint: Lets callers in.
        jobs: The jobs.
        clock: Time.
        streams: Opens the streams of runs.
    """

    def __init__(self, *, endpoint: Endpoint, jobs: Jobs, clock: Clock, streams: StateStreams) -> None:
        self._endpoint = endpoint
        self._streams = streams
        self._jobs = jobs
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return the endpoints; `status` comes before what could be a run of that name."""
        wrap = self._endpoint.wrap
        begin = wrap(self.start, SCOPE, status=web.HTTPAccepted.status_code)
        return [
            Operation(
                "GET", "/jobs/status", "Jobs and their runs.", SCOPE, JobsAnswer, wrap(self.status, SCOPE)
            ),
            Operation("GET", "/jobs/{task_id}", "One run.", SCOPE, RunBody, wrap(self.run, SCOPE)),
            Operation(
                "GET",
                "/jobs/{task_id}/stream",
                "One run until it ends, an event `run` for each of its states.",
                SCOPE,
                RunBody,
                self._streams.wrap(self.follow, SCOPE, event="run", period=TICK),
                streams=True,
            ),
            Operation(
                "POST",
                "/jobs/{name}/run",
                "Runs a job now.",
                SCOPE,
                StartedAnswer,
                begin,
                status=web.HTTPAccepted.status_code,
            ),
        ]

    async def status(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as of every endpoint
        """Return all jobs."""
        bodies = [self._job(entry) for entry in self._jobs.logs.values()]
        return JobsAnswer(active=self._jobs.active, jobs=bodies), 0

    async def run(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as of every endpoint
        """Return one run."""
        return _run(self._jobs.find(request.match_info["task_id"])), 0

    def follow(self, request: web.Request) -> Look:
        """Return the states of one run."""
        run = self._jobs.find(request.match_info["task_id"])
        return lambda: (_run(run), run.state != "running")

    async def start(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as of every endpoint
        """Begin a run."""
        return StartedAnswer(task_id=self._jobs.start(request.match_info["name"]).id), 0

    def _job(self, entry: Log) -> JobBody:
        schedule = entry.job.schedule
        return JobBody(
            name=entry.job.name,
            schedule=str(schedule),
            status="running" if any(run.state == "running" for run in entry.runs) else "idle",
            next_run=iso(schedule.next(self._clock.wall_ms())) if self._jobs.active else None,
            runs=[_run(run) for run in reversed(entry.runs)],
        )


def _run(run: Run) -> RunBody:
    return RunBody(
        task_id=run.id,
        job=run.job,
        status=run.state,
        manual=run.manual,
        started=iso(run.started_ms),
        duration_ms=run.duration_ms,
        attempts=run.attempts,
        error=run.error,
    )
