"""A newer token: everything that a connection holds is judged again, and nothing ends without a word."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from marketstream.core.delivery import closing
from marketstream.core.delivery.commands import Authenticate, Authenticated, GetQuote
from marketstream.core.delivery.entitlements import Plan, Principal
from marketstream.engine.eager import start
from marketstream.errors import ConnectionLimitError, NotEntitledError, RateLimitedError
from tests.support.builders import AT_MS, Bench, Client, principal
from tests.support.eventually import eventually
from tests.support.limits import SlowLimits
from tests.support.recording import RecordingTransport

DELAYED = Plan("delayed", delay=10)
LATER = Plan("later", delay=20)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An engine with tokens by what is different about them."""
    made = Bench()
    made.tokens.known |= {
        "live": principal(),
        "publisher": principal(scopes=["market:publish"]),
        "narrow": principal(symbols=["A"]),
        "delayed": principal(plan=DELAYED),
        "later": principal(plan=LATER),
        "one": principal(plan=Plan("one", max_connections=1)),
        "many": principal(plan=Plan("many", max_connections=9)),
    }
    yield made
    made.node.flusher.stop()


def errors(client: Client) -> list[dict[str, Any]]:
    client.bench.flush()
    return client.sink.named("error")


def states(client: Client) -> list[tuple[str, str]]:
    client.bench.flush()
    return [(each["symbol"], each["state"]) for each in client.sink.named("status")]


def times(client: Client) -> list[float]:
    """Bids of all prices that a client got, in snapshots or not, in order."""
    client.bench.flush()
    found: list[float] = []
    for name, payload in client.sink.events:
        if name == "snapshot":
            found += [price["bestBid"]["price"] for price in payload["prices"]]
        elif name == "price":
            found.append(payload["bestBid"]["price"])
    return found


def step(bench: Bench) -> None:
    """A second passes."""
    bench.clock.advance(1)
    bench.node.fanout.release_delayed()
    bench.flush()


