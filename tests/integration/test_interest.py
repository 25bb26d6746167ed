"""What one process holds counts at all: symbols that are watched, and connections of users."""

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from marketstream.wire import keys
from tests.conformance.market import new_symbol
from tests.conformance.raw import RawSocket, enter, raw_socket, say
from tests.conformance.stream import request, streaming
from tests.support.eventually import eventually
from tests.support.figures import metric
from tests.support.gateways import gateways, is_ready, next_event, subscribe
from tests.support.server import Server, running_server
from tests.support.valkey import Valkey, running_valkey

GATEWAY = {"MARKETSTREAM_SERVER__ROLE": "gateway"}
DEAD = 20
"""Seconds until a process that was killed is noticed and its symbols have lingered, with room to spare."""


@pytest.fixture
def mortal() -> Iterator[Valkey]:
    """A Valkey of the test's own."""
    with running_valkey() as valkey:
        yield valkey


# Symbols


@asynccontextmanager
async def upstream(bus: str, *symbols: str) -> AsyncIterator[Server]:
    """A process with a feed that quotes only what is watched."""
    spec = f"synthetic?demand=1&rate=20&symbols={','.join(symbols)}"
    async with running_server("--bus", bus, feeds=(spec,)) as server:
        await eventually(lambda: is_ready(server), 10, "readiness")
        yield server


async def demanded(server: Server, count: int, timeout: float = DEAD) -> None:  # noqa: ASYNC109  # scaled, and named in the failure
    """Waits until so many symbols are demanded, as far as a process knows."""

    async def seen() -> bool:
        return await metric(server, "demanded_symbols") == count

    await eventually(seen, timeout, f"{count} demanded symbols")


async def prices(socket: RawSocket, count: int) -> None:
    """Waits for so many more prices."""
    for _ in range(count):
        await next_event(socket, "price")


async def unsubscribe(socket: RawSocket, symbol: str) -> None:
    """Ends a subscription."""
    await socket.send(say("unsubscribe", {"symbols": [symbol]}, 9))
    await socket.read_to("43/market-data,9")


async def newest(socket: RawSocket, symbol: str) -> int:
    """Time of the newest price of a symbol that nobody need watch."""
    await socket.send(say("get_quote", {"symbol": symbol}, 8))
    answer = await socket.read_to("43/market-data,8")
    return int(json.loads(answer.removeprefix("43/market-data,8"))[0]["timestamp"])


async def rests(socket: RawSocket, symbol: str) -> bool:
    """Whether a symbol got no price while another one, which the client watches, got ten."""
    before = await newest(socket, symbol)
    await prices(socket, 10)
    return await newest(socket, symbol) == before


async def test_the_first_subscriber_anywhere_starts_a_symbol_and_the_last_one_ends_it(valkey: Valkey) -> None:
    """It goes on for a while after the last one left, and then it stops while others go on."""
    one, other = new_symbol("UP"), new_symbol("UP")
    async with (
        upstream(valkey.url, one, other) as feed,
        gateways(valkey.url, env=GATEWAY, owner=False) as (first, second),
        raw_socket(first.url, token=first.token()) as here,
        raw_socket(second.url, token=second.token(user="u2")) as there,
    ):
        assert await metric(feed, "frames_published_total") == 0
        assert await subscribe(here, one) == []
        await prices(here, 3)
        await subscribe(there, one)
        await prices(there, 3)
        await unsubscribe(here, one)
        await prices(there, 3)
        await unsubscribe(there, one)
        left = await newest(there, one)
        await eventually(lambda: _after(there, one, left), what="a price after the last one left")
        await demanded(feed, 0)
        assert await subscribe(there, other) == []
        await eventually(lambda: rests(there, one), what="an end of the prices")


async def _after(socket: RawSocket, symbol: str, at_ms: int) -> bool:
    return await newest(socket, symbol) > at_ms


