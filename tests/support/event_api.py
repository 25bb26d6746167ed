"""Event streams of a real server, asked by HTTP."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp

from tests.conformance.stream import Reader
from tests.conformance.watcher import Watcher
from tests.support.eventually import eventually
from tests.support.server import UNLIMITED, Server

PATH = "/api/v1/events"
PUBLISH = ("market:publish",)
READ = ("market:read",)


async def ask(
    server: Server,
    method: str,
    path: str = "",
    body: Any = None,
    *,
    user: str = "u1",
    tenant: str = "acme",
    scopes: Sequence[str] = READ,
) -> tuple[int, Any]:
    """The status and the JSON of an answer; a body of bytes is sent as it is."""
    token = server.token(user=user, tenant=tenant, plan=UNLIMITED, scopes=scopes)
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    data = None if raw is None else BytesIO(raw)
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.request(method, f"{server.url}{PATH}{path}", data=data) as answer,
    ):
        return answer.status, json.loads(await answer.read())


async def publish(server: Server, *events: Mapping[str, Any]) -> dict[str, Any]:
    """Publishes events, of the type `alert` where they do not say it, and returns the answer.

    Raises:
        AssertionError: The server did not answer 200.
    """
    listed = [{"type": "alert", "name": "news", **event} for event in events]
    status, answer = await ask(server, "POST", body=listed, user="publisher", scopes=PUBLISH)
    assert status == 200, answer
    return dict(answer)


async def health(server: Server) -> dict[str, Any]:
    """What the server says of its layers."""
    status, answer = await ask(server, "GET", "/health", scopes=("admin",))
    assert status == 200, answer
    return dict(answer)


async def knows(server: Server, held: int) -> None:
    """Returns when so many subscriptions count at a server."""

    async def look() -> bool:
        found = (await health(server))["subscriptions"]
        return bool(found["held"] == held and not found["unread"])

    await eventually(look, 10, f"{held} subscriptions")


def ids(watcher: Watcher) -> list[str]:
    """The ids of the events that a client got, in order."""
    return [event["id"] for batch in watcher.named("events") for event in batch["events"]]


async def receives(watcher: Watcher, *wanted: str) -> None:
    """Returns when a client has got events of these ids, and no others."""
    await eventually(lambda: len(ids(watcher)) >= len(wanted), 10, f"events {wanted}")
    assert ids(watcher) == list(wanted)


@asynccontextmanager
async def streaming(server: Server, token: str | None = None) -> AsyncIterator[Reader]:
    """A stream of a user's events that is open inside the block."""
    headers = {"Authorization": f"Bearer {token or server.token()}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{server.url}{PATH}/stream") as response,
    ):
        assert response.status == 200, await response.text()
        yield Reader(response)
