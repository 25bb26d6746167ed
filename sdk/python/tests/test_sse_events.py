"""Events over the transport that streams by HTTP: a stream of their own, and subscriptions by REST."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from marketstream_sdk import (
    AuthenticationError,
    ConnectionLostError,
    EventFilter,
    MarketEvent,
    RateLimitedError,
    RequestError,
)
from marketstream_sdk.address import Address
from marketstream_sdk.event_model import Events
from marketstream_sdk.reconcile import EventCall, Terms
from marketstream_sdk.transports.base import Goal
from marketstream_sdk.transports.event_stream import STREAM
from marketstream_sdk.transports.http import EVENTS, SUBSCRIPTIONS
from marketstream_sdk.transports.sse import PROBE, SseTransport
from marketstream_sdk.wire import Message, TokenExpiring
from rehearsal.cases import golden
from rehearsal.web_server import serving

HALT = MarketEvent("1", "halt", "all", "CRITICAL", 1, matched=("a",))
PAYLOAD = {
    "events": [
        {"id": "1", "type": "halt", "name": "all", "priority": "CRITICAL", "timestamp": 1, "matched": ["a"]}
    ]
}
SAID = f"event: events\ndata: {json.dumps(PAYLOAD)}\n\n"


class EventStreamServer:
    """What a server says on its streams, and what it was asked.

    Attributes:
        says: What each stream says first, by its path.
        adds: What it says when it is given the cue.
        cue: Given once the streams shall go on.
        answers: What calls are answered with, in order; an empty object when there is no more.
        asked: Method, raw path, token and body of each call and stream.
        received: What the client heard.
        wanted: What it wants.
        bell: Ends all streams.
    """

    def __init__(self) -> None:
        self.says: dict[str, str] = {}
        self.adds: dict[str, str] = {}
        self.cue = asyncio.Event()
        self.answers: list[web.Response] = []
        self.asked: list[tuple[str, str, str, Any]] = []
        self.received: list[Message] = []
        self.wanted = Goal(events=True)
        self.bell = asyncio.Event()

    def goal(self) -> Goal:
        """What the client wants."""
        return self.wanted

    async def note(self, request: web.Request) -> None:
        """Remembers what was asked."""
        token = request.headers["Authorization"].removeprefix("Bearer ")
        body = json.loads(await request.read() or b"null")
        self.asked.append((request.method, request.rel_url.raw_path, token, body))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answers one request for a stream."""
        await self.note(request)
        if self.answers:
            return self.answers.pop(0)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(self.says.get(request.path, ": \n\n").encode())
        if request.path in self.adds:
            await self.cue.wait()
            await response.write(self.adds[request.path].encode())
        await self.bell.wait()
        return response

    async def call(self, request: web.Request) -> web.Response:
        """Answers one call."""
        await self.note(request)
        return self.answers.pop(0) if self.answers else web.json_response({})

    async def eventually(self, truth: Any) -> None:
        """Waits until something is true."""
        async with asyncio.timeout(5):
            while not truth():  # noqa: ASYNC110 - the far side has no event to wait for
                await asyncio.sleep(0.01)


@asynccontextmanager
async def web_server() -> AsyncIterator[tuple[EventStreamServer, SseTransport]]:
    house = EventStreamServer()
    app = web.Application()
    for path in (STREAM, EVENTS):
        app.router.add_get(path, house.stream)
    for path in (PROBE, SUBSCRIPTIONS, f"{SUBSCRIPTIONS}/{{name}}"):
        app.router.add_route("*", path, house.call)
    async with serving(app) as url:
        try:
            yield house, SseTransport(Address.parse(url), ssl=None, call_timeout=2, idle_timeout=5)
        finally:
            house.bell.set()


