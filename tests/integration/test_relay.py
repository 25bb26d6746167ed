"""Back ends speak to the clients of every gateway: from outside with a stock manager, and from within one."""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from tests.conformance.market import new_symbol, price
from tests.conformance.raw import RawSocket, raw_socket
from tests.support.eventually import eventually
from tests.support.gateways import gateways, next_event, next_price, subscribe
from tests.support.program import Program, clean_environment
from tests.support.server import Server
from tests.support.valkey import Valkey

OUTSIDER = """
import asyncio, json, sys, socketio

async def main():
    manager = socketio.AsyncRedisManager(sys.argv[1], write_only=True)
    for event, data, room in json.loads(sys.argv[2]):
        await manager.emit(event, data, room=room, namespace="/market-data")
    await manager.redis.aclose()
asyncio.run(main())
"""
EMBEDDED = ("-m", "tests.support.embedded")


async def outsider(valkey: Valkey, *emits: tuple[str, Any, str | None]) -> None:
    """A third process with a stock write-only manager emits and ends."""
    command = [sys.executable, "-c", OUTSIDER, valkey.url, json.dumps(emits)]
    with Program(command, env=clean_environment()) as program:
        assert await asyncio.to_thread(program.wait, 20) == 0, program.err


async def told(server: Server, name: str, *args: Any, **kwargs: Any) -> None:
    """Has a gateway's own program call its Socket.IO server."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/call/{name}", json={"args": args, "kwargs": kwargs}) as answer,
    ):
        assert answer.status == 200, await answer.text()


async def enter(stack: AsyncExitStack, server: Server, tenant: str, user: str) -> RawSocket:
    """A client of a tenant."""
    return await stack.enter_async_context(raw_socket(server.url, token=server.token(tenant, user)))


async def test_a_stock_manager_of_another_process_reaches_a_tenant_on_every_gateway(valkey: Valkey) -> None:
    async with gateways(valkey.url) as servers, AsyncExitStack() as stack:
        ours = [await enter(stack, server, "acme", "u1") for server in servers]
        theirs = [await enter(stack, server, "rival", "u2") for server in servers]
        await outsider(
            valkey,
            ("notice", {"text": "for acme"}, "tenant:acme"),
            ("notice", {"text": "for rival"}, "tenant:rival"),
            ("last", [1, "ö"], None),
        )
        for tenant, sockets in (("acme", ours), ("rival", theirs)):
            for socket in sockets:
                assert await next_event(socket, "last") == [1, "ö"]
                notices = [data for name, data in socket.events if name == "notice"]
                assert notices == [{"text": f"for {tenant}"}]


async def test_a_stock_manager_reaches_those_who_watch_a_symbol(valkey: Valkey) -> None:
    symbol = new_symbol("REL")
    async with gateways(valkey.url) as servers, AsyncExitStack() as stack:
        watching = [await enter(stack, server, "acme", "u1") for server in servers]
        idle = await enter(stack, servers[0], "acme", "u2")
        for socket in watching:
            await subscribe(socket, symbol)
        await outsider(
            valkey,
            ("halted", {"symbol": symbol}, f"symbol:{symbol}"),
            ("price", price(symbol, 3), f"symbol:{symbol}"),
        )
        for socket in watching:
            assert await next_event(socket, "halted") == {"symbol": symbol}
            await next_price(socket, 3)
        await idle.fence()
        assert [name for name, _ in idle.events] == ["connected"]


async def test_an_emit_of_one_gateway_reaches_the_clients_of_another_and_each_once(valkey: Valkey) -> None:
    async with gateways(valkey.url, program=EMBEDDED) as (first, second), AsyncExitStack() as stack:
        here = await enter(stack, first, "acme", "u1")
        there = await enter(stack, second, "acme", "u2")
        there_id = there.events[0][1]["clientId"]
        await told(first, "emit", "one", {"n": 1}, room="tenant:acme")
        await told(first, "emit", "two", {"n": 2}, to=there_id)
        await told(first, "enter_room", there_id, "vip")
        await told(first, "emit", "three", {"n": 3}, room=["vip", "tenant:acme"])
        await told(first, "emit", "four", {"n": 4}, room="tenant:acme", skip_sid=there_id)
        await told(first, "leave_room", there_id, "vip")
        await told(first, "emit", "five", {"n": 5}, room="vip")
        await told(first, "emit", "end", None)
        await here.read_to('42/market-data,["end"')
        await there.read_to('42/market-data,["end"')
        assert [name for name, _ in here.events[1:]] == ["one", "three", "four", "end"]
        assert [name for name, _ in there.events[1:]] == ["one", "two", "three", "end"]


async def test_a_client_is_disconnected_from_another_gateway(valkey: Valkey) -> None:
    async with gateways(valkey.url, program=EMBEDDED) as (first, second), AsyncExitStack() as stack:
        there = await enter(stack, second, "acme", "u2")
        await told(first, "disconnect", there.events[0][1]["clientId"])
        await there.read_to("41/market-data,")
        await there.read_to_end()
        await eventually(lambda: second.events("websocket_connection_closed"), what="the end in the log")


@pytest.mark.parametrize(
    "message",
    [
        b"no json",
        b"[]",
        b'{"method":5}',
        b'{"method":"emit","event":"x","data":[{"_placeholder":true,"num":0}],"binary":true,"room":null}',
        b'{"method":"emit","event":"","data":[1],"namespace":"/market-data"}',
        b'{"method":"emit","event":"x","data":[1],"namespace":"/market-data","room":{"a":1}}',
        b'{"method":"enter_room","namespace":"/market-data","sid":7,"room":"x"}',
    ],
)
async def test_what_nobody_understands_on_the_channel_is_logged_and_harms_nothing(
    valkey: Valkey, message: bytes
) -> None:
    async with gateways(valkey.url, 1) as (only,), raw_socket(only.url, token=only.token()) as socket:
        with valkey.client() as client:
            client.publish("socketio", message)
        await outsider(valkey, ("after", 1, "tenant:acme"))
        assert await next_event(socket, "after") == 1
        await eventually(lambda: only.events("relay_message_refused"), what="the refusal in the log")
        assert len(only.events("relay_message_refused")) == 1
        assert not only.events("bus_disconnected")
