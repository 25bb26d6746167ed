"""Server-sent events: what curl sees, and what the stock EventSource of Node makes of it."""

import asyncio
import re
from typing import Any

import aiohttp
import pytest

from tests.conformance.market import BASE_MS, new_symbol, price
from tests.conformance.stream import Block, Reader, request, streaming
from tests.support.server import Server

ID = re.compile(r"(?P<symbol>.+)-(?P<at_ms>\d+)@(?P<cursor>\d+)")


def _cursor(block: Block) -> int:
    found = ID.fullmatch(block["id"] or "")
    assert found, block
    return int(found["cursor"])


async def _publish(server: Server, symbol: str, number: int) -> None:
    await server.publish(prices=[price(symbol, number)])


async def test_the_first_bytes_are_exactly_the_protocols(server: Server) -> None:
    symbol = new_symbol("EUR/USD")
    await _publish(server, symbol, 1)
    async with request(server, {"symbols": symbol}) as response:
        lines = [await response.content.readline() for _ in range(5)]
    assert lines[:2] == [b"retry: 3000\n", b"event: price\n"]
    pattern = rf"id: {re.escape(symbol)}-{BASE_MS + 1}@\d{{16}}\n"
    assert re.fullmatch(pattern, lines[2].decode())
    assert lines[3].startswith(b'data: {"symbol":"%s",' % symbol.encode())
    assert lines[4] == b"\n"


