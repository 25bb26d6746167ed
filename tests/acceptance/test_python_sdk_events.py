"""Events by the Python SDK, against real server processes that are killed and forget what they held."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import aiohttp
import pytest

from marketstream_sdk import (
    EventFilter,
    EventSubscriptionError,
    MarketDataClient,
    MarketEvent,
    Quote,
    State,
    SyncMarketDataClient,
)
from tests.conformance.market import new_symbol, price
from tests.support.eventually import eventually, scaled
from tests.support.returning import RETURNING
from tests.support.server import UNLIMITED, Server, free_port, running_server

Way = Literal["socketio", "sse"]

SECRET = "a secret that outlives a server, as in production"

IMPATIENT = {"MARKETSTREAM_DELIVERY__TOKEN_WARNING": "1.5"}

ways = pytest.mark.parametrize("way", ["socketio", "sse"])


async def publish(server: Server, *events: dict[str, Any]) -> None:
    """Tells a server of events; each has the name and the type that it says, or those of a pattern."""
    headers = {"Authorization": f"Bearer {server.token(user='back end', scopes=('market:publish',))}"}
    body = [{"type": "pattern", "name": "flag"} | event for event in events]
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{server.url}/api/v1/events", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["rejected"] == []


async def held(server: Server) -> dict[str, Any]:
    """What the server holds for the user, by name."""
    headers = {"Authorization": f"Bearer {server.token(plan=UNLIMITED)}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}/api/v1/events/subscriptions") as answer,
    ):
        entries = (await answer.json())["subscriptions"]
        return {entry["name"]: entry["filter"] for entry in entries}


def ids(events: list[MarketEvent]) -> list[str]:
    return [event.id for event in events]


@asynccontextmanager
async def client_of(server: Server, way: Way, **options: Any) -> AsyncIterator[MarketDataClient]:
    """A client that is connected."""
    options = RETURNING | {"token": server.token()} | options
    async with MarketDataClient(server.url, transport=way, **options) as client:
        yield client


@ways
async def test_what_is_published_comes_to_who_asked_for_it(way: Way) -> None:
    sure: list[MarketEvent] = []
    async with running_server() as server, client_of(server, way) as client:
        await client.subscribe_events("sure", sure.append, types="pattern", min_confidence=0.6)
        stream = client.stream_events("apple", symbols=["aapl"], tiers="daily", min_priority="HIGH")
        await eventually(lambda: _holds(server, "sure", "apple"))
        apple = {
            "symbol": "AAPL",
            "tier": "daily",
            "priority": "HIGH",
            "confidence": 0.7,
            "data": {"score": 3},
        }
        await publish(
            server,
            {"id": "unsure", "confidence": 0.5},
            {"id": "sure", "confidence": 0.6},
            {"id": "both", **apple},
            {"id": "other", "type": "alert", "confidence": 1},
        )
        await eventually(lambda: sorted(ids(sure)) == ["both", "sure"])
        event = await anext(stream)
        assert (event.id, event.symbol, event.tier, event.priority) == ("both", "AAPL", "daily", "HIGH")
        assert (event.confidence, event.data) == (0.7, {"score": 3})
        assert set(event.matched) == {"sure", "apple"}
        await stream.aclose()
        assert await held(server) == {"sure": {"types": ["pattern"], "minConfidence": 0.6}}


async def _holds(server: Server, *names: str) -> bool:
    return set(names) <= (await held(server)).keys()


@ways
async def test_a_server_that_is_killed_and_has_forgotten_everything_is_told_again(way: Way) -> None:
    port, symbol = free_port(), new_symbol()
    env = {"MARKETSTREAM_JWT_SECRET": SECRET}
    got: list[MarketEvent] = []
    quotes: list[Quote] = []
    states: list[State] = []
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running_server(env=env, port=port))
        client = await stack.enter_async_context(client_of(first, way))
        client.on_state(lambda state, _error: states.append(state))
        await client.subscribe(symbol, quotes.append)
        await client.subscribe_events("mine", got.append, types=["pattern"])
        await publish(first, {"id": "one"})
        await eventually(lambda: ids(got) == ["one"])
        first.kill()
        await eventually(lambda: states == ["reconnecting"])
        second = await stack.enter_async_context(running_server(env=env, port=port))
        await eventually(lambda: _holds(second, "mine"), 15)
        await publish(second, {"id": "one"}, {"id": "two"})
        await eventually(lambda: ids(got) == ["one", "two"])
        await second.publish(prices=[price(symbol, 1)])
        await eventually(lambda: len(quotes) == 1)
        assert states == ["reconnecting", "connected"]


@ways
async def test_what_was_unsubscribed_does_not_come_any_more(way: Way) -> None:
    mine: list[MarketEvent] = []
    theirs: list[MarketEvent] = []
    async with running_server() as server, client_of(server, way) as client:
        await client.subscribe_events("mine", mine.append, types="pattern")
        await client.subscribe_events("50 % / ä?", theirs.append, types="alert")
        await client.unsubscribe_events("mine")
        assert await held(server) == {"50 % / ä?": {"types": ["alert"]}}
        await publish(server, {"id": "one"}, {"id": "two", "type": "alert"})
        await eventually(lambda: ids(theirs) == ["two"])
        assert mine == []
        await client.unsubscribe_events("50 % / ä?", theirs.append)
        await client.unsubscribe_events("never was")
        assert await held(server) == {}


@ways
async def test_a_filter_that_the_server_does_not_take_is_told_and_the_connection_stays(way: Way) -> None:
    got: list[MarketEvent] = []
    async with running_server() as server, client_of(server, way) as client:
        with pytest.raises(EventSubscriptionError, match=r"types\[0\]") as caught:
            await client.subscribe_events("bad", got.append, types="x" * 65)
        assert (caught.value.code, caught.value.name) == ("INVALID_MESSAGE", "bad")
        for number in range(50):
            await client.subscribe_events(f"n{number}", got.append)
        with pytest.raises(EventSubscriptionError) as caught:
            await client.subscribe_events("one too many", got.append)
        assert caught.value.code == "SUBSCRIPTION_LIMIT"
        await publish(server, {"id": "one"})
        await eventually(lambda: ids(got) == ["one"])
        assert client.is_connected


@ways
async def test_a_halt_comes_to_everybody_once(way: Way) -> None:
    heard: list[MarketEvent] = []
    called: list[MarketEvent] = []
    async with running_server() as server, client_of(server, way) as client:
        client.on_event(heard.append)
        await client.subscribe_events("a", called.append, types="alert")
        await client.subscribe_events("b", called.append, types="pattern")
        await publish(server, {"id": "stop", "type": "halt", "name": "all", "priority": "CRITICAL"})
        await eventually(lambda: ids(called) == ids(heard) == ["stop"])
        assert called[0].matched == ()
        await publish(server, {"id": "next"})
        await eventually(lambda: ids(called) == ["stop", "next"])
        assert ids(heard) == ["stop"]


@ways
async def test_a_token_that_ends_is_replaced_and_no_event_is_lost(way: Way) -> None:
    """Three tokens, each of which lasts three seconds; events come all the while."""
    got: list[MarketEvent] = []
    asked: list[None] = []
    states: list[State] = []
    async with running_server(env=IMPATIENT) as server:

        def token() -> str:
            asked.append(None)
            return server.token(ttl=3)

        async with client_of(server, way, token=token) as client:
            client.on_state(lambda state, _error: states.append(state))
            await client.subscribe_events("mine", got.append)
            sent: list[str] = []
            while len(asked) < 4:
                sent.append(f"e{len(sent)}")
                await publish(server, {"id": sent[-1]})
                await asyncio.sleep(0.02)
            await eventually(lambda: len(got) == len(sent))
            assert sorted(ids(got)) == sorted(sent)
            assert states == []


async def test_two_programs_of_a_user_do_not_disturb_each_other() -> None:
    one: list[MarketEvent] = []
    two: list[MarketEvent] = []
    async with running_server() as server, client_of(server, "sse") as first:
        await first.subscribe_events("first", one.append, types="pattern")
        async with client_of(server, "socketio") as second:
            await second.subscribe_events("second", two.append, types="pattern")
            await publish(server, {"id": "a"})
            await eventually(lambda: ids(one) == ids(two) == ["a"])
        async with client_of(server, "socketio") as third:
            assert await held(server) == {"first": {"types": ["pattern"]}, "second": {"types": ["pattern"]}}
            await third.unsubscribe_events("second")
        assert await held(server) == {"first": EventFilter("pattern").payload}


async def test_scripts_learn_of_events_without_an_event_loop() -> None:
    async with running_server() as server:

        def listen(started: asyncio.Event, loop: asyncio.AbstractEventLoop) -> list[MarketEvent]:
            with SyncMarketDataClient(server.url, token=server.token()) as client:
                called: list[MarketEvent] = []
                client.subscribe_events("script", called.append)
                with client.stream_events("script", timeout=scaled(10)) as stream:
                    loop.call_soon_threadsafe(started.set)
                    event = next(stream)
                client.unsubscribe_events("script")
                return [event, *called]

        started = asyncio.Event()
        listening = asyncio.create_task(asyncio.to_thread(listen, started, asyncio.get_running_loop()))
        await started.wait()
        await publish(server, {"id": "one"})
        assert ids(await listening)[:1] == ["one"]
        assert await held(server) == {}
