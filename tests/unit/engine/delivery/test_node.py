import asyncio
import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from marketstream.core.delivery import closing
from marketstream.core.delivery.commands import (
    Authenticated,
    GetQuote,
    Ping,
    Quoted,
    Reply,
    Subscribe,
    Subscribed,
    Unsubscribed,
)
from marketstream.core.delivery.entitlements import Mode, Plan
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.engine.delivery.terms import Delivery
from marketstream.engine.eager import start
from marketstream.errors import (
    AuthFailedError,
    ConnectionLimitError,
    MarketstreamError,
    NotEntitledError,
    RateLimitedError,
    UnknownSymbolError,
)
from marketstream.wire import messages, sse
from tests.support.builders import AT_MS, HOUR_MS, Bench, Client, best_price, principal
from tests.support.eventually import eventually, scaled
from tests.support.limits import SlowLimits
from tests.support.recording import RecordingTransport

DELAYED = Plan("delayed", delay=10)


@pytest.fixture
async def bench() -> Bench:
    """An engine without clients; its loop writes by itself."""
    return Bench()


def quoted(reply: Reply | MarketstreamError) -> dict[str, Any]:
    """The quote in an answer."""
    assert isinstance(reply, Quoted), reply
    found: dict[str, Any] = json.loads(reply.body)
    return found


# Snapshot and prices


async def test_a_snapshot_comes_before_later_prices_and_after_none(bench: Bench) -> None:
    bench.publish("A", 1)
    client = bench.client()
    client.subscribe("A")
    bench.publish("A", 2)
    bench.flush()
    assert [name for name, _ in client.sink.events] == ["snapshot", "price"]
    assert (client.snapshots(), client.prices()) == ([[1]], [2])


async def test_nothing_is_lost_between_joining_and_the_snapshot(bench: Bench) -> None:
    """The newest value before is in the snapshot, everything after comes as a price."""
    client = bench.client()
    for number in range(1, 20):
        bench.publish("A", number)
        client.subscribe("A", f"B{number}")
        if number % 3 == 0:
            bench.flush()
    bench.flush()
    seen = [p["bestBid"]["price"] for name, p in client.sink.events if name == "price"]
    assert client.snapshots() == [[number] for number in range(1, 20)]
    assert seen == []


