"""What one connection may ask for: calls a second, symbols, and the same thing twice."""

import asyncio
import time
from typing import Any

import pytest

from tests.conformance.market import new_symbol, price
from tests.conformance.stream import streaming
from tests.conformance.watcher import Watcher, watching
from tests.support.eventually import eventually
from tests.support.server import Server

CAPACITY, REFILL = 100, 10


async def _subscribe_each(watcher: Watcher, symbols: list[str]) -> list[dict[str, Any]]:
    """One call per symbol, all sent before the first answer is waited for; answers in order."""
    before = len(watcher.named("ack subscribe"))
    await asyncio.gather(*(watcher.call("subscribe", {"symbols": [symbol]}) for symbol in symbols))
    return watcher.named("ack subscribe")[before:]


async def test_of_a_burst_of_150_calls_the_first_100_are_taken(server: Server) -> None:
    """Capacity 100, refilled by 10 a second: the rest is refused in so many words, with a time to wait."""
    async with watching(server) as watcher:
        started = time.monotonic()
        answers = await _subscribe_each(watcher, [f"B{n}" for n in range(150)])
        most = CAPACITY + int((time.monotonic() - started) * REFILL) + 1
        taken = [answer for answer in answers if "code" not in answer]
        assert answers[:CAPACITY] == [{"subscribed": [f"B{n}"]} for n in range(CAPACITY)]
        assert CAPACITY <= len(taken) <= most
        for answer in answers:
            if answer not in taken:
                assert (answer["error"], answer["code"]) == ("Rate limit exceeded", "RATE_LIMITED")
                assert 0 < answer["retryAfterMs"] <= 1000 / REFILL
        # What was refilled meanwhile meets the next limit.
        for answer in taken[CAPACITY:]:
            assert answer["subscribed"] == []
            assert answer["errors"][0].endswith(": max subscriptions reached")
        held = (await watcher.call("subscriptions"))["symbols"]
        assert [entry["symbol"] for entry in held] == [f"B{n}" for n in range(100)]


async def test_a_refused_call_may_be_made_again_after_the_time_it_was_told(server: Server) -> None:
    async with watching(server, server.token(user="poor", plan="poor")) as watcher:
        answers = await _subscribe_each(watcher, [f"P{n}" for n in range(4)])
        assert answers[3]["code"] == "RATE_LIMITED"
        refused_at = time.monotonic()

        async def taken() -> bool:
            return "subscribed" in await watcher.call("subscribe", {"symbols": ["P3"]})

        await eventually(taken, 5, "a call that is taken")
        assert time.monotonic() - refused_at >= answers[3]["retryAfterMs"] / 1000 - 0.05


async def test_quotes_cost_a_call_and_pings_and_unsubscribes_do_not(server: Server) -> None:
    async with watching(server, server.token(user="poor", plan="poor")) as watcher:
        for _ in range(20):
            assert "pong" in await watcher.call("ping")
            assert "unsubscribed" in await watcher.call("unsubscribe", {"symbols": ["X"]})
            assert "symbols" in await watcher.call("subscriptions")
        quotes = [(await watcher.call("get_quote", {"symbol": "X"}))["code"] for _ in range(5)]
        assert quotes[:3] == [quotes[0]] * 3
        assert quotes[0] != "RATE_LIMITED"
        assert "RATE_LIMITED" in quotes[3:]


async def test_one_connections_burst_is_not_anothers_limit(server: Server) -> None:
    token = server.token(user="poor", plan="poor")
    async with watching(server, token) as busy, watching(server, token) as calm:
        await _subscribe_each(busy, [f"P{n}" for n in range(6)])
        assert await calm.call("subscribe", {"symbols": ["P0"]}) == {"subscribed": ["P0"]}


async def test_the_101st_symbol_is_one_too_many(server: Server) -> None:
    async with watching(server) as watcher:
        names = [f"C{n}" for n in range(101)]
        answer = await watcher.call("subscribe", {"symbols": names})
        assert answer["subscribed"] == names[:100]
        assert answer["errors"] == ["C100: max subscriptions reached"]