def refusal(status: int, code: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": "no"}}, status=status, headers=headers)


async def test_events_have_a_stream_of_their_own_beside_that_of_prices() -> None:
    async with web_server() as (house, transport):
        house.says = {EVENTS: SAID, STREAM: golden("sse/price.txt")}
        house.wanted = Goal({"EUR/USD": Terms()}, events=True)
        connection = await transport.connect("t", house.goal, house.received.append)
        await house.eventually(lambda: len(house.received) == 2)
        assert Events((HALT,)) in house.received
        assert sorted(path for _, path, _, _ in house.asked) == sorted([EVENTS, STREAM])
        house.wanted = Goal({"EUR/USD": Terms()})
        await connection.align(house.goal)
        assert not connection.lost.done()
        assert connection.confirmed == ("EUR/USD",)
        await connection.close()


async def test_without_symbols_there_is_that_stream_alone_and_its_end_is_a_lost_connection() -> None:
    async with web_server() as (house, transport):
        connection = await transport.connect("t", house.goal, house.received.append)
        assert [path for _, path, _, _ in house.asked] == [EVENTS]
        house.bell.set()
        async with asyncio.timeout(5):
            assert str(await connection.lost) == "the stream ended"
        await connection.close()


async def test_a_new_token_is_shown_by_another_stream() -> None:
    async with web_server() as (house, transport):
        connection = await transport.connect("old", house.goal, house.received.append)
        await connection.renew("new")
        assert [(path, token) for _, path, token, _ in house.asked] == [(EVENTS, "old"), (EVENTS, "new")]
        assert not connection.lost.done()
        await connection.close()


async def test_that_the_token_ends_is_heard_once_though_both_streams_say_it() -> None:
    async with web_server() as (house, transport):
        expiring = golden("sse/token_expiring.txt")
        house.adds = {EVENTS: expiring + SAID, STREAM: expiring + golden("sse/price.txt")}
        house.wanted = Goal({"EUR/USD": Terms()}, events=True)
        connection = await transport.connect("t", house.goal, house.received.append)
        house.cue.set()
        await house.eventually(lambda: len(house.received) == 3)
        assert sum(isinstance(message, TokenExpiring) for message in house.received) == 1
        await connection.close()


async def test_without_a_stream_of_prices_that_of_events_says_that_the_token_ends() -> None:
    async with web_server() as (house, transport):
        house.says = {EVENTS: golden("sse/token_expiring.txt")}
        connection = await transport.connect("t", house.goal, house.received.append)
        await house.eventually(lambda: [type(message) for message in house.received] == [TokenExpiring])
        await connection.close()


async def test_where_there_is_room_for_one_connection_the_old_stream_ends_first() -> None:
    async with web_server() as (house, transport):
        connection = await transport.connect("old", house.goal, house.received.append)
        house.answers = [refusal(429, "CONNECTION_LIMIT")]
        await connection.renew("new")
        assert len(house.asked) == 3
        assert not connection.lost.done()
        await connection.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda: refusal(401, "TOKEN_EXPIRED"), AuthenticationError),
        (lambda: refusal(429, "CONNECTION_LIMIT"), ConnectionLostError),
        (lambda: refusal(503, "UNAVAILABLE"), ConnectionLostError),
    ],
)
async def test_an_answer_that_is_no_stream_says_what_it_means(answer: Any, kind: type[Exception]) -> None:
    async with web_server() as (house, transport):
        house.answers = [answer()]
        with pytest.raises(kind):
            await transport.connect("t", house.goal, house.received.append)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_server_without_events_for_this_user_is_no_reason_to_have_no_prices(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with web_server() as (house, transport):
        house.answers = [refusal(status, "NOT_FOUND")]
        house.wanted = Goal({"EUR/USD": Terms()}, events=True)
        connection = await transport.connect("t", house.goal, house.received.append)
        await connection.align(house.goal)
        assert connection.confirmed == ("EUR/USD",)
        assert [path for _, path, _, _ in house.asked] == [EVENTS, STREAM]
        assert f"status {status}" in caplog.text
        await connection.close()


async def test_subscriptions_are_asked_for_and_changed_by_rest() -> None:
    async with web_server() as (house, transport):
        connection = await transport.connect("t", house.goal, house.received.append)
        held = {"subscriptions": [{"name": "a", "filter": {"types": ["x"]}}]}
        house.answers = [web.json_response(held), web.json_response({}), refusal(404, "NOT_FOUND")]
        assert await connection.event_subscriptions() == {"a": EventFilter("x")}
        name = "50 % / ä?"
        await connection.change_events(EventCall("subscribe_events", name, EventFilter(tiers="daily")))
        for _ in range(2):
            await connection.change_events(EventCall("unsubscribe_events", name))
        one = f"{SUBSCRIPTIONS}/50%20%25%20%2F%20%C3%A4%3F"
        assert house.asked[1:] == [
            ("GET", SUBSCRIPTIONS, "t", None),
            ("PUT", one, "t", {"tiers": ["daily"]}),
            ("DELETE", one, "t", None),
            ("DELETE", one, "t", None),
        ]
        await connection.close()


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (lambda: refusal(409, "SUBSCRIPTION_LIMIT"), RequestError, "SUBSCRIPTION_LIMIT"),
        (lambda: refusal(503, "UNAVAILABLE"), RequestError, "UNAVAILABLE"),
        (lambda: web.Response(status=502), RequestError, "HTTP_502"),
        (lambda: refusal(401, "TOKEN_EXPIRED"), AuthenticationError, "TOKEN_EXPIRED"),
        (lambda: refusal(429, "RATE_LIMITED", **{"Retry-After": "3"}), RateLimitedError, "RATE_LIMITED"),
    ],
)
async def test_a_call_that_fails_says_why(answer: Any, kind: type[Exception], code: str) -> None:
    async with web_server() as (house, transport):
        connection = await transport.connect("t", house.goal, house.received.append)
        house.answers = [answer()]
        with pytest.raises(kind) as caught:
            await connection.change_events(EventCall("subscribe_events", "a", EventFilter()))
        assert getattr(caught.value, "code", None) == code
        assert getattr(caught.value, "retry_after", 3.0) == 3.0
        await connection.close()
