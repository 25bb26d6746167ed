import asyncio

import pytest
from structlog.testing import capture_logs

from marketstream.cache.memory import MemoryCache
from marketstream.core.query.cache_policy import FALLBACK, PROFILE, QUOTE, QUOTE_FALLBACK, UNKNOWN_TTL
from marketstream.core.query.model import Answer, ProviderQuote
from marketstream.engine.query.service import FAILED, TIMEOUT
from marketstream.errors import (
    AllProvidersFailedError,
    ProviderDataError,
    ProviderRefusedError,
    ProviderRestingError,
    UnknownSymbolError,
)
from marketstream.wire import keys
from tests.support.providers import Reader, down, exhausted, given_quote, unknown
from tests.support.timeline import Timeline

BOTH = ("yahoo", "fmp")


async def test_the_first_provider_answers_and_the_answer_says_so() -> None:
    reader = Reader(*BOTH)
    found = await reader.service.quote("AAPL")
    assert (found.value.price, found.source, found.attempts, found.warning) == (150.0, "yahoo", 1, None)
    assert reader["fmp"].asked == []


async def test_within_its_time_an_answer_is_remembered() -> None:
    """60 s for a quote: nobody is asked, and the answer keeps its age."""
    reader = Reader("yahoo")
    first = await reader.service.quote("AAPL")
    reader.clock.advance(QUOTE.ttl - 1)
    again = await reader.service.quote("AAPL")
    assert reader["yahoo"].asked == ["quote AAPL"]
    assert (again.value, again.source, again.at_ms, again.attempts) == (first.value, "yahoo", first.at_ms, 0)
    reader.clock.advance(1)
    await reader.service.quote("AAPL")
    assert len(reader["yahoo"].asked) == 2
    assert reader.stats.hit_ratio == pytest.approx(1 / 3)


async def test_every_kind_of_answer_survives_the_cache() -> None:
    reader = Reader("yahoo")
    ask = reader.service

    async def everything() -> list[object]:
        return [
            (await ask.quote("EUR/USD")).value,
            (await ask.historical("AAPL", "1y", "1d")).value,
            (await ask.profile("AAPL")).value,
            (await ask.news("AAPL", 10)).value,
            (await ask.search("apple", 10)).value,
        ]

    first = await everything()
    assert await everything() == first
    assert len(reader["yahoo"].asked) == 5


async def test_two_failures_and_a_success_are_three_attempts() -> None:
    reader = Reader(*BOTH)
    reader.script("yahoo", down("yahoo"), down("yahoo"), None)
    found = await reader.service.quote("AAPL")
    assert (found.source, found.attempts, found.warning) == ("yahoo", 3, None)
    assert [seconds for seconds in reader.clock.slept if seconds in (1.0, 2.0)][:1] == [1.0]
    assert reader.clock.now() == pytest.approx(1_003)


@pytest.mark.parametrize(
    "error",
    [
        exhausted("yahoo"),
        ProviderRefusedError("yahoo", "HTTP 401"),
        ProviderDataError("yahoo", "no JSON"),
        ProviderRestingError("yahoo", "left alone", 30),
        unknown(),
        ValueError("a fault of ours"),
    ],
)
async def test_the_next_is_asked_at_once_when_trying_again_is_of_no_use(error: Exception) -> None:
    reader = Reader(*BOTH)
    reader.script("yahoo", error)
    began = reader.clock.now()
    found = await reader.service.quote("AAPL")
    assert (found.source, found.attempts) == ("fmp", 2)
    assert reader.clock.now() == began


async def test_the_change_of_provider_is_logged_with_its_reason() -> None:
    reader = Reader(*BOTH)
    reader.script("yahoo", exhausted("yahoo"))
    with capture_logs() as logged:
        await reader.service.quote("AAPL")
    (entry,) = [entry for entry in logged if entry["event"] == "provider_failover"]
    assert (entry["provider"], entry["following"], entry["reason"]) == ("yahoo", "fmp", "PROVIDER_QUOTA")


