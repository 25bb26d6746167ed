"""The transport over server-sent events, against web servers that say what a test wants."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from marketstream_sdk import (
    AuthenticationError,
    ConnectionLostError,
    RateLimitedError,
    RequestError,
    SubscriptionError,
)
from marketstream_sdk.address import Address
from marketstream_sdk.reconcile import Terms
from marketstream_sdk.transports.base import Goal
from marketstream_sdk.transports.event_stream import STREAM
from marketstream_sdk.transports.sse import PROBE, SseTransport
from marketstream_sdk.wire import Message, Prices, Refused
from rehearsal.cases import golden
from rehearsal.web_server import serving

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class EventStreamServer:
    """What a server answers, and what it was asked.

    Attributes:
        says: Chunks that each stream begins with, one list a stream; streams without one say nothing.
        refuses: Answers that come instead of streams, in order.
        asked: Query and headers of each stream that was asked for.
        wanted: What the client wants.
        received: What the client heard.
        bell: Ends all streams.
    """

    def __init__(self) -> None:
        self.says: list[list[str]] = []
        self.refuses: list[web.Response] = []
        self.asked: list[tuple[Mapping[str, str], Mapping[str, str]]] = []
        self.wanted = Goal({"EUR/USD": Terms(), "AAPL": Terms()})
        self.received: list[Message] = []
        self.bell = asyncio.Event()

    def goal(self) -> Goal:
        """What is wanted."""
        return self.wanted

    def want(self, *symbols: str, rate: float = 0) -> None:
        """Changes what is wanted."""
        self.wanted = Goal(dict.fromkeys(symbols, Terms(max_rate=rate)))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answers one request for a stream."""
        self.asked.append((request.query, request.headers))
        if self.refuses:
            return self.refuses.pop(0)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in self.says.pop(0) if self.says else []:
            await response.write(chunk.encode())
        await self.bell.wait()
        return response

    def receive(self, message: Message) -> None:
        """Takes a message as a client does: what is refused is wanted no more."""
        self.received.append(message)
        if isinstance(message, Refused):
            gone = {error.symbol for error in message.errors}
            self.wanted = Goal({key: terms for key, terms in self.wanted.symbols.items() if key not in gone})

    async def heard_after(self, count: int) -> list[Message]:
        """What was heard once it is that much."""
        async with asyncio.timeout(5):
            while len(self.received) < count:  # noqa: ASYNC110 - the far side has no event to wait for
                await asyncio.sleep(0.01)
        return self.received


@asynccontextmanager
async def web_server(
    *routes: tuple[str, Handler], idle_timeout: float = 5
) -> AsyncIterator[tuple[EventStreamServer, SseTransport]]:
    """A server of this kind and a transport to it."""
    house = EventStreamServer()
    app = web.Application()
    for path, handler in (*routes, (STREAM, house.stream)):
        app.router.add_get(path, handler)
    async with serving(app) as url:
        try:
            yield (
                house,
                SseTransport(Address.parse(url), ssl=None, call_timeout=2, idle_timeout=idle_timeout),
            )
        finally:
            house.bell.set()


