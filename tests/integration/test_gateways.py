"""Two real gateway processes on one real Valkey: what a client sees is one server."""

import asyncio
import json
import time
from typing import Any

import aiohttp

from tests.conformance.market import new_symbol, numbers, price
from tests.conformance.raw import RawSocket, raw_socket, say
from tests.support.gateways import events_since, gateways, next_price, subscribe
from tests.support.server import Server
from tests.support.valkey import Valkey


async def test_a_price_published_at_one_gateway_reaches_the_clients_of_every_gateway(valkey: Valkey) -> None:
    symbol = new_symbol("GW")
    async with (
        gateways(valkey.url) as (first, second),
        raw_socket(first.url, token=first.token()) as here,
        raw_socket(second.url, token=second.token()) as there,
    ):
        assert await subscribe(here, symbol) == []
        assert await subscribe(there, symbol) == []
        for number in range(1, 4):
            await first.publish(prices=[price(symbol, number)])
            await next_price(here, number)
            await next_price(there, number)
        await second.publish(prices=[price(symbol, 9)])
        await next_price(here, 9)
        await next_price(there, 9)


async def test_a_snapshot_of_any_symbol_comes_from_any_gateway(valkey: Valkey) -> None:
    """Also from one that was not there when it was published."""
    names = [new_symbol("SNAP") for _ in range(40)]
    async with gateways(valkey.url, 1) as (first,):
        await first.publish(prices=[price(name, at + 1) for at, name in enumerate(names)])
        async with raw_socket(first.url, token=first.token()) as here:
            # Through the same queue as the prices: once this one is there, they are.
            assert await subscribe(here, "FENCE") == []
            await first.publish(prices=[price("FENCE", 1)])
            await next_price(here, 1)
        async with (
            gateways(valkey.url, 1, owner=False) as (second,),
            raw_socket(second.url, token=second.token()) as there,
        ):
            assert numbers(await subscribe(there, *names)) == list(range(1, 41))
            await there.send(say("get_quote", {"symbol": names[4]}, 8))
            assert '"price":5,' in await there.read_to("43/market-data,8")


async def test_calls_behind_a_subscription_that_waits_for_redis_are_answered_in_order(valkey: Valkey) -> None:
    names = [new_symbol("ORD") for _ in range(5)]
    async with gateways(valkey.url, 1) as (only,), raw_socket(only.url, token=only.token()) as socket:
        await only.publish(prices=[price(name, 1) for name in names])
        start = len(socket.packets)
        for at, name in enumerate(names):
            await socket.send(say("subscribe", {"symbols": [name]}, at))
        await socket.send(say("unsubscribe", {"symbols": names[:1]}, 5), say("subscriptions", {}, 6))
        answer = await socket.read_to("43/market-data,6")
        held = json.loads(answer[len("43/market-data,6") :])[0]["symbols"]
        assert [entry["symbol"] for entry in held] == names[1:]
        acks = [p[len("43/market-data,")] for p in socket.packets[start:] if p.startswith("43/market-data,")]
        assert acks == list("0123456")
        snapshots = [data for name, data in events_since(socket, start) if name == "snapshot"]
        assert len(snapshots) == 5


async def test_a_tenants_prices_stay_its_own_on_every_gateway(valkey: Valkey) -> None:
    symbol = new_symbol("TEN")
    async with (
        gateways(valkey.url) as (first, second),
        raw_socket(second.url, token=second.token("acme")) as ours,
        raw_socket(second.url, token=second.token("rival", "u2")) as theirs,
    ):
        await subscribe(ours, symbol)
        await subscribe(theirs, symbol)
        await first.publish(prices=[price(symbol, 5)], tenant="acme")
        await next_price(ours, 5)
        # Older than acme's own: withheld from acme, the newest that the others have.
        await first.publish(prices=[price(symbol, 3)])
        await next_price(theirs, 3)
        await first.publish(prices=[price(symbol, 7)])
        await next_price(ours, 7)
        await next_price(theirs, 7)
        seen = [data["midPrice"] for name, data in ours.events if name == "price"]
        assert seen == [5.0, 7.0]
        assert 5.0 not in [data["midPrice"] for name, data in theirs.events if name == "price"]
        async with raw_socket(second.url, token=second.token("acme", "u3")) as late:
            assert numbers(await subscribe(late, symbol)) == [7]