async def test_the_headers_keep_proxies_from_holding_the_stream_back(server: Server) -> None:
    async with request(server, {"symbols": "X"}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"


async def test_current_values_come_first_then_live_ones_with_rising_cursors(server: Server) -> None:
    one, other = new_symbol(), new_symbol()
    await _publish(server, one, 1)
    await _publish(server, other, 1)
    async with streaming(server, one, other) as stream:
        first = [await stream.event(), await stream.event()]
        assert sorted(block.data["symbol"] for block in first) == sorted([one, other])
        cursors = [_cursor(block) for block in first if block.data["symbol"] == one]
        for number in (2, 3, 4):
            await _publish(server, one, number)
            block = await stream.event()
            assert (block.data["symbol"], block.number) == (one, number)
            cursors.append(_cursor(block))
        assert cursors == sorted(set(cursors))


@pytest.mark.parametrize("place", ["header", "query"])
async def test_who_comes_back_gets_only_what_changed(server: Server, place: str) -> None:
    """`Last-Event-ID` as header, or `last_event_id` in the query."""
    still, moved = new_symbol(), new_symbol()
    await _publish(server, still, 1)
    await _publish(server, moved, 1)
    async with streaming(server, still, moved) as stream:
        last = [await stream.event(), await stream.event()][-1]["id"] or ""
    await _publish(server, moved, 2)
    headers, query = ({"Last-Event-ID": last}, {}) if place == "header" else ({}, {"last_event_id": last})
    async with streaming(server, still, moved, headers=headers, **query) as stream:
        back = await stream.event()
        assert (back.data["symbol"], back.number) == (moved, 2)
        await _publish(server, still, 2)
        live = await stream.event()
        assert (live.data["symbol"], live.number) == (still, 2)


async def test_what_did_not_change_is_not_sent_again_whatever_the_order_of_symbols(server: Server) -> None:
    """The id of the last of several current values must cover them all."""
    older, newer = new_symbol(), new_symbol()
    await _publish(server, older, 1)
    await _publish(server, newer, 1)
    async with streaming(server, newer, older) as stream:
        last = [await stream.event(), await stream.event()][-1]["id"] or ""
    async with streaming(server, newer, older, headers={"Last-Event-ID": last}) as stream:
        await _publish(server, older, 2)
        back = await stream.event()
        assert (back.data["symbol"], back.number) == (older, 2)


async def test_the_last_id_of_a_burst_covers_the_whole_burst(server: Server) -> None:
    """Values that wait together go out in the order of their cursors, however often one was replaced."""
    one, other, mark = new_symbol(), new_symbol(), new_symbol()
    async with streaming(server, one, other) as stream:
        await server.publish(prices=[price(one, 1), price(other, 1), price(one, 2)])
        blocks = [await stream.event()]
        while not {(one, 2), (other, 1)} <= {(block.data["symbol"], block.number) for block in blocks}:
            blocks.append(await stream.event())
    cursors = [_cursor(block) for block in blocks]
    assert cursors == sorted(cursors)
    last = blocks[-1]["id"] or ""
    async with streaming(server, one, other, mark, headers={"Last-Event-ID": last}) as stream:
        await _publish(server, mark, 1)
        assert (await stream.event()).data["symbol"] == mark


async def test_a_value_held_back_by_max_rate_is_not_lost_over_a_reconnect(server: Server) -> None:
    """The id of a newer value of another symbol does not mean that this one's newest was sent."""
    held, other = new_symbol(), new_symbol()
    async with streaming(server, held, other, maxRate="0.1") as stream:
        for number in (1, 2, 3):
            await _publish(server, held, number)
        await _publish(server, other, 1)
        while (last := await stream.event()).data["symbol"] != other:
            assert last.number < 3
    headers = {"Last-Event-ID": last["id"] or ""}
    async with streaming(server, held, other, headers=headers, maxRate="0.1") as stream:
        back = await stream.event()
        assert (back.data["symbol"], back.number) == (held, 3)


async def test_the_header_wins_over_the_query(server: Server) -> None:
    symbol = new_symbol()
    await _publish(server, symbol, 1)
    async with streaming(server, symbol) as stream:
        current = (await stream.event())["id"] or ""
    old = f"{symbol}-1@1"
    async with streaming(server, symbol, headers={"Last-Event-ID": old}, last_event_id=current) as stream:
        assert (await stream.event()).number == 1
    async with streaming(server, symbol, headers={"Last-Event-ID": current}, last_event_id=old) as stream:
        await _publish(server, symbol, 2)
        assert (await stream.event()).number == 2


@pytest.mark.parametrize("last", ["{symbol}-{at_ms}", "garbage", "{symbol}-x@y", "-@", "@5"])
async def test_an_id_without_a_cursor_brings_all_current_values(server: Server, last: str) -> None:
    """The bare `SYMBOL-TIMESTAMP` of other servers, and whatever else a client may hold."""
    one, other = new_symbol(), new_symbol()
    await _publish(server, one, 1)
    await _publish(server, other, 1)
    headers = {"Last-Event-ID": last.format(symbol=one, at_ms=BASE_MS + 1)}
    async with streaming(server, one, other, headers=headers) as stream:
        got = [await stream.event(), await stream.event()]
        assert {block.data["symbol"] for block in got} == {one, other}


@pytest.mark.parametrize(
    ("query", "token", "status", "code"),
    [
        ({}, None, 400, "INVALID_MESSAGE"),
        ({"symbols": ""}, None, 400, "INVALID_MESSAGE"),
        ({"symbols": "BAD SYMBOL,???"}, None, 400, "INVALID_MESSAGE"),
        ({"symbols": "X", "maxRate": "fast"}, None, 400, "INVALID_MESSAGE"),
        ({"symbols": "X", "maxRate": "-1"}, None, 400, "INVALID_MESSAGE"),
        ({"symbols": "X", "maxRate": "nan"}, None, 400, "INVALID_MESSAGE"),
        ({"symbols": "X"}, "", 401, "UNAUTHORIZED"),
        ({"symbols": "X"}, "garbage", 401, "AUTH_FAILED"),
        ({"symbols": "AAPL,MSFT"}, "currencies", 403, "NOT_ENTITLED"),
        ({"symbols": "EUR/USD", "mode": "every"}, "currencies", 403, "NOT_ENTITLED"),
    ],
)
async def test_a_request_that_cannot_be_served_is_told_why_in_json(
    server: Server, query: dict[str, str], token: str | None, status: int, code: str
) -> None:
    if token == "currencies":
        token = server.token(plan="currencies")
    async with request(server, query, token=token) as response:
        await _check_error(response, status, code)


async def _check_error(response: aiohttp.ClientResponse, status: int, code: str) -> None:
    assert response.status == status
    assert response.content_type == "application/json"
    body: dict[str, Any] = await response.json()
    assert list(body) == ["error"]
    assert body["error"]["code"] == code
    assert body["error"]["message"]


async def test_an_expired_token_is_told_so(server: Server) -> None:
    async with request(server, {"symbols": "X"}, token=server.token(ttl=-60)) as response:
        await _check_error(response, 401, "TOKEN_EXPIRED")


async def test_a_stream_counts_as_a_connection_of_its_user(server: Server) -> None:
    token = server.token(user="single", plan="alone")
    async with streaming(server, "X", token=token), request(server, {"symbols": "X"}, token=token) as second:
        await _check_error(second, 429, "CONNECTION_LIMIT")
        assert int(second.headers["Retry-After"]) > 0


async def test_a_stream_without_a_header_takes_its_token_from_the_query(server: Server) -> None:
    symbol = new_symbol()
    await _publish(server, symbol, 1)
    async with request(server, {"symbols": symbol, "token": server.token()}, token="") as response:
        assert response.status == 200
        assert (await Reader(response).event()).number == 1


async def test_what_can_be_watched_is_and_the_rest_is_named(server: Server) -> None:
    symbol = "EUR/NAMED"
    await _publish(server, symbol, 1)
    async with streaming(server, symbol, "AAPL", token=server.token(plan="currencies")) as stream:
        assert (await stream.event()).number == 1
        told = await stream.event("subscribed")
        assert told.data == {"subscribed": [symbol], "errors": ["AAPL: not entitled"]}


async def test_the_cap_of_subscriptions_holds_for_a_stream(server: Server) -> None:
    names = [new_symbol() for _ in range(3)]
    async with streaming(server, *names, token=server.token(plan="few")) as stream:
        told = await stream.event("subscribed")
        assert told.data["subscribed"] == names[:2]
        assert told.data["errors"] == [f"{names[2]}: max subscriptions reached"]


async def test_max_rate_holds_for_a_stream(server: Server) -> None:
    symbol = new_symbol()
    async with streaming(server, symbol, maxRate="1") as stream:
        for number in range(1, 11):
            await _publish(server, symbol, number)
        got = [(await stream.event()).number, (await stream.event()).number]
        assert got == [1, 10]


async def test_only_listed_pages_may_read_a_stream(server: Server) -> None:
    for origin, allowed in (("http://localhost:3000", True), ("https://evil.example", False)):
        async with request(server, {"symbols": "X"}, headers={"Origin": origin}) as response:
            assert (response.headers.get("Access-Control-Allow-Origin") == origin) is allowed


async def test_a_reader_that_leaves_is_forgotten(server: Server) -> None:
    async with streaming(server, new_symbol(), token=server.token(user="gone", plan="alone")):
        pass
    async with streaming(server, new_symbol(), token=server.token(user="gone", plan="alone")):
        pass


async def test_many_streams_of_one_symbol_see_the_same(server: Server) -> None:
    symbol = new_symbol()
    await _publish(server, symbol, 1)

    async def read() -> list[int]:
        async with streaming(server, symbol) as stream:
            got = [(await stream.event()).number]
            ready.release()
            while got[-1] < 2:
                got.append((await stream.event()).number)
            return got

    ready = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(read()) for _ in range(20)]
        for _ in readers:
            await ready.acquire()
        await _publish(server, symbol, 2)
    assert [reader.result() for reader in readers] == [[1, 2]] * 20
