"""The transport over Socket.IO, against a stock server that says what a test wants."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import socketio
from aiohttp import web

from marketstream_sdk import (
    AuthenticationError,
    ConnectionLostError,
    EventFilter,
    InvalidMessageError,
    MarketDataError,
    RateLimitedError,
    RequestError,
)
from marketstream_sdk.address import Address
from marketstream_sdk.reconcile import EventCall, Terms
from marketstream_sdk.transports.base import Goal
from marketstream_sdk.transports.socketio import NAMESPACE, SocketIoTransport
from marketstream_sdk.wire import Message, Prices, Refused
from rehearsal.cases import golden_event
from rehearsal.web_server import serving

SILENCE = object()


class Dispatcher(socketio.AsyncNamespace):  # type: ignore[misc]  # it ships no types
    """Answers what a test says.

    Attributes:
        answers: What each call is answered with, by its name; `SILENCE` for not at all, a list in turn.
        asked: Each call and its payload.
        shown: What was shown at the door.
        refuses: What is said to who comes in; None for a welcome.
        sids: Who came in.
    """

    def __init__(self) -> None:
        super().__init__(NAMESPACE)
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []
        self.shown: list[Any] = []
        self.refuses: tuple[Any, ...] | None = None
        self.sids: list[str] = []

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Handles every event."""
        if event == "connect":
            self.sids.append(args[0])
            self.shown.append(args[2])
            if self.refuses is not None:
                raise socketio.exceptions.ConnectionRefusedError(*self.refuses)
        elif event != "disconnect":
            self.asked.append((event, args[1] if len(args) > 1 else None))
            answer = self.answers.get(event)
            if isinstance(answer, list):
                return answer.pop(0)
            if answer is SILENCE:
                await asyncio.Event().wait()
            return answer
        return None


@asynccontextmanager
async def dispatcher(
    **options: Any,
) -> AsyncIterator[tuple[Dispatcher, SocketIoTransport, socketio.AsyncServer]]:
    """A stock server and a transport to it."""
    server = socketio.AsyncServer(async_mode="aiohttp", monitor_clients=False, **options)
    behind = Dispatcher()
    server.register_namespace(behind)
    app = web.Application()
    server.attach(app, "a/path")
    async with serving(app) as url:
        address = Address.parse(f"{url}/a")
        yield behind, SocketIoTransport(address, path="/path/", ssl=None, call_timeout=0.3), server
        before = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        for task in before:
            # Handlers that never answer, and what the stock server does not end.
            task.cancel()
        await asyncio.gather(*before, return_exceptions=True)


def goal(*symbols: str, channels: tuple[str, ...] = ()) -> Callable[[], Goal]:
    wanted = Goal(dict.fromkeys(symbols, Terms()), channels)
    return lambda: wanted


class Receiver:
    """Hears messages, and wants what is left of them."""

    def __init__(self, *symbols: str, channels: tuple[str, ...] = ()) -> None:
        self.received: list[Message] = []
        self._wanted = Goal(dict.fromkeys(symbols, Terms()), channels)

    def goal(self) -> Goal:
        """What is wanted."""
        return self._wanted

    def receive(self, message: Message) -> None:
        """Takes a message; what is refused is wanted no more."""
        self.received.append(message)
        if isinstance(message, Refused):
            gone = {error.symbol for error in message.errors}
            self._wanted = Goal(
                {key: terms for key, terms in self._wanted.symbols.items() if key not in gone},
                tuple(name for name in self._wanted.channels if name not in gone),
            )

    @property
    def refused(self) -> list[str]:
        """What was refused, and why."""
        return [
            str(error)
            for message in self.received
            if isinstance(message, Refused)
            for error in message.errors
        ]


async def test_the_token_is_shown_in_the_handshake_below_any_prefix() -> None:
    async with dispatcher() as (behind, transport, _server):
        connection = await transport.connect("secret", goal(), lambda _message: None)
        assert behind.shown == [{"token": "secret"}]
        await connection.close()