async def test_no_snapshot_is_older_than_what_came_before_nor_newer_than_what_follows(valkey: Valkey) -> None:
    """Under load, with the first and the last interest of the gateway coming and going."""
    names = [new_symbol("RACE") for _ in range(4)]
    async with (
        gateways(valkey.url) as (first, second),
        raw_socket(second.url, token=second.token(plan="pro")) as socket,
    ):
        stop = asyncio.Event()
        publishing = asyncio.create_task(_publish_until(stop, first, names))
        for turn in range(60):
            some = [names[turn % 4], names[(turn + 1) % 4]]
            await subscribe(socket, *some)
            await socket.send(say("unsubscribe", {"symbols": some}, 9))
            await socket.read_to("43/market-data,9")
        stop.set()
        newest = await publishing
        for price_ in await subscribe(socket, *names):
            assert price_["midPrice"] <= newest
        for name in names:
            seen = [best["midPrice"] for best in _values(socket) if best["symbol"] == name]
            assert seen == sorted(seen)
            assert len(seen) > 20


async def _publish_until(stop: asyncio.Event, server: Server, names: list[str]) -> int:
    number = 0
    while not stop.is_set():
        number += 1
        await server.publish(prices=[price(name, number) for name in names])
    return number


def _values(socket: RawSocket) -> list[dict[str, Any]]:
    """All prices in the order in which they came, those in snapshots too."""
    found: list[dict[str, Any]] = []
    for name, data in socket.events:
        found += data["prices"] if name == "snapshot" else [data] if name == "price" else []
    return found


async def test_a_delayed_client_gets_no_live_price_from_another_gateway(valkey: Valkey) -> None:
    symbol = new_symbol("SLOW")
    async with (
        gateways(valkey.url) as (first, second),
        raw_socket(first.url, token=first.token(plan="delayed")) as here,
        raw_socket(second.url, token=second.token(plan="delayed", user="u2")) as there,
    ):
        await first.publish(prices=[price(symbol, 1)])
        began = time.monotonic()
        for socket in (here, there):
            assert await subscribe(socket, symbol) == []
        for socket in (here, there):
            await next_price(socket, 1)
        assert time.monotonic() - began >= 2
        # Old enough by now, also for a gateway that has just begun to listen.
        async with gateways(valkey.url, 1, owner=False) as (third,):
            late = third.token(plan="delayed", user="u3")
            async with raw_socket(third.url, token=late) as socket:
                assert numbers(await subscribe(socket, symbol)) == [1]


async def test_an_event_stream_goes_on_at_another_gateway_where_it_ended(valkey: Valkey) -> None:
    changed, same = new_symbol("SSE"), new_symbol("SSE")
    async with gateways(valkey.url) as (first, second):
        await first.publish(prices=[price(changed, 1), price(same, 1)])
        got = await _stream(first.url, first.token(), f"{changed},{same}", count=2)
        await second.publish(prices=[price(changed, 2)])
        again = await _stream(second.url, second.token(), f"{changed},{same}", count=1, last=got[-1]["id"])
        assert json.loads(again[0]["data"])["midPrice"] == 2.0


async def _stream(url: str, token: str, symbols: str, *, count: int, last: str = "") -> list[dict[str, str]]:
    """The first events named `price` of a stream."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last} if last else {})
    found: list[dict[str, str]] = []
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{url}/market-data/stream", params={"symbols": symbols}) as answer,
    ):
        block: dict[str, str] = {}
        async for raw in answer.content:
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                block[name] = value
                continue
            if block.get("event") == "price":
                found.append(block)
            block = {}
            if len(found) == count:
                return found
    raise AssertionError("the stream ended")
