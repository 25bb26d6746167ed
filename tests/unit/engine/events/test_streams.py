"""Event streams of one process: who hears what, when, and what becomes of it when somebody is slow."""

from collections.abc import Iterator
from typing import Any

import pytest

from marketstream.core.delivery.closing import CLIENT_LEFT
from marketstream.core.delivery.commands import Authenticated
from marketstream.core.delivery.entitlements import Plan
from marketstream.core.events.event import Priority
from marketstream.core.events.filter import Filter
from marketstream.core.events.rule import Rule
from marketstream.engine.events.health import Health
from marketstream.wire.events.between_processes import render_user
from tests.support.builders import HOUR_MS, principal
from tests.support.event_bench import WINDOW, EventBench, batches, ids
from tests.support.events import event
from tests.support.eventually import eventually
from tests.support.recording import RecordingTransport

LIVE, LATE = Plan("live", rank=2), Plan("late", delay=60, rank=1)


@pytest.fixture
async def bench() -> Any:
    """Event streams that nobody uses yet."""
    made = EventBench()
    yield made
    made.close()


@pytest.fixture
def benches() -> Iterator[list[EventBench]]:
    """Benches that a test makes itself, closed behind it."""
    made: list[EventBench] = []
    yield made
    for each in made:
        each.close()


# When it is sent


async def test_events_of_a_window_go_out_together_higher_priorities_first(bench: EventBench) -> None:
    client = bench.client()
    await bench.subscribe(client)
    await bench.take({"id": "1", "priority": "LOW"}, {"id": "2", "priority": "HIGH"})
    bench.clock.advance(WINDOW / 2)
    await bench.take({"id": "3", "priority": "LOW"})
    bench.ring(WINDOW / 4)
    assert ids(client) == []
    bench.ring(WINDOW / 2)
    assert [[each["id"] for each in batch["events"]] for batch in batches(client)] == [["2", "1", "3"]]
    assert bench.streams.stats.batches == 1


async def test_without_a_window_each_event_is_due_at_once(benches: list[EventBench]) -> None:
    bench = EventBench(window=0)
    benches.append(bench)
    client = bench.client()
    await bench.subscribe(client)
    await bench.take({"id": "1"})
    bench.ring(0)
    await bench.take({"id": "2"})
    bench.ring(0)
    assert [len(batch["events"]) for batch in batches(client)] == [1, 1]


async def test_a_timer_of_its_own_sends_what_is_due(bench: EventBench) -> None:
    client = bench.client()
    await bench.subscribe(client)
    await bench.take({"id": "1"})
    bench.clock.advance(WINDOW)
    await eventually(lambda: ids(client) == ["1"], what="the window's end")


async def test_what_is_critical_waits_for_no_window_and_overtakes_prices(bench: EventBench) -> None:
    client = bench.client()
    client.subscribe("EUR/USD")
    await bench.subscribe(client)
    await bench.take({"id": "usual", "priority": "HIGH"})
    bench.flush()
    client.sink.clear()
    bench.publish("EUR/USD", 1.5)
    await bench.take({"id": "now", "priority": "CRITICAL"})
    bench.flush()
    assert [name for name, _ in client.sink.events] == ["events", "price"]
    assert ids(client) == ["now"]
    bench.ring()
    assert ids(client) == ["now", "usual"]


async def test_an_event_whose_time_is_over_is_not_sent(bench: EventBench) -> None:
    client = bench.client()
    await bench.subscribe(client)
    at_ms = bench.clock.wall_ms()
    await bench.take(
        {"id": "gone", "expiresAt": at_ms}, {"id": "soon", "expiresAt": at_ms + 50}, {"id": "ok"}
    )
    bench.ring()
    assert ids(client) == ["ok"]
    assert bench.streams.stats.expired == 2


async def test_more_than_the_limit_waits_for_the_next_second(bench: EventBench) -> None:
    client = bench.client()
    await bench.subscribe(client)
    await bench.take(*({"id": f"{number}"} for number in range(150)))
    bench.ring()
    assert len(ids(client)) == 100
    assert bench.streams.stats.tally.limited[Priority.MEDIUM] == 50
    bench.ring(1.0)
    assert ids(client) == [f"{number}" for number in range(150)]


# Slow clients


