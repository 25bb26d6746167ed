"""Wrong clocks: nobody sees a price too early because of one, and no symbol falls silent for long."""

import json
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.conformance.watcher import watching
from tests.support.event_api import ids, publish
from tests.support.eventually import eventually
from tests.support.gateways import gateways, is_ready
from tests.support.server import JOBS, PROGRAM, Server, running_server
from tests.support.skew import skewed
from tests.support.valkey import Valkey

HOUR = 3600.0
PLANS = """
[plans.pro]
[plans.late]
delay = 600
"""


def plans(tmp_path: Path) -> dict[str, str]:
    """Settings with a plan that shows prices ten minutes late."""
    file = tmp_path / "plans.toml"
    file.write_text(PLANS)
    return {"MARKETSTREAM_AUTH__PLANS_FILE": str(file), "MARKETSTREAM_AUTH__DEFAULT_PLAN": "pro"}


def price(bid: float, ahead: float = 0.0) -> dict[str, Any]:
    """A best price of now, or of a publisher whose clock is ahead."""
    at_ms = round((time.time() + ahead) * 1000)
    return {"symbol": "A", "bestBid": {"price": bid, "source": "x"}, "timestamp": at_ms}


async def figure(server: Server, line: str) -> bool:
    """Whether `/metrics` has a line that begins so."""
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}/metrics") as answer:
        return any(each.startswith(line) for each in (await answer.text()).splitlines())


async def test_a_gateway_that_is_fifteen_minutes_ahead_shows_delayed_plans_no_live_price(
    valkey: Valkey, tmp_path: Path
) -> None:
    """What is old enough is said by the clock of Redis, which stamped the price."""
    env = plans(tmp_path)
    async with (
        gateways(valkey.url, 1, env=env) as (feeder,),
        running_server(
            "--bus", valkey.url, "--role", "gateway", env=env | secret(feeder), program=skewed(15 * 60)
        ) as gateway,
    ):
        await eventually(lambda: is_ready(gateway), what="a gateway")
        await feeder.publish(prices=[price(1)])
        for plan, shown in (("pro", [1]), ("late", [])):
            async with watching(gateway, gateway.token(plan=plan)) as client:
                await client.call("subscribe", {"symbols": ["A"]})
                [snapshot] = await client.until("snapshot")
                assert [each["bestBid"]["price"] for each in snapshot["prices"]] == shown
                quote = await client.call("get_quote", {"symbol": "A"})
                assert (quote.get("code") == "UNKNOWN_SYMBOL") == (not shown)


async def test_an_event_ends_by_the_clock_that_all_share(valkey: Valkey) -> None:
    async with (
        gateways(valkey.url, 1) as (feeder,),
        running_server(
            "--bus", valkey.url, "--role", "gateway", env=secret(feeder), program=skewed(15 * 60)
        ) as gateway,
        watching(gateway, gateway.token()) as client,
    ):
        await client.call("subscribe_events", {"name": "all"})

        async def heard() -> bool:
            await publish(feeder, {"expiresAt": round((time.time() + 300) * 1000)})
            return bool(ids(client))

        await eventually(heard, 10, "an event that is good for five minutes")


async def test_a_feed_that_is_an_hour_ahead_silences_nothing_once_it_is_right(valkey: Valkey) -> None:
    flags = ("--bus", valkey.url, "--role", "feed")
    feeds = ["synthetic?symbols=A&rate=20"]
    async with (
        running_server("--bus", valkey.url, "--role", "gateway") as gateway,
        watching(gateway, gateway.token()) as client,
    ):
        await client.call("subscribe", {"symbols": ["A"]})
        async with running_server(*flags, feeds=feeds, program=skewed(HOUR)) as wrong:
            await eventually(lambda: len(client.named("price")) > 10, 20, "prices")
            assert (await wrong.logged("time_ahead"))[0]["seconds"] >= HOUR - 60
            assert await figure(wrong, 'rejected_total{reason="ahead"}')
        assert max(each["timestamp"] for each in client.named("price")) <= (time.time() + 5) * 1000
        async with running_server(*flags, feeds=feeds):
            count = len(client.named("price"))
            await eventually(lambda: len(client.named("price")) > count + 10, 20, "prices of the next feed")


