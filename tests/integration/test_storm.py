"""Many clients that come in one moment over Redis: few connections, few calls, and nobody is turned away."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from inspect import isawaitable
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from marketstream.bus.client import CALLS
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.cache.redis import RedisCache
from marketstream.observability.clock import SystemClock
from marketstream.wire import messages
from tests.conformance.market import new_symbol, price
from tests.support.builders import best_price
from tests.support.eventually import eventually
from tests.support.gateways import gateways
from tests.support.valkey import Valkey, running_valkey

CLIENTS = 300
SYMBOLS = 10


@asynccontextmanager
async def running_bus(valkey: Valkey) -> AsyncIterator[RedisBus]:
    """A bus that is connected."""
    bus = build_bus(valkey.url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    task = asyncio.create_task(bus.run())
    try:
        await eventually(lambda: bus.connected, what="a connection to Valkey")
        yield bus
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def calls_of(valkey: Valkey, command: str) -> int:
    """How often a command was called at a Valkey."""
    with valkey.client() as client:
        return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def connections(valkey: Valkey) -> int:
    """Connections that a Valkey has beside the one that asks."""
    with valkey.client() as client:
        return len(client.client_list()) - 1


async def test_a_crowd_that_comes_at_once_gets_every_value_and_receives_no_false_word(valkey: Valkey) -> None:
    symbols = [new_symbol("CROWD") for _ in range(SYMBOLS)]
    async with gateways(valkey.url) as (owner, gateway):
        await owner.publish(prices=[price(symbol, 1) for symbol in symbols])
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Authorization": f"Bearer {gateway.token()}"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            url = f"{gateway.url}/market-data/stream?symbols={','.join(symbols)}"
            seen = await asyncio.gather(*(_first(session, url, SYMBOLS) for _ in range(CLIENTS)))
        assert [sorted(prices) for prices, _ in seen] == [sorted(symbols)] * CLIENTS
        assert [states for _, states in seen if states] == []
        said = {name for name in ("bus_disconnected", "places_unchecked") if gateway.events(name)}
        assert said == set()


async def _first(session: aiohttp.ClientSession, url: str, count: int) -> tuple[set[str], list[str]]:
    """The symbols of the first so many prices of a stream, and the states it told until then."""
    prices: set[str] = set()
    states: list[str] = []
    kind = ""
    async with session.get(url) as answer:
        assert answer.status == 200
        async for raw in answer.content:
            name, _, value = raw.decode().strip().partition(": ")
            kind = value if name == "event" else kind
            if name == "data":
                data: dict[str, Any] = json.loads(value)
                if kind == "price":
                    prices.add(data["symbol"])
                elif kind == "status":
                    states.append(data["state"])
            if len(prices) == count:
                break
    return prices, states


async def test_what_many_ask_for_in_one_moment_is_read_once(valkey: Valkey) -> None:
    names = [new_symbol("GATHER") for _ in range(50)]
    async with running_bus(valkey) as bus:
        before = calls_of(valkey, "hmget")
        found = [bus.last(names, f"t{number % 2}") for number in range(500)]
        await asyncio.gather(*(each for each in found if isawaitable(each)))
        # One call for each shard in the first turn, and once more for those who came while it was underway.
        assert calls_of(valkey, "hmget") - before <= 2 * 16


async def test_calls_that_come_together_take_few_connections_and_all_are_answered(valkey: Valkey) -> None:
    async with running_bus(valkey) as bus:
        before = connections(valkey)
        answers = await asyncio.gather(*(bus.client.ask([("ECHO", str(n))]) for n in range(500)))
        assert [int(found) for (found,) in answers] == list(range(500))
        assert connections(valkey) <= before + CALLS


async def test_a_cache_that_many_ask_at_once_is_not_taken_for_lost(valkey: Valkey) -> None:
    cache = RedisCache(Redis.from_url(valkey.url), clock=SystemClock())
    try:
        await cache.put([("quote:CROWD", b"x", 60.0)])
        before = connections(valkey)
        found = await asyncio.gather(*(cache.get("quote:CROWD") for _ in range(500)))
        assert (set(found), cache.connected) == ({b"x"}, True)
        assert connections(valkey) <= before + CALLS
    finally:
        await cache.aclose()


@pytest.fixture
def mortal() -> Iterator[Valkey]:
    """A Valkey of this test alone, which it freezes."""
    with running_valkey() as valkey:
        yield valkey


async def test_what_could_not_be_read_is_sent_when_redis_is_back(mortal: Valkey) -> None:
    """Whoever asked goes on with what is known, and gets the rest without asking again."""
    name, own = new_symbol("LATER"), new_symbol("LATER")
    got: list[tuple[str, str | None]] = []
    async with running_bus(mortal) as publisher, running_bus(mortal) as bus:
        bus.attach(
            lambda frames: got.extend((frame.symbol, frame.tenant) for frame in frames if frame.cursor)
        )
        publisher.publish([messages.price(best_price(name)), messages.price(best_price(own), "acme")])
        await publisher.flushed()
        mortal.pause()
        try:
            for each in (name, own):
                bus.watch(each)
            found = bus.last([name, own], "acme")
            assert isawaitable(found)
            assert [frame.cursor for frame in await found] == []
        finally:
            mortal.go_on()
        await eventually(lambda: set(got) == {(name, None), (own, "acme")}, 15, "what was asked for")