async def test_what_one_has_can_be_asked_for_again_at_the_cap(server: Server) -> None:
    names = [new_symbol("CAP") for _ in range(100)]
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": names})
        assert await watcher.call("subscribe", {"symbols": names}) == {"subscribed": names}
        await server.publish(prices=[price(names[0], 1)])
        await watcher.fence()
        assert watcher.prices(names[0]) == [1]


async def test_a_symbol_that_is_given_back_makes_room(server: Server) -> None:
    async with watching(server, server.token(plan="few")) as watcher:
        await watcher.call("subscribe", {"symbols": ["F0", "F1"]})
        full = await watcher.call("subscribe", {"symbols": ["F2"]})
        assert full == {"subscribed": [], "errors": ["F2: max subscriptions reached"]}
        await watcher.call("unsubscribe", {"symbols": ["F0"]})
        assert await watcher.call("subscribe", {"symbols": ["F2"]}) == {"subscribed": ["F2"]}


@pytest.mark.parametrize("mode", ["latest", "every"])
async def test_five_times_the_same_subscribe_is_one_subscription(server: Server, mode: str) -> None:
    """Acknowledged each time, listed once, delivered once."""
    symbol = new_symbol()
    async with watching(server) as watcher:
        asked = {"symbols": [symbol, symbol.lower()], "mode": mode}
        answers = [await watcher.call("subscribe", asked) for _ in range(5)]
        assert answers == [{"subscribed": [symbol]}] * 5
        held = await watcher.call("subscriptions")
        assert held["symbols"] == [{"symbol": symbol, "mode": mode, "maxRate": 0}]
        for number in (1, 2, 3):
            await server.publish(prices=[price(symbol, number)])
            await watcher.fence()
        assert watcher.prices(symbol) == [1, 2, 3]
        assert len(watcher.named("snapshot")) == 5


async def test_a_snapshot_comes_once_for_each_subscribe_with_all_its_symbols(server: Server) -> None:
    names = [new_symbol() for _ in range(3)]
    await server.publish(prices=[price(name, 1) for name in names])
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": names})
        await watcher.fence()
        [snapshot] = watcher.named("snapshot")
        assert [best["symbol"] for best in snapshot["prices"]] == names


async def test_another_mode_replaces_the_first(server: Server) -> None:
    symbol = new_symbol()
    async with watching(server) as watcher:
        for mode in ("latest", "every", "latest", "every"):
            await watcher.call("subscribe", {"symbols": [symbol], "mode": mode})
        await server.publish(prices=[price(symbol, number) for number in range(1, 51)])
        await watcher.fence()
        assert watcher.prices(symbol) == list(range(1, 51))
        [held] = (await watcher.call("subscriptions"))["symbols"]
        assert held["mode"] == "every"


async def test_unsubscribing_twice_or_from_nothing_is_acknowledged(server: Server) -> None:
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": ["U"]})
        for _ in range(2):
            assert await watcher.call("unsubscribe", {"symbols": ["U", "V"]}) == {"unsubscribed": ["U", "V"]}


@pytest.mark.parametrize(
    "name", ["", " ", "A" * 33, "EUR USD", "EUR/USD\n", "ÄPFEL", "AAPL;", "symbol:AAPL*", "\x00", "\u017f"]
)
async def test_what_is_not_a_symbol_is_named_so(server: Server, name: str) -> None:
    async with watching(server) as watcher:
        answer = await watcher.call("subscribe", {"symbols": [name, "GOOD"]})
        assert answer["subscribed"] == ["GOOD"]
        [error] = answer["errors"]
        assert error == f"{name}: invalid symbol"


async def test_the_same_symbol_twice_in_a_stream_is_sent_once(server: Server) -> None:
    symbol = new_symbol()
    await server.publish(prices=[price(symbol, 1)])
    async with streaming(server, symbol, symbol.lower(), symbol) as stream:
        assert (await stream.event()).number == 1
        await server.publish(prices=[price(symbol, 2)])
        assert (await stream.event()).number == 2
