"""Clients of delayed plans are told when what they see stands still, and not before."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from marketstream.core.delivery.commands import GetQuote, Quoted, Subscribe
from marketstream.core.delivery.entitlements import Plan
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import State, Status
from marketstream.engine.delivery.delay import OVERHEAD, DelayLines
from marketstream.wire import messages
from marketstream.wire.json import loads
from tests.support.builders import Bench, Client, principal

DELAY = 10
LATE = Plan("late", delay=DELAY)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """An engine with one symbol, `A`."""
    made = Bench()
    yield made
    made.node.flusher.stop()


def late(bench: Bench) -> Client:
    client = bench.client(principal(plan=LATE))
    client.subscribe("A")
    return client


def say(bench: Bench, state: State, reason: str | None = None) -> None:
    """A state as the bus says it of itself, without a cursor."""
    bench.node.fanout.receive([messages.status(Status("A", state, None, bench.clock.wall_ms(), reason))])


def step(bench: Bench, seconds: int = 1) -> None:
    for _ in range(seconds):
        bench.clock.advance(1)
        bench.node.fanout.release_delayed()
        bench.flush()


def heard(client: Client, since: int = 0) -> list[object]:
    """Bids and states in the order in which they came, after so many."""
    client.bench.flush()
    found: list[object] = []
    for name, data in client.sink.events:
        if name == "price":
            found.append(data["bestBid"]["price"])
        elif name == "status":
            found.append(data.get("reason") or data["state"])
    return found[since:]


@pytest.mark.parametrize("reason", ["no_feed", "bus_lost", None])
async def test_what_was_underway_comes_and_then_the_word_that_it_stands_still(
    bench: Bench, reason: str | None
) -> None:
    client = late(bench)
    for bid in (1, 2):
        bench.publish("A", bid)
        step(bench)
    say(bench, "stale", reason)
    step(bench, DELAY - 3)
    assert heard(client) == ["delayed"]
    step(bench, 2)
    assert heard(client) == ["delayed", 1, 2, reason or "stale"]
    step(bench, 3 * DELAY)
    assert len(heard(client)) == 4


async def test_with_nothing_underway_it_is_said_at_once(bench: Bench) -> None:
    client = late(bench)
    bench.publish("A", 1)
    step(bench, 2 * DELAY)
    say(bench, "stale", "no_feed")
    step(bench)
    assert heard(client) == ["delayed", 1, "no_feed"]


async def test_delayed_is_said_again_with_the_first_price_that_comes_and_not_before(bench: Bench) -> None:
    client = late(bench)
    say(bench, "stale", "no_feed")
    step(bench, 2 * DELAY)
    say(bench, "live")
    bench.publish("A", 1)
    step(bench, DELAY - 1)
    assert heard(client) == ["delayed", "no_feed"]
    step(bench)
    assert sorted(map(str, heard(client, 2))) == ["1", "delayed"]


async def test_a_silence_that_is_shorter_than_the_delay_is_shown_as_it_was(bench: Bench) -> None:
    """Though all is well again by the time at which it is shown."""
    client = late(bench)
    bench.publish("A", 1)
    step(bench, 2)
    say(bench, "stale", "no_feed")
    step(bench, 3)
    say(bench, "live")
    bench.publish("A", 2)
    step(bench, DELAY - 5)
    assert heard(client, 1) == [1, "no_feed"]
    step(bench, 4)
    assert heard(client, 3) == []
    step(bench)
    assert sorted(map(str, heard(client, 3))) == ["2", "delayed"]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_newcomer_is_told_what_the_others_know(bench: Bench, others: int) -> None:
    before = [late(bench) for _ in range(others)]
    bench.publish("A", 1)
    step(bench, DELAY + 1)
    bench.bus.publish([messages.status(Status("A", "stale", None, 5, "no_feed"))])
    step(bench)
    assert all(heard(each)[-1] == "no_feed" for each in before)
    client = late(bench)
    assert (heard(client), client.snapshots()) == (["no_feed"], [[1]])
    answer = client.ask(GetQuote("A"))
    assert isinstance(answer, Quoted)
    assert loads(answer.body)["warning"] == "no_feed"


async def test_a_newcomer_who_waits_for_a_price_is_told_after_it(bench: Bench) -> None:
    bench.publish("A", 1)
    bench.bus.publish([messages.status(Status("A", "closed", None, 5))])
    step(bench, 4)
    client = late(bench)
    step(bench, DELAY - 5)
    assert heard(client) == ["delayed"]
    step(bench, 2)
    assert heard(client) == ["delayed", 1, "closed"]


async def test_a_quote_warns_only_of_what_it_shows(bench: Bench) -> None:
    client = late(bench)
    bench.publish("A", 1)
    step(bench, DELAY)
    bench.publish("A", 2)
    say(bench, "stale", "no_feed")

    def status() -> object:
        answer = client.ask(GetQuote("A"))
        assert isinstance(answer, Quoted)
        body = loads(answer.body)
        return body["price"], body["status"]

    step(bench)
    assert status() == (1.5, "ok")
    step(bench, DELAY)
    assert status() == (2.5, "partial_data")


async def test_states_that_alternate_for_ever_take_no_more_than_there_is_room_for(bench: Bench) -> None:
    """At the limit the newest replaces the one before."""
    lines = DelayLines(on_held=lambda _: None, on_dropped=lambda _: None, max_bytes=5 * OVERHEAD)
    line = lines.of(DELAY)
    assert line is not None
    line.watch("A")
    now = bench.clock.now()
    turn = [messages.status(Status("A", state, None, 5)) for state in ("live", "stale")]
    for _ in range(100):
        line.put(turn, now)
    assert lines.frames <= 6
    line.release(now + 2 * DELAY)
    assert loads(line.state("A", 0).body)["state"] == "stale"
    line.unwatch("A", now)
    line.release(now + 100)
    assert (lines.frames, lines.bytes) == (0, 0)


async def test_what_the_bus_says_while_somebody_joins_was_never_underway(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its word of last values that it has just read comes before the client is in the room."""
    stale = messages.status(Status("A", "stale", None, bench.clock.wall_ms(), "no_feed"))

    async def read(_wanted: object, _tenant: str) -> list[Frame]:
        await asyncio.sleep(0)
        bench.node.fanout.receive([stale])
        return [stale]

    monkeypatch.setattr(bench.bus, "last", read)
    client = bench.client(principal(plan=LATE))
    await bench.execution.execute(client.connection, Subscribe(("A",), "latest", 0, None), lambda _: None)
    assert heard(client) == ["no_feed"]
