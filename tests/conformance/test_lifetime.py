"""What comes and ends with time: heartbeats, tokens, silence. The server's intervals are one second here."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from tests.conformance.market import BASE_MS, new_symbol, quote
from tests.conformance.raw import raw_socket, say
from tests.conformance.stream import streaming
from tests.conformance.watcher import WAYS, Watcher, watching
from tests.support.eventually import eventually, scaled
from tests.support.node import Node
from tests.support.server import Server

ENV = {
    "MARKETSTREAM_DELIVERY__HEARTBEAT_INTERVAL": "1",
    "MARKETSTREAM_DELIVERY__IDLE_TIMEOUT": "4",
    "MARKETSTREAM_FEEDS__STALE_AFTER": "1",
    "MARKETSTREAM_SSE__COMMENT_INTERVAL": "1",
    "MARKETSTREAM_SSE__RETRY_MS": "50",
    "MARKETSTREAM_SOCKETIO__PING_INTERVAL": "1",
}


async def _each_way(check: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Runs the same check on every way of connecting, side by side: it takes seconds."""
    async with asyncio.TaskGroup() as tasks:
        for way in WAYS:
            tasks.create_task(check(way), name=way)


async def test_a_client_that_only_listens_receives_heartbeats_and_stays(server: Server) -> None:
    """Engine.IO's pongs count as a sign of life, so it outlives the idle time-out."""

    async def check(way: str) -> None:
        async with watching(server, way=way) as watcher:
            beats = await watcher.until("heartbeat", 3)
            assert all(set(beat) == {"timestamp"} for beat in beats)
            times = [beat["timestamp"] for beat in beats]
            assert times == sorted(set(times))
            assert watcher.named("disconnect") == []

    await _each_way(check)


async def test_a_client_from_which_nothing_comes_is_closed(server: Server) -> None:
    async with raw_socket(server.url, token=server.token(user="mute")) as socket:
        packets = await socket.read_to_end()
        assert "2" in packets
        assert socket.close_code is not None
    await eventually(lambda: _reasons(server, "idle"), what="the reason in the log")


async def test_a_token_that_ends_is_announced_then_told_then_the_client_is_closed(server: Server) -> None:
    async def check(way: str) -> None:
        async with watching(server, server.token(ttl=3), way=way) as watcher:
            [connected] = watcher.named("connected")
            assert await watcher.until("token_expiring") == [{"expiresAt": connected["expiresAt"]}]
            await watcher.until("disconnect")
            [error] = watcher.named("error")
            assert (set(error), error["code"]) == ({"code", "message"}, "TOKEN_EXPIRED")
            assert watcher.names.index("error") < watcher.names.index("disconnect")

    await _each_way(check)


async def test_a_client_that_authenticates_again_outlives_its_first_token(server: Server) -> None:
    async with watching(server, server.token(ttl=2)) as watcher:
        [warning] = await watcher.until("token_expiring")
        answer = await watcher.call("authenticate", {"token": server.token(ttl=600)})
        assert answer["expiresAt"] > warning["expiresAt"]
        await eventually(lambda: _last_beat(watcher) > warning["expiresAt"] + 1000, 10, "a later heartbeat")
        assert watcher.named("error") == []
        assert len(watcher.named("token_expiring")) == 1


def _last_beat(watcher: Watcher) -> int:
    return max((beat["timestamp"] for beat in watcher.named("heartbeat")), default=0)


async def test_a_symbol_whose_sources_fall_silent_is_stale_until_one_speaks_again(server: Server) -> None:
    """`status` {symbol, state, source, since}, on both edges; the last price stays."""
    symbol = new_symbol()
    async with watching(server) as watcher, streaming(server, symbol) as stream:
        await watcher.call("subscribe", {"symbols": [symbol]})
        await server.publish(quotes=[quote(symbol, "a", 1.0, 1.2, 1)])
        await watcher.until("price")
        await eventually(lambda: _state(watcher.named("status")) == "stale", 5, "a stale symbol")
        stale = watcher.named("status")[-1]
        assert set(stale) == {"symbol", "state", "source", "since"}
        assert (stale["symbol"], stale["source"]) == (symbol, "a")
        assert stale["since"] > BASE_MS
        await server.publish(quotes=[quote(symbol, "b", 1.0, 1.2, 2)])
        await eventually(lambda: _state(watcher.named("status")) == "live", 5, "a live symbol")
        states = [(await stream.event("status")).data["state"] for _ in range(3)]
        assert states == ["live", "stale", "live"]


