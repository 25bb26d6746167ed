"""Nobody feeds the market, for one reason or another: every gateway notices, and says so until it is over.

The feed is a process of its own, and the gateways share nothing with it but Redis.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.market import new_symbol, price
from tests.conformance.raw import raw_socket
from tests.support.eventually import eventually
from tests.support.gateways import is_ready, readiness, subscribe
from tests.support.onlooker import EDGES, Onlooker, onlooking
from tests.support.server import Server, running_server
from tests.support.valkey import Valkey, running_valkey

FLOWING, QUIET = "FLOWS", "QUIET"
ENV = {"MARKETSTREAM_FEEDS__STALE_AFTER": "4"}


@dataclass
class Market:
    """A feed, two gateways and their Valkey."""

    valkey: Valkey
    feed: Server
    gateways: list[Server]

    def configure(self, **settings: str) -> None:
        """Changes settings of the Valkey."""
        with self.valkey.client() as client:
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), value)


@pytest.fixture
def mortal() -> Iterator[Valkey]:
    """A Valkey of one test alone."""
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture
async def market(mortal: Valkey) -> AsyncIterator[Market]:
    """One whose feed brings one symbol all the time; another was published once."""
    async with AsyncExitStack() as stack:
        secret = {"MARKETSTREAM_JWT_SECRET": "s" * 40, **ENV}
        feed = await stack.enter_async_context(
            running_server(
                *("--bus", mortal.url, "--role", "feed"),
                feeds=[f"synthetic?symbols={FLOWING}&rate=5"],
                env=secret,
            )
        )
        up = [
            await stack.enter_async_context(
                running_server("--bus", mortal.url, "--role", "gateway", env=secret)
            )
            for _ in range(2)
        ]
        for each in up:
            await eventually(lambda each=each: is_ready(each), 15, "readiness")  # type: ignore[misc]
        await up[0].publish(prices=[price(QUIET, 1)])
        for each in (feed, *up):
            # A gateway that was there before the feed has said so.
            each.log.clear()
        yield Market(mortal, feed, up)


@asynccontextmanager
async def onlookers(market: Market) -> AsyncIterator[list[Onlooker]]:
    """Clients of both gateways on every edge, by turns of plans that show prices at once and late."""
    async with AsyncExitStack() as stack:
        found = []
        for at, server in enumerate(market.gateways):
            for number, edge in enumerate(EDGES):
                plan = ("pro", "delayed")[(at + number) % 2]
                one = onlooking(server, edge, FLOWING, QUIET, plan=plan)
                found.append(await stack.enter_async_context(one))
        for each in found:
            if each.usual == "delayed":
                await each.told("delayed", FLOWING, QUIET)
            await eventually(lambda each=each: each.heard("price", FLOWING), 20, f"a price on {each.edge}")  # type: ignore[misc]
        yield found


async def quote_of(server: Server, symbol: str) -> dict[str, Any]:
    """What `get_quote` answers."""
    async with raw_socket(server.url, token=server.token()) as socket:
        await socket.send(f'42/market-data,9["get_quote",{{"symbol":"{symbol}"}}]')
        await socket.read_to("43/market-data,9")
        answer: dict[str, Any] = json.loads(socket.packets[-1].removeprefix("43/market-data,9"))[0]
        return answer


def kill(market: Market) -> None:
    market.feed.kill()


def freeze(market: Market) -> None:
    os.kill(market.feed.pid, signal.SIGSTOP)


def thaw(market: Market) -> None:
    os.kill(market.feed.pid, signal.SIGCONT)


def fill(market: Market) -> None:
    market.configure(maxmemory_policy="noeviction", maxmemory="1")


def empty(market: Market) -> None:
    market.configure(maxmemory="0")


def demote(market: Market) -> None:
    with market.valkey.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")


def promote(market: Market) -> None:
    with market.valkey.client() as client:
        client.execute_command("REPLICAOF", "NO", "ONE")


def hold_writes(market: Market) -> None:
    with market.valkey.client() as client:
        client.execute_command("CLIENT", "PAUSE", "120000", "WRITE")


def let_write(market: Market) -> None:
    with market.valkey.client() as client:
        client.execute_command("CLIENT", "UNPAUSE")


Step = Callable[[Market], None]

FAULTS: dict[str, tuple[Step, Step]] = {
    "frozen": (freeze, thaw),
    "out of memory": (fill, empty),
    "read only": (demote, promote),
    "writes held": (hold_writes, let_write),
}


async def _say_so(market: Market, all_of_them: list[Onlooker]) -> None:
    """Clients, newcomers, readiness and quotes: nobody claims that prices are fresh."""
    for onlooker in all_of_them:
        statuses = await onlooker.told("stale", FLOWING, QUIET)
        assert {status["reason"] for status in statuses} == {"no_feed"}
    for server in market.gateways:
        found = await readiness(server)
        assert (found["code"], found["reasons"]) == (503, ["nobody feeds the market"])
        await _say_so_to_newcomers(server, FLOWING, QUIET)
        quote = await quote_of(server, QUIET)
        assert (quote["status"], quote["warning"]) == ("partial_data", "no_feed")
        await eventually(lambda at=server: len(at.events("market_not_fed")) == 1, 5, "a line")  # type: ignore[misc, arg-type]


async def _say_so_to_newcomers(server: Server, *symbols: str) -> None:
    for edge in EDGES:
        for plan in ("pro", "delayed"):
            async with onlooking(server, edge, *symbols, plan=plan) as late:
                assert {status["reason"] for status in await late.told("stale", *symbols)} == {"no_feed"}
    async with raw_socket(server.url, token=server.token(user="new")) as late_too:
        assert {price["symbol"] for price in await subscribe(late_too, *symbols)} == {*symbols}


@pytest.mark.parametrize("fault", FAULTS)
async def test_frozen_prices_are_said_to_be_and_only_what_flows_again_is_live(
    market: Market, fault: str
) -> None:
    begin, end = FAULTS[fault]
    async with onlookers(market) as all_of_them:
        begin(market)
        try:
            await _say_so(market, all_of_them)
        finally:
            end(market)
        for onlooker in all_of_them:
            await onlooker.told(onlooker.usual, FLOWING)
        for server in market.gateways:
            await eventually(lambda server=server: is_ready(server), 15, "readiness")  # type: ignore[misc]
            await _say_so_to_newcomers(server, QUIET)
        # The other one was not heard of: it is live when it is.
        await market.gateways[0].publish(prices=[price(QUIET, 2)])
        for onlooker in all_of_them:
            await onlooker.told(onlooker.usual, QUIET)
        for server in (*market.gateways, market.feed):
            entries = [json.loads(line) for line in server.log]
            said = [(e["event"], e.get("stream")) for e in entries if e["level"] == "warning"]
            assert len(said) == len(set(said)), said


async def test_a_feed_that_was_killed_is_noticed_and_another_one_taken(market: Market) -> None:
    async with onlookers(market) as all_of_them:
        kill(market)
        await _say_so(market, all_of_them)
        # One that starts meanwhile knows it too, from the first moment.
        secret = {"MARKETSTREAM_JWT_SECRET": "s" * 40, **ENV}
        bus = ("--bus", market.valkey.url)
        async with running_server(*bus, "--role", "gateway", env=secret) as third:
            reason = ["nobody feeds the market"]

            async def knows() -> bool:
                return bool((await readiness(third))["reasons"] == reason)

            await eventually(knows, 15, "a word of it")
            await _say_so_to_newcomers(third, QUIET)
            specs = [f"synthetic?symbols={FLOWING}&rate=5"]
            async with running_server(*bus, "--role", "feed", feeds=specs, env=secret):
                for onlooker in all_of_them:
                    await onlooker.told(onlooker.usual, FLOWING)
                await eventually(lambda: is_ready(third), 15, "readiness")


async def test_a_quiet_market_is_not_taken_for_one_that_nobody_feeds(mortal: Valkey) -> None:
    symbol = new_symbol("QUIET")
    secret = {"MARKETSTREAM_JWT_SECRET": "s" * 40, **ENV}
    async with (
        running_server("--bus", mortal.url, "--role", "feed", env=secret),
        running_server("--bus", mortal.url, "--role", "gateway", env=secret) as gateway,
    ):
        await eventually(lambda: is_ready(gateway), 15, "readiness")
        async with raw_socket(gateway.url, token=gateway.token()) as socket:
            await gateway.publish(prices=[price(symbol, 1)])
            await subscribe(socket, symbol)
            await asyncio.sleep(6)
            assert [data for name, data in socket.events if name == "status"] == []
            assert (await readiness(gateway))["code"] == 200