async def test_no_snapshot_is_followed_by_an_older_price(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A")
    bench.publish("A", 1)
    client.subscribe("A")
    bench.publish("A", 2)
    bench.flush()
    order = [
        payload["bestBid"]["price"] if name == "price" else [p["bestBid"]["price"] for p in payload["prices"]]
        for name, payload in client.sink.events
    ]
    assert order == [[], [1], 2]


async def test_a_snapshot_holds_what_is_known_of_each_symbol_in_the_order_asked_for(bench: Bench) -> None:
    bench.publish("B", 2)
    bench.publish("A", 1)
    client = bench.client()
    client.subscribe("A", "unknown", "B")
    bench.flush()
    assert client.snapshots() == [[1, 2]]


async def test_the_answer_goes_out_before_what_follows_from_it(bench: Bench) -> None:
    client = bench.client()
    seen: list[int] = []
    bench.publish("A", 1)
    await bench.execution.execute(
        client.connection, Subscribe(("A",)), lambda _: seen.append(len(client.connection.outbox))
    )
    assert seen == [0]
    assert len(client.connection.outbox) == 1


async def test_there_is_no_price_after_unsubscribing(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A", "B")
    bench.flush()
    bench.publish("A", 2)
    bench.publish("B", 2)
    assert client.unsubscribe("A") == Unsubscribed(("A",), None)
    bench.publish("A", 3)
    bench.flush()
    assert [p["symbol"] for p in client.sink.named("price")] == ["B"]


@pytest.mark.parametrize(("mode", "rate"), [("every", 0), ("latest", 5), ("every", 5)])
async def test_there_is_no_price_after_unsubscribing_from_a_lane(
    bench: Bench, mode: Mode, rate: float
) -> None:
    client = bench.client()
    client.subscribe("A", mode=mode, max_rate=rate)
    bench.flush()
    client.sink.full = True
    bench.publish("A", 1, 2, 3)
    client.unsubscribe("A")
    bench.publish("A", 4)
    client.sink.full = False
    bench.node.hub.mark(client.connection.outbox)
    bench.flush()
    assert client.prices() == []
    assert not client.connection.outbox.lanes


async def test_no_status_comes_after_unsubscribing(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A")
    bench.flush()
    bench.publisher.announce([Status("A", "stale", None, 5)])
    client.unsubscribe("A")
    bench.flush()
    assert client.sink.named("status") == []


async def test_latest_delivers_the_newest_to_a_slow_client_and_every_delivers_all(bench: Bench) -> None:
    latest, every = bench.client(), bench.client()
    latest.subscribe("A")
    every.subscribe("A", mode="every")
    for client in (latest, every):
        client.sink.full = True
    bench.publish("A", *range(1, 11))
    for client in (latest, every):
        client.sink.full = False
        bench.node.resume(client.connection)
    bench.flush()
    assert latest.prices() == [10]
    assert every.prices() == list(range(1, 11))


async def test_every_tells_how_many_values_were_lost(bench: Bench) -> None:
    bench = Bench(delivery=Delivery(lane_capacity=3))
    client = bench.client()
    client.subscribe("A", mode="every")
    client.sink.full = True
    bench.publish("A", *range(1, 11))
    client.sink.full = False
    bench.node.resume(client.connection)
    bench.flush()
    assert client.sink.named("lagged") == [{"symbol": "A", "missed": 7}]
    assert client.prices() == [8, 9, 10]


async def test_a_loss_is_told_also_when_the_mode_changes_before_it_was(bench: Bench) -> None:
    """Holes are loud."""
    bench = Bench(delivery=Delivery(lane_capacity=3))
    client = bench.client()
    client.subscribe("A", mode="every")
    client.sink.full = True
    bench.publish("A", *range(1, 11))
    client.subscribe("A", mode="latest")
    client.sink.full = False
    bench.node.resume(client.connection)
    bench.flush()
    told = sum(payload["missed"] for payload in client.sink.named("lagged"))
    assert told + len(client.prices()) == 10


async def test_the_plans_rate_holds_however_often_a_client_subscribes(bench: Bench) -> None:
    plan = Plan("slow", max_rate=1)
    client = bench.client(principal(plan=plan))
    client.subscribe("A", mode="every")
    bench.publish("A", 1)
    bench.flush()
    bench.publish("A", *range(2, 50))
    client.subscribe("A", mode="every")
    bench.flush()
    assert len(client.prices()) <= 2


async def test_subscribing_again_does_not_cost_a_client_its_connection(bench: Bench) -> None:
    """It takes everything at once; that its own rate lets values wait is not its fault."""
    client = bench.client()
    client.subscribe("A", mode="every", max_rate=1)
    bench.publish("A", *range(1_100))
    assert isinstance(client.subscribe("A", mode="every", max_rate=1), Subscribed)
    bench.flush()
    assert client.sink.closed == []


async def test_a_client_of_events_gets_current_values_as_prices_newer_than_it_has(bench: Bench) -> None:
    for symbol in ("A", "B", "C"):
        bench.publish(symbol, 1)
    client = bench.open(RecordingTransport(snapshots=False), "sse")
    client.connection.since = bench.bus.last(["B"], "acme")[0].cursor
    bench.admit(client.connection, principal())
    client.subscribe("A", "B", "C")
    bench.flush()
    assert [payload["symbol"] for payload in client.sink.named("price")] == ["C"]


async def test_no_id_on_a_stream_runs_ahead_of_what_was_sent_before_it(bench: Bench) -> None:
    """A stream that breaks in the middle is resumed after the last id: what has an older one must be out."""
    bench.publish("B", 1)
    bench.publish("A", 1)
    client = bench.client(sink=RecordingTransport(sse.SSE, snapshots=False), transport="sse")
    client.subscribe("A", "B", "C")
    bench.flush()
    client.sink.full = True
    for symbol in ("B", "A", "C", "B"):
        bench.publish(symbol, 2)
    client.sink.full = False
    bench.node.resume(client.connection)
    bench.flush()
    lines = b"".join(client.sink.writes).split(b"\n")
    cursors = [int(line.partition(b"@")[2]) for line in lines if line.startswith(b"id: ")]
    assert len(cursors) == 5
    assert cursors == sorted(cursors)


async def test_a_symbol_that_is_not_live_is_told_with_its_snapshot(bench: Bench) -> None:
    for state in ("stale", "live"):
        bench.publisher.announce([Status(state.upper(), state, None, 5)])
    client = bench.client()
    client.subscribe("STALE", "LIVE")
    bench.flush()
    assert [name for name, _ in client.sink.events] == ["snapshot", "status"]
    assert client.sink.named("status") == [{"symbol": "STALE", "state": "stale", "source": None, "since": 5}]


# Channels


def update(channel: str, number: int, tenant: str | None = None) -> Frame:
    """An update of a channel."""
    frame = messages.channel_update(channel, number, AT_MS)
    frame.tenant = tenant
    return frame


def updates(client: Client) -> list[tuple[str, int]]:
    """Channel and data of the updates that a client got."""
    return [
        (payload["channel"], payload["data"])
        for name, payload in client.sink.events
        if name in messages.CHANNEL_EVENTS.values()
    ]


async def test_an_update_reaches_those_who_listen_to_its_channel(bench: Bench) -> None:
    listener, watcher = bench.client(), bench.client()
    listener.subscribe(channels=("indices", "movers"))
    watcher.subscribe("A", channels=("sectors",))
    bench.bus.publish([update("indices", 1), update("movers", 2), update("sentiment", 3)])
    bench.flush()
    assert updates(listener) == [("indices", 1), ("movers", 2)]
    assert updates(watcher) == []


async def test_whoever_begins_to_listen_is_told_the_last_update(bench: Bench) -> None:
    """After the answer, and before any later one; once, however often it asks."""
    bench.bus.publish([update("indices", 1), update("indices", 2)])
    client = bench.client()
    client.subscribe("A", channels=("indices", "movers"))
    bench.bus.publish([update("indices", 3)])
    client.subscribe(channels=("indices",))
    bench.flush()
    assert updates(client) == [("indices", 2), ("indices", 3)]
    assert [name for name, _ in client.sink.events] == ["snapshot", "market_update", "market_update"]


async def test_of_updates_that_a_client_does_not_take_the_newest_is_kept(bench: Bench) -> None:
    client = bench.client()
    client.subscribe(channels=("indices", "sectors"))
    bench.flush()
    client.sink.full = True
    bench.bus.publish([update("indices", number) for number in range(9)])
    bench.bus.publish([update("sectors", 5)])
    client.sink.full = False
    bench.node.resume(client.connection)
    bench.flush()
    assert updates(client) == [("indices", 8), ("sectors", 5)]


async def test_no_update_comes_after_a_channel_was_left(bench: Bench) -> None:
    client = bench.client()
    client.subscribe(channels=("indices",))
    bench.bus.publish([update("indices", 1)])
    client.unsubscribe(channels=("indices",))
    bench.bus.publish([update("indices", 2)])
    bench.flush()
    assert updates(client) == []


async def test_an_update_for_one_tenant_is_nobody_elses(bench: Bench) -> None:
    bench.bus.publish([update("indices", 1), update("indices", 2, "globex")])
    acme, globex = bench.client(), bench.client(principal(tenant="globex"))
    for client in (acme, globex):
        client.subscribe(channels=("indices",))
    bench.flush()
    bench.bus.publish([update("indices", 3, "globex")])
    bench.flush()
    assert updates(acme) == [("indices", 1)]
    assert updates(globex) == [("indices", 2), ("indices", 3)]


# Tenants


async def test_a_tenants_price_reaches_that_tenant_only(bench: Bench) -> None:
    ours, theirs = bench.client(), bench.client(principal(tenant="rival"))
    for client in (ours, theirs):
        client.subscribe("A")
    bench.publish("A", 1, tenant="acme")
    bench.flush()
    assert (ours.prices(), theirs.prices()) == ([1], [])


async def test_a_tenants_price_is_in_no_others_snapshot_or_quote(bench: Bench) -> None:
    bench.publish("A", 1)
    bench.publish("A", 2, tenant="acme")
    ours, theirs = bench.client(), bench.client(principal(tenant="rival"))
    for client, bid in ((ours, 2), (theirs, 1)):
        client.subscribe("A")
        bench.flush()
        assert client.snapshots() == [[bid]]
        assert quoted(client.ask(GetQuote("A")))["bid"] == bid


async def test_an_event_for_a_room_reaches_its_members(bench: Bench) -> None:
    ours, theirs = bench.client(), bench.client(principal(tenant="rival"))
    assert bench.node.emit("tenant:acme", messages.custom("news", [{"x": 1}])) == 1
    bench.flush()
    assert (ours.sink.events, theirs.sink.events) == ([("news", {"x": 1})], [])
    assert bench.stats.broadcasts == 1


# Admission and leaving


async def test_who_is_not_admitted_is_in_no_room(bench: Bench) -> None:
    client = bench.open()
    assert len(bench.node.hub) == 0
    assert bench.stats.opened.total() == 0
    bench.node.leave(client.connection, closing.CLIENT_LEFT)
    assert bench.stats.closed.total() == 0


async def test_a_user_may_hold_as_many_connections_as_the_plan_says(bench: Bench) -> None:
    who = principal(plan=Plan("p", max_connections=2))
    first, _ = bench.client(who), bench.client(who)
    refused = bench.open()
    with pytest.raises(ConnectionLimitError):
        bench.admit(refused.connection, who)
    assert refused.connection.session is None
    bench.client(principal("u2", plan=who.plan))
    bench.client(principal(tenant="rival", plan=who.plan))
    bench.node.leave(refused.connection, closing.REFUSED)
    with pytest.raises(ConnectionLimitError):
        bench.client(who)
    bench.node.leave(first.connection, closing.CLIENT_LEFT)
    bench.client(who)


async def test_who_waits_for_a_place_is_in_no_room_until_it_is_there() -> None:
    bench = Bench(limits=SlowLimits())
    who = principal(plan=Plan("p", max_connections=1))
    first, second = bench.open(), bench.open()
    place, no_place = (start(bench.node.admit(client.connection, who)) for client in (first, second))
    assert place is not None
    assert no_place is not None
    assert len(bench.node.hub) == 0
    bench.limits.asked.set()
    await place
    assert first.connection.session is not None
    with pytest.raises(ConnectionLimitError):
        await no_place
    assert second.connection.session is None


async def test_a_place_that_comes_too_late_is_given_back() -> None:
    """The client left while others were asked."""
    bench = Bench(limits=SlowLimits())
    client = bench.open()
    waiting = start(bench.node.admit(client.connection, principal(plan=Plan("p", max_connections=1))))
    assert waiting is not None
    bench.node.leave(client.connection, closing.CLIENT_LEFT)
    bench.limits.asked.set()
    await waiting
    assert client.connection.session is None
    assert (len(bench.limits), len(bench.node.hub), bench.stats.opened.total()) == (0, 0, 0)


async def test_a_plan_without_a_limit_costs_no_place() -> None:
    bench = Bench(limits=SlowLimits())
    client = bench.open()
    bench.admit(client.connection, principal(plan=Plan("p", max_connections=0)))
    bench.node.leave(client.connection, closing.CLIENT_LEFT)
    assert len(bench.limits) == 0


async def test_leaving_cleans_everything(bench: Bench) -> None:
    bench = Bench()
    for plan in (Plan("pro", max_connections=1), DELAYED):
        client = bench.client(principal(plan=plan))
        client.subscribe("A", channels=("indices",))
        client.subscribe("B", mode="every")
        bench.node.enter(client.connection, "own")
        bench.node.enter(client.connection, "own")
        bench.publish("A", 1)
        bench.node.leave(client.connection, closing.CLIENT_LEFT)
        bench.node.leave(client.connection, closing.CLIENT_LEFT)
    assert len(bench.node.hub) == 0
    assert bench.node.connections == {}
    assert len(bench.limits) == 0
    assert list(bench.node.interest.local) == []
    assert +bench.stats.connections == {}
    assert bench.stats.closed == {"client_left": 2}


async def test_nothing_is_written_to_a_client_that_has_left(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A")
    bench.flush()
    client.sink.clear()
    bench.publish("A", 1)
    bench.node.leave(client.connection, closing.CLIENT_LEFT)
    bench.flush()
    assert client.sink.writes == []


async def test_what_waits_goes_out_before_the_last_word_and_the_end(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A")
    bench.publish("A", 1)
    bench.node.close(client.connection, closing.DRAIN, messages.error("X", "bye"))
    assert [name for name, _ in client.sink.events] == ["snapshot", "error", "price"]
    assert client.sink.closed == [closing.DRAIN]
    bench.node.close(client.connection, closing.IDLE)
    assert client.sink.closed == [closing.DRAIN]
    assert bench.stats.closed == {"drain": 1}


async def test_who_lets_too_many_messages_wait_is_closed(bench: Bench) -> None:
    bench = Bench(delivery=Delivery(control_capacity=3))
    slow, fine = bench.client(), bench.client()
    slow.sink.full = True
    for _ in range(4):
        bench.node.emit("tenant:acme", messages.custom("news", [1]))
        bench.node.flusher.flush()
    assert slow.sink.closed == [closing.SLOW_CONSUMER]
    assert (fine.sink.closed, len(fine.sink.named("news"))) == ([], 4)


async def test_a_client_whose_transport_is_dead_leaves(bench: Bench) -> None:
    client = bench.client()
    client.sink.dead = RuntimeError("closed")
    bench.node.emit("tenant:acme", messages.custom("news", [1]))
    bench.flush()
    assert client.connection.closed
    assert len(bench.node.hub) == 0


async def test_a_client_that_moves_takes_along_what_waits(bench: Bench) -> None:
    client = bench.client(transport="polling")
    client.subscribe("A")
    bench.flush()
    client.sink.full = True
    bench.publish("A", 1)
    bench.node.flusher.flush()
    target = RecordingTransport()
    bench.node.moved(client.connection, "websocket", target)
    bench.flush()
    assert [name for name, _ in target.events] == ["price"]
    assert +bench.stats.connections == {"websocket": 1}


async def test_rooms_of_a_back_ends_own_are_entered_and_left(bench: Bench) -> None:
    client = bench.client()
    bench.node.enter(client.connection, "vip")
    assert bench.node.emit("vip", messages.custom("news", [1])) == 1
    bench.node.exit(client.connection, "vip")
    assert bench.node.emit("vip", messages.custom("news", [1])) == 0
    assert client.connection.rooms == ()


# Commands


async def test_a_quote_is_the_last_trade_where_there_are_trades(bench: Bench) -> None:
    client = bench.client()
    bench.publisher.publish([replace(best_price("A"), last=9.5, volume=700.0), best_price("B")])
    quotes = [quoted(client.ask(GetQuote(symbol))) for symbol in ("A", "B")]
    assert [(quote["price"], quote["volume"]) for quote in quotes] == [(9.5, 700.0), (1.5, None)]


async def test_a_quote_is_made_of_the_newest_best_price(bench: Bench) -> None:
    bench.publish("A", 1, 5)
    bench.clock.advance(2)
    found = quoted(bench.client().ask(GetQuote("a")))
    assert {name: found[name] for name in ("symbol", "price", "bid", "ask", "timestamp", "age_seconds")} == {
        "symbol": "A",
        "price": 5.5,
        "bid": 5,
        "ask": 6,
        "timestamp": AT_MS,
        "age_seconds": 2,
    }


async def test_a_failed_call_is_answered_with_its_error_and_counted(bench: Bench) -> None:
    client = bench.client(principal(symbols=["A"], plan=Plan("p", rate_capacity=2, rate_refill=1)))
    errors = [client.ask(GetQuote(symbol)) for symbol in ("A", "B", "A")]
    assert [type(error) for error in errors] == [UnknownSymbolError, NotEntitledError, RateLimitedError]
    assert isinstance(client.ask(Ping()), Reply)
    assert bench.stats.commands == {"UNKNOWN_SYMBOL": 1, "NOT_ENTITLED": 1, "RATE_LIMITED": 1, "ok": 1}


async def test_what_clients_watch_is_demanded_live_or_delayed_and_nothing_else(bench: Bench) -> None:
    live, delayed = bench.client(), bench.client(principal(plan=DELAYED))
    live.subscribe("A", "B", channels=("indices",))
    delayed.subscribe("B", "C")
    bench.node.enter(live.connection, "symbol:not a symbol")
    assert await bench.node.interest.differs(frozenset()) == {"A", "B", "C"}
    bench.node.leave(live.connection, closing.CLIENT_LEFT)
    assert set(bench.node.interest.local) == {"B", "C"}
    assert len(bench.node.interest) == 3
    bench.clock.advance(5)
    assert await bench.node.interest.differs(frozenset("ABC")) == {"B", "C"}


async def test_a_tape_waits_for_a_client_of_every_value_but_not_for_ever(bench: Bench) -> None:
    bench = Bench(delivery=Delivery(lane_capacity=10))
    client = bench.client()
    client.subscribe("A", mode="every")
    client.sink.full = True
    bench.publish("A", *range(6))
    waiting = asyncio.create_task(bench.node.caught_up(patience=60))
    done, _ = await asyncio.wait([waiting], timeout=0.02)  # more than one look at the client
    assert not done
    client.sink.full = False
    bench.node.resume(client.connection)
    async with asyncio.timeout(scaled(5)):
        await waiting
    client.sink.full = True
    bench.publish("A", *range(6, 12))
    waiting = asyncio.create_task(bench.node.caught_up(patience=60))
    await asyncio.sleep(0)
    bench.clock.advance(61)
    async with asyncio.timeout(scaled(5)):
        await waiting


# A newer token


async def test_a_newer_token_extends_the_connection(bench: Bench) -> None:
    client = bench.client()
    client.connection.warned = True
    bench.tokens.known["new"] = principal(expires_at_ms=AT_MS + 2 * HOUR_MS)
    assert await client.authenticate("new") == Authenticated(AT_MS + 2 * HOUR_MS)
    assert client.connection.expires_at == bench.clock.now() + 7200
    assert not client.connection.warned


@pytest.mark.parametrize("later", [False, True], ids=["at once", "after fetching keys"])
async def test_a_token_that_is_not_good_changes_nothing(bench: Bench, later: bool) -> None:  # noqa: FBT001  # a case
    bench.tokens.later = later
    bench.tokens.release.set()
    client = bench.client()
    bench.tokens.known["other"] = principal("somebody else")
    before = client.connection.expires_at
    for token in ("bad", "other"):
        assert isinstance(await client.authenticate(token), AuthFailedError)
    assert client.connection.expires_at == before


async def test_a_newer_token_that_covers_less_ends_what_it_does_not_cover(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A", "B", channels=("indices",))
    bench.tokens.known["new"] = principal(symbols=["A"], plan=Plan("p", channels=()))
    await client.authenticate("new")
    assert sorted(bench.node.hub.rooms_of(client.connection.outbox)) == ["symbol:A", "tenant:acme"]


async def test_a_newer_token_of_a_delayed_plan_moves_to_the_delayed_rooms_and_back(bench: Bench) -> None:
    bench = Bench()
    client = bench.client()
    client.subscribe("A", "B")
    bench.tokens.known |= {"delayed": principal(plan=DELAYED, symbols=["A"]), "live": principal()}
    await client.authenticate("delayed")
    assert sorted(bench.node.hub.rooms_of(client.connection.outbox)) == ["delayed:10:A", "tenant:acme"]
    await client.authenticate("live")
    assert sorted(bench.node.hub.rooms_of(client.connection.outbox)) == ["symbol:A", "tenant:acme"]
    bench.node.leave(client.connection, closing.CLIENT_LEFT)
    assert len(bench.node.hub) == 0


async def test_a_client_that_left_while_its_token_was_checked_stays_away(bench: Bench) -> None:
    bench = Bench()
    client = bench.client()
    client.subscribe("A")
    bench.tokens.later = True
    bench.tokens.known["new"] = principal(plan=DELAYED)
    asking = asyncio.create_task(client.authenticate("new"))
    await asyncio.sleep(0)
    bench.node.leave(client.connection, closing.CLIENT_LEFT)
    bench.tokens.release.set()
    await asyncio.wait([asking])
    assert len(bench.node.hub) == 0


# Delay


async def test_a_delayed_client_sees_prices_when_they_are_old_enough(bench: Bench) -> None:
    live, delayed = bench.client(), bench.client(principal(plan=DELAYED))
    for client in (live, delayed):
        client.subscribe("A")
    bench.publish("A", 1)
    for _ in range(10):
        bench.node.fanout.release_delayed()
        bench.flush()
        assert delayed.prices() == []
        bench.clock.advance(1)
    bench.node.fanout.release_delayed()
    bench.flush()
    assert (live.prices(), delayed.prices()) == ([1], [1])


async def test_a_delayed_client_sees_nothing_newer_in_its_snapshot_or_quote(bench: Bench) -> None:
    bench.client(principal(plan=DELAYED)).subscribe("A")
    client = bench.client(principal(plan=DELAYED))
    bench.publish("A", 1)
    bench.node.fanout.release_delayed()
    bench.clock.advance(10)
    bench.node.fanout.release_delayed()
    bench.publish("A", 2)
    client.subscribe("A", "B")
    bench.flush()
    assert client.snapshots() == [[1]]
    assert [status["state"] for status in client.sink.named("status")] == ["delayed", "delayed"]
    assert quoted(client.ask(GetQuote("A")))["bid"] == 1


async def test_a_delayed_plan_that_nobody_uses_holds_nothing(bench: Bench) -> None:
    live, delayed = bench.client(), bench.client(principal(plan=DELAYED))
    live.subscribe("A", "B")
    bench.publish("A", 1)
    bench.publish("B", 1)
    bench.node.fanout.release_delayed()
    assert bench.node.fanout.lines.frames == 0
    delayed.subscribe("A")
    bench.publish("A", 2)
    bench.publish("B", 2)
    bench.node.fanout.release_delayed()
    assert bench.node.fanout.lines.frames == 1
    bench.node.leave(delayed.connection, closing.CLIENT_LEFT)
    bench.clock.advance(5)
    bench.node.fanout.release_delayed()
    assert bench.node.fanout.lines.frames == 0


async def test_a_price_from_before_its_first_delayed_client_is_shown_when_it_is_old_enough(
    bench: Bench,
) -> None:
    client = bench.client(principal(plan=DELAYED))
    bench.publish("A", 1)
    bench.clock.advance(4)
    client.subscribe("A")
    seen = []
    for _ in range(8):
        bench.node.fanout.release_delayed()
        bench.flush()
        seen.append(len(client.prices()))
        bench.clock.advance(1)
    assert (client.snapshots(), seen) == ([[]], [0, 0, 0, 0, 0, 0, 1, 1])


# Figures


async def test_the_count_of_conflated_prices_is_exact(bench: Bench) -> None:
    slow, fine, gone, every = (bench.client() for _ in range(4))
    for client in (slow, fine, gone):
        client.subscribe("A")
    every.subscribe("A", mode="every")
    for client in (slow, gone, every):
        client.sink.full = True
    for number in range(10):
        bench.publish("A", number)
        bench.flush()
    assert bench.node.conflated() == 9 + 9
    bench.node.leave(gone.connection, closing.CLIENT_LEFT)
    every.sink.full = slow.sink.full = False
    slow.unsubscribe("A")
    bench.node.resume(every.connection)
    bench.flush()
    assert bench.node.conflated() == 18
    assert (len(fine.prices()), len(every.prices()), slow.prices()) == (10, 10, [])


async def test_a_client_that_leaves_before_a_flush_does_not_hide_what_others_missed(bench: Bench) -> None:
    slow, gone = bench.client(), bench.client()
    for client in (slow, gone):
        client.subscribe("A")
    bench.flush()
    slow.sink.full = True
    bench.publish("A", 1)
    bench.flush()
    bench.publish("A", 2)
    bench.node.leave(gone.connection, closing.CLIENT_LEFT)
    bench.flush()
    assert bench.node.conflated() == 1


@pytest.mark.parametrize(
    ("before", "after"), [("latest", "every"), ("every", "latest"), ("latest", "latest"), ("every", "every")]
)
async def test_what_a_new_subscription_supersedes_was_not_conflated(
    bench: Bench, before: Mode, after: Mode
) -> None:
    client = bench.client()
    client.subscribe("A", mode=before)
    bench.flush()
    client.sink.full = True
    bench.publish("A", 1)
    client.subscribe("A", mode=after)
    assert bench.node.conflated() == 0
    client.sink.full = False
    bench.node.resume(client.connection)
    bench.flush()
    assert bench.node.conflated() == 0
    assert client.snapshots()[-1] == [1]


async def test_what_mode_every_lost_is_lagged_and_never_conflated(bench: Bench) -> None:
    """Also before it was told: a counter that goes back is read as a restart."""
    bench = Bench(delivery=Delivery(lane_capacity=3))
    client = bench.client()
    client.subscribe("A", mode="every")
    client.sink.full = True
    bench.publish("A", *range(10))
    assert bench.node.conflated() == 0
    client.sink.full = False
    bench.node.resume(client.connection)
    bench.flush()
    assert (bench.node.conflated(), bench.stats.lagged) == (0, 7)


async def test_the_lag_of_the_bus_is_known(bench: Bench) -> None:
    bench.publish("A", 1)
    frame = bench.bus.last(["A"], "acme")[0]
    bench.clock.advance(0.25)
    bench.node.fanout.receive([frame])
    assert bench.node.fanout.bus_lag_ms == pytest.approx(250, abs=1)
    bench.flush()


async def test_a_call_that_fails_in_a_way_nobody_thought_of_harms_nobody(bench: Bench) -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    tasks: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[None, None, None]) -> None:
        tasks.append(asyncio.create_task(work))

    bench.node.spawn = spawn
    bench.node.wait_for(fail())
    await eventually(tasks[0].done)
    assert tasks[0].exception() is None