def _state(statuses: list[dict[str, str]]) -> str | None:
    return statuses[-1]["state"] if statuses else None


async def test_whoever_subscribes_to_a_stale_symbol_is_told_so_after_the_snapshot(server: Server) -> None:
    symbol = new_symbol()
    await server.publish(quotes=[quote(symbol, "a", 1.0, 1.2, 1)])
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol]})
        await eventually(lambda: _state(watcher.named("status")) == "stale", 5, "a stale symbol")
    async with watching(server) as late:
        await late.call("subscribe", {"symbols": [symbol]})
        [status] = await late.until("status")
        assert (status["symbol"], status["state"]) == (symbol, "stale")
        [snapshot] = late.named("snapshot")
        assert [best["symbol"] for best in snapshot["prices"]] == [symbol]
        assert late.names.index("snapshot") < late.names.index("status")


async def test_a_silent_source_leaves_the_best_price_to_the_others(server: Server) -> None:
    symbol = new_symbol()
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol]})
        await server.publish(quotes=[quote(symbol, "best", 1.1, 1.2, 1), quote(symbol, "other", 1.0, 1.3, 1)])
        number = 1

        async def other_alone() -> bool:
            nonlocal number
            number += 1
            await server.publish(quotes=[quote(symbol, "other", 1.0, 1.3, number)])
            return bool(watcher.named("price")) and watcher.named("price")[-1]["bestBid"]["source"] == "other"

        await eventually(other_alone, 5, "the best price of the source that still speaks")
        prices = watcher.named("price")
        assert prices[0]["bestBid"]["source"] == "best"
        times = [best["timestamp"] for best in prices]
        assert times == sorted(times)
        assert "stale" not in [status["state"] for status in watcher.named("status")]


async def test_a_quiet_stream_has_comments(server: Server) -> None:
    """They are lines and not blocks: a blank line behind one would be an empty event to several readers."""
    async with streaming(server, new_symbol()) as stream, asyncio.timeout(scaled(5)):
        assert [await stream.response.content.readline() for _ in range(2)] == [b": \n", b": \n"]


async def test_a_stream_is_warned_told_and_ended_when_its_token_ends(server: Server) -> None:
    async with streaming(server, new_symbol(), token=server.token(ttl=2)) as stream:
        warning = await stream.event("token_expiring")
        assert set(warning.data) == {"expiresAt"}
        error = await stream.event("error")
        assert error.data["code"] == "TOKEN_EXPIRED"
        assert await stream.read() is None


async def test_the_stock_event_source_comes_back_with_what_it_knows(node: Node, server: Server) -> None:
    """It reconnects by itself, and only what changed meanwhile is sent again."""
    symbols = (new_symbol("EUR/USD"), new_symbol("AAPL"))
    publisher = server.token(user="publisher", scopes=("market:publish",))
    told = await node.run("events.mjs", server.url, server.token(), publisher, *symbols)
    phases = {phase["phase"]: phase for phase in told}
    first, unchanged, changed = (
        [(best["symbol"], best["midPrice"]) for best in phases[name]["seen"]]
        for name in ("first", "unchanged", "changed")
    )
    one, other = symbols
    assert first == [(one, 1), (other, 1), (one, 2)]
    assert unchanged == [(one, 3)]
    assert changed == [(other, 2), (one, 4)]
    asked = [headers.get("Last-Event-ID") for headers in phases["changed"]["requests"]]
    assert asked[0] is None
    assert asked[1] == phases["first"]["seen"][-1]["id"]
    assert asked[2] == phases["unchanged"]["seen"][-1]["id"]


async def test_more_than_a_thousand_messages_a_second_close_the_connection(server: Server) -> None:
    async with raw_socket(server.url, token=server.token(user="flood")) as socket:
        with suppress(ConnectionError):  # it may be closed before the last of them is sent
            await socket.send(*(say("ping", {}) for _ in range(1100)))
        await socket.read_to_end()
    await eventually(lambda: _reasons(server, "too_many_messages"), what="the reason in the log")


async def test_a_thousand_messages_a_second_are_taken(server: Server) -> None:
    async with raw_socket(server.url, token=server.token(user="busy")) as socket:
        await socket.send(*(say("ping", {}, ack=number) for number in range(900)))
        last = await socket.read_to("43/market-data,899[")
        assert "pong" in json.loads(last.partition("[")[2][:-1])


def _reasons(server: Server, reason: str) -> bool:
    """Whether a connection was closed for a reason, as the log tells it."""
    return any(entry["reason"] == reason for entry in server.events("websocket_connection_closed"))