def refusal(status: int, code: str, text: str = "no", **headers: str) -> web.Response:
    body = {"error": {"code": code, "message": text}}
    return web.json_response(
        body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


async def test_a_stream_names_its_symbols_and_shows_its_token_in_a_header_only() -> None:
    async with web_server() as (house, transport):
        house.says = [[golden("sse/retry.txt"), golden("sse/price.txt"), golden("sse/comment.txt")]]
        connection = await transport.connect("secret", house.goal, house.receive)
        assert connection.confirmed == ("EUR/USD", "AAPL")
        [received] = await house.heard_after(1)
        assert isinstance(received, Prices)
        await connection.close()
        [(query, headers)] = house.asked
        assert dict(query) == {"symbols": "EUR/USD,AAPL"}
        assert headers["Authorization"] == "Bearer secret"
        assert "Last-Event-ID" not in headers


async def test_a_connection_whose_closing_is_cancelled_leaves_no_session_open() -> None:
    """What is left open is a warning when the collector finds it, and warnings are errors here."""
    async with web_server() as (house, transport):
        connection = await transport.connect("secret", house.goal, house.receive)
        closing = asyncio.create_task(connection.close())
        await asyncio.sleep(0)
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
        del connection, closing
        gc.collect()


async def test_coming_back_says_what_is_known_already() -> None:
    async with web_server() as (house, transport):
        prices = [golden("sse/price.txt"), golden("sse/price_one_sided.txt")]
        house.says = [prices, []]
        connection = await transport.connect("t", house.goal, house.receive)
        await house.heard_after(2)
        await connection.close()
        connection = await transport.connect("t", house.goal, house.receive)
        await connection.close()
        assert house.asked[1][1]["Last-Event-ID"] == "EUR/USD-1700000000000@1700000000000000"


async def test_another_set_of_symbols_is_another_stream_and_one_rate_counts_for_all() -> None:
    async with web_server() as (house, transport):
        connection = await transport.connect("t", house.goal, house.receive)
        house.want("AAPL", rate=2.5)
        await connection.align(house.goal)
        await connection.align(house.goal)
        assert dict(house.asked[-1][0]) == {"symbols": "AAPL", "maxRate": "2.5"}
        house.want()
        await connection.align(house.goal)
        assert (connection.confirmed, len(house.asked)) == ((), 2)
        assert not connection.lost.done()
        await connection.close()


async def test_a_new_token_is_shown_by_a_new_stream() -> None:
    async with web_server() as (house, transport):
        connection = await transport.connect("old", house.goal, house.receive)
        await connection.renew("new")
        house.refuses = [refusal(401, "AUTH_FAILED")]
        with pytest.raises(AuthenticationError):
            await connection.renew("worse")
        house.want("AAPL")
        await connection.align(house.goal)
        shown = [headers["Authorization"] for _, headers in house.asked]
        assert shown == ["Bearer old", "Bearer new", "Bearer worse", "Bearer new"]
        assert not connection.lost.done()
        await connection.close()


async def test_what_is_not_to_be_had_is_left_out_and_the_rest_is_streamed() -> None:
    async with web_server() as (house, transport):
        house.want("A", "B", "C")
        house.refuses = [refusal(403, "NOT_ENTITLED", "A: not entitled; C: invalid symbol")]
        connection = await transport.connect("t", house.goal, house.receive)
        assert connection.confirmed == ("B",)
        [refused] = house.received
        assert isinstance(refused, Refused)
        assert [str(error) for error in refused.errors] == ["A: not entitled", "C: invalid symbol"]
        await connection.close()


async def test_a_refusal_that_names_nobody_concerns_all() -> None:
    async with web_server() as (house, transport):
        house.refuses = [refusal(403, "NOT_ENTITLED", "the token may not read")]
        connection = await transport.connect("t", house.goal, house.receive)
        [refused] = house.received
        assert isinstance(refused, Refused)
        assert [str(error) for error in refused.errors] == [
            "EUR/USD: the token may not read",
            "AAPL: the token may not read",
        ]
        assert connection.confirmed == ()
        await connection.close()


async def test_what_a_stream_refuses_itself_is_not_confirmed() -> None:
    async with web_server() as (house, transport):
        house.want("EUR/USD", "!")
        house.says = [[golden("sse/subscribed.txt")]]
        connection = await transport.connect("t", house.goal, house.receive)
        [refused] = await house.heard_after(1)
        assert isinstance(refused, Refused)
        assert isinstance(refused.errors[0], SubscriptionError)
        await connection.align(house.goal)
        assert (connection.confirmed, len(house.asked)) == (("EUR/USD",), 1)
        await connection.close()


@pytest.mark.parametrize(
    ("answer", "kind", "code", "wait"),
    [
        (lambda: refusal(401, "TOKEN_EXPIRED"), AuthenticationError, "TOKEN_EXPIRED", None),
        (lambda: web.Response(status=401), AuthenticationError, "AUTH_FAILED", None),
        (
            lambda: refusal(429, "CONNECTION_LIMIT", Retry_After="7"),
            ConnectionLostError,
            "CONNECTION_LIMIT",
            7,
        ),
        (lambda: refusal(503, "UNAVAILABLE"), ConnectionLostError, "UNAVAILABLE", 0),
        (lambda: web.Response(status=502, text="<html>"), ConnectionLostError, "HTTP_502", 0),
        (lambda: web.json_response([], status=404), ConnectionLostError, "HTTP_404", 0),
    ],
)
async def test_an_answer_that_is_no_stream_says_what_it_means(
    answer: Callable[[], web.Response], kind: type[Exception], code: str, wait: float | None
) -> None:
    async with web_server() as (house, transport):
        house.refuses = [answer()]
        with pytest.raises(kind) as caught:
            await transport.connect("t", house.goal, house.receive)
        assert getattr(caught.value, "code", None) == code
        assert getattr(caught.value, "retry_after", None) == wait


async def test_where_there_is_room_for_one_connection_the_old_stream_ends_first() -> None:
    async with web_server() as (house, transport):
        connection = await transport.connect("t", house.goal, house.receive)
        house.want("AAPL")
        house.refuses = [refusal(429, "CONNECTION_LIMIT")]
        await connection.align(house.goal)
        assert (connection.confirmed, len(house.asked)) == (("AAPL",), 3)
        assert not connection.lost.done()
        await connection.close()


async def test_a_stream_that_ends_is_a_lost_connection() -> None:
    async with web_server() as (house, transport):
        connection = await transport.connect("t", house.goal, house.receive)
        house.bell.set()
        async with asyncio.timeout(5):
            assert str(await connection.lost) == "the stream ended"
        await connection.close()


async def test_a_stream_that_falls_silent_is_a_lost_connection() -> None:
    async with web_server(idle_timeout=0.05) as (house, transport):
        connection = await transport.connect("t", house.goal, house.receive)
        async with asyncio.timeout(5):
            assert "silent" in str(await connection.lost)
        await connection.close()


async def test_a_stream_whose_token_ends_says_so() -> None:
    async with web_server() as (house, transport):
        house.says = [[golden("sse/error.txt")]]
        connection = await transport.connect("t", house.goal, house.receive)
        async with asyncio.timeout(5):
            error = await connection.lost
        assert (type(error), error.code) == (AuthenticationError, "TOKEN_EXPIRED")
        await connection.close()


async def test_what_makes_no_sense_is_passed_over_and_an_endless_event_ends_the_stream(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with web_server() as (house, transport):
        bad = "event: price\ndata: {\n\nevent: price\ndata: {}\n\nevent: unheard\ndata: 1\n\n"
        house.says = [[bad, golden("sse/price.txt"), "data: " + "x" * 2_000_000]]
        connection = await transport.connect("t", house.goal, house.receive)
        async with asyncio.timeout(5):
            assert "too long" in str(await connection.lost)
        [received] = house.received
        assert isinstance(received, Prices)
        assert caplog.text.count("passed over a message") == 2
        await connection.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, None),
        (403, None),
        (401, AuthenticationError),
        (429, ConnectionLostError),
        (503, ConnectionLostError),
    ],
)
async def test_without_symbols_the_server_and_the_token_are_looked_at_nevertheless(
    status: int, kind: type[Exception] | None
) -> None:
    async def probe(_request: web.Request) -> web.Response:
        return web.json_response({}, status=status)

    async with web_server((PROBE, probe)) as (house, transport):
        house.want()
        if kind is None:
            connection = await transport.connect("t", house.goal, house.receive)
            assert connection.confirmed == ()
            await connection.close()
        else:
            with pytest.raises(kind):
                await transport.connect("t", house.goal, house.receive)


