"""Jobs of real processes: what operators see and start, and who does what over a real Valkey."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from marketstream.bus.url import build_bus
from marketstream.coordination.claims import RedisClaims
from marketstream.errors import BusError
from marketstream.wire import keys
from tests.conformance.raw import raw_socket, say
from tests.support.clock import FakeClock
from tests.support.eventually import eventually
from tests.support.figures import metric
from tests.support.gateways import next_event
from tests.support.server import JOBS, UNLIMITED, Server, running_server
from tests.support.valkey import Valkey, running_valkey

NAMES = ["quotes", "indices", "sectors", "movers", "sentiment", "warm_cache", "clean_up"]


async def ask(server: Server, method: str, path: str, scope: str = "admin") -> tuple[int, Any]:
    """Status and JSON of a call of an operator."""
    headers = {"Authorization": f"Bearer {server.token(plan=UNLIMITED, scopes=(scope,))}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, f"{server.url}/api/v1/market/jobs/{path}") as answer,
    ):
        return answer.status, await answer.json()


async def finished(server: Server, task_id: str) -> dict[str, Any]:
    """A run when it is over."""

    async def over() -> dict[str, Any]:
        status, run = await ask(server, "GET", task_id)
        assert status == 200
        return {} if run["status"] == "running" else dict(run)

    return await eventually(over, 10, "the end of a run")


async def begun(server: Server, name: str) -> str:
    """Begins a run and returns its id; a process runs jobs from when it has met its Redis."""

    async def taken() -> str:
        _, answer = await ask(server, "POST", f"{name}/run")
        return str(answer.get("task_id", ""))

    return await eventually(taken, 10, "a process that runs jobs")


@pytest.fixture
async def claims() -> AsyncIterator[tuple[Valkey, list[RedisClaims]]]:
    """Two processes that share a Valkey of their own."""
    with running_valkey() as valkey:
        buses = [build_bus(valkey.url, clock=FakeClock()) for _ in range(2)]
        yield valkey, [RedisClaims(bus.client, bus.node) for bus in buses]
        for bus in buses:
            await bus.client.aclose()


async def test_a_run_is_one_processs_until_its_time_is_over(
    claims: tuple[Valkey, list[RedisClaims]],
) -> None:
    valkey, (one, two) = claims
    taken = await asyncio.gather(one.take("a", 60_000, 100), two.take("a", 60_000, 100))
    assert sorted(taken) == [False, True]
    again = await asyncio.gather(one.take("a", 60_000, 100), two.take("a", 60_000, 100))
    assert again == taken
    assert await two.take("a", 120_000, 100)
    assert await one.take("b", 60_000, 100)
    with valkey.client() as client:
        assert 90_000 < client.pttl("marketstream:{job:a}:60000") <= 100_000
        client.delete(keys.claim("a", 60_000))
    assert await two.take("a", 60_000, 0.05) is True


async def test_without_redis_nobody_can_say_whose_a_run_is(
    claims: tuple[Valkey, list[RedisClaims]],
) -> None:
    valkey, (one, _) = claims
    valkey.kill()
    with pytest.raises(BusError):
        await one.take("a", 60_000, 100)


async def test_an_operator_sees_all_jobs_and_runs_one_that_listeners_receive_of() -> None:
    async with running_server("--dev", env=JOBS) as server:
        status, body = await ask(server, "GET", "status")
        assert (status, body["active"]) == (200, True)
        assert [job["name"] for job in body["jobs"]] == NAMES
        assert all(job["next_run"] for job in body["jobs"])
        async with raw_socket(server.url, token=server.token()) as socket:
            await socket.send(say("subscribe", {"channels": ["indices"]}, 1))
            assert await socket.read_to("43/market-data,1") is not None
            status, started = await ask(server, "POST", "indices/run")
            assert (status, list(started)) == (202, ["task_id"])
            update = await next_event(socket, "market_update")
        assert update["channel"] == "indices"
        assert update["data"]["indices"][0]["name"] == "S&P 500"
        run = await finished(server, started["task_id"])
        assert (run["job"], run["status"], run["manual"], run["error"]) == ("indices", "ok", True, None)
        for name in NAMES:
            _, started = await ask(server, "POST", f"{name}/run")
            assert (await finished(server, started["task_id"]))["status"] == "ok", name


async def test_what_is_not_there_is_not_found_and_only_operators_may_ask() -> None:
    async with running_server("--dev", env=JOBS) as server:
        for method, path in (("POST", "nothing/run"), ("GET", "indices-5")):
            status, body = await ask(server, method, path)
            assert (status, body["error"]["code"]) == (404, "NOT_FOUND")
        for method, path in (("POST", "indices/run"), ("GET", "status"), ("GET", "indices-5")):
            assert (await ask(server, method, path, "market:read"))[0] == 403


async def test_a_process_of_role_jobs_tells_the_clients_of_a_gateway(valkey: Valkey) -> None:
    async with (
        running_server("--bus", valkey.url, "--role", "gateway", env=JOBS) as gateway,
        running_server("--bus", valkey.url, "--role", "jobs", env=JOBS) as jobs,
    ):
        status, body = await ask(gateway, "GET", "status")
        assert (status, body["active"], body["jobs"][0]["next_run"]) == (200, False, None)
        status, body = await ask(gateway, "POST", "sentiment/run")
        assert (status, body["error"]["code"]) == (503, "UNAVAILABLE")
        assert "role jobs" in body["error"]["message"]
        async with raw_socket(gateway.url, token=gateway.token()) as socket:
            await socket.send(say("subscribe", {"channels": ["sentiment"]}, 1))
            assert await socket.read_to("43/market-data,1") is not None
            run = await begun(jobs, "sentiment")
            assert (await next_event(socket, "sentiment_update"))["data"]["score"] >= 0
        assert (await finished(jobs, run))["status"] == "ok"


async def test_a_process_of_role_jobs_keeps_fresh_what_is_watched_elsewhere(valkey: Valkey) -> None:
    async with (
        running_server("--bus", valkey.url, "--role", "gateway", env=JOBS) as gateway,
        running_server("--bus", valkey.url, "--role", "jobs", env=JOBS) as jobs,
        raw_socket(gateway.url, token=gateway.token()) as socket,
    ):
        await socket.send(say("subscribe", {"symbols": ["EUR/USD"]}, 1))
        assert await socket.read_to("43/market-data,1") is not None
        with valkey.client() as client:

            async def cached() -> bool:
                await finished(jobs, await begun(jobs, "quotes"))
                return bool(client.exists("quote:EUR/USD"))

            await eventually(cached, 10, "the quote of a symbol that is watched at the gateway")


async def test_of_two_processes_that_do_everything_both_know_what_is_watched(valkey: Valkey) -> None:
    """Either may do the next run, whoever of them feeds the market."""
    async with (
        running_server("--bus", valkey.url, env=JOBS) as one,
        running_server("--bus", valkey.url, env=JOBS) as other,
        raw_socket(one.url, token=one.token()) as here,
        raw_socket(other.url, token=other.token()) as there,
    ):
        for socket, symbol in ((here, "HERE"), (there, "THERE")):
            await socket.send(say("subscribe", {"symbols": [symbol]}, 1))
            assert await socket.read_to("43/market-data,1") is not None

        async def known() -> bool:
            return [await metric(server, "demanded_symbols") for server in (one, other)] == [2, 2]

        await eventually(known, 10, "both symbols at both processes")


async def test_jobs_that_are_switched_off_are_not_run() -> None:
    async with running_server("--dev", env={"MARKETSTREAM_JOBS__ENABLED": "false"}) as server:
        status, body = await ask(server, "GET", "status")
        assert (status, body["active"], body["jobs"][0]["next_run"]) == (200, False, None)
        status, body = await ask(server, "POST", "sentiment/run")
        assert (status, body["error"]["code"]) == (503, "UNAVAILABLE")
        assert "jobs.enabled" in body["error"]["message"]
