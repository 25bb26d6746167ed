"""Providers against a server that plays their vendors: what they ask, and what becomes of each bad day."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from pydantic import SecretStr

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
from marketstream.ports import Provider
from marketstream.providers.quota import MemoryProviderQuota
from marketstream.settings.provider import NAMES, Vendors, allowances, load_vendors
from marketstream.settings.vendor import Providers
from tests.support import vendors as played
from tests.support.clock import FakeClock
from tests.support.eventually import eventually
from tests.support.vendors import KEY, NOWHERE, Mood, running_vendors

FEBRUARY_5 = 1_738_756_800_000
KEYED = ("fmp", "alpha_vantage", "tiingo")
SHARE = {"fmp": "AAPL", "alpha_vantage": "IBM", "tiingo": "AAPL"}


class Desk:
    """Providers, the vendors behind them, and how long each answer took."""

    def __init__(self, vendors: played.Vendors, clock: FakeClock, **settings: Any) -> None:
        self.vendors = vendors
        self.clock = clock
        self.took: list[str] = []
        tables = {
            name: {"base_url": vendors.base_url(name), "per_minute": 0, "per_day": 0} | settings.pop(name, {})
            for name in NAMES
        }
        keys = {
            "financial_modeling_prep_api_key": KEY,
            "alpha_vantage_api_key": KEY,
            "tiingo_api_key": KEY,
        }
        described = Providers.model_validate(keys | tables | settings)
        self.made: Vendors = load_vendors(
            described,
            quota=MemoryProviderQuota(allowances(described), clock=clock),
            clock=clock,
            observe=lambda name, _ms: self.took.append(name),
        )

    def __getitem__(self, name: str) -> Provider:
        return next(provider for provider in self.made.providers if provider.name == name)


MakeDesk = Callable[..., Desk]


@pytest.fixture
async def vendors() -> AsyncIterator[played.Vendors]:
    """Vendors that are well."""
    async with running_vendors() as running:
        yield running


@pytest.fixture
async def make_desk(vendors: played.Vendors) -> AsyncIterator[MakeDesk]:
    """Makes providers, and lets go of them."""
    made: list[Desk] = []

    def make(**settings: Any) -> Desk:
        made.append(Desk(vendors, FakeClock(wall_ms=FEBRUARY_5), **settings))
        return made[-1]

    yield make
    for desk in made:
        await desk.made.aclose()


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """Providers as they usually are."""
    return make_desk()


async def test_they_come_in_their_order_and_all_say_what_they_offer(desk: Desk) -> None:
    assert [provider.name for provider in desk.made.providers] == list(NAMES)
    everything = {"quote", "historical", "profile", "search", "news"}
    assert all(provider.offers == everything for provider in desk.made.providers)
    assert all(provider.configured for provider in desk.made.providers)


@pytest.mark.parametrize("name", KEYED)
async def test_every_question_is_answered(desk: Desk, name: str) -> None:
    provider, symbol = desk[name], SHARE[name]
    assert (await provider.quote(symbol)).symbol == symbol
    assert len((await provider.historical(symbol, "5d", "1d")).candles) >= 2
    assert len((await provider.historical(symbol, "5d", "5m")).candles) >= 2
    assert (await provider.profile(symbol)).name
    assert await provider.search("apple", 5)
    assert len(await provider.news(symbol, 5)) == 1
    assert desk.took == [name] * 6


async def test_the_vendor_is_asked_as_it_documents(desk: Desk) -> None:
    await desk["fmp"].quote("EUR/USD")
    await desk["fmp"].historical("AAPL", "1mo", "1d")
    await desk["fmp"].search("AAPL", 3)
    await desk["alpha_vantage"].historical("IBM", "1y", "1d")
    await desk["tiingo"].historical("AAPL", "1mo", "1wk")
    assert desk.vendors.asked == [
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
async def test_every_period_and_interval_is_asked_for_somehow(desk: Desk, name: str) -> None:
    for period in PERIODS:
        for interval in INTERVALS:
            with suppress(UnknownSymbolError):  # the recorded candles may be outside of it
                await desk[name].historical(SHARE[name], period, interval)
    assert len(desk.vendors.asked) == len(PERIODS) * len(INTERVALS)


@pytest.mark.parametrize("name", KEYED)
async def test_a_symbol_that_the_vendor_does_not_know_is_told_as_such(desk: Desk, name: str) -> None:
    provider = desk[name]
    for ask in (provider.quote(NOWHERE), provider.profile(NOWHERE), provider.historical(NOWHERE, "1y", "1d")):
        with pytest.raises(UnknownSymbolError):
            await ask


@pytest.mark.parametrize("name", ["alpha_vantage", "tiingo"])
@pytest.mark.parametrize("symbol", ["EUR/USD", "^GSPC", "ES=F", "X:Y", "../A"])
async def test_what_a_vendor_does_not_have_it_is_not_asked_for(desk: Desk, name: str, symbol: str) -> None:
    with pytest.raises(ProviderRefusedError):
        await desk[name].quote(symbol)
    assert desk.vendors.asked == []


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
    desk: Desk, name: str, mood: Mood, error: type[ProviderError], caplog: pytest.LogCaptureFixture
) -> None:
    desk.vendors.mood(name, mood)
    with pytest.raises(error) as failed:
        await desk[name].quote(SHARE[name])
    assert type(failed.value) is error
    assert failed.value.provider == name
    # What is cut off without any answer may have been an idle connection, and is sent again.
    assert len(desk.vendors.asked) == (2 if mood == "cut off" else 1)
    assert desk.took == [name]
    seen: BaseException | None = failed.value
    while seen is not None:
        assert KEY not in f"{seen!r} {seen}"
        seen = seen.__cause__ if seen.__suppress_context__ else seen.__context__
    assert KEY not in caplog.text


@pytest.mark.parametrize("name", KEYED)
async def test_one_that_does_not_answer_in_time_is_given_up(make_desk: MakeDesk, name: str) -> None:
    desk = make_desk(**{name: {"timeout": 0.05}})
    desk.vendors.mood(name, "slow")
    with pytest.raises(ProviderTimeoutError):
        await desk[name].quote(SHARE[name])
    assert ProviderTimeoutError.retryable


async def test_one_that_nobody_listens_for_is_unavailable(make_desk: MakeDesk) -> None:
    desk = make_desk(fmp={"base_url": "http://127.0.0.1:1"})
    with pytest.raises(ProviderUnavailableError) as failed:
        await desk["fmp"].quote("AAPL")
    assert KEY not in str(failed.value)
    assert ProviderUnavailableError.retryable


async def test_too_many_questions_are_not_asked_again_before_the_vendor_says_so(desk: Desk) -> None:
    desk.vendors.mood("fmp", "busy")
    with pytest.raises(ProviderQuotaError) as told:
        await desk["fmp"].quote("AAPL")
    assert told.value.retry_after == 7
    desk.vendors.mood("fmp", "well")
    desk.clock.advance(6)
    with pytest.raises(ProviderQuotaError):
        await desk["fmp"].profile("AAPL")
    assert len(desk.vendors.asked) == 1
    desk.clock.advance(1)
    assert (await desk["fmp"].quote("AAPL")).price == 232.8


async def test_a_budget_counts_all_questions_to_a_provider_and_no_others(make_desk: MakeDesk) -> None:
    desk = make_desk(fmp={"per_day": 2})
    await desk["fmp"].quote("AAPL")
    await desk["fmp"].profile("AAPL")
    with pytest.raises(ProviderQuotaError):
        await desk["fmp"].news("AAPL", 5)
    await desk["tiingo"].quote("AAPL")
    assert [vendor for vendor, _, _ in desk.vendors.asked] == ["fmp", "fmp", "tiingo"]


async def test_one_that_keeps_breaking_is_left_alone_and_tried_again(make_desk: MakeDesk) -> None:
    desk = make_desk(failures=2, pause=30)
    desk.vendors.mood("tiingo", "broken")
    for _ in range(2):
        with pytest.raises(ProviderUnavailableError):
            await desk["tiingo"].quote("AAPL")
    with pytest.raises(ProviderRestingError):
        await desk["tiingo"].quote("AAPL")
    assert len(desk.vendors.asked) == 2
    desk.vendors.mood("tiingo", "well")
    desk.clock.advance(30)
    assert (await desk["tiingo"].quote("AAPL")).price == 232.79


async def test_a_caller_who_goes_away_takes_the_request_along(desk: Desk) -> None:
    desk.vendors.mood("fmp", "slow")
    asking = asyncio.ensure_future(desk["fmp"].quote("AAPL"))
    await eventually(lambda: desk.vendors.asked, what="the question")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("key", [None, SecretStr("")])
@pytest.mark.parametrize("name", KEYED)
async def test_without_a_key_a_provider_is_not_configured_and_asks_nobody(
    make_desk: MakeDesk, name: str, key: SecretStr | None
) -> None:
    settings = {"fmp": "financial_modeling_prep"}.get(name, name)
    desk = make_desk(**{f"{settings}_api_key": key})
    assert not desk[name].configured
    with pytest.raises(ProviderRefusedError):
        await desk[name].quote("AAPL")
    assert desk.vendors.asked == []


@pytest.mark.parametrize("name", KEYED)
async def test_a_wrong_key_is_a_refusal(make_desk: MakeDesk, name: str) -> None:
    settings = {"fmp": "financial_modeling_prep"}.get(name, name)
    desk = make_desk(**{f"{settings}_api_key": "wrong"})
    with pytest.raises(ProviderRefusedError) as refused:
        await desk[name].quote(SHARE[name])
    assert "wrong" not in str(refused.value)
