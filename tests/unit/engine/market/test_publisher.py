import pytest

from marketstream.core.market.model import Status
from marketstream.errors import LateQuoteError
from marketstream.wire import messages
from tests.support.builders import AT_MS, Bench, best_price, principal


@pytest.fixture
async def bench() -> Bench:
    """An engine without clients."""
    return Bench()


def known(bench: Bench, symbol: str, tenant: str = "acme") -> int | None:
    """Source time of the newest price of a symbol."""
    found = bench.bus.last([symbol], tenant)
    return found[0].at_ms if found else None


async def test_the_time_of_a_symbol_never_goes_back(bench: Bench) -> None:
    bench.publisher.publish([best_price("A", 1, AT_MS), best_price("A", 2, AT_MS - 1), best_price("B", 3, 5)])
    assert (known(bench, "A"), known(bench, "B")) == (AT_MS, 5)
    assert bench.stats.rejected == {"late_price": 1}
    assert bench.stats.published == 2


async def test_a_price_of_the_same_time_is_published(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A")
    for bid in (1, 2):
        bench.publisher.publish_one(best_price("A", bid, AT_MS))
    bench.flush()
    assert client.prices()[-1] == 2


async def test_who_waits_for_an_answer_is_told_that_a_price_came_too_late(bench: Bench) -> None:
    bench.publisher.publish_one(best_price("A", 1, AT_MS))
    with pytest.raises(LateQuoteError, match=f"A: timestamp {AT_MS - 1} is older than the newest, {AT_MS}"):
        bench.publisher.publish_one(best_price("A", 1, AT_MS - 1))
    assert bench.stats.published == 1


async def test_time_goes_back_for_no_tenant_that_sees_its_own_prices_and_the_publics(bench: Bench) -> None:
    ours, theirs = bench.client(), bench.client(principal(tenant="rival"))
    for client in (ours, theirs):
        client.subscribe("A", mode="every")
    bench.publisher.publish([best_price("A", 1, 50)])
    with pytest.raises(LateQuoteError):
        bench.publisher.publish_one(best_price("A", 2, 40), "acme")
    bench.publisher.publish_one(best_price("A", 3, 60), "acme")
    bench.publisher.publish_one(best_price("A", 4, 55))
    bench.publisher.publish_one(best_price("A", 5, 60))
    bench.flush()
    assert (ours.prices(), theirs.prices()) == ([1, 3, 5], [1, 4, 5])


async def test_no_tenants_time_is_any_others(bench: Bench) -> None:
    bench.publisher.publish_one(best_price("A", 1, 50), "acme")
    bench.publisher.publish_one(best_price("A", 2, 40), "rival")
    bench.publisher.publish_one(best_price("A", 3, 30))
    assert [known(bench, "A", tenant) for tenant in ("acme", "rival", "third")] == [50, 40, 30]


async def test_symbols_are_listed_in_the_order_of_their_first_public_price(bench: Bench) -> None:
    for symbol in ("B", "A", "B"):
        bench.publish(symbol, 1)
    bench.publish("C", 1, tenant="acme")
    assert bench.publisher.symbols() == ["B", "A"]


async def test_states_are_published_in_order(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A", "B")
    bench.publisher.announce([Status("A", "stale", "x", 5), Status("B", "live", "y", 6)])
    bench.flush()
    assert client.sink.named("status") == [
        {"symbol": "A", "state": "stale", "source": "x", "since": 5},
        {"symbol": "B", "state": "live", "source": "y", "since": 6},
    ]


async def test_a_batch_travels_as_one_and_an_empty_one_does_not_travel(bench: Bench) -> None:
    batches: list[int] = []
    bench.bus.attach(lambda frames: batches.append(len(frames)))
    bench.publisher.publish([best_price("A"), best_price("B")])
    bench.publisher.publish([])
    bench.publisher.publish([best_price("A", at_ms=1)])
    assert batches == [2]


async def test_who_goes_on_for_somebody_else_lets_no_time_go_back(bench: Bench) -> None:
    """Not the public's, and not a tenant's; what it knew itself is forgotten."""
    bench.publisher.publish_one(best_price("OWN", 1, 90))
    bench.publisher.restore(
        [
            messages.price(best_price("A", 1, 50)),
            messages.price(best_price("A", 2, 60), "acme"),
            messages.status(Status("A", "live", None, 70)),
        ]
    )
    with pytest.raises(LateQuoteError):
        bench.publisher.publish_one(best_price("A", 3, 49))
    with pytest.raises(LateQuoteError):
        bench.publisher.publish_one(best_price("A", 3, 59), "acme")
    ours = bench.client()
    ours.subscribe("A", mode="every")
    bench.publisher.publish_one(best_price("A", 4, 55))
    bench.publisher.publish_one(best_price("OWN", 5, 80))
    bench.publisher.publish_one(best_price("A", 6, 65))
    bench.flush()
    assert ours.prices() == [6]
    assert bench.publisher.symbols() == ["A", "OWN"]
