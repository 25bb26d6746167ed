"""What back ends in Python publish, from their call to a client, by HTTP and through Redis."""

from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpServer

from marketstream.errors import (
    AuthFailedError,
    ConfigurationError,
    InvalidMessageError,
    NotEntitledError,
    UnavailableError,
)
from marketstream.patterns import PatternPublisher
from tests.conformance.watcher import Watcher, watching
from tests.support.eventually import eventually
from tests.support.server import Server, free_port, running_server
from tests.support.valkey import Valkey

SEEN: Mapping[str, Any] = {"tier": "daily", "confidence": 0.9}


def events(client: Watcher) -> list[dict[str, Any]]:
    """Every event that a client got, in order."""
    return [event for batch in client.named("events") for event in batch["events"]]


async def listen(client: Watcher) -> None:
    """Subscribes to everything."""
    assert (await client.call("subscribe_events", {"name": "all"}))["subscribed"] == "all"


def publisher_token(server: Server) -> str:
    return server.token(user="back-end", scopes=("market:publish",))


async def test_a_pattern_and_an_alert_reach_a_client_by_http() -> None:
    async with running_server() as server, watching(server) as client:
        await listen(client)
        async with PatternPublisher(server.url, token=publisher_token(server)) as publisher:
            pattern = await publisher.pattern("double-bottom", "aapl", data={"target": 231.5}, **SEEN)
            alert = await publisher.alert("halt", priority="CRITICAL", lasts=60)
            assert await publisher.pattern("again", "AAPL", ident=pattern, **SEEN) == pattern
        await eventually(lambda: len(events(client)) == 2, what="two events")
        by_id = {event["id"]: event for event in events(client)}
        assert set(by_id) == {pattern, alert}
        assert by_id[pattern]["type"] == "pattern"
        assert (by_id[pattern]["symbol"], by_id[pattern]["data"]) == ("AAPL", {"target": 231.5})
        assert by_id[alert]["expiresAt"] - by_id[alert]["timestamp"] == 60_000


async def test_through_redis_no_token_is_needed_and_tenants_are_kept_apart(valkey: Valkey) -> None:
    async with (
        running_server("--bus", valkey.url) as server,
        watching(server, server.token(tenant="acme")) as ours,
        watching(server, server.token(tenant="rival")) as theirs,
    ):
        for client in (ours, theirs):
            await listen(client)
        async with PatternPublisher(valkey.url, tenant="acme") as publisher:
            ident = await publisher.pattern("double-bottom", "AAPL", **SEEN)
        await eventually(lambda: events(ours), what="the event")
        assert [event["id"] for event in events(ours)] == [ident]
        await theirs.fence()
        assert events(theirs) == []


async def test_an_event_whose_answer_was_lost_is_sent_again_under_its_id(
    aiohttp_server: AiohttpServer,
) -> None:
    """A server takes the second one for the first."""
    seen: list[str] = []

    async def take(request: web.Request) -> web.Response:
        seen.append((await request.json())["id"])
        if len(seen) == 1:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"accepted": 1, "rejected": []})

    app = web.Application()
    app.router.add_post("/api/v1/events", take)
    url = str((await aiohttp_server(app)).make_url(""))
    async with PatternPublisher(url, token="any") as publisher:
        ident = await publisher.alert("halt")
    assert seen == [ident, ident]


async def test_what_is_no_event_is_refused_before_anything_is_sent() -> None:
    async with PatternPublisher(f"http://127.0.0.1:{free_port()}", token="any") as publisher:
        with pytest.raises(InvalidMessageError) as refused:
            await publisher.pattern("double-bottom", "AAPL", tier="daily", confidence=1.5)
        assert refused.value.path == "confidence"


async def test_who_may_not_publish_and_who_answers_nothing_is_said_plainly() -> None:
    async with running_server() as server:
        for token, expected in (("no token", AuthFailedError), (server.token(), NotEntitledError)):
            async with PatternPublisher(server.url, token=token) as publisher:
                with pytest.raises(expected):
                    await publisher.alert("halt")
    for url in (f"http://127.0.0.1:{free_port()}", f"redis://127.0.0.1:{free_port()}"):
        async with PatternPublisher(url, token="any") as publisher:
            with pytest.raises(UnavailableError):
                await publisher.alert("halt")


@pytest.mark.parametrize("url", ["http://127.0.0.1", "memory://", "nonsense"])
def test_an_address_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    """And so is a server without a token."""
    with pytest.raises(ConfigurationError):
        PatternPublisher(url)
