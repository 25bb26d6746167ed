"""The load balancers of `config/`, run for real: stock clients on one side, two gateways on the other."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from yarl import URL

from tests.conformance.market import new_symbol, price
from tests.conformance.raw import enter, poller, raw_socket
from tests.conformance.stream import request, streaming
from tests.support.balancer import KINDS, Stage, command, stage
from tests.support.eventually import eventually
from tests.support.node import Node, Script
from tests.support.server import Server, free_port
from tests.support.valkey import Valkey

CLIENTS = {"websocket": 2, "events": 2, "polling": 2, "upgrade": 2}
ESTABLISHED = "websocket_connection_established"


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest, shared_valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A stage for all tests that leave it as it was."""
    folder = tmp_path_factory.mktemp(request.param)
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        yield runner.run(opened.enter_async_context(stage(request.param, shared_valkey.url, folder)))
        runner.run(opened.aclose())


class Watchers:
    """The clients of `balanced.mjs`, each with a name such as `polling 2`, and what they said."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def said(self, event: str) -> list[tuple[str, Any]]:
        """Who said it, and what with it, in order."""
        return [(m["client"], m["data"]) for m in self._script.messages if m["event"] == event]

    def story(self, client: str) -> list[str]:
        """The names of all events of a client, in order."""
        return [m["event"] for m in self._script.messages if m["client"] == client]

    def values(self) -> dict[str, list[float]]:
        """All values that each client got, in snapshots and as prices, in order."""
        found: dict[str, list[float]] = {}
        for message in self._script.messages:
            if message["event"] in ("snapshot", "price"):
                found.setdefault(message["client"], []).append(message["data"])
        return found

    async def all_have(self, number: int) -> None:
        """Waits until this is the newest value of every client."""
        total = sum(CLIENTS.values())

        def newest() -> bool:
            assert self._script.running, self._script._printed()
            values = self.values()
            return len(values) == total and {each[-1] for each in values.values()} == {number}

        try:
            await eventually(newest, 15, f"value {number} at every client")
        except AssertionError as error:
            error.add_note("\n".join(map(str, self._script.messages)))
            raise


@asynccontextmanager
async def watching(node: Node, on: Stage, symbol: str) -> AsyncIterator[Watchers]:
    """Clients of every kind that all have the value 1."""
    await on.servers[0].publish(prices=[price(symbol, 1)])
    args = (on.door.url, on.door.token(), symbol, json.dumps(CLIENTS))
    async with node.start("balanced.mjs", *args) as script:
        watchers = Watchers(script)
        await watchers.all_have(1)
        await eventually(lambda: len(watchers.said("upgrade")) == CLIENTS["upgrade"], 10, "the upgrades")
        yield watchers


def home_of_polling(on: Stage) -> tuple[Server, Server]:
    """The gateway with most of the clients that poll, and the other one."""

    def polling(server: Server) -> int:
        return sum(entry["transport"] == "polling" for entry in server.events(ESTABLISHED))

    first, second = sorted(on.servers, key=polling, reverse=True)
    return first, second


def assert_moved(watchers: Watchers, gone: int) -> None:
    """Those and only those who were on the gateway that is gone came back, and nobody's time went back."""
    moved = {client for client, _ in watchers.said("disconnect")}
    assert len(moved) == gone
    assert {client.split()[0] for client in moved} >= {"websocket", "events", "polling"}
    for client, values in watchers.values().items():
        assert values == sorted(values), client
        story = watchers.story(client)
        assert story.count("connect") == (2 if client in moved else 1), story
        if not client.startswith("events"):
            assert story.count("snapshot") == story.count("connect"), story


@pytest.mark.parametrize("kind", KINDS)
def test_the_balancer_itself_finds_no_fault_in_its_file(kind: str, tmp_path: Path) -> None:
    flag = {"haproxy": "-c", "nginx": "-t"}[kind]
    with command(kind, tmp_path, free_port(), (free_port(), free_port()), flag) as program:
        assert program.wait(10) == 0, program.out
        assert not [line for line in program.out if "WARNING" in line or "warn" in line]


async def test_every_way_in_gets_what_is_published_at_either_gateway(
    shared: Stage, shared_valkey: Valkey, node: Node
) -> None:
    """And what a back end sends to its tenant with the stock manager."""
    first, second = shared.servers
    symbol = new_symbol("LB")
    async with watching(node, shared, symbol) as watchers:
        await first.publish(prices=[price(symbol, 2)])
        await watchers.all_have(2)
        await second.publish(prices=[price(symbol, 3)])
        await watchers.all_have(3)
        assert all({"websocket", "sse"} <= transports(server) for server in shared.servers)

        manager = socketio.AsyncRedisManager(shared_valkey.url, write_only=True)
        await manager.emit("notice", {"text": "to all"}, room="tenant:acme", namespace="/market-data")
        await manager.redis.aclose()
        reached = {f"{way} {n}" for way in ("websocket", "polling", "upgrade") for n in (1, 2)}
        await eventually(
            lambda: {client for client, _ in watchers.said("notice")} == reached, 5, "the notice"
        )
        assert not watchers.said("disconnect")
        assert not watchers.said("connect_error")


def transports(server: Server) -> set[str]:
    """How clients of a gateway came in."""
    return {entry["transport"] for entry in server.events(ESTABLISHED)}