async def test_a_client_that_takes_nothing_holds_a_bounded_number_of_events_and_is_told_of_the_rest(
    bench: EventBench,
) -> None:
    """One batch is in the outbox, a thousand events in the queue, and every other one is counted."""
    slow, quick = bench.client(principal("slow")), bench.client(principal("quick"))
    for client in (slow, quick):
        await bench.subscribe(client)
    slow.sink.full = True
    for second in range(20):
        listed = ({"id": f"{second} {each}", "priority": "LOW" if each % 2 else "HIGH"} for each in range(90))
        await bench.take(*listed)
        bench.ring(1.1)
    assert len(ids(quick)) == 1_800
    assert len(slow.connection.outbox.control) == 1
    assert bench.streams.broadcaster.waiting == 1_000
    slow.sink.full = False
    for _ in range(20):
        bench.node.resume(slow.connection)
        bench.flush()
        bench.ring(1.1)
    dropped = sum(batch.get("dropped", 0) for batch in batches(slow))
    assert dropped == 1_800 - 90 - 1_000
    assert len(ids(slow)) + dropped == 1_800
    assert bench.streams.stats.tally.dropped == [dropped, 0, 0, 0]
    assert bench.streams.broadcaster.waiting == 0


async def test_critical_events_that_nobody_takes_close_the_client_before_they_fill_the_memory(
    bench: EventBench,
) -> None:
    client = bench.client()
    await bench.subscribe(client)
    client.sink.full = True
    for part in range(3):
        await bench.take(*({"id": f"{part} {n}", "priority": "CRITICAL"} for n in range(500)))
    assert [reason.code for reason in client.sink.closed] == ["slow_consumer"]
    assert bench.streams.router.connected == 0


async def test_what_waits_for_a_connection_goes_with_it(bench: EventBench) -> None:
    client = bench.client()
    await bench.subscribe(client)
    await bench.take({}, {})
    bench.node.leave(client.connection, CLIENT_LEFT)
    assert bench.streams.broadcaster.waiting == 0
    assert bench.streams.stats.abandoned == 2
    bench.ring()
    assert ids(client) == []


# Whom it reaches


async def test_every_tab_of_a_user_gets_each_event_once(bench: EventBench) -> None:
    one, two, other = bench.client(), bench.client(), bench.client(principal("u2"))
    await bench.subscribe(one, "a", types=["alert"])
    await bench.subscribe(two, "b", names=["news"])
    await bench.take({"id": "1"})
    bench.ring()
    for tab in (one, two):
        assert [each["matched"] for batch in batches(tab) for each in batch["events"]] == [["a", "b"]]
    assert ids(other) == []


async def test_a_user_of_another_tenant_receives_nothing_of_an_event_for_one(bench: EventBench) -> None:
    ours, theirs = bench.client(), bench.client(principal(tenant="rival"))
    for client in (ours, theirs):
        await bench.subscribe(client)
    await bench.take({"id": "ours", "tenantId": "acme"}, {"id": "all"})
    bench.ring()
    assert (ids(ours), ids(theirs)) == (["ours", "all"], ["all"])


async def test_nobody_learns_of_a_symbol_that_plan_and_token_do_not_cover(bench: EventBench) -> None:
    narrow = bench.client(principal("narrow", symbols=["EUR/*"]))
    await bench.subscribe(narrow)
    await bench.take({"id": "1", "symbol": "EUR/USD"}, {"id": "2", "symbol": "AAPL"}, {"id": "3"})
    await bench.take({"id": "4", "symbol": "AAPL", "priority": "CRITICAL"})
    bench.ring()
    assert ids(narrow) == ["1", "3"]


async def test_a_token_that_may_not_read_learns_of_no_events(bench: EventBench) -> None:
    reader = bench.client()
    await bench.subscribe(reader)
    publisher = bench.client(principal(scopes=["market:publish"]))
    await bench.take({"id": "1"}, {"id": "2", "priority": "CRITICAL"})
    bench.flush()
    bench.ring()
    assert (ids(reader), ids(publisher)) == (["2", "1"], [])
    bench.tokens.known["weaker"] = principal(scopes=["market:publish"])
    await reader.authenticate("weaker")
    await bench.take({"id": "3"})
    bench.ring()
    assert ids(reader) == ["2", "1"]
    assert bench.streams.router.connected == 0


async def test_a_stream_of_prices_carries_no_events(bench: EventBench) -> None:
    sink = RecordingTransport()
    sink.personal = False
    client = bench.client(sink=sink)
    await bench.subscribe(client)
    await bench.take({"id": "1"})
    bench.ring()
    assert ids(client) == []