async def test_whoever_publishes_an_hour_ahead_is_told_and_the_symbol_is_free_at_once(
    valkey: Valkey,
) -> None:
    """By HTTP and by the stream of Redis; `publish --bus` is answered by the same handler."""
    async with gateways(valkey.url, 1) as (server,), watching(server) as client:
        await client.call("subscribe", {"symbols": ["A"]})
        answer = await server.publish(prices=[price(1, HOUR)], quotes=[_quote(HOUR)])
        assert answer["accepted"] == 0
        assert all("ahead" in each["error"] or "future" in each["error"] for each in answer["rejected"])
        with valkey.client() as redis:
            for ahead in (HOUR, 60):
                event = {"eventType": "market-data.best-price", "payload": price(2, ahead)}
                redis.xadd("market-data.best-price", {"event": json.dumps(event)})
            await eventually(lambda: redis.xlen("market-data.best-price.dead") == 2, what="the dead")
        await eventually(lambda: server.events("time_ahead"), what="a word in the log")
        assert (await server.publish(prices=[price(3)]))["accepted"] == 1
        await eventually(lambda: [p["bestBid"]["price"] for p in client.named("price")] == [3], what="it")


async def test_jobs_of_a_process_that_is_ahead_silence_no_channel(valkey: Valkey) -> None:
    """Updates of a channel replace each other by their time, too."""
    flags = ("--bus", valkey.url, "--role", "jobs")
    async with (
        running_server("--bus", valkey.url, "--role", "gateway") as gateway,
        watching(gateway, gateway.token()) as client,
    ):
        await client.call("subscribe", {"channels": ["sentiment"]})
        for number, program in enumerate((skewed(HOUR), PROGRAM), 1):
            async with running_server(*flags, program=program, env=JOBS) as jobs:
                await eventually(lambda: _run(jobs, "sentiment"), what="a run")  # awaited here
                await eventually(lambda: len(client.named("sentiment_update")) >= number, what="an update")  # noqa: B023  # awaited here


async def test_a_tape_of_tomorrow_is_played_as_of_now(tmp_path: Path) -> None:
    tape = tmp_path / "tape.csv"
    tomorrow = round((time.time() + 24 * HOUR) * 1000)
    rows = [f"{tomorrow + 100 * n},A,x,{n + 1},1,{n + 2},1" for n in range(20)]
    tape.write_text("\n".join(["timestamp_ms,symbol,source,bid,bid_size,ask,ask_size", *rows]))
    async with running_server(feeds=[f"replay:{tape}?wait=1"]) as server, watching(server) as client:
        await client.call("subscribe", {"symbols": ["A"]})
        await eventually(lambda: len(client.named("price")) > 5, what="prices")
        assert await server.logged("time_ahead")
        assert max(each["timestamp"] for each in client.named("price")) <= (time.time() + 5) * 1000
        assert (await server.publish(quotes=[_quote(0)]))["accepted"] == 1


async def _run(server: Server, job: str) -> bool:
    """Whether an operator can have a job done by now."""
    headers = {"Authorization": f"Bearer {server.token(scopes=('admin',), ttl=7200)}"}
    url = f"{server.url}/api/v1/market/jobs/{job}/run"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(url) as answer:
        return answer.status == 202


def _quote(ahead: float) -> dict[str, Any]:
    at_ms = round((time.time() + ahead) * 1000)
    return {"symbol": "A", "source": "y", "bid": 1, "ask": 2, "timestamp": at_ms}


def secret(server: Server) -> dict[str, str]:
    """Settings of a server that trusts the same tokens."""
    return {"MARKETSTREAM_JWT_SECRET": server.secret}