async def test_after_five_seconds_the_old_quote_stands_in() -> None:
    reader = Reader("yahoo")
    first = await reader.service.quote("AAPL")
    reader.clock.advance(QUOTE.ttl)
    reader.script("yahoo", 7.0)
    began = reader.clock.now()
    found = await reader.service.quote("AAPL")
    assert (found.value, found.source, found.warning) == (first.value, "cache", TIMEOUT)
    assert found.at_ms == first.at_ms
    assert reader.clock.now() - began == pytest.approx(5)


async def test_when_all_fail_the_old_quote_stands_in_for_five_minutes_more() -> None:
    reader = Reader(*BOTH)
    first = await reader.service.quote("AAPL")
    for name in BOTH:
        reader.script(name, exhausted(name))
    reader.clock.advance(QUOTE.ttl + QUOTE_FALLBACK - 1)
    found = await reader.service.quote("AAPL")
    assert (found.value, found.source, found.warning, found.attempts) == (first.value, "cache", FAILED, 2)
    reader.clock.advance(1)
    with pytest.raises(AllProvidersFailedError) as failure:
        await reader.service.quote("AAPL")
    assert failure.value.attempts == (("yahoo", "PROVIDER_QUOTA"), ("fmp", "PROVIDER_QUOTA"))
    assert not failure.value.timed_out


async def test_everything_but_quotes_stands_in_for_a_day() -> None:
    reader = Reader("yahoo")
    await reader.service.profile("AAPL")
    reader.script("yahoo", exhausted("yahoo"))
    reader.clock.advance(PROFILE.ttl + FALLBACK - 1)
    assert (await reader.service.profile("AAPL")).source == "cache"


async def test_a_symbol_that_nobody_knows_is_unknown_and_not_asked_for_again_at_once() -> None:
    """Typing errors must not eat up the quotas of providers."""
    reader = Reader(*BOTH)
    for name in BOTH:
        reader.script(name, unknown())
    for _ in range(3):
        with pytest.raises(UnknownSymbolError, match="NOPE"):
            await reader.service.quote("NOPE")
    assert [len(reader[name].asked) for name in BOTH] == [1, 1]
    reader.clock.advance(UNKNOWN_TTL)
    with pytest.raises(UnknownSymbolError):
        await reader.service.quote("NOPE")
    assert len(reader["yahoo"].asked) == 2


async def test_a_symbol_is_not_called_unknown_while_another_provider_is_down() -> None:
    reader = Reader(*BOTH)
    reader.script("yahoo", down("yahoo"))
    reader.script("fmp", unknown())
    with pytest.raises(AllProvidersFailedError):
        await reader.service.quote("AAPL")


async def test_who_has_no_key_or_does_not_offer_it_is_not_asked() -> None:
    reader = Reader(*BOTH, "tiingo")
    reader["yahoo"].configured = False
    reader["fmp"].offers = frozenset({"news"})
    assert (await reader.service.quote("AAPL")).source == "tiingo"
    assert reader["yahoo"].asked + reader["fmp"].asked == []


async def test_without_any_provider_the_failure_says_what_nobody_has() -> None:
    with pytest.raises(AllProvidersFailedError, match="news") as failure:
        await Reader().service.news("AAPL", 10)
    assert failure.value.attempts == ()


async def test_a_thousand_who_ask_together_cost_one_question() -> None:
    reader = Reader("yahoo")
    reader.script("yahoo", 1.0)
    waiting = [asyncio.ensure_future(reader.service.quote("AAPL")) for _ in range(1_000)]
    for _ in range(5):
        await asyncio.sleep(0)
    waiting[0].cancel()
    found = await asyncio.gather(*waiting[1:])
    assert {each.value.price for each in found} == {150.0}
    assert reader["yahoo"].asked == ["quote AAPL"]


class Distant(MemoryCache):
    """A cache that must be waited for, as one behind a network."""

    async def get(self, key: str) -> bytes | None:
        """Fetches it."""
        await asyncio.sleep(0)
        return await super().get(key)


def over(cache: type[MemoryCache]) -> Reader:
    """A reader with such a cache."""
    clock = Timeline()
    return Reader("yahoo", cache=cache(clock=clock), clock=clock)


