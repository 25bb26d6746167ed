"""Providers against a server that plays their vendors: what they ask, and what becomes of each bad day."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from marketstream.core.query.breaker import Breaker
from marketstream.core.query.model import INTERVALS, PERIODS
from marketstream.errors import (
    ProviderDataError,
    ProviderError,
    ProviderQuotaError,
    ProviderRefusedError,
    ProviderRestingError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    UnknownSymbolError,
)
from marketstream.plugins.provider import ProviderContext
from marketstream.ports import Provider, ProviderQuota
from marketstream.providers.guard import Guard
from marketstream.providers.quota import MemoryProviderQuota
from marketstream.settings.provider import NAMES, Terms, load_terms
from marketstream.settings.vendor import Providers
from tests.support import vendors as played
from tests.support.clock import FakeClock
from tests.support.eventually import eventually
from tests.support.vendors import KEY, NOWHERE, Mood, running_vendors

FEBRUARY_5 = 1_738_756_800_000
KEYED = ("fmp", "alpha_vantage", "tiingo")
KEYS = dict.fromkeys(("FINANCIAL_MODELING_PREP_API_KEY", "ALPHA_VANTAGE_API_KEY", "TIINGO_API_KEY"), KEY)
SHARE = {"fmp": "AAPL", "alpha_vantage": "IBM", "tiingo": "AAPL"}


class Harness:
    """Providers, the vendors behind them, and how long each answer took."""

    def __init__(self, vendors: played.Vendors, clock: FakeClock, **settings: Any) -> None:
        self.vendors = vendors
        self.clock = clock
        self.took: list[str] = []
        tables = {
            name: {"base_url": vendors.base_url(name), "per_minute": 0, "per_day": 0} | settings.pop(name, {})
            for name in NAMES
        }
        named = [name for name in settings if name.endswith("_api_key")]
        keys: dict[str, str] = KEYS | {name.upper(): settings.pop(name) for name in named}
        described = Providers.model_validate(tables | settings)
        terms = load_terms(described, NAMES)
        quota = MemoryProviderQuota({name: each.allowance for name, each in terms.items()}, clock=clock)
        self.made = [
            each.plugin(
                ProviderContext(
                    clock=clock,
                    guard=self._guard(name, each, quota, described),
                    secret=keys.get,
                    base_url=each.base_url,
                    newest=nothing,
                    symbols=(),
                )
            )
            for name, each in terms.items()
        ]

    def _guard(self, name: str, terms: Terms, quota: ProviderQuota, settings: Providers) -> Guard:
        return Guard(
            name=name,
            timeout=terms.timeout,
            quota=quota,
            breaker=Breaker(failures=settings.failures, pause=settings.pause),
            clock=self.clock,
            observe=lambda name, _ms: self.took.append(name),
        )

    async def aclose(self) -> None:
        """Lets go of all of them."""
        for provider in self.made:
            await provider.aclose()

    def __getitem__(self, name: str) -> Provider:
        return next(provider for provider in self.made if provider.name == name)


async def nothing(_symbol: str) -> None:
    """The newest price of a market without prices."""


MakeHarness = Callable[..., Harness]


@pytest.fixture
async def vendors() -> AsyncIterator[played.Vendors]:
    """Vendors that are well."""
    async with running_vendors() as running:
        yield running


@pytest.fixture
async def make_harness(vendors: played.Vendors) -> AsyncIterator[MakeHarness]:
    """Makes providers, and lets go of them."""
    made: list[Harness] = []

    def make(**settings: Any) -> Harness:
        made.append(Harness(vendors, FakeClock(wall_ms=FEBRUARY_5), **settings))
        return made[-1]

    yield make
    for harness in made:
        await harness.aclose()


@pytest.fixture
def harness(make_harness: MakeHarness) -> Harness:
    """Providers as they usually are."""
    return make_harness()


async def test_they_come_in_their_order_and_all_say_what_they_offer(harness: Harness) -> None:
    assert [provider.name for provider in harness.made] == list(NAMES)
    everything = {"quote", "historical", "profile", "search", "news"}
    assert all(provider.offers == everything for provider in harness.made)
    assert all(provider.configured for provider in harness.made)


@pytest.mark.parametrize("name", KEYED)
async def test_every_question_is_answered(harness: Harness, name: str) -> None:
    provider, symbol = harness[name], SHARE[name]
    assert (await provider.quote(symbol)).symbol == symbol
    assert len((await provider.historical(symbol, "5d", "1d")).candles) >= 2
    assert len((await provider.historical(symbol, "5d", "5m")).candles) >= 2
    assert (await provider.profile(symbol)).name
    assert await provider.search("apple", 5)
    assert len(await provider.news(symbol, 5)) == 1
    assert harness.took == [name] * 6


async def test_the_vendor_is_asked_as_it_documents(harness: Harness) -> None:
    await harness["fmp"].quote("EUR/USD")
    await harness["fmp"].historical("AAPL", "1mo", "1d")
    await harness["fmp"].search("AAPL", 3)
    await harness["alpha_vantage"].historical("IBM", "1y", "1d")
    await harness["tiingo"].historical("AAPL", "1mo", "1wk")
    assert harness.vendors.asked == [
        ("fmp", "/stable/quote", {"symbol": "EURUSD", "apikey": KEY}),
        (
            "fmp",
            "/stable/historical-price-eod/full",
            {"symbol": "AAPL", "from": "2025-01-05", "to": "2025-02-05", "apikey": KEY},
        ),
        ("fmp", "/stable/search-symbol", {"query": "AAPL", "limit": "3", "apikey": KEY}),
        (
            "alpha_vantage",
            "/query",
            {"function": "TIME_SERIES_DAILY", "symbol": "IBM", "outputsize": "full", "apikey": KEY},
        ),
        (
            "tiingo",
            "/tiingo/daily/AAPL/prices",
            {"startDate": "2025-01-05", "resampleFreq": "weekly"},
        ),
    ]


@pytest.mark.parametrize("name", KEYED)
async def test_every_period_and_interval_is_asked_for_somehow(harness: Harness, name: str) -> None:
    for period in PERIODS:
        for interval in INTERVALS:
            with suppress(UnknownSymbolError):  # the recorded candles may be outside of it
                await harness[name].historical(SHARE[name], period, interval)
    assert len(harness.vendors.asked) == len(PERIODS) * len(INTERVALS)


@pytest.mark.parametrize("name", KEYED)
async def test_a_symbol_that_the_vendor_does_not_know_is_told_as_such(harness: Harness, name: str) -> None:
    provider = harness[name]
    for ask in (provider.quote(NOWHERE), provider.profile(NOWHERE), provider.historical(NOWHERE, "1y", "1d")):
        with pytest.raises(UnknownSymbolError):
            await ask


@pytest.mark.parametrize("name", ["alpha_vantage", "tiingo"])
@pytest.mark.parametrize("symbol", ["EUR/USD", "^GSPC", "ES=F", "X:Y", "../A"])
async def test_what_a_vendor_does_not_have_it_is_not_asked_for(
    harness: Harness, name: str, symbol: str
) -> None:
    with pytest.raises(ProviderRefusedError):
        await harness[name].quote(symbol)
    assert harness.vendors.asked == []


BAD_DAYS: list[tuple[Mood, type[ProviderError]]] = [
    ("broken", ProviderUnavailableError),
    ("cut off", ProviderUnavailableError),
    ("garbage", ProviderDataError),
    ("huge", ProviderDataError),
    ("spent", ProviderQuotaError),
    ("busy", ProviderQuotaError),
    ("forbidden", ProviderRefusedError),
    ("moved", ProviderRefusedError),
]


@pytest.mark.parametrize("name", KEYED)
@pytest.mark.parametrize(("mood", "error"), BAD_DAYS)
async def test_each_bad_day_has_its_name_and_the_key_is_in_none(
    harness: Harness, name: str, mood: Mood, error: type[ProviderError], caplog: pytest.LogCaptureFixture
) -> None:
    harness.vendors.mood(name, mood)
    with pytest.raises(error) as failed:
        await harness[name].quote(SHARE[name])
    assert type(failed.value) is error
    assert failed.value.provider == name
    # What is cut off without any answer may have been an idle connection, and is sent again.
    assert len(harness.vendors.asked) == (2 if mood == "cut off" else 1)
    assert harness.took == [name]
    seen: BaseException | None = failed.value
    while seen is not None:
        assert KEY not in f"{seen!r} {seen}"
        seen = seen.__cause__ if seen.__suppress_context__ else seen.__context__
    assert KEY not in caplog.text


@pytest.mark.parametrize("name", KEYED)
async def test_one_that_does_not_answer_in_time_is_given_up(make_harness: MakeHarness, name: str) -> None:
    harness = make_harness(**{name: {"timeout": 0.05}})
    harness.vendors.mood(name, "slow")
    with pytest.raises(ProviderTimeoutError):
        await harness[name].quote(SHARE[name])
    assert ProviderTimeoutError.retryable


async def test_one_that_nobody_listens_for_is_unavailable(make_harness: MakeHarness) -> None:
    harness = make_harness(fmp={"base_url": "http://127.0.0.1:1"})
    with pytest.raises(ProviderUnavailableError) as failed:
        await harness["fmp"].quote("AAPL")
    assert KEY not in str(failed.value)
    assert ProviderUnavailableError.retryable


async def test_too_many_questions_are_not_asked_again_before_the_vendor_says_so(harness: Harness) -> None:
    harness.vendors.mood("fmp", "busy")
    with pytest.raises(ProviderQuotaError) as told:
        await harness["fmp"].quote("AAPL")
    assert told.value.retry_after == 7
    harness.vendors.mood("fmp", "well")
    harness.clock.advance(6)
    with pytest.raises(ProviderQuotaError):
        await harness["fmp"].profile("AAPL")
    assert len(harness.vendors.asked) == 1
    harness.clock.advance(1)
    assert (await harness["fmp"].quote("AAPL")).price == 232.8


async def test_a_quota_counts_all_questions_to_a_provider_and_no_others(make_harness: MakeHarness) -> None:
    harness = make_harness(fmp={"per_day": 2})
    await harness["fmp"].quote("AAPL")
    await harness["fmp"].profile("AAPL")
    with pytest.raises(ProviderQuotaError):
        await harness["fmp"].news("AAPL", 5)
    await harness["tiingo"].quote("AAPL")
    assert [vendor for vendor, _, _ in harness.vendors.asked] == ["fmp", "fmp", "tiingo"]


async def test_one_that_keeps_breaking_is_left_alone_and_tried_again(make_harness: MakeHarness) -> None:
    harness = make_harness(failures=2, pause=30)
    harness.vendors.mood("tiingo", "broken")
    for _ in range(2):
        with pytest.raises(ProviderUnavailableError):
            await harness["tiingo"].quote("AAPL")
    with pytest.raises(ProviderRestingError):
        await harness["tiingo"].quote("AAPL")
    assert len(harness.vendors.asked) == 2
    harness.vendors.mood("tiingo", "well")
    harness.clock.advance(30)
    assert (await harness["tiingo"].quote("AAPL")).price == 232.79


async def test_a_caller_who_goes_away_takes_the_request_along(harness: Harness) -> None:
    harness.vendors.mood("fmp", "slow")
    asking = asyncio.ensure_future(harness["fmp"].quote("AAPL"))
    await eventually(lambda: harness.vendors.asked, what="the question")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("key", [None, ""])
@pytest.mark.parametrize("name", KEYED)
async def test_without_a_key_a_provider_is_not_configured_and_asks_nobody(
    make_harness: MakeHarness, name: str, key: str | None
) -> None:
    settings = {"fmp": "financial_modeling_prep"}.get(name, name)
    harness = make_harness(**{f"{settings}_api_key": key})
    assert not harness[name].configured
    with pytest.raises(ProviderRefusedError):
        await harness[name].quote("AAPL")
    assert harness.vendors.asked == []


@pytest.mark.parametrize("name", KEYED)
async def test_a_wrong_key_is_a_refusal(make_harness: MakeHarness, name: str) -> None:
    settings = {"fmp": "financial_modeling_prep"}.get(name, name)
    harness = make_harness(**{f"{settings}_api_key": "wrong"})
    with pytest.raises(ProviderRefusedError) as refused:
        await harness[name].quote(SHARE[name])
    assert "wrong" not in str(refused.value)
