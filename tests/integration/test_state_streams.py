"""Streams of states, as operators read them: the progress of a run, and the figures of a process."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from marketstream.engine.jobs.scheduler import Run
from marketstream.transports.rest.stream import MOST
from tests.support.builders import AT_MS, HOUR_MS
from tests.support.eventually import eventually, scaled
from tests.support.reading import PAGE, Api, reading
from tests.support.server import running_server

ADMIN = "/api/v1/admin/stream"
RUN = "/api/v1/market/jobs/{}/stream"
BEARER = {"Authorization": "Bearer admin"}


class Events:
    """What a stream brings.

    Attributes:
        response: The response it is.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> tuple[str, Any]:
        """Name and data of the next event; comments and `retry` are passed over."""
        name = ""
        async with asyncio.timeout(scaled(10)):
            while line := (await self.response.content.readline()).decode().rstrip("\n"):
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data = json.loads(value)
            return name, data

    async def rest(self) -> str:
        """Everything up to an orderly end; one that is none is an error of aiohttp's client."""
        async with asyncio.timeout(scaled(10)):
            return (await self.response.read()).decode()


@asynccontextmanager
async def opened(api: Api, path: str, **headers: str) -> AsyncIterator[Events]:
    async with api.http.get(path, headers=BEARER | headers) as response:
        assert response.status == 200
        yield Events(response)


def begin(api: Api, ident: str = "indices-1") -> Run:
    """A run that has begun, as the scheduler notes it."""
    run = Run(ident, "indices", manual=True, started_ms=AT_MS, attempts=1)
    api.jobs.logs["indices"].runs.append(run)
    return run


async def test_a_run_is_told_in_each_of_its_states_until_it_ends() -> None:
    async with reading("fmp") as api:
        run = begin(api)
        async with opened(api, RUN.format(run.id)) as events:
            assert events.response.headers["Content-Type"] == "text/event-stream"
            name, first = await events.next()
            assert (name, first["status"], first["attempts"]) == ("run", "running", 1)
            _, asked = await api.get(f"jobs/{run.id}", "admin")
            assert first == asked
            run.attempts, run.error = 2, "TIMEOUT"
            assert (await events.next())[1]["error"] == "TIMEOUT"
            run.state, run.error, run.duration_ms = "ok", None, 12.5
            name, last = await events.next()
            assert (name, last["status"], last["duration_ms"]) == ("run", "ok", 12.5)
            assert await events.rest() == ""
        assert api.streams.open == 0


async def test_a_run_that_has_ended_is_told_once() -> None:
    async with reading("fmp") as api:
        begin(api).state = "failed"
        async with opened(api, RUN.format("indices-1")) as events:
            lines = (await events.rest()).splitlines()
        assert [line.partition(":")[0] for line in lines] == ["event", "data", "retry", ""]


@pytest.mark.parametrize(
    ("path", "who", "status", "code"),
    [
        (RUN.format("nothing"), "admin", 404, "NOT_FOUND"),
        (RUN.format("nothing"), "good", 403, "NOT_ENTITLED"),
        (ADMIN, "good", 403, "NOT_ENTITLED"),
        (ADMIN, None, 401, "UNAUTHORIZED"),
    ],
)
async def test_what_is_refused_is_refused_with_a_status(
    path: str, who: str | None, status: int, code: str
) -> None:
    async with reading("fmp") as api:
        headers = {"Authorization": f"Bearer {who}"} if who else {}
        async with api.http.get(path, headers=headers) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (status, code)
        assert api.streams.open == 0


async def test_an_operator_sees_the_figures_as_they_change() -> None:
    async with reading("fmp") as api, opened(api, ADMIN) as events:
        _, asked = await api.get("ws/stats", "admin")
        assert await events.next() == ("stats", asked)
        api.bench.stats.published += 7
        name, later = await events.next()
        assert (name, later["published"]) == ("stats", asked["published"] + 7)


async def test_a_page_of_an_allowed_origin_may_read_and_nothing_is_kept_on_the_way() -> None:
    async with reading("fmp") as api, opened(api, ADMIN, Origin=PAGE) as events:
        headers = events.response.headers
        assert headers["Access-Control-Allow-Origin"] == PAGE
        assert headers["Cache-Control"] == "no-cache, no-transform"
        assert (headers["X-Accel-Buffering"], headers["Server"]) == ("no", "marketstream")


async def test_a_quiet_stream_has_comments_that_are_no_events() -> None:
    """To several readers a blank line is an event, even where there was nothing to send."""
    async with reading("fmp", stream_rules={"comment_interval": 0.01}) as api:
        run = begin(api)
        async with opened(api, RUN.format(run.id)) as events:
            await events.next()
            lines = [await events.response.content.readline() for _ in range(2)]
        assert lines == [b": \n"] * 2


async def test_there_are_so_many_streams_and_no_more() -> None:
    async with reading("fmp", stream_rules={"most": 1}) as api:
        async with opened(api, ADMIN), api.http.get(ADMIN, headers=BEARER) as second:
            assert second.status == 503
            assert second.headers["Retry-After"] == "5"
        await eventually(lambda: api.streams.open == 0, what="the end of the first")
        async with opened(api, ADMIN):
            assert api.streams.open == 1
    assert MOST == 20


async def test_a_stream_ends_with_its_token() -> None:
    async with reading("fmp") as api, opened(api, ADMIN) as events:
        await events.next()
        api.reader.clock.advance(HOUR_MS / 1000)
        name, told = await events.next()
        assert (name, told["code"]) == ("error", "TOKEN_EXPIRED")
        assert await events.rest() == ""


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    """What is written for it meanwhile is one state."""
    async with reading("fmp", stream_rules={"slow_timeout": 0.2}) as api:
        api.bench.stats.closed.update({f"reason-{number}": number for number in range(400_000)})
        sock = socket.create_connection((api.http.host, api.http.port))
        with sock:
            sock.sendall(f"GET {ADMIN} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n\r\n".encode())
            await eventually(lambda: api.streams.open == 1, what="the stream")
            await eventually(lambda: api.streams.open == 0, what="its end")


async def test_a_client_that_leaves_is_noticed() -> None:
    async with reading("fmp") as api:
        run = begin(api)
        async with opened(api, RUN.format(run.id)) as events:
            await events.next()
            events.response.close()
            await eventually(lambda: api.streams.open == 0, what="its end")


async def test_each_stream_costs_a_call() -> None:
    async with reading("fmp") as api:
        begin(api).state = "ok"
        statuses = []
        for _ in range(101):
            async with api.http.get(RUN.format("indices-1"), headers=BEARER) as response:
                statuses.append(response.status)
        assert statuses == [200] * 100 + [429]


async def test_streams_end_in_order_when_the_server_goes_down() -> None:
    """Their last chunk arrives, the process does not wait for them, and new ones are refused."""
    async with running_server() as server:
        headers = {"Authorization": f"Bearer {server.token(scopes=('admin',))}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{server.url}{ADMIN}") as response,
        ):
            events = Events(response)
            name, figures = await events.next()
            assert (name, figures["connections"]) == ("stats", {})
            assert await asyncio.to_thread(server.terminate) == 0
            await events.rest()