async def test_a_quote_is_asked_for_by_its_own_path_and_refusals_have_the_codes_of_the_server() -> None:
    asked: list[str] = []
    answers = [
        web.Response(text=golden("http/quote.json"), content_type="application/json"),
        web.Response(status=404, text=golden("http/quote_unknown.json"), content_type="application/json"),
        refusal(429, "RATE_LIMITED", Retry_After="3"),
    ]

    async def quote(request: web.Request) -> web.Response:
        asked.append(request.rel_url.raw_path)
        return answers.pop(0)

    async with web_server(("/api/v1/market/quote/{symbol:.+}", quote)) as (house, transport):
        connection = await transport.connect("t", house.goal, house.receive)
        assert (await connection.get_quote("EUR/USD")).price == 150.0
        with pytest.raises(RequestError) as unknown:
            await connection.get_quote("NOPE")
        with pytest.raises(RateLimitedError) as limited:
            await connection.get_quote("AAPL")
        assert (unknown.value.code, limited.value.retry_after) == ("UNKNOWN_SYMBOL", 3.0)
        assert asked[0] == "/api/v1/market/quote/EUR%2FUSD"
        await connection.close()


async def test_a_server_that_does_not_answer_is_a_lost_connection() -> None:
    async def silent(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    app = web.Application()
    app.router.add_get(STREAM, silent)
    async with serving(app) as url:
        transport = SseTransport(Address.parse(url), ssl=None, call_timeout=0.05, idle_timeout=5)
        with pytest.raises(ConnectionLostError, match="no answer"):
            await transport.connect("t", lambda: Goal({"A": Terms()}), lambda _message: None)
