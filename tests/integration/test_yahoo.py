"""Yahoo through the real library, which sends its requests to a server that plays Yahoo instead."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yfinance.cache

from marketstream.core.query.breaker import Breaker
from marketstream.core.query.quota import Allowance
from marketstream.errors import (
    ProviderDataError,
    ProviderError,
    ProviderQuotaError,
    ProviderRefusedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    UnknownSymbolError,
)
from marketstream.providers import yahoo
from marketstream.providers.guard import Guard
from marketstream.providers.quota import MemoryProviderQuota
from marketstream.providers.yahoo import THREADS, Yahoo, browser_session
from tests.support.clock import FakeClock
from tests.support.vendors import KEY, NOWHERE, Mood, Vendors, running_vendors

FEBRUARY_5 = 1_738_756_800_000

MakeYahoo = Callable[..., Yahoo]


@pytest.fixture(scope="module", autouse=True)
def _no_cookie_of_ours(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The library keeps Yahoo's cookie in a folder of the user; not here."""
    yfinance.cache.set_cache_location(str(tmp_path_factory.mktemp("yfinance")))


@pytest.fixture
async def vendors() -> AsyncIterator[Vendors]:
    """Yahoo, played."""
    async with running_vendors() as running:
        yield running


@pytest.fixture
async def make_yahoo(vendors: Vendors) -> AsyncIterator[MakeYahoo]:
    """Makes the provider; whatever it asks of whichever host of Yahoo's goes to the server."""
    made: list[Yahoo] = []

    def make(*, timeout: float = 5.0) -> Yahoo:
        clock = FakeClock(wall_ms=FEBRUARY_5)
        guard = Guard(
            name="yahoo",
            timeout=timeout,
            quota=MemoryProviderQuota({"yahoo": Allowance(0, 0)}, clock=clock),
            breaker=Breaker(),
            clock=clock,
            observe=lambda _name, _ms: None,
        )
        made.append(
            Yahoo(
                base_url="https://query2.finance.yahoo.com",
                guard=guard,
                clock=clock,
                make_session=lambda seconds: redirected(vendors.base_url("yahoo"), seconds),
            )
        )
        return made[-1]

    yield make
    vendors.wake()
    for each in made:
        await each.aclose()
        # Threads of one test must not ask the server of the next.
        await asyncio.to_thread(each._threads.shutdown, wait=True)


def redirected(url: str, timeout: float) -> Any:
    """A session as in production, but for where its requests go."""
    session = browser_session(timeout)
    send = session.request

    def request(method: str, url: str, **options: Any) -> Any:
        return send(method=method, url=there + urlsplit(url).path, **options)

    there = url
    session.request = request
    return session


async def test_every_question_is_answered(make_yahoo: MakeYahoo) -> None:
    provider = make_yahoo()
    assert provider.configured
    assert (await provider.quote("AAPL")).bid == 232.74
    assert (await provider.profile("AAPL")).market_cap == 3497225347072
    assert len((await provider.historical("AAPL", "1d", "5m")).candles) == 2
    assert [match.symbol for match in await provider.search("apple", 1)] == ["AAPL"]
    assert len(await provider.news("AAPL", 5)) == 1


async def test_yahoo_is_asked_as_a_browser_asks(make_yahoo: MakeYahoo, vendors: Vendors) -> None:
    provider = make_yahoo()
    with pytest.raises(ProviderDataError, match="another symbol"):
        await provider.quote("EUR/USD")
    await provider.historical("AAPL", "1mo", "1h")
    asked = {path: query for _, path, query in vendors.asked}
    assert asked["/v7/finance/quote"] == {"symbols": "EURUSD=X", "formatted": "false", "crumb": "crumb"}
    assert asked["/v8/finance/chart/AAPL"] == {"range": "1mo", "interval": "60m", "crumb": "crumb"}


async def test_a_symbol_that_yahoo_does_not_know_is_told_as_such(make_yahoo: MakeYahoo) -> None:
    with pytest.raises(UnknownSymbolError):
        await make_yahoo().quote(NOWHERE)


@pytest.mark.parametrize(
    ("mood", "error"),
    [
        ("broken", ProviderUnavailableError),
        ("cut off", ProviderUnavailableError),
        ("garbage", ProviderDataError),
        ("busy", ProviderQuotaError),
        ("forbidden", ProviderRefusedError),
    ],
)
async def test_each_bad_day_has_its_name(
    make_yahoo: MakeYahoo, vendors: Vendors, mood: Mood, error: type[ProviderError]
) -> None:
    provider = make_yahoo()
    await provider.quote("AAPL")
    vendors.mood("yahoo", mood)
    with pytest.raises(error) as failed:
        await provider.quote("AAPL")
    assert type(failed.value) is error
    assert KEY not in str(failed.value)


async def test_one_that_does_not_answer_in_time_is_given_up_and_its_thread_comes_back(
    make_yahoo: MakeYahoo, vendors: Vendors
) -> None:
    """The library would wait half a minute; the session does not let it."""
    await make_yahoo().quote("AAPL")
    provider = make_yahoo(timeout=0.2)
    vendors.mood("yahoo", "slow")
    asking = [provider.quote("AAPL") for _ in range(2 * THREADS)]
    failed = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(each) for each in failed} == {ProviderTimeoutError}
    vendors.mood("yahoo", "well")
    vendors.wake()
    await asyncio.to_thread(provider._threads.shutdown, wait=True)


async def test_the_loop_goes_on_while_yahoo_is_waited_for(make_yahoo: MakeYahoo, vendors: Vendors) -> None:
    provider = make_yahoo()
    await provider.quote("AAPL")
    vendors.mood("yahoo", "slow")
    asking = asyncio.ensure_future(provider.quote("AAPL"))
    while len(vendors.asked) < 2:  # noqa: ASYNC110  # the turns of the loop are what is tested
        await asyncio.sleep(0)
    vendors.wake()
    assert (await asking).price == 232.8


async def test_its_threads_are_few(make_yahoo: MakeYahoo) -> None:
    provider = make_yahoo()
    await asyncio.gather(*(provider.quote("AAPL") for _ in range(3 * THREADS)))
    assert sum(thread.name.startswith("yahoo") for thread in threading.enumerate()) <= THREADS


async def test_without_the_library_it_is_not_configured_and_asks_nobody(
    make_yahoo: MakeYahoo, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yahoo, "find_spec", lambda name: None if name == "yfinance" else find_spec(name))
    provider = make_yahoo()
    assert not provider.configured
    with pytest.raises(ProviderRefusedError):
        await provider.quote("AAPL")
    assert vendors.asked == []


def test_the_library_is_not_loaded_before_it_is_needed() -> None:
    """It takes more than a second, and a hundred megabytes."""
    source = Path(yahoo.__file__).read_text()
    assert "import yfinance" not in source
    assert "import curl_cffi" not in source
