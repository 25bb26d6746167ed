"""python-socketio's AsyncClient, each way of connecting."""

import asyncio
from typing import Any

import pytest

from tests.conformance.market import new_symbol, numbers, price
from tests.conformance.watcher import WAYS, watching
from tests.support.eventually import eventually
from tests.support.server import Server

ways = pytest.mark.parametrize("way", WAYS)


@ways
async def test_the_client_is_on_the_transport_it_asked_for(server: Server, way: str) -> None:
    async with watching(server, way=way) as watcher:
        assert watcher.socket.transport() == WAYS[way][-1]
        assert watcher.names[:2] == ["connect", "connected"]


@ways
async def test_a_subscription_begins_with_a_snapshot_and_follows_the_price(server: Server, way: str) -> None:
    symbol = new_symbol()
    await server.publish(prices=[price(symbol, 1)])
    async with watching(server, way=way) as watcher:
        assert await watcher.call("subscribe", {"symbols": [symbol]}) == {"subscribed": [symbol]}
        [snapshot] = await watcher.until("snapshot")
        assert numbers(snapshot["prices"]) == [1]
        for number in (2, 3):
            await server.publish(prices=[price(symbol, number)])
            await watcher.until("price", number - 1)
        assert watcher.prices(symbol) == [2, 3]


@ways
async def test_no_price_follows_the_answer_to_unsubscribe(server: Server, way: str) -> None:
    symbol = new_symbol()
    async with watching(server, way=way) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol]})
        counting = asyncio.create_task(_count(server, symbol, 30))
        await watcher.until("price")
        await watcher.call("unsubscribe", {"symbols": [symbol]})
        await counting
        await watcher.fence()
        assert "price" not in watcher.names[watcher.names.index("ack unsubscribe") :]
        assert await watcher.call("subscriptions") == {"symbols": [], "channels": []}


async def _count(server: Server, symbol: str, last: int) -> None:
    for number in range(1, last + 1):
        await server.publish(prices=[price(symbol, number)])


@ways
async def test_mode_every_is_every_value_in_order(server: Server, way: str) -> None:
    symbol = new_symbol()
    async with watching(server, way=way) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol], "mode": "every"})
        for start in range(1, 301, 100):
            await server.publish(prices=[price(symbol, n) for n in range(start, start + 100)])
        await watcher.until("price", 300)
        assert watcher.prices(symbol) == list(range(1, 301))
        assert watcher.named("lagged") == []


async def test_an_overflow_in_mode_every_is_told_and_ends_on_the_newest(server: Server) -> None:
    """1,000 values a symbol are kept; of 1,500 at once the oldest 500 go, and `lagged` says how many."""
    symbol = new_symbol()
    async with watching(server, way="websocket") as watcher:
        await watcher.call("subscribe", {"symbols": [symbol], "mode": "every", "maxRate": 0})
        await server.publish(prices=[price(symbol, n) for n in range(1, 1501)])
        # An answer may overtake what a lane still holds beyond one batch.
        await eventually(lambda: watcher.prices(symbol)[-1:] == [1500], what="the newest value")
        got = watcher.prices(symbol)
        missed = sum(lag["missed"] for lag in watcher.named("lagged"))
        assert len(got) + missed == 1500
        assert got == list(range(missed + 1, 1501))
        assert all(lag["symbol"] == symbol for lag in watcher.named("lagged"))


@ways
async def test_latest_never_goes_back_and_ends_on_the_newest(server: Server, way: str) -> None:
    symbol = new_symbol()
    async with watching(server, way=way) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol]})
        for start in range(1, 101, 10):
            await server.publish(prices=[price(symbol, n) for n in range(start, start + 10)])
        await watcher.fence()
        got = watcher.prices(symbol)
        assert got == sorted(set(got))
        assert got[-1] == 100


async def test_a_snapshot_is_never_older_than_a_price_before_it(server: Server) -> None:
    """Subscribing again and again while prices count up: the values a client sees only ever rise."""
    symbol = new_symbol()
    async with watching(server) as watcher:
        counting = asyncio.create_task(_count(server, symbol, 60))
        while not counting.done():
            await watcher.call("subscribe", {"symbols": [symbol]})
        await watcher.fence()
        values = [value for name, data in watcher.seen for value in _values(name, data)]
        assert values == sorted(values)
        assert values[-1] == 60


def _values(name: str, data: Any) -> list[int]:
    match name:
        case "price":
            return numbers([data])
        case "snapshot":
            return numbers(data["prices"])
    return []


async def test_a_snapshot_of_an_unknown_price_is_empty(server: Server) -> None:
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": [new_symbol()]})
        assert await watcher.until("snapshot") == [{"prices": []}]


