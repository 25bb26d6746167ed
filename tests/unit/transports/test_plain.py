"""A client of the plain WebSocket and the engine, without a socket between them."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from marketstream.core.delivery import closing
from marketstream.core.delivery.entitlements import Plan, Principal
from marketstream.core.market.model import Status
from marketstream.engine.delivery.terms import Delivery
from marketstream.wire import messages
from marketstream.wire.websocket import Message
from tests.support.builders import AT_MS, Bench, best_price, principal
from tests.support.eventually import eventually
from tests.support.plain import ACTION, LANGUAGES, TYPED, PlainClient, call, code_of, price_of, subscribe
from tests.support.raw_socket import masked

DELAYED = Plan("delayed", delay=10)
PING_FRAME = b"\x89\x00"


class World:
    """An engine, and clients on it."""

    def __init__(self) -> None:
        self.bench = Bench()

    def client(self, who: Principal | None = None) -> PlainClient:
        """An admitted client."""
        return PlainClient(self.bench, who)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """One engine."""
    made = World()
    yield made
    made.bench.node.flusher.stop()


def close_code(client: PlainClient) -> int | None:
    """Code of the close frame behind everything else that was written."""
    data = b"".join(client.writes)
    at = data.find(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4]) if at >= 0 else None


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_current_value_follows_the_answer_then_live_ones(world: World, language: str) -> None:
    world.bench.publish("A", 1)
    client = world.client()
    answer, current = client.say(subscribe(language, "A", "B"))
    assert "subscribed" in (answer.get("status"), answer["type"] if language == TYPED else None)
    assert price_of(current) == 1.5
    world.bench.publish("A", 2, 3)
    assert [price_of(message) for message in client.heard()] == [3.5]


async def test_every_value_comes_to_who_asked_for_high_frequency(world: World) -> None:
    client = world.client()
    client.say(subscribe(ACTION, "A", high_frequency=True))
    world.bench.publish("A", 1, 2, 3)
    assert [price_of(message) for message in client.heard()] == [1.5, 2.5, 3.5]


async def test_values_that_were_lost_are_told(world: World) -> None:
    world.bench = Bench(delivery=Delivery(lane_capacity=2))
    client = world.client()
    client.say(subscribe(ACTION, "A", high_frequency=True))
    world.bench.publish("A", 1, 2, 3, 4, 5)
    lagged, *prices = client.heard()
    assert lagged == {"type": "lagged", "symbol": "A", "missed": 3}
    assert len(prices) == 2


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_price_is_made_once_for_all_clients_of_a_language(world: World, language: str) -> None:
    """And once for each language, whatever other clients speak."""
    clients = [world.client() for _ in range(3)]
    for client in clients:
        client.say(subscribe(language, "A"))
    other = world.client()
    other.say(subscribe(LANGUAGES[1 - LANGUAGES.index(language)], "A"))
    world.bench.publish("A", 7)
    world.bench.flush()
    first, *rest = (client.writes[-1] for client in clients)
    assert all(write is first for write in rest)
    [frame] = world.bench.bus.last(["A"], "acme")
    assert len(frame.wrapped) == 2
    assert first in frame.wrapped.values()


async def test_the_first_message_decides_and_a_bad_one_does_not_count(world: World) -> None:
    """Until then the server speaks the second language."""
    client = world.client()
    for bad in (b"{", b"[]", b"7", {"event": "subscribe"}):
        [error] = client.say(bad)
        assert (error["type"], error["data"]["code"]) == ("error", "INVALID_MESSAGE")
    assert client.say(call(ACTION, "ping"))[0]["status"] == "pong"
    [error] = client.say(call(TYPED, "ping"))
    assert (error["status"], error["code"]) == ("error", "INVALID_MESSAGE")
    assert client.say(call(ACTION, "ping"))[0]["status"] == "pong"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_bad_message_costs_nothing_that_was_there(world: World, language: str) -> None:
    client = world.client()
    client.say(subscribe(language, "A"))
    for bad in (b"{", b"null", call(language, "buy"), subscribe(language, "A", maxRate="x")):
        [error] = client.say(bad)
        assert code_of(error) in ("INVALID_MESSAGE", "UNKNOWN_EVENT")
    world.bench.publish("A", 1)
    assert [price_of(message) for message in client.heard()] == [1.5]
    assert world.bench.stats.commands["INVALID_MESSAGE"] == 3
    assert world.bench.stats.commands["UNKNOWN_EVENT"] == 1


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_failed_call_is_answered_with_its_code(world: World, language: str) -> None:
    client = world.client(principal(plan=Plan("p", modes=("latest",), symbols=("A*",))))
    more = {"high_frequency": True} if language == ACTION else {"mode": "every"}
    [refused] = client.say(subscribe(language, "A", **more))
    [unknown] = client.say(call(language, "get_quote", symbol="A"))
    [hidden] = client.say(call(language, "get_quote", symbol="B"))
    assert [code_of(error) for error in (refused, unknown, hidden)] == [
        "NOT_ENTITLED",
        "UNKNOWN_SYMBOL",
        "NOT_ENTITLED",
    ]


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_quote_has_the_price_that_is_pushed(world: World, language: str) -> None:
    world.bench.publisher.publish([replace(best_price("A"), last=9.5, volume=700.0)])
    client = world.client()
    [answer] = client.say(call(language, "get_quote", symbol="a"))
    quote = answer if language == ACTION else answer["data"]
    assert (quote["symbol"], quote["price"], quote["volume"], quote["status"]) == ("A", 9.5, 700.0, "ok")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_channel_brings_its_last_value_then_live_ones(world: World, language: str) -> None:
    world.bench.bus.publish([messages.channel_update("indices", {"n": 1}, AT_MS)])
    client = world.client()
    wanted = (
        {"action": "subscribe", "channels": ["indices"]}
        if language == ACTION
        else {"type": "subscribe", "data": {"type": "market_data", "channels": ["indices"]}}
    )
    _, current = client.say(wanted)
    world.bench.bus.publish([messages.channel_update("indices", {"n": 2}, AT_MS)])
    [live] = client.heard()
    updates = [update if language == ACTION else update["data"] for update in (current, live)]
    assert [update["data"] for update in updates] == [{"n": 1}, {"n": 2}]
    assert {update["timestamp"] for update in updates} == {"2023-11-14T22:13:20.000+00:00"}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_is_for_another_tenant_is_not_heard(world: World, language: str) -> None:
    acme, globex = world.client(), world.client(principal(tenant="globex"))
    for client in (acme, globex):
        client.say(subscribe(language, "A"))
    world.bench.publish("A", 1, tenant="acme")
    world.bench.node.emit("tenant:acme", messages.custom("news", ["x"]))
    assert {message["type"] for message in acme.heard()} & {"news"}
    assert globex.heard() == []


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_delayed_plan_sees_late_prices_and_is_told(language: str) -> None:
    world = World()
    world.bench.publish("A", 1)
    client = world.client(principal(plan=DELAYED))
    _, status = client.say(subscribe(language, "A"))
    told = status if language == ACTION else status["data"]
    assert (status["type"], told["state"]) == ("status", "delayed")
    for _ in range(12):
        world.bench.heartbeat.beat()
        world.bench.clock.advance(1)
    assert [price_of(message) for message in client.heard()] == [1.5]
    world.bench.node.flusher.stop()


async def test_how_far_a_price_can_be_trusted_is_told(world: World) -> None:
    world.bench.publish("A", 1)
    world.bench.publisher.announce([Status("A", "stale", "lmax", AT_MS)])
    client = world.client()
    told = [message["type"] for message in client.say(subscribe(TYPED, "A"))]
    assert told == ["subscribed", "quote_update", "status"]


async def test_a_binary_message_closes(world: World) -> None:
    client = world.client()
    client.stream.message(Message("binary", b"{}"))
    assert (client.connection.closed, close_code(client)) == (True, 1003)
    assert world.bench.stats.closed == {closing.NOT_TEXT.code: 1}


async def test_too_many_messages_close(world: World) -> None:
    client = world.client()
    client.stream.received(masked(b"{}") * 1_001)
    assert (client.connection.closed, close_code(client)) == (True, 4429)


async def test_pings_go_out_and_who_answers_none_is_closed(world: World) -> None:
    """A browser cannot send pings, but it answers them."""
    silent, alive = world.client(), world.client()
    for _ in range(121):
        world.bench.heartbeat.beat()
        world.bench.flush()
        alive.stream.received(b"\x8a\x80\x00\x00\x00\x00")
        world.bench.clock.advance(1)
    assert b"".join(alive.writes).count(PING_FRAME) == 4
    assert (silent.connection.closed, alive.connection.closed) == (True, False)
    assert world.bench.stats.closed == {"idle": 1}
    assert [message["type"] for message in alive.heard()].count("heartbeat") == 4


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_token_that_ends_is_announced_then_told_then_the_client_is_closed(
    world: World, language: str
) -> None:
    client = world.client(principal(expires_at_ms=AT_MS + 61_000))
    client.say(call(language, "ping"))
    world.bench.clock.advance(2)
    world.bench.heartbeat.beat()
    [warning] = client.heard()
    assert warning["type"] == "token_expiring"
    world.bench.clock.advance(60)
    world.bench.heartbeat.beat()
    assert close_code(client) == 4401
    [error] = client.heard()
    assert (error["type"], code_of(error)) == ("error", "TOKEN_EXPIRED")


async def test_a_client_that_authenticates_goes_on(world: World) -> None:
    world.bench.tokens.known["new"] = principal(expires_at_ms=AT_MS + 9_000_000)
    client = world.client()
    [answer] = client.say(call(ACTION, "authenticate", token="new", request_id="a"))
    assert answer == {"status": "authenticated", "expiresAt": AT_MS + 9_000_000, "request_id": "a"}
    [error] = client.say(call(ACTION, "authenticate", token="bad"))
    assert error["code"] == "AUTH_FAILED"


async def test_answers_keep_the_order_of_the_calls_also_when_one_has_to_wait(world: World) -> None:
    """Keys are fetched for the first; what comes behind it waits, bad messages too."""
    world.bench.tokens.known["new"] = principal()
    world.bench.tokens.later = True
    client = world.client()
    for message in (call(ACTION, "authenticate", token="new"), b"{", call(ACTION, "ping")):
        assert client.say(message) == []
    world.bench.tokens.release.set()
    told: list[str] = []

    def answered() -> bool:
        told.extend(message["status"] for message in client.heard())
        return len(told) == 3

    await eventually(answered, what="three answers")
    assert told == ["authenticated", "error", "pong"]
