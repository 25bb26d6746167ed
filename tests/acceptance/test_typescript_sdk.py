"""The TypeScript SDK in Node, on a server that dies, drains, falls silent, and ends its tokens.

Two consumers share a symbol. Whatever happens, each gets every newest price once, none that is older than
one it has, and the states say what is going on.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.conformance.market import BASE_MS, new_symbol, price
from tests.support.eventually import eventually
from tests.support.node import Node, Script
from tests.support.proxy import proxy
from tests.support.server import Server, free_port, running_server

TRANSPORTS = ("socketio", "sse")
SOON = {"reconnection": {"delayMs": 200, "attempts": 0, "maxDelayMs": 400}}
# The server's own clock ticks once a second, so shorter ones would not be kept.
SHORT = {
    "MARKETSTREAM_SOCKETIO__PING_INTERVAL": "1",
    "MARKETSTREAM_SOCKETIO__PING_TIMEOUT": "2",
    "MARKETSTREAM_SSE__COMMENT_INTERVAL": "1",
}
SILENCE_MS = 3_000
PATIENCE = 20.0

pytestmark = pytest.mark.usefixtures("sdk")


class Client:
    """A running `sdk.mjs`, and what it has told."""

    def __init__(self, script: Script, symbols: Sequence[str]) -> None:
        self._script = script
        self.symbols = symbols
        first, shared, last = symbols
        self.seats = [("one", first), ("one", shared), ("two", shared), ("two", last)]

    def told(self, kind: str) -> list[list[Any]]:
        """Everything of one kind so far, without its name."""
        return [entry[1:] for entry in self._script.messages if entry[0] == kind]

    @property
    def states(self) -> list[str]:
        """The states so far."""
        return [state for state, *_ in self.told("state")]

    def prices(self, consumer: str, symbol: str) -> list[int]:
        """The numbers of the prices that one consumer got of one symbol, in order."""
        return [
            round(middle) for name, got, middle, _ in self.told("price") if (name, got) == (consumer, symbol)
        ]

    async def has(self, number: int) -> None:
        """Waits until both consumers have this price of each of their symbols."""
        await self._until(lambda: all(number in self.prices(*seat) for seat in self.seats), f"price {number}")

    async def is_(self, *states: str) -> None:
        """Waits until these are the states it went through, `connecting` and the first `connected` aside."""
        await self._until(lambda: self.states == ["connecting", "connected", *states], f"the states {states}")

    async def stale(self) -> None:
        """Waits until it knows that every symbol is stale."""
        wanted = [[symbol, "stale"] for symbol in self.symbols]
        await self._until(lambda: all(one in self.told("status") for one in wanted), "silence")

    async def until(self, kind: str, count: int = 1) -> list[list[Any]]:
        """Waits until it has told so many of a kind."""
        await self._until(lambda: len(self.told(kind)) >= count, f"{count} of {kind}")
        return self.told(kind)

    def check(self) -> None:
        """Holds it to the rule: for each consumer and symbol prices rise, so none is older or told twice."""
        for seat in self.seats:
            got = self.prices(*seat)
            assert got == sorted(set(got)), (seat, got)

    async def _until(self, condition: Any, what: str) -> None:
        try:
            await eventually(condition, PATIENCE, what)
        except AssertionError as error:
            error.add_note("\n".join(map(str, self._script.messages[-30:])))
            raise


@asynccontextmanager
async def watching(
    node: Node,
    url: str,
    transport: str,
    tokens: Sequence[str],
    *,
    options: Mapping[str, Any] = SOON,
    idle_timeout_ms: int = 40_000,
) -> AsyncIterator[Client]:
    """A client that runs inside the block; at its end it is held to the rule."""
    symbols = [new_symbol("SDK") for _ in range(3)]
    env = {
        "SYMBOLS": ",".join(symbols),
        "TOKENS": json.dumps(list(tokens)),
        "OPTIONS": json.dumps(options),
        "IDLE_TIMEOUT_MS": str(idle_timeout_ms),
    }
    async with node.start("sdk.mjs", url, transport, env=env) as script:
        client = Client(script, symbols)
        yield client
        client.check()


async def publish(server: Server, client: Client, number: int) -> None:
    """Publishes a price of all symbols; the larger its number, the newer."""
    await server.publish(prices=[price(symbol, number) for symbol in client.symbols])


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """The way the server is reached."""
    return str(request.param)


@pytest.fixture
def secret() -> Mapping[str, str]:
    """The environment of servers that trust each other's tokens."""
    return {"MARKETSTREAM_JWT_SECRET": secrets.token_hex(32)}


async def test_after_a_crash_all_subscriptions_come_back(
    node: Node, transport: str, secret: Mapping[str, str]
) -> None:
    """SIGKILL, and another server on the same port that first knows nothing but an older price."""
    port = free_port()
    async with (
        running_server(env=secret, port=port) as server,
        watching(node, server.url, transport, [server.token()], options={}) as client,
    ):
        await client.is_()
        await publish(server, client, 5)
        await client.has(5)
        await asyncio.to_thread(server.kill)
        await client.is_("reconnecting")
        async with running_server(env=secret, port=port) as other:
            await publish(other, client, 3)
            await client.is_("reconnecting", "connected")
            await publish(other, client, 7)
            await client.has(7)
            assert [client.prices(*seat) for seat in client.seats] == [[5, 7]] * 4
            assert client.told("error") == []