async def test_a_plan_that_sees_prices_late_does_not_see_how_the_market_is(benches: list[EventBench]) -> None:
    bench = EventBench(rules=(Rule("priced", Filter(), enrich=True),))
    benches.append(bench)
    live, late = bench.client(principal("a", plan=LIVE)), bench.client(principal("b", plan=LATE))
    for client in (live, late):
        await bench.subscribe(client)
    bench.publish("AAPL", 150.0)
    await bench.take({"symbol": "AAPL"}, {"symbol": "MSFT"}, {})
    bench.ring()
    seen = [each.get("market") for each in batches(live)[0]["events"]]
    assert seen[0]["price"]["bestBid"]["price"] == 150.0
    assert seen[1:] == [{"price": None, "state": None}, None]
    assert [each.get("market") for each in batches(late)[0]["events"]] == [None] * 3


async def test_a_price_of_one_tenant_is_not_shown_with_an_event_for_all(benches: list[EventBench]) -> None:
    bench = EventBench(rules=(Rule("priced", Filter(), enrich=True),))
    benches.append(bench)
    client = bench.client()
    await bench.subscribe(client)
    bench.publish("AAPL", 150.0, tenant="acme")
    await bench.take({"symbol": "AAPL"}, {"symbol": "AAPL", "tenantId": "acme"})
    bench.ring()
    prices = [each["market"]["price"] for each in batches(client)[0]["events"]]
    assert (prices[0], prices[1]["bestBid"]["price"]) == (None, 150.0)


async def test_a_plan_does_not_see_the_fields_that_its_rule_drops(benches: list[EventBench]) -> None:
    bench = EventBench(rules=(Rule("some", Filter(), drop={"late": ("confidence", "data.score")}),))
    benches.append(bench)
    live, late = bench.client(principal("a", plan=LIVE)), bench.client(principal("b", plan=LATE))
    for client in (live, late):
        await bench.subscribe(client)
    await bench.take({"confidence": 0.9, "data": {"score": 1, "other": 2}})
    bench.ring()
    (full,), (cut,) = batches(live)[0]["events"], batches(late)[0]["events"]
    assert (full["confidence"], full["data"]) == (0.9, {"score": 1, "other": 2})
    assert ("confidence" in cut, cut["data"]) == (False, {"other": 2})


async def test_those_of_higher_plans_are_written_to_first_where_the_rule_says_so(
    benches: list[EventBench],
) -> None:
    bench = EventBench(rules=(Rule("first", Filter(), "priority_first"),))
    benches.append(bench)
    order: list[str] = []

    class Noted(RecordingTransport):
        def write(self, data: bytes) -> None:
            if b'"events"' in data:
                order.append(self.name)
            super().write(data)

        name = ""

    for name, plan in (("a", LATE), ("b", LIVE), ("c", LATE), ("d", LIVE)):
        sink = Noted()
        sink.name = plan.name
        await bench.subscribe(bench.client(principal(name, plan=plan), sink))
    await bench.take({"priority": "CRITICAL"})
    bench.flush()
    await bench.take({})
    bench.ring()
    assert order == ["live", "live", "late", "late"] * 2


async def test_a_user_ranks_as_the_best_plan_of_all_connections(benches: list[EventBench]) -> None:
    bench = EventBench(rules=(Rule("first", Filter(), "priority_first"),))
    benches.append(bench)
    low, high = bench.client(principal("a", plan=LATE)), bench.client(principal("z", plan=LIVE))
    extra = bench.client(principal("z", plan=LATE))
    for client in (low, high):
        await bench.subscribe(client)
    route = bench.streams.router.route(event(), bench.clock.now())
    assert [user for (_, user), _ in route.recipients] == ["z", "a"]
    bench.node.leave(high.connection, CLIENT_LEFT)
    bench.tokens.known["better"] = principal("a", plan=LIVE)
    await low.authenticate("better")
    route = bench.streams.router.route(event(), bench.clock.now())
    assert [user for (_, user), _ in route.recipients] == ["a", "z"]
    assert extra.sink.closed == []


async def test_what_is_for_everybody_reaches_those_who_subscribed_to_nothing(
    benches: list[EventBench],
) -> None:
    bench = EventBench(rules=(Rule("halts", Filter(types=frozenset({"halt"})), "broadcast_all"),))
    benches.append(bench)
    ours, theirs = bench.client(), bench.client(principal(tenant="rival"))
    await bench.take({"id": "1", "type": "halt"}, {"id": "2", "type": "halt", "tenantId": "rival"})
    bench.ring()
    assert (ids(ours), ids(theirs)) == (["1"], ["1", "2"])
    assert "matched" not in batches(ours)[0]["events"][0]
    await bench.until_read()


