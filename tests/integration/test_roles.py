"""Gateways and feeds as processes of their own: who feeds the market, and what happens without that one."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.conformance.market import new_symbol, price, quote
from tests.conformance.raw import RawSocket, raw_socket
from tests.support.eventually import eventually, scaled
from tests.support.figures import metric
from tests.support.gateways import is_ready, next_event, next_price, readiness, subscribe
from tests.support.server import Server, running_server
from tests.support.valkey import Valkey, running_valkey

HEARTBEAT = {"MARKETSTREAM_FEEDS__STALE_AFTER": "3"}


@asynccontextmanager
async def running(bus: Valkey, role: str, *feeds: str) -> AsyncIterator[Server]:
    """A process in one role, up inside the block."""
    async with running_server(
        "--bus", bus.url, "--role", role, feeds=feeds or ("none",), env=HEARTBEAT
    ) as server:
        yield server


def synthetic(*symbols: str) -> str:
    return f"synthetic?symbols={','.join(symbols)}&rate=20&sources=1"


def taken(server: Server) -> int:
    """How often a process became the one that feeds the market."""
    return len(server.events("lease_taken"))


async def post(server: Server, body: Mapping[str, Any]) -> tuple[int, Any]:
    """Publishes, and returns status and answer."""
    headers = {"Authorization": f"Bearer {server.token(scopes=('market:publish',))}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{server.url}/api/v1/market/publish", json=body) as answer,
    ):
        return answer.status, await answer.json()


def values(socket: RawSocket, symbol: str) -> list[dict[str, Any]]:
    """Every value of a symbol that a client got, in order."""
    found: list[dict[str, Any]] = []
    for name, data in socket.events:
        found += data["prices"] if name == "snapshot" else [data] if name == "price" else []
    return [best for best in found if best["symbol"] == symbol]


def assert_never_older(socket: RawSocket, *symbols: str) -> None:
    for symbol in symbols:
        times = [best["timestamp"] for best in values(socket, symbol)]
        assert times == sorted(times), symbol


async def test_a_feed_process_feeds_the_clients_of_a_gateway(valkey: Valkey) -> None:
    symbol = new_symbol("ROLE")
    async with (
        running(valkey, "gateway", synthetic("UNUSED")) as gateway,
        running(valkey, "feed", synthetic(symbol)) as feed,
        running(valkey, "jobs") as jobs,
        raw_socket(gateway.url, token=gateway.token()) as socket,
    ):
        await subscribe(socket, symbol)
        await next_event(socket, "price")
        await next_event(socket, "price")
        assert (await gateway.logged("feeds_not_run"))[0]["role"] == "gateway"
        await eventually(lambda: is_ready(feed), what="readiness of the feed")
        assert (await readiness(feed))["feeds"] == {"synthetic": "live"}
        assert (await readiness(gateway))["feeds"] == (await readiness(jobs))["feeds"] == {}
        assert [await metric(server, "feeds_market") for server in (gateway, feed, jobs)] == [0, 1, 0]
        async with aiohttp.ClientSession() as session:
            for server in (feed, jobs):
                for path in ("/market-data/stream?symbols=A", "/socket.io/?EIO=4&transport=polling"):
                    async with session.get(server.url + path) as answer:
                        assert answer.status == 404
                async with session.get(f"{server.url}/metrics") as answer:
                    assert answer.status == 200


async def test_quotes_given_to_any_gateway_meet_those_of_the_feed(valkey: Valkey) -> None:
    symbol = new_symbol("MEET")
    async with (
        running(valkey, "feed") as feed,
        running(valkey, "gateway") as first,
        running(valkey, "gateway") as second,
        raw_socket(second.url, token=second.token()) as socket,
    ):
        await eventually(lambda: taken(feed), what="the lease")
        await subscribe(socket, symbol)
        await first.publish(quotes=[quote(symbol, "x", 10, 14)])
        await next_price(socket, 12)
        await second.publish(quotes=[quote(symbol, "y", 11, 15)])
        best = await next_price(socket, 12.5)
        assert (best["bestBid"]["source"], best["bestAsk"]["source"]) == ("y", "x")


async def test_what_is_wrong_with_a_publication_is_said_by_whoever_judges_it(valkey: Valkey) -> None:
    symbol = new_symbol("JUDGE")
    async with (
        running(valkey, "feed") as feed,
        running(valkey, "gateway") as first,
        running(valkey, "gateway") as second,
    ):
        await eventually(lambda: taken(feed), what="the lease")
        newest = price(symbol, 2)
        assert await post(first, {"prices": [newest]}) == (200, {"accepted": 1, "rejected": []})
        status, said = await post(second, {"prices": [newest | {"timestamp": newest["timestamp"] - 1}, {}]})
        assert (status, said["accepted"]) == (200, 0)
        assert [entry["index"] for entry in said["rejected"]] == [0, 1]
        assert "older than the newest" in said["rejected"][0]["error"]
        status, said = await post(first, {"prices": 5})
        assert (status, said["error"]["code"], said["error"]["details"]) == (
            400,
            "INVALID_MESSAGE",
            {"path": "prices"},
        )


async def test_without_anybody_who_judges_prices_are_taken_and_quotes_are_not(valkey: Valkey) -> None:
    symbol = new_symbol("ALONE")
    async with (
        running(valkey, "gateway") as first,
        running(valkey, "gateway") as second,
        raw_socket(second.url, token=second.token()) as socket,
    ):
        await subscribe(socket, symbol)
        await first.publish(prices=[price(symbol, 3)])
        await next_price(socket, 3)
        status, said = await post(first, {"quotes": [quote(symbol, "x", 1, 2)]})
        assert (status, said["error"]["code"]) == (503, "UNAVAILABLE")


async def test_when_the_feed_is_killed_the_other_one_goes_on(valkey: Valkey) -> None:
    """In less than five seconds, and never with a value older than the last one."""
    symbol, gone = new_symbol("HEIR"), new_symbol("GONE")
    async with (
        running(valkey, "gateway") as gateway,
        running(valkey, "feed", synthetic(symbol, gone)) as owner,
        raw_socket(gateway.url, token=gateway.token()) as socket,
    ):
        await subscribe(socket, symbol, gone)
        await eventually(lambda: taken(owner), what="the lease")
        await next_event(socket, "price")
        async with running(valkey, "feed", synthetic(symbol)) as standby:
            assert (await readiness(standby))["feeds"] == {"synthetic": "standby"}
            owner.kill()
            await socket.fence()
            before = len(values(socket, symbol))
            async with asyncio.timeout(scaled(5)):
                while len(values(socket, symbol)) <= before + 1:
                    await next_event(socket, "price")
            assert taken(standby) == 1
            assert_never_older(socket, symbol, gone)
            # What the heir does not feed is not live for ever because somebody else once said so.
            while (await next_event(socket, "status"))["symbol"] != gone:
                pass
            assert socket.events[-1][1]["state"] == "stale"


async def test_a_feed_that_ends_in_order_hands_over_at_once(valkey: Valkey) -> None:
    symbol = new_symbol("HAND")
    async with (
        running(valkey, "gateway") as gateway,
        running(valkey, "feed", synthetic(symbol)) as owner,
        raw_socket(gateway.url, token=gateway.token()) as socket,
    ):
        await subscribe(socket, symbol)
        await eventually(lambda: taken(owner), what="the lease")
        async with running(valkey, "feed", synthetic(symbol)) as standby:
            assert await asyncio.to_thread(owner.terminate) == 0
            with valkey.client() as client:
                assert client.get("marketstream:{lease}:owner") is None or taken(standby)
            await eventually(lambda: taken(standby), what="the lease at the heir")
            before = len(values(socket, symbol))
            while len(values(socket, symbol)) <= before + 1:
                await next_event(socket, "price")
            assert_never_older(socket, symbol)


@pytest.mark.parametrize("frozen", [4, pytest.param(15, marks=pytest.mark.slow)])
async def test_a_feed_that_was_frozen_cannot_publish_any_more(valkey: Valkey, frozen: int) -> None:
    """It has a symbol of its own, so that whatever comes from it would be seen."""
    both, old, new = (new_symbol(name) for name in ("BOTH", "OLD", "NEW"))
    async with (
        running(valkey, "gateway") as gateway,
        running(valkey, "feed", synthetic(both, old)) as owner,
        raw_socket(gateway.url, token=gateway.token()) as socket,
    ):
        await subscribe(socket, both, old, new)
        await eventually(lambda: taken(owner), what="the lease")
        await next_event(socket, "price")
        async with running(valkey, "feed", synthetic(both, new)) as standby:
            os.kill(owner.pid, signal.SIGSTOP)
            try:
                while not values(socket, new):
                    await next_event(socket, "price")
                # What is tested is time: a process that sleeps longer than anybody waits for it.
                await asyncio.sleep(max(0, frozen - 4))
                await socket.fence()
                last = len(values(socket, old))
            finally:
                os.kill(owner.pid, signal.SIGCONT)
            await eventually(lambda: owner.events("lease_lost"), 10, "the old one to know")
            known = len(values(socket, new))
            while len(values(socket, new)) < known + 20:
                await next_event(socket, "price")
            assert len(values(socket, old)) == last
            assert_never_older(socket, both, old, new)
            assert (taken(owner), taken(standby)) == (1, 1)
            assert (await readiness(owner))["feeds"] == {"synthetic": "standby"}


async def test_a_feed_keeps_its_office_through_the_loss_of_redis() -> None:
    """Also when Redis comes back without its memory."""
    symbol = new_symbol("KEEP")
    with running_valkey() as mortal:
        async with (
            running(mortal, "gateway") as gateway,
            running(mortal, "feed", synthetic(symbol)) as owner,
            raw_socket(gateway.url, token=gateway.token()) as socket,
        ):
            await subscribe(socket, symbol)
            await eventually(lambda: taken(owner), what="the lease")
            await next_event(socket, "price")
            for _ in range(2):
                mortal.kill()
                while (await next_event(socket, "status"))["state"] != "stale":
                    pass
                mortal.start()
                while (await next_event(socket, "status"))["state"] != "live":
                    pass
                await next_event(socket, "price")
            assert taken(owner) == 1
            assert not owner.events("lease_lost")
            assert_never_older(socket, symbol)