async def test_the_symbols_of_a_gateway_that_was_killed_are_let_go(valkey: Valkey) -> None:
    one, other = new_symbol("KILL"), new_symbol("KILL")
    async with (
        upstream(valkey.url, one, other) as feed,
        gateways(valkey.url, env=GATEWAY, owner=False) as (first, second),
        raw_socket(first.url, token=first.token()) as here,
        raw_socket(second.url, token=second.token()) as there,
    ):
        await subscribe(here, one)
        await subscribe(there, other)
        await prices(here, 3)
        await prices(there, 3)
        await demanded(feed, 2)
        first.kill()
        await demanded(feed, 1)
        await eventually(lambda: rests(there, one), what="an end of the prices")


async def test_a_gateway_that_is_stopped_says_goodbye(valkey: Valkey) -> None:
    async with (
        upstream(valkey.url, "BYE") as feed,
        gateways(valkey.url, 1, env=GATEWAY, owner=False) as (only,),
    ):
        async with raw_socket(only.url, token=only.token()) as socket:
            await subscribe(socket, "BYE")
            await prices(socket, 1)
            with valkey.client() as client:
                assert client.zcard(keys.NODES_SEEN) == 2
                assert only.terminate() == 0
                assert client.zcard(keys.NODES_SEEN) == 1
                assert client.hlen(keys.NODES_NUMBERS) == 1
                assert len(list(client.scan_iter("marketstream:*:symbols"))) == 1
        await demanded(feed, 0)


async def test_a_feed_that_starts_late_learns_what_is_watched(valkey: Valkey) -> None:
    async with (
        gateways(valkey.url, 1, env=GATEWAY, owner=False) as (only,),
        raw_socket(only.url, token=only.token()) as socket,
    ):
        await subscribe(socket, "LATE", "NEVER")
        async with upstream(valkey.url, "LATE") as feed:
            await prices(socket, 3)
            await demanded(feed, 2)


@pytest.mark.parametrize("how", ["killed", "emptied", "deaf"])
async def test_what_is_watched_outlives_a_redis_that_forgets_or_a_channel_that_breaks(
    mortal: Valkey, how: str
) -> None:
    """The feed goes on as if nothing had been, and hears of what comes after."""
    async with (
        upstream(mortal.url, "A", "B") as feed,
        gateways(mortal.url, 1, env=GATEWAY, owner=False) as (only,),
        raw_socket(only.url, token=only.token()) as socket,
    ):
        await subscribe(socket, "A")
        await prices(socket, 3)
        if how == "killed":
            mortal.kill()
            await next_event(socket, "status")
            mortal.start()
        elif how == "emptied":
            mortal.flush()
        else:
            assert mortal.kill_listeners() >= 2
        await eventually(lambda: is_ready(only), 10, "readiness")
        await socket.send(say("subscribe", {"symbols": ["B"]}))
        while (await next_event(socket, "price"))["symbol"] != "B":
            pass
        await demanded(feed, 2)
        with mortal.client() as client:
            symbols = [name for name in client.scan_iter("marketstream:*:symbols") if client.hlen(name) == 3]
            assert len(symbols) == 1
        await prices(socket, 10)


# Connection limits


async def refused(server: Server, token: str) -> None:
    """The next connection is refused on both edges, with the code that was promised."""
    async with raw_socket(server.url) as socket:
        await socket.send(enter(token))
        error = json.loads((await socket.read_to("44")).partition(",")[2])
        assert error["data"]["code"] == "CONNECTION_LIMIT"
        await socket.fence()
        assert socket.events == []
    async with request(server, {"symbols": "X"}, token=token) as response:
        assert response.status == 429
        assert (await response.json())["error"]["code"] == "CONNECTION_LIMIT"
        assert int(response.headers["Retry-After"]) > 0


async def counted(valkey: Valkey, user: str, *counts: int) -> None:
    """Waits until Redis has these counts of a user."""

    def seen() -> bool:
        with valkey.client() as client:
            found = client.hgetall(keys.user_connections("acme", user))
            return sorted(map(int, found.values())) == sorted(counts)

    await eventually(seen, 10, f"counts {counts}")