async def test_a_message_is_made_once_for_all_who_get_the_same(bench: EventBench) -> None:
    clients = [bench.client(principal(f"u{number}")) for number in range(5)]
    for client in clients:
        await bench.subscribe(client)
    for client in clients:
        client.sink.full = True
    await bench.take({"priority": "CRITICAL"})
    assert len({id(client.connection.outbox.control[-1]) for client in clients}) == 1
    for client in clients:
        client.connection.outbox.clear()
    await bench.take({})
    bench.ring()
    assert len({id(client.connection.outbox.control[-1]) for client in clients}) == 1


async def test_a_newer_plan_counts_for_what_waits_and_what_comes_after(benches: list[EventBench]) -> None:
    bench = EventBench(rules=(Rule("some", Filter(), drop={"late": ("confidence",)}),))
    benches.append(bench)
    client = bench.client(principal(plan=LATE))
    await bench.subscribe(client)
    await bench.take({"confidence": 0.5})
    bench.tokens.known["better"] = principal(plan=LIVE, expires_at_ms=bench.clock.wall_ms() + HOUR_MS)
    await client.authenticate("better")
    await bench.take({"confidence": 0.5})
    bench.ring()
    assert ["confidence" in each for each in batches(client)[0]["events"]] == [True, True]


async def test_what_waits_for_a_client_that_may_not_see_it_any_more_is_dropped_and_told(
    bench: EventBench,
) -> None:
    client = bench.client()
    await bench.subscribe(client)
    await bench.take({"id": "1", "symbol": "AAPL"}, {"id": "2", "symbol": "MSFT"}, {"id": "3"})
    bench.tokens.known["narrow"] = principal(symbols=["A*"])
    await client.authenticate("narrow")
    bench.ring()
    (batch,) = batches(client)
    assert (ids(client), batch["dropped"]) == (["1", "3"], 1)


async def test_a_client_that_may_not_read_any_more_is_told_that_events_end(bench: EventBench) -> None:
    client = bench.client()
    await bench.subscribe(client)
    bench.tokens.known["weaker"] = principal(scopes=["market:publish"])
    answer = await client.authenticate("weaker")
    assert isinstance(answer, Authenticated)
    assert answer.ended == ("events: not entitled",)


# Coming in


async def test_a_bad_event_harms_no_other_and_is_named_by_its_index(bench: EventBench) -> None:
    answer = await bench.take({"id": "1"}, {"type": 5}, {"id": "1"}, {"id": "2", "confidence": 2})
    assert (answer["accepted"], answer["repeated"]) == (1, 1)
    assert [fault["index"] for fault in answer["rejected"]] == [1, 3]
    assert answer["ids"] == ["1", None, "1", None]
    assert bench.streams.stats.taken == {"accepted": 1, "repeated": 1, "refused": 2}


async def test_an_id_counts_for_its_tenant_and_for_five_minutes(bench: EventBench) -> None:
    assert (await bench.take({"id": "1"}, {"id": "1", "tenantId": "acme"}))["accepted"] == 2
    bench.clock.advance(299)
    assert (await bench.take({"id": "1"}))["repeated"] == 1
    bench.clock.advance(2)
    assert (await bench.take({"id": "1"}))["accepted"] == 1


async def test_an_entry_without_an_id_is_known_by_that_of_the_entry(bench: EventBench) -> None:
    data = b'{"type":"alert","name":"news"}'
    assert [await bench.streams.publisher.take_entry(data, entry) for entry in (b"1-0", b"1-0", b"1-1")] == [
        "accepted",
        "repeated",
        "accepted",
    ]


async def test_news_of_nobody_and_nonsense_are_passed_over(bench: EventBench) -> None:
    bench.news.send(b"[1]")
    bench.news.send(render_user(("acme", "nobody")))
    assert bench.streams.unread == 0


# Health


async def test_it_is_degraded_while_events_are_dropped_and_well_again_later(bench: EventBench) -> None:
    health = Health(bench.streams)
    assert health.look().reasons == ()
    bench.streams.stats.tally.dropped[0] += 3
    assert health.look().reasons == ("3 events found no room of late",)
    for _ in range(3):
        bench.clock.advance(60)
        report = health.look()
    assert report.reasons == ()


async def test_it_is_degraded_when_finding_recipients_takes_too_long_of_late(bench: EventBench) -> None:
    health = Health(bench.streams)
    bench.streams.stats.match.observe(8, 1_000)
    assert health.look().reasons == ("match takes 10 ms at p99, 5 are the target",)
    for _ in range(3):
        bench.clock.advance(60)
        bench.streams.stats.match.observe(0.2, 1_000)
        report = health.look()
    assert (report.reasons, report.router["matchP99Ms"]) == ((), 0.25)
