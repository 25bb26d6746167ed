import pytest

from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.engine.market import aggregator as module
from marketstream.engine.market.aggregator import FeedSink
from marketstream.errors import LateQuoteError
from marketstream.wire import messages
from tests.support.builders import AT_MS, Bench, Client, best_price, principal, quote


@pytest.fixture
async def bench() -> Bench:
    """An engine without clients."""
    return Bench()


@pytest.fixture
async def client(bench: Bench) -> Client:
    """A client of the tenant acme that watches A and B."""
    client = bench.client()
    client.subscribe("A", "B")
    return client


async def test_quotes_of_all_feeds_meet_in_one_best_price(bench: Bench, client: Client) -> None:
    bench.aggregator.offer([quote("A", 1, source="x")], "first")
    bench.aggregator.offer([quote("A", 1.5, source="y")], "second")
    bench.flush()
    last = client.sink.named("price")[-1]
    assert (last["bestBid"]["price"], last["bestBid"]["source"], last["bestAsk"]["source"]) == (1.5, "y", "x")
    assert bench.stats.quotes == {"first": 1, "second": 1}


async def test_what_no_client_can_see_is_not_published(bench: Bench) -> None:
    bench.aggregator.offer([quote("A", 2, source="x")], "feed")
    published = bench.stats.published
    bench.aggregator.offer([quote("A", 2, source="x")], "feed")
    assert bench.stats.published == published


async def test_a_late_quote_is_counted_and_costs_the_others_nothing(bench: Bench, client: Client) -> None:
    bench.aggregator.offer([quote("A", 1), quote("A", 2, AT_MS - 1), quote("B", 3)], "feed")
    bench.flush()
    assert client.prices() == [1, 3]
    assert bench.stats.rejected == {"late_quote": 1}


async def test_who_waits_for_an_answer_is_told_that_a_quote_came_too_late(bench: Bench) -> None:
    bench.aggregator.offer_one(quote("A"), "http")
    with pytest.raises(LateQuoteError):
        bench.aggregator.offer_one(quote("A", at_ms=AT_MS - 1), "http")
    assert bench.stats.quotes == {"http": 1}


async def test_a_tenants_quotes_reach_that_tenant_only_and_do_not_mix(bench: Bench, client: Client) -> None:
    rival = bench.client(principal(tenant="rival"))
    rival.subscribe("A")
    bench.aggregator.offer_one(quote("A", 9, source="theirs"), "http", "rival")
    bench.aggregator.offer_one(quote("A", 1, source="ours"), "http", "acme")
    bench.flush()
    assert (client.prices(), rival.prices()) == ([1], [9])


async def test_silent_sources_of_everybody_and_of_each_tenant_leave(bench: Bench, client: Client) -> None:
    rival = bench.client(principal(tenant="rival"))
    rival.subscribe("A", "B")
    bench.aggregator.offer([quote("A")], "feed")
    bench.aggregator.offer_one(quote("B"), "http", "acme")
    bench.clock.advance(30)
    bench.aggregator.expire()
    bench.flush()
    assert [status["symbol"] for status in client.sink.named("status")[-2:]] == ["A", "B"]
    assert [status["state"] for status in client.sink.named("status")[-2:]] == ["stale", "stale"]
    assert {status["symbol"] for status in rival.sink.named("status")} == {"A"}


async def test_the_end_of_a_feed_closes_what_only_it_quoted(bench: Bench, client: Client) -> None:
    bench.aggregator.offer([quote("A")], "tape")
    bench.aggregator.offer([quote("B")], "other")
    bench.aggregator.finish("tape")
    bench.flush()
    final = {status["symbol"]: status["state"] for status in client.sink.named("status")}
    assert final == {"A": "closed", "B": "live"}


async def test_the_tenant_that_was_quiet_for_longest_makes_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TENANTS", 2)
    for tenant in ("a", "b", "a", "c"):
        bench.aggregator.offer_one(quote("A"), "http", tenant)
    assert list(bench.aggregator._private) == ["a", "c"]


async def test_a_feed_sees_interest_and_is_seen_to_speak(bench: Bench, client: Client) -> None:
    spoken: list[bool] = []
    sink = FeedSink(
        name="tape",
        aggregator=bench.aggregator,
        interest=bench.node.interest,
        caught_up=bench.node.caught_up,
        on_quotes=lambda: spoken.append(True),
    )
    assert await sink.interest(frozenset()) == {"A", "B"}
    sink.offer([quote("A")])
    await sink.ready()
    assert (spoken, client.prices()) == ([True], [1])
    assert bench.stats.quotes == {"tape": 1}


def live(symbol: str, tenant: str | None = None) -> Frame:
    return messages.status(Status(symbol, "live", "x", AT_MS), tenant)


async def test_what_was_live_somewhere_else_is_stale_unless_it_is_quoted_here(bench: Bench) -> None:
    """Within the time that a silent source has; each is told once."""
    client = bench.client()
    client.subscribe("A", "B", "C", "D")
    stale = messages.status(Status("C", "stale", None, AT_MS))
    bench.aggregator.restore([live("A"), live("B"), stale, messages.price(best_price("D"))])
    bench.clock.advance(29)
    bench.aggregator.expire()
    bench.aggregator.offer([quote("B")], "feed")
    bench.flush()
    assert [told["symbol"] for told in client.sink.named("status")] == ["B"]
    for _ in range(2):
        bench.clock.advance(1)
        bench.aggregator.expire()
    bench.flush()
    assert [(t["symbol"], t["state"]) for t in client.sink.named("status")[1:]] == [("A", "stale")]


async def test_a_tenants_symbol_that_was_live_somewhere_else_is_stale_for_that_tenant(bench: Bench) -> None:
    ours, theirs = bench.client(), bench.client(principal(tenant="rival"))
    for client in (ours, theirs):
        client.subscribe("A")
    bench.aggregator.restore([live("A", "acme")])
    bench.clock.advance(30)
    bench.aggregator.expire()
    bench.flush()
    assert [told["state"] for told in ours.sink.named("status")] == ["stale"]
    assert theirs.sink.named("status") == []


async def test_what_a_feed_cannot_have_and_nobody_quotes_is_stale_and_said_once(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A", "B", "C", "D")
    bench.aggregator.offer([quote("A")], "feed")
    bench.publisher.publish([best_price("B")])
    bench.flush()
    sink = FeedSink(
        name="vendor",
        aggregator=bench.aggregator,
        interest=bench.node.interest,
        caught_up=bench.node.caught_up,
        on_quotes=lambda: None,
    )
    sink.lack(frozenset("ABC"))
    sink.lack(frozenset("ABCD"))
    bench.flush()
    told = [(status["symbol"], status["state"], status["source"]) for status in client.sink.named("status")]
    assert told == [("A", "live", "lmax"), ("C", "stale", None), ("D", "stale", None)]
    bench.aggregator.offer([quote("C")], "feed")
    bench.flush()
    assert client.sink.named("status")[-1]["state"] == "live"


async def test_what_is_known_to_be_stale_is_not_said_again_by_who_takes_over(bench: Bench) -> None:
    bench.aggregator.restore([messages.status(Status("A", "stale", None, AT_MS))])
    bench.aggregator.lack({"A", "B"})
    assert bench.stats.published == 1


async def test_names_that_clients_make_up_are_not_said_without_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LACKING", 3)
    bench.aggregator.lack({"A", "B"})
    bench.aggregator.lack({"C", "D", "E"})
    bench.aggregator.lack({"F"})
    assert bench.stats.published == 3