async def test_connections_of_a_user_are_counted_over_all_gateways_and_edges(valkey: Valkey) -> None:
    async with gateways(valkey.url, env=GATEWAY, owner=False) as (first, second):
        mine = [server.token(user="u", plan="pair") for server in (first, second)]
        async with raw_socket(first.url, token=mine[0]):
            async with streaming(second, "X", token=mine[1]):
                await refused(first, mine[0])
                await refused(second, mine[1])
                async with raw_socket(second.url, token=second.token(user="v", plan="pair")):
                    pass
            # The place of the stream is free once its end was noticed.
            await counted(valkey, "u", 1)
            async with raw_socket(first.url, token=mine[0]):
                await refused(second, mine[1])
    with valkey.client() as client:
        assert list(client.scan_iter("marketstream:places:*")) == []


async def test_the_connections_of_a_gateway_that_was_killed_count_no_more(valkey: Valkey) -> None:
    async with gateways(valkey.url, env=GATEWAY, owner=False) as (first, second):
        token = second.token(user="u", plan="pair")
        async with AsyncExitStack() as stack:
            for _ in range(2):
                mine = raw_socket(first.url, token=first.token(user="u", plan="pair"))
                await stack.enter_async_context(mine)
            await refused(second, token)
            first.kill()
            for _ in range(2):
                await stack.enter_async_context(raw_socket(second.url, token=token))
            await refused(second, token)
            await counted(valkey, "u", 2)


@pytest.mark.parametrize("how", ["killed", "emptied"])
async def test_limits_hold_again_after_redis_has_lost_its_memory(mortal: Valkey, how: str) -> None:
    async with gateways(mortal.url, env=GATEWAY, owner=False) as (first, second):
        mine = [server.token(user="u", plan="pair") for server in (first, second)]
        async with raw_socket(first.url, token=mine[0]), raw_socket(second.url, token=mine[1]):
            if how == "killed":
                mortal.kill()
                mortal.start()
            else:
                mortal.flush()
            await counted(mortal, "u", 1, 1)
            await refused(first, mine[0])
            await refused(second, mine[1])


async def test_without_redis_clients_are_let_in_by_what_each_gateway_knows(mortal: Valkey) -> None:
    """And the limit counts again once it is back; nobody is sent away for it."""
    async with (
        gateways(mortal.url, env=GATEWAY, owner=False) as (first, second),
        AsyncExitStack() as stack,
    ):
        mine = [server.token(user="u", plan="pair") for server in (first, second)]
        before = await stack.enter_async_context(raw_socket(first.url, token=mine[0]))
        mortal.kill()
        for server, token in ((first, mine[0]), (second, mine[1]), (second, mine[1])):
            await stack.enter_async_context(raw_socket(server.url, token=token))
        await refused(first, mine[0])
        await refused(second, mine[1])
        mortal.start()
        await counted(mortal, "u", 2, 2)
        await refused(second, mine[1])
        await before.fence()


async def test_a_redis_that_answers_nothing_keeps_nobody_out(mortal: Valkey) -> None:
    async with gateways(mortal.url, 1) as (only,):
        mortal.pause()
        token = only.token(user="u", plan="pair")
        async with raw_socket(only.url, token=token), streaming(only, "X", token=token):
            await refused(only, token)
            mortal.go_on()
            await counted(mortal, "u", 2)


@pytest.mark.slow
async def test_a_gateway_that_stood_still_is_taken_for_dead_until_it_goes_on(valkey: Valkey) -> None:
    """Its connections to Redis stay open, so only its silence tells."""
    async with (
        upstream(valkey.url, "STILL") as feed,
        gateways(valkey.url, env=GATEWAY, owner=False) as (first, second),
        raw_socket(first.url, token=first.token(user="u", plan="alone")) as socket,
    ):
        await subscribe(socket, "STILL")
        await demanded(feed, 1)
        token = second.token(user="u", plan="alone")
        await refused(second, token)
        os.kill(first.pid, signal.SIGSTOP)
        try:
            await demanded(feed, 0)
            async with raw_socket(second.url, token=token):
                await counted(valkey, "u", 1)
                os.kill(first.pid, signal.SIGCONT)
                await demanded(feed, 1)
                await counted(valkey, "u", 1, 1)
            await counted(valkey, "u", 1)
            await refused(second, token)
        finally:
            os.kill(first.pid, signal.SIGCONT)
