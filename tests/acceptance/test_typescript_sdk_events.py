"""Events through the TypeScript SDK in Node, on a server that dies and forgets what its users wanted.

Two consumers share a subscription. Each gets every event that matches once, whatever happens to the server
and whatever becomes of other subscriptions.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.node import Node, Script
from tests.support.server import UNLIMITED, Server, free_port, running_server

FILTER = {"types": ["pattern"], "minConfidence": 0.5}
PATIENCE = 20.0

pytestmark = pytest.mark.usefixtures("sdk")


class Client:
    """A running `sdkevents.mjs`, and what it has told."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def told(self, kind: str) -> list[list[Any]]:
        """Everything of one kind so far, without its name."""
        return [entry[1:] for entry in self._script.messages if entry[0] == kind]

    def got(self, consumer: str) -> list[str]:
        """The ids of the events that one consumer got."""
        return [ident for name, ident, _ in self.told("event") if name == consumer]

    async def until(self, kind: str, count: int) -> list[list[Any]]:
        """Waits until it has told so many of a kind."""
        try:
            await eventually(lambda: len(self.told(kind)) >= count, PATIENCE, f"{count} of {kind}")
        except AssertionError as error:
            error.add_note("\n".join(map(str, self._script.messages[-30:])))
            raise
        return self.told(kind)


@asynccontextmanager
async def listening(node: Node, server: Server, transport: str) -> AsyncIterator[Client]:
    """A client that runs inside the block, once the server knows what it wants."""
    async with node.start("sdkevents.mjs", server.url, transport, env={"TOKEN": server.token()}) as script:
        client = Client(script)
        await client.until("refused", 2)
        await wanted(server, {"patterns": FILTER})
        yield client


async def publish(server: Server, *events: Mapping[str, Any]) -> None:
    """Publishes events; unless they say otherwise each is a pattern that is sure enough."""
    headers = {"Authorization": f"Bearer {server.token(user='publisher', scopes=('market:publish',))}"}
    body = [{"type": "pattern", "name": "wedge", "confidence": 0.7, **event} for event in events]
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{server.url}/api/v1/events", json=body) as response,
    ):
        answer = await response.json()
        assert (answer["accepted"], answer["rejected"]) == (len(body), []), answer


async def wanted(server: Server, filters: Mapping[str, Any]) -> None:
    """Waits until these are what the server holds for the user."""
    headers = {"Authorization": f"Bearer {server.token(plan=UNLIMITED)}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def holds() -> bool:
            async with session.get(f"{server.url}/api/v1/events/subscriptions") as response:
                held = (await response.json())["subscriptions"]
                return {one["name"]: one["filter"] for one in held} == filters

        await eventually(holds, PATIENCE, f"the subscriptions {filters}")


@pytest.fixture(params=("socketio", "sse"))
def transport(request: pytest.FixtureRequest) -> str:
    """The way the server is reached."""
    return str(request.param)


async def test_each_consumer_gets_what_matches_once(node: Node, transport: str) -> None:
    """An event for everybody reaches consumers too, and nobody twice."""
    async with running_server() as server, listening(node, server, transport) as client:
        halt = {"id": "halt", "type": "halt", "name": "h", "priority": "CRITICAL", "data": {"why": "storm"}}
        await publish(server, {"id": "a", "data": {"target": 7}}, {"id": "unsure", "confidence": 0.3}, halt)
        await publish(server, {"id": "b"})
        await client.until("event", 6)
        assert sorted(client.got("one")) == sorted(client.got("two")) == ["a", "b", "halt"]
        assert ["one", "a", {"target": 7}] in client.told("event")
        assert client.told("everybody") == [["halt", {"why": "storm"}]]
        assert client.told("state") == [["connecting"], ["connected"]]


async def test_a_server_that_forgot_is_told_again(node: Node, transport: str) -> None:
    """SIGKILL, and another server on the same port that knows of no subscription."""
    port, env = free_port(), {"MARKETSTREAM_JWT_SECRET": secrets.token_hex(32)}
    async with (
        running_server(env=env, port=port) as server,
        listening(node, server, transport) as client,
    ):
        await publish(server, {"id": "a"})
        await client.until("event", 2)
        await asyncio.to_thread(server.kill)
        async with running_server(env=env, port=port) as other:
            await wanted(other, {"patterns": FILTER})
            await publish(other, {"id": "b"})
            await client.until("event", 4)
            assert client.got("one") == client.got("two") == ["a", "b"]
            assert client.told("state")[2:] == [["reconnecting"], ["connected"]]
            assert len(client.told("error")) == len(client.told("refused")) == 2


async def test_the_last_consumer_to_leave_ends_the_subscription(node: Node, transport: str) -> None:
    async with running_server() as server, listening(node, server, transport) as client:
        await publish(server, {"id": "a", "name": "first"})
        await client.until("event", 2)
        await publish(server, {"id": "b", "name": "last"})
        await wanted(server, {})
        assert (client.got("one"), client.got("two")) == (["a"], ["a", "b"])


async def test_what_is_refused_says_why(node: Node, transport: str) -> None:
    """A name that is in use with another filter, and a filter that there is not."""
    async with running_server() as server, listening(node, server, transport) as client:
        refused = {name: (code, text) for name, code, text in client.told("refused")}
        assert refused["patterns"] == ("CONFLICT", "patterns: is in use with another filter")
        code, text = refused["bad"]
        assert code == "INVALID_MESSAGE"
        assert text.startswith("bad: typs: is no field of a filter")
        assert sorted(client.told("error")) == [
            ["RequestError", "CONFLICT"],
            ["RequestError", "INVALID_MESSAGE"],
        ]