async def test_a_server_that_upgrades_and_then_says_nothing_leaves_no_connection_open() -> None:
    """As one does that is killed, or a network that falls silent, at that moment."""
    ended = asyncio.Event()

    async def silent(request: web.Request) -> web.WebSocketResponse:
        there = web.WebSocketResponse()
        await there.prepare(request)
        await there.receive()
        ended.set()
        return there

    app = web.Application()
    app.router.add_get("/path/", silent)
    gc.collect()
    async with serving(app) as url:
        transport = SocketIoTransport(Address.parse(url), path="/path/", ssl=None, call_timeout=5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await transport.connect("secret", goal(), lambda _message: None)
        await asyncio.wait_for(ended.wait(), 10)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            gc.collect()
        assert told == []


@pytest.mark.parametrize(
    ("refuses", "kind", "code"),
    [
        (("no", {"code": "AUTH_FAILED"}), AuthenticationError, "AUTH_FAILED"),
        (("over", {"code": "TOKEN_EXPIRED"}), AuthenticationError, "TOKEN_EXPIRED"),
        (("full", {"code": "CONNECTION_LIMIT"}), ConnectionLostError, "CONNECTION_LIMIT"),
        (("just no",), ConnectionLostError, "CONNECTION_LOST"),
    ],
)
async def test_a_refusal_is_told_with_its_code(
    refuses: tuple[Any, ...], kind: type[MarketDataError], code: str
) -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.refuses = refuses
        with pytest.raises(kind, match=refuses[0]) as caught:
            await transport.connect("t", goal(), lambda _message: None)
        assert caught.value.code == code


async def test_a_web_server_without_socketio_cannot_be_connected_to() -> None:
    async with serving(web.Application()) as url:
        transport = SocketIoTransport(Address.parse(url), path="/socket.io/", ssl=None, call_timeout=1)
        with pytest.raises(ConnectionLostError, match="cannot connect"):
            await transport.connect("t", goal(), lambda _message: None)


async def test_an_answer_that_does_not_come_in_time_is_a_lost_connection() -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.answers["subscribe"] = SILENCE
        connection = await transport.connect("t", goal(), lambda _message: None)
        with pytest.raises(ConnectionLostError, match=r"no answer to subscribe within 0\.3 s"):
            await connection.align(goal("A"))
        assert connection.lost.done()
        await connection.close()


async def test_a_call_ends_with_its_connection() -> None:
    async with dispatcher() as (behind, transport, server):
        behind.answers["get_quote"] = SILENCE
        connection = await transport.connect("t", goal(), lambda _message: None)
        asking = asyncio.create_task(connection.get_quote("A"))
        while not behind.asked:  # noqa: ASYNC110 - the far side has no event to wait for
            await asyncio.sleep(0)
        await server.disconnect(behind.sids[0], namespace=NAMESPACE)
        with pytest.raises(ConnectionLostError, match="ended"):
            await asking
        with pytest.raises(ConnectionLostError):
            await connection.get_quote("A")
        await connection.close()


async def test_a_call_that_fails_as_a_whole_concerns_all_that_it_named() -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.answers["subscribe"] = {"error": "the mode is not part of the plan", "code": "NOT_ENTITLED"}
        receiver = Receiver("A", "B")
        connection = await transport.connect("t", receiver.goal, receiver.receive)
        await connection.align(receiver.goal)
        assert receiver.refused == [
            "A: the mode is not part of the plan (NOT_ENTITLED)",
            "B: the mode is not part of the plan (NOT_ENTITLED)",
        ]
        assert (connection.confirmed, len(behind.asked)) == ((), 1)
        await connection.close()


@pytest.mark.parametrize("answer", [None, [[]], "yes", {}, {"subscribed": "A"}, {"subscribed": ["B"]}])
async def test_what_is_neither_confirmed_nor_refused_is_not_asked_for_for_ever(answer: Any) -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.answers["subscribe"] = answer
        receiver = Receiver("A")
        connection = await transport.connect("t", receiver.goal, receiver.receive)
        await connection.align(receiver.goal)
        assert [reason.partition(":")[0] for reason in receiver.refused] == ["A"]
        await connection.close()


async def test_a_call_that_comes_too_early_is_made_again_after_the_time_that_the_server_names() -> None:
    async with dispatcher() as (behind, transport, _server):
        limited = {"error": "Rate limit exceeded", "code": "RATE_LIMITED", "retryAfterMs": 1}
        answers = [limited, limited, {"subscribed": ["A"]}]
        behind.answers["subscribe"] = answers
        receiver = Receiver("A")
        connection = await transport.connect("t", receiver.goal, receiver.receive)
        await connection.align(receiver.goal)
        assert (connection.confirmed, receiver.refused, len(behind.asked)) == (("A",), [], 3)
        await connection.close()


async def test_channels_are_kept_like_symbols() -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.answers["subscribe"] = {"subscribed": [], "channels": ["movers"], "errors": ["indices: no"]}
        behind.answers["unsubscribe"] = {"unsubscribed": [], "channels": ["movers"]}
        receiver = Receiver(channels=("movers", "indices"))
        connection = await transport.connect("t", receiver.goal, receiver.receive)
        for _ in range(2):
            await connection.align(receiver.goal)
        assert receiver.refused == ["indices: no"]
        await connection.align(goal())
        assert behind.asked == [
            ("subscribe", {"channels": ["movers", "indices"]}),
            ("unsubscribe", {"symbols": [], "channels": ["movers"]}),
        ]
        await connection.close()


async def test_after_a_new_token_what_the_server_left_is_asked_for_again() -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.answers = {
            "subscribe": {"subscribed": ["A", "B"], "channels": ["movers", "indices"]},
            "authenticate": {"expiresAt": 1},
            "subscriptions": {
                "symbols": [{"symbol": "B", "mode": "latest", "maxRate": 0}],
                "channels": ["movers"],
            },
        }
        connection = await transport.connect("t", goal(), lambda _message: None)
        wanted = goal("A", "B", channels=("movers", "indices"))
        await connection.align(wanted)
        await connection.renew("new")
        assert connection.confirmed == ("B",)
        await connection.align(wanted)
        assert behind.asked[2] == ("authenticate", {"token": "new"})
        assert behind.asked[-2:] == [
            ("subscribe", {"symbols": ["A"], "mode": "latest", "maxRate": 0}),
            ("subscribe", {"channels": ["indices"]}),
        ]
        await connection.close()


async def test_a_token_that_is_not_taken_leaves_the_connection_as_it_is() -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.answers["authenticate"] = {"error": "somebody else's", "code": "AUTH_FAILED"}
        connection = await transport.connect("t", goal(), lambda _message: None)
        with pytest.raises(AuthenticationError):
            await connection.renew("new")
        assert not connection.lost.done()
        await connection.close()


async def test_a_quote_that_there_is_not_is_an_error_with_the_code_of_the_server() -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.answers["get_quote"] = {"error": "A: no price is known", "code": "UNKNOWN_SYMBOL"}
        connection = await transport.connect("t", goal(), lambda _message: None)
        with pytest.raises(RequestError) as caught:
            await connection.get_quote("A")
        assert caught.value.code == "UNKNOWN_SYMBOL"
        await connection.close()


async def test_what_makes_no_sense_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async with dispatcher() as (behind, transport, server):
        receiver = Receiver()
        connection = await transport.connect("t", receiver.goal, receiver.receive)
        payloads: tuple[Any, ...] = (None, {}, golden_event("price")[1])
        for payload in payloads:
            await server.emit("price", payload, to=behind.sids[0], namespace=NAMESPACE)
        await server.emit("unheard", to=behind.sids[0], namespace=NAMESPACE)
        async with asyncio.timeout(5):
            while not receiver.received:  # noqa: ASYNC110 - the far side has no event to wait for
                await asyncio.sleep(0)
        [received] = receiver.received
        assert isinstance(received, Prices)
        assert caplog.text.count("passed over a message") == 2
        await connection.close()


async def test_a_token_that_ends_ends_the_connection_with_its_code() -> None:
    async with dispatcher() as (behind, transport, server):
        connection = await transport.connect("t", goal(), lambda _message: None)
        name, payload = golden_event("error")
        await server.emit(name, payload, to=behind.sids[0], namespace=NAMESPACE)
        async with asyncio.timeout(5):
            error = await connection.lost
        assert (type(error), error.code) == (AuthenticationError, "TOKEN_EXPIRED")
        await connection.close()


async def test_subscriptions_to_events_are_asked_for_and_changed_by_calls() -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.answers = {
            "event_subscriptions": {"subscriptions": [{"name": "a", "filter": {"types": ["x"]}}]},
            "subscribe_events": {"subscribed": "b", "filter": {}},
            "unsubscribe_events": {"unsubscribed": "a"},
        }
        connection = await transport.connect("t", goal(), lambda _message: None)
        assert await connection.event_subscriptions() == {"a": EventFilter("x")}
        await connection.change_events(EventCall("subscribe_events", "b", EventFilter(min_confidence=0.5)))
        await connection.change_events(EventCall("unsubscribe_events", "a"))
        assert behind.asked == [
            ("event_subscriptions", {}),
            ("subscribe_events", {"name": "b", "filter": {"minConfidence": 0.5}}),
            ("unsubscribe_events", {"name": "a"}),
        ]
        await connection.close()


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        ({"error": "no", "code": "SUBSCRIPTION_LIMIT"}, RequestError, "SUBSCRIPTION_LIMIT"),
        (
            {"error": "Rate limit exceeded", "code": "RATE_LIMITED", "retryAfterMs": 1},
            RateLimitedError,
            "RATE_LIMITED",
        ),
        ({"error": "over", "code": "TOKEN_EXPIRED"}, AuthenticationError, "TOKEN_EXPIRED"),
        ({"subscriptions": 1}, InvalidMessageError, "INVALID_MESSAGE"),
    ],
)
async def test_a_call_about_events_that_fails_says_why(
    answer: Any, kind: type[MarketDataError], code: str
) -> None:
    async with dispatcher() as (behind, transport, _server):
        behind.answers["event_subscriptions"] = answer
        connection = await transport.connect("t", goal(), lambda _message: None)
        with pytest.raises(kind) as caught:
            await connection.event_subscriptions()
        assert caught.value.code == code
        await connection.close()
