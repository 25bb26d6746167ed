import json
from typing import Any

import pytest

from marketstream.core.delivery.commands import GetQuote, Quoted
from marketstream.core.market.model import Status
from marketstream.core.query.model import Answer, ProviderQuote
from marketstream.wire import messages
from tests.support.builders import PRO, Bench, principal
from tests.support.providers import given_quote


async def ask(bench: Bench, symbol: str = "AAPL", **who: Any) -> dict[str, Any]:
    """The answer to `get_quote`, as JSON."""
    client = bench.client(principal(**who))
    answer = client.ask(GetQuote(symbol))
    assert isinstance(answer, Quoted)
    given: dict[str, Any] = json.loads(answer.body)
    return given


async def test_the_change_of_the_newest_price_is_counted_from_the_close_that_a_provider_knows() -> None:
    """The provider said 150 and +1.5, so the close was 148.5; the best price is 151.5 by now."""
    bench = Bench()
    bench.execution.quotes.known["AAPL"] = Answer(given_quote(), "yahoo", 5)
    bench.publish("AAPL", 151)
    found = await ask(bench)
    assert (found["price"], found["change"], found["changePercent"]) == (151.5, 3.0, 2.0202)
    assert (found["volume"], found["data_source"]) == (1000.0, "lmax+ebs")


@pytest.mark.parametrize("known", [None, given_quote(change=None)])
async def test_without_a_close_there_is_no_change(known: ProviderQuote | None) -> None:
    bench = Bench()
    if known is not None:
        bench.execution.quotes.known["AAPL"] = Answer(known, "yahoo", 5)
    bench.publish("AAPL", 151)
    found = await ask(bench)
    assert (found["change"], found["changePercent"]) == (None, None)


async def test_a_close_is_known_for_an_hour() -> None:
    bench = Bench()
    bench.execution.quotes.known["AAPL"] = Answer(given_quote(), "yahoo", 5)
    bench.publish("AAPL", 151)
    bench.clock.advance(3_599)
    assert (await ask(bench))["change"] == 3.0
    bench.clock.advance(1)
    assert (await ask(bench))["change"] is None


async def test_one_who_sees_prices_late_learns_nothing_of_today() -> None:
    plan = type(PRO)("late", delay=10)
    bench = Bench()
    bench.execution.quotes.known["AAPL"] = Answer(given_quote(), "yahoo", 5)
    bench.publish("AAPL", 151)
    bench.node.fanout.release_delayed()
    bench.clock.advance(11)
    bench.node.fanout.release_delayed()
    found = await ask(bench, plan=plan)
    assert (found["price"], found["change"], found["volume"]) == (151.5, None, None)


@pytest.mark.parametrize(("reason", "warning"), [(None, "stale"), ("no_feed", "no_feed")])
async def test_a_quote_of_a_stale_symbol_claims_no_freshness(reason: str | None, warning: str) -> None:
    bench = Bench()
    bench.publish("AAPL", 151)
    bench.bus.publish([messages.status(Status("AAPL", "stale", None, 5, reason))])
    found = await ask(bench)
    assert (found["status"], found["warning"], found["bid"]) == ("partial_data", warning, 151)