async def renewing(reader: Reader) -> "asyncio.Task[Answer[ProviderQuote]]":
    """Somebody whom a provider lets wait for an answer to AAPL."""
    reader.script("yahoo", 1.0)
    task = asyncio.ensure_future(reader.service.quote("AAPL", renew=True))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(reader["yahoo"].asked) == 2
    return task


@pytest.mark.parametrize("cache", [MemoryCache, Distant])
async def test_what_is_remembered_does_not_wait_for_who_renews_it(cache: type[MemoryCache]) -> None:
    reader = over(cache)
    first = await reader.service.quote("AAPL")
    task = await renewing(reader)
    found = await reader.service.quote("AAPL")
    assert (found.value, found.attempts, task.done()) == (first.value, 0, False)
    await task
    assert reader["yahoo"].asked == ["quote AAPL"] * 2


@pytest.mark.parametrize("cache", [MemoryCache, Distant])
async def test_what_is_over_is_not_asked_for_beside_who_renews_it(cache: type[MemoryCache]) -> None:
    reader = over(cache)
    await reader.service.quote("AAPL")
    reader.clock.advance(QUOTE.ttl)
    task = await renewing(reader)
    found = await reader.service.quote("AAPL")
    assert found == await task
    assert reader["yahoo"].asked == ["quote AAPL"] * 2


async def test_a_remembered_quote_is_read_once_and_a_newer_one_anew() -> None:
    reader = Reader("yahoo")
    await reader.service.quote("AAPL")
    first = await reader.service.quote("AAPL")
    assert await reader.service.quote("AAPL") is first
    reader["yahoo"].prices["AAPL"] = given_quote(price=151.0)
    await reader.service.quote("AAPL", renew=True)
    assert (await reader.service.quote("AAPL")).value.price == 151.0
    assert reader.stats.cache == {"hit": 3, "miss": 1}
    reader.clock.advance(QUOTE.ttl)
    assert (await reader.service.quote("AAPL")).attempts == 1


async def test_what_cannot_be_read_in_the_cache_is_asked_for_again() -> None:
    """Another version of this program may have written it."""
    reader = Reader("yahoo")
    for body in (b"", b"[]", b'{"value":{"price":1},"source":"x","at_ms":1,"warning":null}', b"\xff"):
        await reader.cache.put([(keys.quote("AAPL"), body, 60)])
        assert (await reader.service.quote("AAPL")).source == "yahoo"
    assert len(reader["yahoo"].asked) == 4


async def test_what_providers_took_is_counted() -> None:
    reader = Reader(*BOTH)
    reader.script("yahoo", down("yahoo"), 0.5)
    await reader.service.quote("AAPL")
    assert reader.stats.attempts == {("yahoo", "PROVIDER_UNAVAILABLE"): 1, ("yahoo", "ok"): 1}
    assert reader.stats.times["yahoo"].total == pytest.approx(500)


async def test_a_provider_that_is_cut_off_is_cancelled() -> None:
    reader = Reader(*BOTH)
    reader.script("yahoo", 60.0)
    found = await reader.service.quote("AAPL")
    assert found.source == "fmp"
    assert reader.clock.now() == pytest.approx(1_002.5)


async def test_whoever_shows_prices_knows_the_newest_quote_without_asking() -> None:
    reader = Reader("yahoo")
    first = await reader.service.quote("AAPL")
    assert reader.known == {"AAPL": first}
    reader["yahoo"].prices["AAPL"] = given_quote(price=151.0)
    await reader.service.quote("AAPL", renew=True)
    assert reader.known["AAPL"].value.price == 151.0


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (keys.quote("AAPL"), "quote:AAPL"),
        (keys.historical("AAPL", "1y", "1d"), "historical:AAPL:1y:1d"),
        (keys.profile("AAPL"), "profile:AAPL"),
        (keys.news("AAPL", 10), "news:AAPL:10"),
        (keys.market("indices"), "market:indices"),
        (keys.market("movers", "gainers"), "market:movers:gainers"),
        (keys.search("Apple", 10), "search:apple:10"),
    ],
)
def test_cached_answers_are_called_as_was_promised(key: str, name: str) -> None:
    assert key == name