async def test_a_token_that_may_not_read_ends_reading_with_a_word(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A", "B", channels=("indices",))
    answer = await client.authenticate("publisher")
    ended = ("A: not entitled", "B: not entitled", "indices: not entitled")
    assert answer == Authenticated(AT_MS + 3_600_000, ended)
    bench.publish("A", 1)
    assert errors(client) == [{"code": "NOT_ENTITLED", "message": "; ".join(ended)}]
    assert client.prices() == []
    assert isinstance(client.ask(GetQuote("A")), NotEntitledError)
    assert isinstance(client.subscribe("A"), NotEntitledError)
    assert bench.node.hub.rooms_of(client.connection.outbox) == ["tenant:acme"]


async def test_what_waits_of_a_symbol_that_ended_does_not_go_out(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A", "B")
    bench.flush()
    bench.publish("A", 1)
    bench.publish("B", 2)
    answer = await client.authenticate("narrow")
    assert isinstance(answer, Authenticated)
    assert answer.ended == ("B: not entitled",)
    bench.flush()
    assert client.prices() == [1]


async def test_a_token_that_allows_the_same_says_nothing(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A")
    assert await client.authenticate("live") == Authenticated(AT_MS + 3_600_000)
    assert errors(client) == []


async def test_one_error_names_a_bounded_number_and_the_answer_all(bench: Bench) -> None:
    client = bench.client()
    client.subscribe(*(f"S{number}" for number in range(90)))
    answer = await client.authenticate("narrow")
    assert isinstance(answer, Authenticated)
    assert len(answer.ended) == 90
    (error,) = errors(client)
    assert error["message"].endswith("; and 70 more")


async def test_from_live_to_delayed_no_live_price_and_none_that_is_older_follows(bench: Bench) -> None:
    client, watcher = bench.client(), bench.client(principal(plan=DELAYED))
    watcher.subscribe("A")
    client.subscribe("A")
    for bid in range(1, 20):
        bench.publish("A", bid)
        step(bench)
    bench.publish("A", 20)
    before = times(client)
    assert before[-1] == 20
    await client.authenticate("delayed")
    assert states(client)[-1] == ("A", "delayed")
    for bid in range(21, 35):
        bench.publish("A", bid)
        step(bench)
        client.subscribe("A")
    after = times(client)[len(before) :]
    assert after == sorted(after)
    assert min(after) >= 20
    assert max(after) < 30
    assert len(set(after)) > 2


@pytest.mark.parametrize("mode", ["latest", "every"])
async def test_a_longer_delay_shows_nothing_twice_in_any_mode(bench: Bench, mode: Any) -> None:
    client = bench.client(principal(plan=DELAYED))
    client.subscribe("A", mode=mode)
    for bid in range(1, 30):
        bench.publish("A", bid)
        step(bench)
    before = times(client)
    await client.authenticate("later")
    for bid in range(30, 60):
        bench.publish("A", bid)
        step(bench)
    after = times(client)[len(before) :]
    assert after == sorted(set(after))
    assert min(after) > max(before) - 1
    assert max(after) <= 40


async def test_from_delayed_to_live_the_price_of_now_and_the_state_come_at_once(bench: Bench) -> None:
    client = bench.client(principal(plan=DELAYED))
    client.subscribe("A", "B")
    bench.publish("A", 7)
    assert times(client) == []
    await client.authenticate("live")
    assert times(client) == [7]
    assert states(client)[-2:] == [("A", "live"), ("B", "live")]
    bench.publish("A", 8)
    assert times(client) == [7, 8]


async def test_a_stream_that_comes_back_with_a_longer_delay_gets_nothing_older_than_it_had(
    bench: Bench,
) -> None:
    watcher = bench.client(principal(plan=DELAYED))
    watcher.subscribe("A")
    for bid in range(1, 15):
        bench.publish("A", bid)
        step(bench)
    stream = bench.open(RecordingTransport(snapshots=False), "sse")
    stream.connection.since = bench.bus.last(["A"], "acme")[0].cursor
    bench.admit(stream.connection, principal(plan=DELAYED))
    stream.subscribe("A")
    for bid in range(15, 30):
        bench.publish("A", bid)
        step(bench)
    assert stream.prices() == list(range(15, 21))


async def test_moving_between_delays_costs_as_a_call_does(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A")
    answers = [await client.authenticate(token) for _ in range(80) for token in ("delayed", "live")]
    assert sum(isinstance(answer, RateLimitedError) for answer in answers) > 20


async def test_a_plan_with_fewer_connections_ends_those_that_are_too_many(bench: Bench) -> None:
    first, second = (bench.client(bench.tokens.known["many"]) for _ in range(2))  # type: ignore[arg-type]  # a principal
    assert isinstance(await first.authenticate("one"), ConnectionLimitError)
    assert [reason.code for reason in first.sink.closed] == [closing.CONNECTION_LIMIT.code]
    assert errors(first)[-1]["code"] == "CONNECTION_LIMIT"
    assert isinstance(await second.authenticate("one"), Authenticated)
    with pytest.raises(ConnectionLimitError):
        bench.client(_one(bench))
    bench.node.leave(second.connection, closing.CLIENT_LEFT)
    assert len(bench.limits) == 0
    assert isinstance(bench.client(_one(bench)), Client)


async def test_a_plan_that_begins_to_count_connections_counts_those_that_are_there(bench: Bench) -> None:
    free = [bench.client(principal(plan=Plan("free"))) for _ in range(2)]
    assert isinstance(await free[0].authenticate("one"), Authenticated)
    assert isinstance(await free[1].authenticate("one"), ConnectionLimitError)
    assert isinstance(await free[0].authenticate("live"), Authenticated)


async def test_a_place_that_must_be_waited_for_is_given_back_by_one_who_left(bench: Bench) -> None:
    limits = SlowLimits()
    slow = Bench(limits=limits)
    slow.tokens.known["one"] = _one(bench)
    client = slow.client(principal(plan=Plan("free")))
    answers: list[Any] = []
    waiting = start(slow.execution.execute(client.connection, Authenticate("one"), answers.append))
    assert waiting is not None
    slow.node.leave(client.connection, closing.CLIENT_LEFT)
    limits.asked.set()
    await waiting
    await eventually(lambda: len(limits) == 0, what="no place taken")
    slow.node.flusher.stop()


def _one(bench: Bench) -> Principal:
    found = bench.tokens.known["one"]
    assert isinstance(found, Principal)
    return found
