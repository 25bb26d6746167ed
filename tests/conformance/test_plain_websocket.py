"""The plain WebSocket as stock clients see it, in both of its languages."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from tests.conformance.market import new_symbol, price
from tests.support.eventually import eventually
from tests.support.figures import metric
from tests.support.node import Node
from tests.support.plain import ACTION, LANGUAGES, TYPED, call, code_of, plain, price_of, subscribe
from tests.support.raw_socket import UPGRADE, Wire, head, masked, wire
from tests.support.server import Server, running_server, serving

PATHS = ("/api/v1/market/ws/market-data", "/api/v1/market/ws/stock-quotes", "/ws")
ENV = {
    "MARKETSTREAM_DELIVERY__HEARTBEAT_INTERVAL": "1",
    "MARKETSTREAM_DELIVERY__IDLE_TIMEOUT": "4",
    "MARKETSTREAM_DELIVERY__SLOW_TIMEOUT": "2",
    "MARKETSTREAM_WEBSOCKET__PING_INTERVAL": "1",
}

Seen = dict[str, Any]


@pytest.fixture(scope="module")
def seen(node: Node, server: Server) -> Seen:
    """What the stock client of Node saw."""
    publisher = server.token(user="publisher", scopes=("market:publish",))
    [told] = asyncio.run(node.run("plain.mjs", server.url, server.token(), publisher, timeout=40))
    return dict(told)


def _tours(seen: Seen, language: str) -> Iterator[Seen]:
    return (tour for tour in seen["tours"] if tour["language"] == language)


# The stock client


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_stock_client_gets_the_current_price_and_the_last_one_in_order(seen: Seen, language: str) -> None:
    """On any path."""
    for tour in _tours(seen, language):
        numbers = [price_of(message) or 0 for message in tour["prices"]]
        assert numbers[0] == 1
        assert numbers[-1] == 4
        assert numbers == sorted(numbers)
        assert 5 not in [price_of(message) for message in tour["seen"]]


def test_an_action_is_answered_by_a_status(seen: Seen) -> None:
    for tour in _tours(seen, ACTION):
        symbol, answers = tour["symbol"], tour["answers"]
        assert answers["subscribe"] == {"status": "subscribed", "symbol": symbol}
        assert answers["state"] == {
            "status": "connected",
            "subscriptions": [{"symbol": symbol, "high_frequency": False, "maxRate": 0}],
            "channels": [],
        }
        assert answers["unsubscribe"] == {"status": "unsubscribed", "symbol": symbol}
        assert (answers["quote"]["symbol"], answers["quote"]["price"]) == (symbol, 4)
        assert set(tour["prices"][0]) == {"type", "symbol", "price", "bid", "ask", "timestamp"}


def test_a_type_is_answered_by_a_type(seen: Seen) -> None:
    for tour in _tours(seen, TYPED):
        symbol, answers = tour["symbol"], tour["answers"]
        quotes = {"type": "stock_quotes", "symbols": [symbol]}
        assert answers["subscribe"] == {"type": "subscribed", "data": quotes}
        held = {"symbols": [{"symbol": symbol, "mode": "latest", "maxRate": 0}], "channels": []}
        assert answers["state"] == {"type": "subscriptions", "data": held}
        assert answers["unsubscribe"] == {"type": "unsubscribed", "data": quotes}
        assert (answers["quote"]["type"], answers["quote"]["data"]["price"]) == ("quote", 4)
        assert set(tour["prices"][0]["data"]) == {"symbol", "quote", "timestamp"}


def test_what_is_no_json_is_answered_and_the_next_call_too(seen: Seen) -> None:
    for tour in seen["tours"]:
        error, pong = tour["seen"][-2:]
        assert code_of(error) == "INVALID_MESSAGE"
        assert "pong" in (pong.get("status"), pong.get("type"))
        assert tour["code"] == 1000


def test_no_extension_is_agreed_on(seen: Seen) -> None:
    """The stock client offers permessage-deflate; the same price would be compressed once for each client."""
    assert {tour["extensions"] for tour in seen["tours"]} == {""}


def test_who_may_not_come_in_is_told_before_the_upgrade(seen: Seen) -> None:
    assert seen["statuses"] == {"none": 401, "bad": 401, "query": 101, "foreign": 403}


# Coming in


@pytest.mark.parametrize("path", PATHS)
async def test_a_refusal_is_an_error_of_the_api(server: Server, path: str) -> None:
    cases: list[tuple[dict[str, str], int, str]] = [
        ({}, 401, "UNAUTHORIZED"),
        ({"Authorization": "Bearer x"}, 401, "AUTH_FAILED"),
        ({"Authorization": f"Bearer {server.token(ttl=-5)}"}, 401, "TOKEN_EXPIRED"),
        ({"Authorization": f"Bearer {server.token()}", "Origin": "http://evil.example"}, 403, "FORBIDDEN"),
        ({"Sec-WebSocket-Version": "12"}, 426, "UPGRADE_REQUIRED"),
    ]
    for headers, status, code in cases:
        async with (
            aiohttp.ClientSession() as session,
            session.get(server.url + path, headers=UPGRADE | headers) as answer,
        ):
            body = await answer.json()
            assert (answer.status, body["error"]["code"]) == (status, code)
    async with aiohttp.ClientSession() as session, session.get(server.url + path) as answer:
        assert answer.status == 400


async def test_a_connection_too_many_is_refused_and_makes_room_when_one_leaves(server: Server) -> None:
    token = server.token(user="alone", plan="alone")
    async with plain(server.url, token) as first:
        await first.fence(ACTION)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with plain(server.url, token):
                pass
        assert caught.value.status == 429
        assert caught.value.headers is not None
        assert "Retry-After" in caught.value.headers

    async def taken() -> bool:
        with suppress(aiohttp.WSServerHandshakeError):
            async with plain(server.url, token):
                return True
        return False

    await eventually(taken, 5, "room for another")


async def test_a_page_of_an_allowed_origin_may_come_in(server: Server) -> None:
    async with plain(server.url, server.token(), headers={"Origin": "http://localhost:3000"}) as client:
        await client.fence(TYPED)


async def test_connections_are_counted_apart(server: Server) -> None:
    series = 'websocket_active_connections{transport="ws"}'
    before, logged = await metric(server, series), len(server.events("websocket_connection_established"))
    async with plain(server.url, server.token()) as client:
        await client.fence(ACTION)
        assert await metric(server, series) == before + 1
        [entry] = (await server.logged("websocket_connection_established", logged + 1))[-1:]
        assert entry["transport"] == "ws"


# What plans and tenants come to


@pytest.mark.parametrize("language", LANGUAGES)
async def test_calls_and_symbols_have_their_limits(server: Server, language: str) -> None:
    async with plain(server.url, server.token(plan="few")) as client:
        answer = await client.ask(subscribe(language, "A", "B", "C"), "subscribed")
        errors = answer.get("errors") or answer["data"]["errors"]
        assert errors == ["C: max subscriptions reached"]
    async with plain(server.url, server.token(plan="poor")) as client:
        codes = [code_of(await client.ask(subscribe(language, "A"), "subscribed")) for _ in range(4)]
        assert codes == [None, None, None, "RATE_LIMITED"]
    async with plain(server.url, server.token(plan="currencies")) as client:
        answer = await client.ask(subscribe(language, "EUR/USD", "AAPL"), "subscribed")
        assert (answer.get("errors") or answer["data"]["errors"]) == ["AAPL: not entitled"]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_tenants_price_reaches_that_tenant_only(server: Server, language: str) -> None:
    symbol = new_symbol()
    async with (
        plain(server.url, server.token(tenant="acme")) as acme,
        plain(server.url, server.token(tenant="globex")) as globex,
    ):
        for client in (acme, globex):
            await client.ask(subscribe(language, symbol), "subscribed")
        await server.publish(prices=[price(symbol, 1)], tenant="acme")
        await acme.price(1)
        await server.publish(prices=[price(symbol, 2)])
        await globex.price(2)
        assert globex.prices == [2]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_delayed_plan_sees_prices_late(server: Server, language: str) -> None:
    symbol = new_symbol()
    async with (
        plain(server.url, server.token(plan="delayed")) as late,
        plain(server.url, server.token()) as live,
    ):
        for client in (late, live):
            await client.ask(subscribe(language, symbol), "subscribed")
        await server.publish(prices=[price(symbol, 1)])
        await live.price(1)
        await late.fence(language)
        assert late.prices == []
        await late.price(1)


async def test_every_value_comes_in_order_to_who_asks_for_high_frequency(server: Server) -> None:
    symbol = new_symbol()
    async with plain(server.url, server.token()) as client:
        await client.ask(subscribe(ACTION, symbol, high_frequency=True), "subscribed")
        await server.publish(prices=[price(symbol, number) for number in range(1, 201)])
        await client.price(200)
        assert client.prices == list(range(1, 201))


async def test_trades_are_the_price_where_a_feed_has_them(server: Server) -> None:
    """Best prices do not show them; quotes of publishers may bring them too."""
    symbol = new_symbol()
    quote = {"symbol": symbol, "source": "a", "bid": 1.0, "ask": 1.2, "last": 1.15, "volume": 300}
    async with plain(server.url, server.token()) as client:
        await client.ask(subscribe(ACTION, symbol), "subscribed")
        await server.publish(quotes=[quote])
        update = await client.named("price_update")
        assert (update["price"], update["volume"], update["bid"], update["ask"]) == (1.15, 300, 1.0, 1.2)


# The end


async def test_a_client_that_only_answers_pings_stays_and_a_silent_one_is_closed(server: Server) -> None:
    async def stays() -> None:
        async with plain(server.url, server.token()) as client:
            for _ in range(6):
                await client.named("heartbeat")

    async def ends() -> None:
        async with plain(server.url, server.token(), autoping=False) as client:
            pinged = False
            while (message := await client.socket.receive()).type not in (
                aiohttp.WSMsgType.CLOSE,
                aiohttp.WSMsgType.CLOSED,
                aiohttp.WSMsgType.CLOSING,
            ):
                pinged = pinged or message.type is aiohttp.WSMsgType.PING
            assert pinged
            assert client.close_code == 4408

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stays())
        tasks.create_task(ends())


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_token_that_ends_is_announced_then_told_and_closes_with_its_code(
    server: Server, language: str
) -> None:
    async with plain(server.url, server.token(ttl=2)) as client:
        await client.fence(language)
        await client.named("token_expiring")
        assert await client.end() == 4401
        assert code_of(client.messages[-1]) == "TOKEN_EXPIRED"


async def test_a_newer_token_keeps_the_connection(server: Server) -> None:
    async with plain(server.url, server.token(ttl=2)) as client:
        await client.fence(TYPED)
        await client.named("token_expiring")
        answer = await client.ask(call(TYPED, "authenticate", token=server.token(ttl=600)), "authenticated")
        ended = answer["data"]["expiresAt"] / 1000 - 598
        while (await client.named("heartbeat"))["data"]["timestamp"] < _date(ended + 1):
            pass


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


async def enter(way: Wire, server: Server, path: str = "/ws") -> None:
    """Upgrades to a websocket."""
    await way.send(head(path, UPGRADE | {"Authorization": f"Bearer {server.token()}"}))
    answer = await way.read_head()
    assert answer.startswith(b"HTTP/1.1 101 "), answer


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(masked(b"{}", 0x82), 1003, id="binary"),
        pytest.param(masked(b'{"a":"\xff"}'), 1007, id="bad UTF-8"),
        pytest.param(masked(b'"' + b"x" * 300_000 + b'"'), 1009, id="too big"),
        pytest.param(b"\x81\x02{}", 1002, id="unmasked"),
        pytest.param(masked(b"{}", 0xC1), 1002, id="reserved bits"),
        pytest.param(masked(b"\x03\xe8", 0x88), 1000, id="the end"),
        pytest.param(masked(b"{}") * 1_500, 4429, id="too many messages"),
    ],
)
async def test_what_a_client_must_not_send_closes_with_its_code(
    server: Server, data: bytes, code: int
) -> None:
    async with wire(server.port) as way:
        await enter(way, server)
        await way.send(data)
        while await way.frame() is not None:
            pass
        assert way.close_code == code


async def test_a_server_that_goes_down_sends_its_clients_away_and_lets_nobody_in() -> None:
    """1012 to each, 503 to newcomers as long as there is a port."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        ways = [await stack.enter_async_context(wire(server.port)) for _ in range(300)]
        for way in ways:
            await enter(way, server)
        early = await stack.enter_async_context(wire(server.port))
        os.kill(server.pid, signal.SIGTERM)
        await eventually(lambda: server.events("server_draining"), 5, "the drain")
        await early.send(head("/ws", UPGRADE | {"Authorization": f"Bearer {server.token()}"}))
        assert (await early.read_head()).startswith(b"HTTP/1.1 503 ")
        for way in ways:
            while await way.frame() is not None:
                pass
        assert {way.close_code for way in ways} == {1012}


async def test_a_client_that_takes_nothing_is_closed_and_delays_nobody() -> None:
    """Its connection is cut, for it would not take a close frame either; the log says why."""
    feeds = ("synthetic?symbols=SYM*50&rate=50",)
    symbols = [f"SYM{number}" for number in range(50)]
    with serving(env=ENV, feeds=feeds) as busy:
        async with AsyncExitStack() as stack:
            slow = await stack.enter_async_context(wire(busy.port, 4096))
            await enter(slow, busy)
            quick = await stack.enter_async_context(plain(busy.url, busy.token()))
            slow.sleep()
            await slow.say(json.dumps(subscribe(ACTION, *symbols)))
            await quick.ask(subscribe(ACTION, *symbols), "subscribed")

            async def closed() -> bool:
                await quick.named("price_update")
                return any(e["reason"] == "slow_consumer" for e in busy.events("websocket_connection_closed"))

            await eventually(closed, 15, "the end of the slow one")
            before = len(quick.prices)
            await eventually(lambda: _read_more(quick, before + 100), 10, "prices for the quick one")
            slow.wake()
            while await slow.read():
                pass


async def _read_more(client: Any, count: int) -> bool:
    await client.read()
    return len(client.prices) >= count
