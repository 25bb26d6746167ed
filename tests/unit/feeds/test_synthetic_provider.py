from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.query.history import DAY_MS, MOST_CANDLES, interval_ms, period_ms, too_fine
from marketstream.core.query.model import INTERVALS, PERIODS
from marketstream.engine.delivery.quotes import Newest, newest_price
from marketstream.errors import UnknownSymbolError
from marketstream.feeds.past import Past
from marketstream.feeds.provider import SyntheticProvider
from tests.support.builders import Bench
from tests.support.clock import FakeClock


def provider(newest: dict[str, Newest] | None = None, clock: FakeClock | None = None) -> SyntheticProvider:
    async def find(symbol: str) -> Newest | None:
        return (newest or {}).get(symbol)

    return SyntheticProvider(clock=clock or FakeClock(), newest=find, symbols=["MINE"])


async def test_the_same_question_at_the_same_time_has_the_same_answer() -> None:
    assert await provider().quote("AAPL") == await provider().quote("AAPL")
    first, second = [await provider().historical("AAPL", "1y", "1d") for _ in range(2)]
    assert first == second


async def test_a_quote_is_the_newest_best_price_where_there_is_one() -> None:
    found = await provider({"AAPL": Newest(230.0, 229.9, 230.1, 5)}).quote("AAPL")
    assert (found.price, found.bid, found.ask, found.at_ms, found.source) == (
        230.0,
        229.9,
        230.1,
        5,
        "synthetic",
    )


@pytest.mark.parametrize("symbol", ["AAPL", "EUR/USD", "^GSPC", "MINE"])
async def test_the_change_is_that_from_the_close_of_yesterday_in_the_history(symbol: str) -> None:
    one = provider()
    found = await one.quote(symbol)
    *_, yesterday, today = (await one.historical(symbol, "5d", "1d")).candles
    assert found.change is not None
    assert found.price - found.change == pytest.approx(yesterday.close)
    assert found.change_percent == pytest.approx(100 * found.change / yesterday.close, abs=1e-3)
    assert (today.close, today.volume) == (found.price, found.volume)


async def test_the_candle_of_now_ends_at_the_newest_price() -> None:
    *_, last = (await provider({"AAPL": Newest(999.0, None, None, 5)}).historical("AAPL", "1d", "1h")).candles
    assert (last.close, last.high) == (999.0, 999.0)


@given(
    symbol=st.sampled_from(["AAPL", "EUR/USD", "^VIX", "SYM7"]),
    period=st.sampled_from(["1d", "5d", "1mo", "1y", "ytd"]),
    interval=st.sampled_from(["1h", "1d", "1wk", "1mo"]),
    at=st.integers(1_600_000_000_000, 1_900_000_000_000),
)
def test_candles_are_whole_rise_in_time_and_join_up(symbol: str, period: str, interval: str, at: int) -> None:
    candles = list(Past(symbol, 7).candles(at - period_ms(period, at), at, interval_ms(interval)))
    for candle in candles:
        assert 0 < candle.low <= min(candle.open, candle.close)
        assert max(candle.open, candle.close) <= candle.high
        assert candle.volume is None or candle.volume >= 0
    for before, after in pairwise(candles):
        assert after.at_ms - before.at_ms == interval_ms(interval)
        assert after.open == before.close


@given(symbol=st.sampled_from(["AAPL", "EUR/USD", "BTC/USD", "SYM7"]), at=st.integers(0, 2_000_000_000_000))
def test_a_price_never_strays_far_from_its_instrument(symbol: str, at: int) -> None:
    past = Past(symbol, 7)
    assert past.price(at) == pytest.approx(past.instrument.price, rel=0.25)
    assert past.price(at + DAY_MS) == pytest.approx(past.price(at), rel=0.12)


async def test_a_symbol_of_nobody_is_unknown_unless_it_has_a_price() -> None:
    with pytest.raises(UnknownSymbolError):
        await provider().quote("NOPE")
    assert (await provider({"NOPE": Newest(10.0, None, 10.0, 5)}).quote("NOPE")).price == 10.0


async def test_a_search_finds_symbols_and_names_whatever_their_case() -> None:
    one = provider()
    assert [match.symbol for match in await one.search("APPLE", 10)] == ["AAPL"]
    assert [match.symbol for match in await one.search("aap", 10)] == ["AAPL"]
    assert [match.symbol for match in await one.search("mine", 10)] == ["MINE"]
    assert list(await one.search("nothing like it", 10)) == []
    assert len(await one.search("s", 3)) == 3


async def test_news_are_as_many_as_asked_for_newest_first_and_say_that_they_are_made_up() -> None:
    clock = FakeClock()
    found = await provider(clock=clock).news("AAPL", 6)
    times = [article.published_ms for article in found]
    assert times == sorted(times, reverse=True)
    assert times[0] <= clock.wall_ms()
    assert len({article.id for article in found}) == 6
    assert all(article.summary and "synthetic" in article.summary for article in found)


async def test_a_profile_says_that_it_is_made_up() -> None:
    found = await provider().profile("AAPL")
    assert (found.name, found.sector) == ("Apple Inc.", "Technology")
    assert found.description is not None
    assert "synthetic" in found.description


async def test_the_newest_price_is_that_of_everybody_and_not_of_a_tenant() -> None:
    bench = Bench()
    assert await newest_price(bench.bus, "A") is None
    bench.publish("A", 1)
    bench.publish("A", 50, tenant="acme")
    assert await newest_price(bench.bus, "A") == Newest(1.5, 1.0, 2.0, bench.clock.wall_ms())


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("interval", INTERVALS)
def test_no_history_holds_more_candles_than_anybody_is_given(period: str, interval: str) -> None:
    now = 1_735_689_599_000
    count = period_ms(period, now) / interval_ms(interval)
    assert too_fine(period, interval) == (count > MOST_CANDLES) or period == "ytd"


def test_this_year_began_on_the_first_of_january() -> None:
    assert period_ms("ytd", 1_735_689_600_000 + 5) == 5