async def test_max_rate_holds_from_the_first_update_on(server: Server) -> None:
    """One a second: of three at once the first goes out, then only the last, a second later."""
    symbol = new_symbol()
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol], "maxRate": 1})
        for number in (1, 2, 3):
            await server.publish(prices=[price(symbol, number)])
            await watcher.fence()
        assert watcher.prices(symbol) == [1]
        await watcher.until("price", 2)
        assert watcher.prices(symbol) == [1, 3]


async def test_the_plan_caps_the_rate_whatever_the_client_asks_for(server: Server) -> None:
    symbol = new_symbol()
    async with watching(server, server.token(user="slow", plan="slow")) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol], "maxRate": 50})
        [held] = (await watcher.call("subscriptions"))["symbols"]
        assert held["maxRate"] == 1


async def test_calls_of_one_client_are_answered_in_order(server: Server) -> None:
    async with watching(server) as watcher:
        names = ["subscribe", "ping", "subscriptions", "unsubscribe"] * 5
        payload = {"symbols": [new_symbol()]}
        await asyncio.gather(*(watcher.call(name, payload) for name in names))
        assert [name for name in watcher.names if name.startswith("ack ")] == [f"ack {n}" for n in names]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"symbols": ["EUR/USD"], "mode": "every"}, "NOT_ENTITLED"),
        ({"symbols": ["EUR/USD"], "channels": ["gossip"]}, "INVALID_MESSAGE"),
    ],
)
async def test_a_call_beyond_the_plan_fails_as_a_whole(
    server: Server, payload: dict[str, Any], code: str
) -> None:
    async with watching(server, server.token(plan="currencies")) as watcher:
        answer = await watcher.call("subscribe", payload)
        assert (answer["code"], set(answer)) == (code, {"error", "code"})
        assert await watcher.call("subscriptions") == {"symbols": [], "channels": []}


async def test_what_a_plan_does_not_cover_is_named_symbol_by_symbol(server: Server) -> None:
    async with watching(server, server.token(plan="currencies")) as watcher:
        asked = {"symbols": ["EUR/USD", "AAPL", "GBP/USD"], "channels": ["indices", "sectors"]}
        answer = await watcher.call("subscribe", asked)
        assert answer["subscribed"] == ["EUR/USD", "GBP/USD"]
        assert "AAPL: not entitled" in answer["errors"]
        quote = await watcher.call("get_quote", {"symbol": "AAPL"})
        assert quote["code"] == "NOT_ENTITLED"


async def test_a_token_narrows_what_its_plan_allows(server: Server) -> None:
    """Both must agree: the claim `symbols` opens nothing that the plan keeps shut."""
    token = server.token(plan="currencies", symbols=["*/USD", "AAPL"])
    async with watching(server, token) as watcher:
        answer = await watcher.call("subscribe", {"symbols": ["EUR/USD", "EUR/GBP", "AAPL", "BTC/USD"]})
        assert answer["subscribed"] == ["EUR/USD"]
        assert answer["errors"] == [f"{s}: not entitled" for s in ("EUR/GBP", "AAPL", "BTC/USD")]


async def test_a_narrower_token_ends_what_it_does_not_cover(server: Server) -> None:
    kept, lost = new_symbol("KEPT"), new_symbol("LOST")
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": [kept, lost]})
        assert "expiresAt" in await watcher.call("authenticate", {"token": server.token(symbols=["KEPT*"])})
        await server.publish(prices=[price(lost, 1), price(kept, 1)])
        await watcher.until("price")
        await watcher.fence()
        assert (watcher.prices(kept), watcher.prices(lost)) == ([1], [])


async def test_delayed_data_comes_late_and_says_so(server: Server) -> None:
    symbol = new_symbol()
    await server.publish(prices=[price(symbol, 1)])
    async with watching(server, server.token(plan="delayed")) as watcher, watching(server) as live:
        await live.call("subscribe", {"symbols": [symbol]})
        await watcher.call("subscribe", {"symbols": [symbol]})
        [status] = await watcher.until("status")
        assert (status["symbol"], status["state"]) == (symbol, "delayed")
        await server.publish(prices=[price(symbol, 2)])
        await live.until("price")
        await watcher.fence()
        assert 2 not in watcher.prices(symbol)
        await watcher.until("price")
        await watcher.until("price", 1 + (watcher.prices(symbol) != [2]))
        assert watcher.prices(symbol)[-1] == 2


async def test_a_quote_of_a_symbol_without_a_price_is_an_error_and_never_silence(server: Server) -> None:
    async with watching(server) as watcher:
        answer = await watcher.call("get_quote", {"symbol": new_symbol()})
        assert set(answer) == {"error", "code"}


async def test_a_session_goes_on_after_a_thousand_symbols_too_many(server: Server) -> None:
    async with watching(server) as watcher:
        answer = await watcher.call("subscribe", {"symbols": [f"S{n}" for n in range(1001)]})
        assert answer["code"] == "INVALID_MESSAGE"
        assert "pong" in await watcher.call("ping")
