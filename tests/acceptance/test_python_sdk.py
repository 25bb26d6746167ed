"""The Python SDK against real server processes that die, drain, fall silent and let tokens end.

Waits between attempts are a twentieth of what users have; everything else is as users have it.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import aiohttp
import pytest

from marketstream_sdk import (
    AuthenticationError,
    ChannelUpdate,
    ConnectionFailedError,
    MarketDataClient,
    MarketDataError,
    Quote,
    RequestError,
    State,
    StreamStatus,
    SubscriptionError,
    SyncMarketDataClient,
    UnsupportedError,
)
from tests.conformance.market import new_symbol, price
from tests.support.eventually import eventually, scaled
from tests.support.proxy import proxy
from tests.support.returning import QUICK, RETURNING
from tests.support.server import JOBS, Server, free_port, running_server

Way = Literal["socketio", "sse"]

SECRET = "a secret that outlives a server, as in production"

# Half-open connections are noticed within three seconds, and the end of a token is told a second before. The
# server looks once a second who is to be pinged.
IMPATIENT = {
    "MARKETSTREAM_SOCKETIO__PING_INTERVAL": "0.5",
    "MARKETSTREAM_SOCKETIO__PING_TIMEOUT": "2",
    "MARKETSTREAM_SSE__COMMENT_INTERVAL": "0.2",
    "MARKETSTREAM_DELIVERY__TOKEN_WARNING": "1.5",
}

ways = pytest.mark.parametrize("way", ["socketio", "sse"])


class Watcher:
    """A client with a callback on two symbols and a stream on one of them, and all that they were given.

    Attributes:
        client: The client.
        called: What the callback was called with.
        streamed: What the stream gave.
        states: Each state of the client.
        steps: Its status at each of them.
        errors: What it told of.
    """

    def __init__(self, url: str, token: Any, way: Way, **options: Any) -> None:
        self.symbols = (new_symbol(), new_symbol())
        self.called: list[Quote] = []
        self.streamed: list[Quote] = []
        self.states: list[State] = []
        self.steps: list[StreamStatus] = []
        self.errors: list[MarketDataError] = []
        self.client = MarketDataClient(url, token=token, transport=way, **(RETURNING | options))
        self.client.on_state(self._note)
        self.client.on_error(self.errors.append)

    async def start(self) -> None:
        """Subscribes, and reads the stream until it ends."""
        await self.client.subscribe(self.symbols, self.called.append)

    async def stream(self) -> None:
        """Reads the stream until it ends."""
        async for quote in self.client.stream_quotes(self.symbols[0]):
            self.streamed.append(quote)

    async def sees(self, server: Server, number: int) -> None:
        """Publishes a price of each symbol, and waits until callback and stream have them."""
        await server.publish(prices=[price(symbol, number) for symbol in self.symbols])
        wanted = {(symbol, number) for symbol in self.symbols}
        await eventually(lambda: wanted <= set(numbers(self.called)), 10, f"the callback for {number}")
        await eventually(lambda: numbers(self.streamed[-1:])[-1:] == [(self.symbols[0], number)])

    async def confirmed(self) -> None:
        """Waits until the server has confirmed everything."""
        await eventually(
            lambda: set(self.client.get_stream_status().subscribed_symbols) == set(self.symbols),
            15,
            "all subscriptions",
        )

    def check(self) -> None:
        """Looks at what every consumer is promised: nothing twice, nothing older, states that fit."""
        for given in (self.called, self.streamed):
            for symbol in self.symbols:
                times = [quote.timestamp for quote in given if quote.symbol == symbol]
                assert times == sorted(set(times))
        for status in self.steps:
            assert status.connected is (status.state == "connected")
            assert status.connected or status.subscribed_symbols == ()

    def _note(self, state: State, _error: MarketDataError | None) -> None:
        self.states.append(state)
        self.steps.append(self.client.get_stream_status())


def numbers(quotes: list[Quote]) -> list[tuple[str, int]]:
    """Symbols and the numbers that their prices were made with."""
    return [(quote.symbol, round(quote.mid_price or 0)) for quote in quotes]


@asynccontextmanager
async def watching(url: str, token: Any, way: Way, **options: Any) -> AsyncIterator[Watcher]:
    """A watcher that is connected and subscribed; at the end what it was given is looked at."""
    watcher = Watcher(url, token, way, **options)
    async with asyncio.TaskGroup() as group, watcher.client:
        await watcher.start()
        group.create_task(watcher.stream())
        await watcher.confirmed()
        yield watcher
    watcher.check()


@asynccontextmanager
async def serving_at(port: int, env: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """A server at a port, which trusts the same tokens as the one that was there before."""
    own = {"MARKETSTREAM_JWT_SECRET": SECRET, "MARKETSTREAM_SERVER__DRAIN_TIMEOUT": "2"}
    async with running_server(env=own | dict(env or {}), port=port) as server:
        yield server


@ways
async def test_a_server_that_is_killed_and_comes_back_is_not_noticed(way: Way) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving_at(port))
        watcher = await stack.enter_async_context(watching(first.url, first.token(), way))
        await watcher.sees(first, 1)
        await watcher.sees(first, 2)
        first.kill()
        await eventually(lambda: watcher.client.state == "reconnecting")
        second = await stack.enter_async_context(serving_at(port))
        await watcher.confirmed()
        # What the new server begins with is older than what the client has.
        await second.publish(prices=[price(symbol, 1) for symbol in watcher.symbols])
        await watcher.sees(second, 3)
        assert watcher.states == ["connecting", "connected", "reconnecting", "connected"]
        assert watcher.client.get_stream_status().reconnect_attempts == 0


@ways
async def test_a_server_that_drains_sends_its_clients_to_the_next_one(way: Way) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(serving_at(port))
        watcher = await stack.enter_async_context(watching(first.url, first.token(), way))
        await watcher.sees(first, 1)
        os.kill(first.pid, signal.SIGTERM)
        await eventually(lambda: watcher.client.state == "reconnecting")
        assert await asyncio.to_thread(first.terminate) == 0
        second = await stack.enter_async_context(serving_at(port))
        await watcher.confirmed()
        await watcher.sees(second, 2)
        assert watcher.states == ["connecting", "connected", "reconnecting", "connected"]


@ways
async def test_a_network_that_falls_silent_is_noticed_and_left(way: Way) -> None:
    """Half-open: the connection stays, nothing moves. What was published meanwhile arrives afterwards."""
    options = {"idle_timeout": 1.0, "connect_timeout": 1.0}
    async with (
        running_server(env=IMPATIENT) as server,
        proxy(server.port) as door,
        watching(door.url, server.token(), way, **options) as watcher,
    ):
        await watcher.sees(server, 1)
        door.hold()
        await server.publish(prices=[price(symbol, 2) for symbol in watcher.symbols])
        await eventually(lambda: watcher.client.state == "reconnecting", 10, "the loss")
        door.cut()
        door.resume()
        await watcher.confirmed()
        await eventually(lambda: {(symbol, 2) for symbol in watcher.symbols} <= set(numbers(watcher.called)))
        await watcher.sees(server, 3)
        assert watcher.states == ["connecting", "connected", "reconnecting", "connected"]


@pytest.mark.slow
async def test_a_server_that_is_busy_for_a_moment_keeps_its_clients() -> None:
    """The protocol gives it the interval and the time-out of pings together, here 12 s."""
    env = {"MARKETSTREAM_SOCKETIO__PING_INTERVAL": "6", "MARKETSTREAM_SOCKETIO__PING_TIMEOUT": "6"}
    async with running_server(env=env) as server, watching(server.url, server.token(), "socketio") as watcher:
        await watcher.sees(server, 1)
        os.kill(server.pid, signal.SIGSTOP)
        await asyncio.sleep(11.3)
        os.kill(server.pid, signal.SIGCONT)
        await watcher.sees(server, 2)
        assert watcher.states == ["connecting", "connected"]


@ways
async def test_a_connection_that_is_reset_again_and_again_loses_nothing(way: Way) -> None:
    async with (
        running_server() as server,
        proxy(server.port) as door,
        watching(door.url, server.token(), way) as watcher,
    ):
        for number in range(10, 50, 10):
            await watcher.sees(server, number)
            before = watcher.states.count("connected")
            door.cut()
            await server.publish(prices=[price(watcher.symbols[1], number + 1)])
            await eventually(lambda before=before: watcher.states.count("connected") > before, 10)  # type: ignore[misc]
            await watcher.confirmed()
        await eventually(lambda: (watcher.symbols[1], 41) in numbers(watcher.called))


@ways
async def test_a_token_that_ends_is_replaced_without_a_gap(way: Way) -> None:
    """Three tokens, each of which lasts three seconds."""
    asked: list[float] = []
    async with running_server(env=IMPATIENT) as server:

        async def token() -> str:
            asked.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0)
            return server.token(ttl=3)

        async with watching(server.url, token, way) as watcher:
            await watcher.sees(server, 1)
            await eventually(lambda: len(asked) >= 4, 15, "the fourth token")
            await watcher.confirmed()
            await watcher.sees(server, 2)
            assert watcher.states == ["connecting", "connected"]
        expired = [entry["reason"] for entry in server.events("websocket_connection_closed")]
        assert "token_expired" not in expired


@ways
async def test_a_token_that_ends_and_is_all_there_is_ends_the_client(way: Way) -> None:
    async with running_server(env=IMPATIENT) as server:
        watcher = Watcher(server.url, server.token(ttl=2), way)
        async with watcher.client:
            await watcher.start()
            with pytest.raises(AuthenticationError) as caught:
                await watcher.stream()
        assert caught.value.code == "TOKEN_EXPIRED"
        assert watcher.states == ["connecting", "connected", "failed", "closed"]


@ways
async def test_a_token_function_that_is_late_comes_back_with_a_new_one_at_once(way: Way) -> None:
    """The renewal fails until the token has ended; then there is a new connection, without a pause."""
    late = {"broken": False}
    async with running_server(env=IMPATIENT) as server:

        def token() -> str:
            if late["broken"]:
                late["broken"] = watcher.states[-1] == "connected"
            if late["broken"]:
                raise OSError("no token now")
            return server.token(ttl=3)

        watcher = Watcher(server.url, token, way)
        async with watcher.client:
            await watcher.start()
            late["broken"] = True
            await eventually(lambda: watcher.states.count("connected") == 2, 10, "the reconnect")
            await watcher.confirmed()
        watcher.check()
        assert watcher.steps[2].error is not None
        assert watcher.steps[2].error.code == "TOKEN_EXPIRED"


@ways
async def test_a_token_that_is_no_good_is_refused_at_once(way: Way) -> None:
    async with running_server() as server:
        for token, code in ((server.token(ttl=-5), "TOKEN_EXPIRED"), ("x.y.z", "AUTH_FAILED")):
            client = MarketDataClient(server.url, token=token, transport=way)
            with pytest.raises(AuthenticationError) as caught:
                await client.connect()
            assert caught.value.code == code
            assert client.state == "failed"


@ways
async def test_a_server_that_is_not_there_is_given_up(way: Way) -> None:
    client = MarketDataClient(
        f"http://127.0.0.1:{free_port()}", token="t", transport=way, pace=QUICK, reconnect_attempts=2
    )
    with pytest.raises(ConnectionFailedError) as caught:
        async with client:
            pass
    assert caught.value.attempts == 2
    assert "cannot connect" in str(caught.value.last)


@ways
async def test_what_is_not_to_be_had_is_told_by_symbol_and_the_rest_goes_on(way: Way) -> None:
    async with running_server() as server:
        token = server.token(plan="few", symbols=["A.*"])
        async with MarketDataClient(server.url, token=token, transport=way) as client:
            errors: list[MarketDataError] = []
            client.on_error(errors.append)
            got: list[Quote] = []
            await client.subscribe(["A.1", "B.1", "A.2", "A.3"], got.append)
            await eventually(lambda: len(errors) == 2)
            assert {(e.symbol, e.reason) for e in errors if isinstance(e, SubscriptionError)} == {
                ("B.1", "not entitled"),
                ("A.3", "max subscriptions reached"),
            }
            assert client.get_stream_status().subscribed_symbols == ("A.1", "A.2")
            with pytest.raises(SubscriptionError, match="not entitled"):
                await anext(client.stream_quotes("B.2"))
            await server.publish(prices=[price("A.2", 1)])
            await eventually(lambda: numbers(got) == [("A.2", 1)])


@ways
async def test_one_quote_can_be_asked_for(way: Way) -> None:
    async with (
        running_server("--dev", feeds=("synthetic?symbols=EUR/USD&rate=50",)) as server,
        MarketDataClient(server.url, token=server.token(), transport=way) as client,
    ):
        await anext(client.stream_quotes("EUR/USD"))
        quote = await client.get_quote("eur/usd")
        assert (quote.symbol, quote.status) == ("EUR/USD", "ok")
        assert quote.bid is not None
        assert quote.best_bid is not None
        assert quote.mid_price is not None
        with pytest.raises(RequestError) as caught:
            await client.get_quote("NOBODY.KNOWS")
        assert caught.value.code == "UNKNOWN_SYMBOL"


async def test_calls_that_come_too_early_are_made_again() -> None:
    """Three calls, and one more a second."""
    async with (
        running_server() as server,
        MarketDataClient(server.url, token=server.token(plan="poor")) as client,
    ):
        symbols = [new_symbol() for _ in range(5)]
        for symbol in symbols:
            await client.subscribe(symbol, print)
        assert client.get_stream_status().subscribed_symbols == tuple(symbols)
        assert client.state == "connected"


async def test_a_plan_that_shrinks_with_a_new_token_is_noticed() -> None:
    """The server leaves the newest symbols without a word; the client asks."""
    plans = iter(["pro", "few", "few", "few"])
    async with running_server(env=IMPATIENT) as server:

        def token() -> str:
            return server.token(plan=next(plans), ttl=3)

        async with MarketDataClient(server.url, token=token) as client:
            errors: list[MarketDataError] = []
            client.on_error(errors.append)
            await client.subscribe(["A", "B", "C"], print)
            # The server's own word for it may come first; the client then asks what is left.
            refused = await eventually(
                lambda: [each for each in errors if isinstance(each, SubscriptionError)], 10, "the refusal"
            )
            assert [str(each) for each in refused] == ["C: max subscriptions reached"]
            assert client.get_stream_status().subscribed_symbols == ("A", "B")


async def test_a_stream_changes_its_symbols_though_there_is_room_for_one_connection_only() -> None:
    """And a symbol that is added begins with its current value, however old that is."""
    async with running_server() as server:
        old, new = new_symbol(), new_symbol()
        await server.publish(prices=[price(new, 1)])
        await server.publish(prices=[price(old, 1)])
        token = server.token(plan="alone")
        async with MarketDataClient(server.url, token=token, transport="sse", pace=QUICK) as client:
            got: list[Quote] = []
            await client.subscribe(old, got.append)
            await eventually(lambda: numbers(got) == [(old, 1)])
            await client.subscribe(new, got.append)
            await eventually(lambda: numbers(got) == [(old, 1), (new, 1)])
            await client.unsubscribe(new)
            await server.publish(prices=[price(old, 2), price(new, 2)])
            await eventually(lambda: numbers(got)[2:] == [(old, 2)])


async def test_channels_and_mode_every_are_there_over_socketio_and_not_over_sse() -> None:
    updates: list[ChannelUpdate] = []
    got: list[Quote] = []
    symbol = new_symbol()
    async with running_server("--dev", env=JOBS) as server:
        async with MarketDataClient(server.url, token=server.token()) as client:
            assert await client.subscribe_channels("movers", updates.append) == ("movers",)
            with pytest.raises(SubscriptionError, match="weather"):
                await client.subscribe_channels("weather", updates.append)  # type: ignore[arg-type]
            await client.subscribe(symbol, got.append, mode="every")
            await server.publish(prices=[price(symbol, number) for number in range(1, 101)])
            await eventually(lambda: [n for _, n in numbers(got)] == list(range(1, 101)))
            await _work_out(server, "movers")
            await eventually(lambda: bool(updates), 10, "the movers")
            assert updates[0].channel == "movers"
        async with MarketDataClient(server.url, token=server.token(), transport="sse") as client:
            with pytest.raises(UnsupportedError, match="socketio"):
                await client.subscribe_channels("movers", updates.append)
            with pytest.raises(UnsupportedError, match="socketio"):
                await client.subscribe(symbol, got.append, mode="every")
            with pytest.raises(UnsupportedError, match="socketio"):
                client.stream_quotes(symbol, mode="every")


async def _work_out(server: Server, job: str) -> None:
    """Has a view of the market worked out now, as an operator may."""
    headers = {"Authorization": f"Bearer {server.token(scopes=('admin',))}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{server.url}/api/v1/market/jobs/{job}/run") as answer,
    ):
        answer.raise_for_status()


@ways
async def test_scripts_need_no_event_loop(way: Way) -> None:
    """Also where one is running, as in a notebook; here the whole script runs in a thread beside it."""
    async with running_server("--dev", feeds=("synthetic?symbols=EUR/USD,AAPL&rate=50",)) as server:

        def script() -> tuple[list[Quote], list[str], State]:
            called: list[str] = []
            with SyncMarketDataClient(server.url, token=server.token(), transport=way) as client:
                client.subscribe("AAPL", lambda quote: called.append(quote.symbol))
                with client.stream_quotes(["EUR/USD", "AAPL"], timeout=scaled(10)) as stream:
                    quotes = [next(stream) for _ in range(10)]
                assert client.is_connected
                assert client.get_quote("AAPL").symbol == "AAPL"
                assert client.get_stream_status().active_streams == 0
            return quotes, called, client.state

        quotes, called, state = await asyncio.to_thread(script)
        assert {quote.symbol for quote in quotes} == {"EUR/USD", "AAPL"}
        assert set(called) == {"AAPL"}
        assert state == "closed"
