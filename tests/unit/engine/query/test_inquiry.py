"""Who asks spends a share of providers' budgets, and what does not exist costs as little as can be."""

import asyncio

import pytest
import structlog

from marketstream.core.delivery.entitlements import Plan
from marketstream.core.query.cache_policy import QUOTE, UNKNOWN_TTL
from marketstream.engine.query.asking import ASKER
from marketstream.errors import ProviderShareError, ShareSpentError, UnknownSymbolError
from marketstream.wire.vendors.naming import require_possible
from tests.support.builders import principal
from tests.support.providers import Reader, down, unknown

ANN, BOB = (principal(name, plan=Plan("basic", user_share=0.1, plan_share=0.5)) for name in ("ann", "bob"))


def spent(whose: str = "user") -> ProviderShareError:
    return ProviderShareError("yahoo", whose, 1_800)


async def test_providers_are_told_who_asks_and_whether_it_is_known() -> None:
    reader = Reader("yahoo")
    heard = []

    async def quote(_symbol: str) -> None:
        asker = ASKER.get()
        heard.append((asker.user, asker.plan, asker.known))
        raise down("yahoo")

    await reader.service.profile("AAPL", ANN)
    reader["yahoo"].quote = quote  # type: ignore[assignment,method-assign]  # only what is told matters
    for symbol, who in (("AAPL", ANN), ("NEW", BOB), ("NEW", None)):
        with pytest.raises(Exception, match="provider"):
            await reader.service.quote(symbol, who=who)
    assert set(heard[:1]) == {(("acme", "ann"), "basic", True)}
    assert (("acme", "bob"), "basic", False) in heard
    assert (None, "", False) in heard


async def test_what_one_process_knows_to_exist_the_next_one_knows() -> None:
    one = Reader("yahoo")
    await one.service.quote("AAPL", who=ANN)
    two = Reader("yahoo", cache=one.cache)
    known = []

    async def quote(_symbol: str) -> None:
        known.append(ASKER.get().known)
        raise unknown()

    two["yahoo"].quote = quote  # type: ignore[assignment,method-assign]  # as above
    for symbol in ("AAPL", "NEW"):
        with pytest.raises(UnknownSymbolError):
            await two.service.quote(symbol, renew=True)
    assert known == [True, False]


async def test_whoever_has_spent_the_share_gets_what_is_left_or_is_told_when_to_come_back() -> None:
    reader = Reader("yahoo", "fmp")
    await reader.service.quote("AAPL")
    for name in ("yahoo", "fmp"):
        reader.script(name, spent())
    with pytest.raises(ShareSpentError) as refused:
        await reader.service.quote("MSFT", who=ANN)
    assert (refused.value.status, refused.value.retry_after_ms) == (429, 1_800_000)
    reader.clock.advance(QUOTE.ttl + 1)
    assert (await reader.service.quote("AAPL", who=ANN)).source == "cache"


async def test_that_the_share_of_one_is_spent_keeps_nobody_else_from_the_answer() -> None:
    """Though both ask the same at the same time."""
    reader = Reader("yahoo")
    real = reader["yahoo"].quote

    async def quote(symbol: str) -> object:
        await asyncio.sleep(0)
        if ASKER.get().user == ("acme", "ann"):
            raise spent()
        return await real(symbol)

    reader["yahoo"].quote = quote  # type: ignore[assignment,method-assign]  # as above
    ann, bob = await asyncio.gather(
        reader.service.quote("MSFT", who=ANN),
        reader.service.quote("MSFT", who=BOB),
        return_exceptions=True,
    )
    assert isinstance(ann, ShareSpentError)
    assert not isinstance(bob, BaseException)
    assert bob.value.symbol == "MSFT"


async def test_a_provider_that_does_not_have_a_symbol_is_not_asked_again_though_another_is_down() -> None:
    """Nothing can be said of the symbol then, and the next question would cost as much again."""
    reader = Reader("yahoo", "fmp")
    reader.script("yahoo", unknown())
    reader.script("fmp", spent())
    for _ in range(5):
        with pytest.raises(UnknownSymbolError):
            await reader.service.quote("NOPE", renew=True, who=ANN)
    assert len(reader["yahoo"].asked) == 1
    reader.clock.advance(UNKNOWN_TTL)
    with pytest.raises(UnknownSymbolError):
        await reader.service.quote("NOPE", renew=True, who=ANN)
    assert len(reader["yahoo"].asked) == 2


async def test_a_symbol_without_candles_of_a_day_may_have_some_of_a_year() -> None:
    reader = Reader("yahoo")
    reader.script("yahoo", unknown(), None)
    with pytest.raises(UnknownSymbolError):
        await reader.service.historical("AAPL", "1d", "1m", ANN)
    assert (await reader.service.historical("AAPL", "1y", "1d", ANN)).value.candles


async def test_a_spent_share_is_counted_each_time_and_said_once_a_minute() -> None:
    reader = Reader("yahoo")
    reader.script("yahoo", spent())
    with structlog.testing.capture_logs() as logs:
        for number in range(5):
            with pytest.raises(ShareSpentError):
                await reader.service.quote(f"A{'BCDEF'[number]}", who=ANN)
    assert [entry["event"] for entry in logs] == ["provider_share_spent"]
    assert (logs[0]["whose"], logs[0]["plan"], logs[0]["tenant"]) == ("user", "basic", "acme")
    assert reader.stats.attempts["yahoo", "PROVIDER_SHARE"] == 5


@pytest.mark.parametrize(
    "symbol",
    [
        *("AAPL", "BRK-B", "BRK.B", "A", "GOOGL", "VTSAX", "EURUSD", "7203.T", "0700.HK", "600519", "M&M.NS"),
        *("^GSPC", "^N225", "EURUSD=X", "ES=F", "BTC-USD", "BTCUSD", "DOGEUSDT", "EUR/USD", "BTC/USD"),
        *("AAPL240621C00195000", "0P0000XVTM", "VOD.LON", "000001.SZ", "RDS-A", "BF-B"),
    ],
)
def test_what_may_be_listed_somewhere_is_asked_for(symbol: str) -> None:
    assert require_possible(symbol) == symbol


@pytest.mark.parametrize(
    "symbol",
    [
        "ZZ1",
        "SYM42",
        "QWERTYUIOP",
        "A_B",
        "X:Y",
        "../A",
        "-A",
        "A.",
        "^",
        "A/B/C",
        "A" * 32,
        "1",
        "12345678",
        "A=B=C",
    ],
)
def test_what_no_exchange_names_so_is_not(symbol: str) -> None:
    with pytest.raises(UnknownSymbolError):
        require_possible(symbol)