async def test_a_draining_server_hands_its_clients_over(
    node: Node, transport: str, secret: Mapping[str, str]
) -> None:
    """SIGTERM, and another server on the same port."""
    port = free_port()
    async with (
        running_server(env=secret, port=port) as server,
        watching(node, server.url, transport, [server.token()]) as client,
    ):
        await client.is_()
        await publish(server, client, 1)
        await client.has(1)
        assert await asyncio.to_thread(server.terminate) == 0
        await client.is_("reconnecting")
        async with running_server(env=secret, port=port) as other:
            await client.is_("reconnecting", "connected")
            await publish(other, client, 2)
            await client.has(2)


async def test_a_half_open_connection_is_noticed_and_made_again(node: Node, transport: str) -> None:
    """Nothing comes any more and nobody says so: Engine.IO's pings, or the missing comments, tell."""
    async with (
        running_server(env=SHORT) as server,
        proxy(server.port) as door,
        watching(node, door.url, transport, [server.token()], idle_timeout_ms=SILENCE_MS) as client,
    ):
        await client.is_()
        await publish(server, client, 1)
        await client.has(1)
        door.hold()
        await publish(server, client, 2)
        await client.is_("reconnecting")
        reason = client.told("state")[-1][2]
        assert ("ping timeout" if transport == "socketio" else f"nothing came for {SILENCE_MS} ms") in reason
        door.cut()
        door.resume()
        await client.is_("reconnecting", "connected")
        await publish(server, client, 3)
        await client.has(3)


async def test_a_quiet_connection_is_left_alone(node: Node, transport: str) -> None:
    """Pings and comments alone keep it: no price for longer than silence would be allowed."""
    async with (
        running_server(env=SHORT | {"MARKETSTREAM_FEEDS__STALE_AFTER": "5"}) as server,
        watching(node, server.url, transport, [server.token()], idle_timeout_ms=SILENCE_MS) as client,
    ):
        await client.is_()
        quotes = [
            {"symbol": symbol, "source": "a", "bid": 1, "ask": 2, "timestamp": BASE_MS}
            for symbol in client.symbols
        ]
        await server.publish(quotes=quotes)
        await client.stale()
        assert client.states == ["connecting", "connected"]


async def test_a_token_is_replaced_before_it_ends(node: Node, transport: str) -> None:
    """The connection, or for server-sent events its successor, outlives the first token."""
    async with running_server() as server:
        # Long enough for Node to start on a busy machine: one that has ended by then is another test.
        tokens = [server.token(ttl=8), server.token(ttl=3600)]
        ends = time.time() + 8
        async with watching(node, server.url, transport, tokens) as client:
            await client.is_()
            await client.until("token", 2)
            await eventually(lambda: time.time() > ends, PATIENCE, "the end of the first token")
            await publish(server, client, 1)
            await client.has(1)
            assert client.states == ["connecting", "connected"]
            assert client.told("error") == []


async def test_a_token_that_ends_all_the_same_is_replaced_at_once(node: Node, transport: str) -> None:
    """The renewal in time was no good; the function is asked again, without a pause."""
    async with running_server() as server:
        tokens = [server.token(ttl=5), "rubbish", server.token(ttl=3600)]
        # Any pause would outlast the test.
        options = {"reconnection": {"delayMs": 600_000, "maxDelayMs": 600_000}}
        async with watching(node, server.url, transport, tokens, options=options) as client:
            await client.is_()
            await publish(server, client, 1)
            await client.has(1)
            await client.is_("reconnecting", "connected")
            await publish(server, client, 2)
            await client.has(2)


@pytest.mark.parametrize("code", ["TOKEN_EXPIRED", "AUTH_FAILED", "UNAUTHORIZED"])
async def test_a_token_that_never_changes_and_is_no_good_is_the_end(
    node: Node, transport: str, code: str
) -> None:
    async with running_server() as server:
        token = {"TOKEN_EXPIRED": server.token(ttl=-9), "AUTH_FAILED": "rubbish", "UNAUTHORIZED": ""}[code]
        async with watching(node, server.url, transport, [token]) as client:
            [[name, told, _]] = await client.until("error")
            assert (name, told) == ("AuthenticationError", code)
            assert client.states == ["connecting", "failed"]


async def test_a_token_that_never_changes_and_ends_is_the_end(node: Node, transport: str) -> None:
    async with (
        running_server() as server,
        watching(node, server.url, transport, [server.token(ttl=5)]) as client,
    ):
        await client.is_("failed")
        assert [entry[:2] for entry in await client.until("error")] == [
            ["AuthenticationError", "TOKEN_EXPIRED"]
        ]


async def test_a_server_that_is_not_there_is_given_up_after_five_attempts(node: Node, transport: str) -> None:
    options = {"reconnection": {"delayMs": 10}}
    async with watching(node, f"http://127.0.0.1:{free_port()}", transport, ["t"], options=options) as client:
        [[name, code, text]] = await client.until("error")
        assert (name, code) == ("ConnectionFailedError", "CONNECTION_FAILED")
        assert text.startswith("gave up after 5 attempts: ")
        assert client.states == ["connecting", "failed"]


async def test_a_symbol_beyond_the_token_is_told_and_the_others_flow(node: Node, transport: str) -> None:
    async with running_server() as server:
        probe = new_symbol("SDK")
        base = int(probe.rpartition(".")[2])
        token = server.token(symbols=[f"SDK.{base + 1}", f"SDK.{base + 2}"])
        async with watching(node, server.url, transport, [token]) as client:
            [[name, _, text]] = await client.until("error")
            assert (name, text) == ("SubscriptionError", f"{client.symbols[2]}: not entitled")
            await publish(server, client, 1)
            await eventually(lambda: client.prices("two", client.symbols[1]) == [1], PATIENCE, "the price")
            assert client.states == ["connecting", "connected"]