async def test_a_session_that_polls_stays_with_its_gateway(shared: Stage) -> None:
    """Without a cookie, on a new TCP connection for each session, with others in between."""
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(poller(shared.door.url)) for _ in range(8)]
        for session in sessions:
            assert await session.post(enter(shared.door.token())) == 200
        for session in reversed(sessions):
            assert [packet[:2] for packet in await session.poll()][:1] == ["40"]
        async with raw_socket(shared.door.url, sessions[0].sid) as socket:
            await socket.send("2probe")
            assert await socket.read() == "3probe"
    if shared.kind == "haproxy":
        assert all("polling" in transports(server) for server in shared.servers)


async def test_events_are_not_held_back(shared: Stage) -> None:
    """Whatever encodings the client takes: each event is there before there is a next one."""
    symbol = new_symbol("SSE")
    async with streaming(shared.door, symbol, headers={"Accept-Encoding": "gzip, br"}) as reader:
        assert "Content-Encoding" not in reader.response.headers
        for number in range(1, 6):
            await shared.servers[number % 2].publish(prices=[price(symbol, number)])
            assert (await reader.event()).number == number


async def test_a_plain_websocket_comes_in_too(shared: Stage) -> None:
    symbol = new_symbol("PLAIN")
    headers = {"Authorization": f"Bearer {shared.door.token()}"}
    for number, path in enumerate(("/ws", "/api/v1/market/ws/market-data"), 1):
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(f"{shared.door.url}{path}") as socket,
        ):
            await socket.send_json({"action": "subscribe", "symbols": [symbol]})
            assert (await socket.receive_json())["status"] == "subscribed"
            await shared.servers[0].publish(prices=[price(symbol, number)])
            while (await socket.receive_json()).get("price") != number:
                pass


async def test_a_gateway_learns_where_its_client_is(shared: Stage) -> None:
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    query = {"symbols": "WHERE", "token": shared.door.token(user="far away")}
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(f"{shared.door.url}/market-data/stream", params=query) as answer,
    ):
        assert answer.status == 200
        await eventually(lambda: "127.0.0.2" in addresses(shared), 5, "the address in a log")


def addresses(on: Stage) -> set[str]:
    """Addresses of clients by the logs of the gateways."""
    return {entry["address"] for server in on.servers for entry in server.events(ESTABLISHED)}


async def test_a_token_in_the_query_is_not_written_down(shared: Stage) -> None:
    """The path is; and the end of the stage looks through all that was written."""
    for token, status in ((shared.door.token(), 200), ("eyJ.not.one", 401)):
        async with request(shared.door, {"symbols": "LOGGED", "token": token}, token="") as answer:
            assert answer.status == status
    await eventually(
        lambda: [
            line for line in shared.log.splitlines() if " 401 " in line and "/market-data/stream" in line
        ],
        5,
        "the refusal in the log",
    )
    assert "LOGGED" not in shared.log


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/%6Detrics"])
async def test_figures_are_not_for_the_public(shared: Stage, path: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(f"{shared.door.url}{path}", encoded=True)) as answer,
    ):
        assert answer.status == 404


@pytest.mark.parametrize("kind", KINDS)
async def test_clients_of_a_killed_gateway_are_back_on_the_other_with_the_newest_price(
    kind: str, shared_valkey: Valkey, node: Node, tmp_path: Path
) -> None:
    symbol = new_symbol("KILL")
    async with stage(kind, shared_valkey.url, tmp_path) as on, watching(node, on, symbol) as watchers:
        victim, survivor = home_of_polling(on)
        gone = len(victim.events(ESTABLISHED))
        await victim.publish(prices=[price(symbol, 2)])
        await watchers.all_have(2)
        victim.kill()
        # While they are away: they find it when they are back.
        await survivor.publish(prices=[price(symbol, 3)])
        await watchers.all_have(3)
        await survivor.publish(prices=[price(symbol, 4)])
        await watchers.all_have(4)
        assert_moved(watchers, gone)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_drain_moves_clients_while_new_ones_come_in_without_an_error(
    kind: str, shared_valkey: Valkey, node: Node, tmp_path: Path
) -> None:
    symbol = new_symbol("DRAIN")
    async with stage(kind, shared_valkey.url, tmp_path) as on, watching(node, on, symbol) as watchers:
        leaving, staying = home_of_polling(on)
        gone = len(leaving.events(ESTABLISHED))
        os.kill(leaving.pid, signal.SIGTERM)
        rounds = 0
        while not leaving.events("server_stopped") or rounds < 10:
            await come_in(on, symbol)
            rounds += 1
        await come_in(on, symbol)
        await staying.publish(prices=[price(symbol, 2)])
        await watchers.all_have(2)
        assert_moved(watchers, gone)
        assert await asyncio.to_thread(leaving._program.wait, 5) == 0


async def come_in(on: Stage, symbol: str) -> None:
    """A new client by each way, which must get in and be answered."""
    url, token = on.door.url, on.door.token(user="new")
    async with raw_socket(url, token=token):
        pass
    async with poller(url) as session:
        assert await session.post(enter(token)) == 200
        assert (await session.poll())[0].startswith("40")
    async with streaming(on.door, symbol, token=token) as reader:
        assert (await reader.event()).number == 1
