"""A made-up market: its rate is exact, its prices are believable, and a seed says what happens."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketstream.core.market.model import Quote
from marketstream.feeds.synthetic import DEFAULT_SYMBOLS, Shape, SyntheticFeed
from tests.support.clock import FakeClock
from tests.support.sink import RecordingSink

DECIMALS = {"EUR/USD": 5, "GBP/USD": 5, "USD/JPY": 3}


class _TimeIsUpError(Exception):
    """Ends a feed that never ends by itself."""


async def play(
    seconds: float,
    *,
    symbols: Sequence[str] = DEFAULT_SYMBOLS,
    rate: float = 10,
    sources: int = 1,
    shape: Shape = "burst",
    seed: int = 7,
    late: Callable[[], float] = lambda: 0.0,
    clock: FakeClock | None = None,
) -> tuple[RecordingSink, list[float]]:
    """Runs a feed for seconds of fake time on timers that fire late; gives what it offered and its waits."""
    clock = clock or FakeClock()
    end = clock.now() + seconds
    sink, waits = RecordingSink(), []

    async def sleep(wait: float) -> None:
        waits.append(wait)
        await clock.sleep(wait + (late() if wait else 0.0))
        if clock.now() > end:
            raise _TimeIsUpError

    feed = SyntheticFeed(
        symbols=symbols, rate=rate, sources=sources, shape=shape, seed=seed, clock=clock, sleep=sleep
    )
    with pytest.raises(_TimeIsUpError):
        await feed.run(sink)
    return sink, waits


def visible_changes(quotes: Sequence[Quote]) -> Counter[str]:
    """How often the best price of each symbol changed, were every timestamp the same."""
    shown: dict[str, dict[str, Quote]] = {}
    best: dict[str, object] = {}
    changes: Counter[str] = Counter()
    for quote in quotes:
        sides = shown.setdefault(quote.symbol, {})
        sides[quote.source] = quote
        bid = max(sides.values(), key=lambda side: (side.bid or 0, side.bid_size or 0))
        ask = max(sides.values(), key=lambda side: (-(side.ask or 0), side.ask_size or 0))
        now = (bid.bid, bid.bid_size, bid.source, ask.ask, ask.ask_size, ask.source)
        changes[quote.symbol] += now != best.get(quote.symbol)
        best[quote.symbol] = now
    return changes


def shown_by(quote: Quote) -> tuple[object, ...]:
    """Everything a quote says except when."""
    return quote.symbol, quote.source, quote.bid, quote.bid_size, quote.ask, quote.ask_size, quote.last


@pytest.mark.parametrize("sources", [1, 2, 3, 10])
async def test_every_quote_changes_the_best_price_even_within_one_millisecond(sources: int) -> None:
    """The source that quotes is best on a side afterwards and never repeats its sizes."""
    sink, _ = await play(40, sources=sources, symbols=("EUR/USD", "AAPL", "BTC/USD", "SYM7"))
    quotes = sink.quotes
    assert len(quotes) > 1500
    assert visible_changes(quotes) == Counter(quote.symbol for quote in quotes)


@settings(deadline=None)
@given(seed=st.integers(0, 10**9), rate=st.floats(0.001, 100_000), sources=st.integers(1, 5))
async def test_any_market_is_well_priced(seed: int, rate: float, sources: int) -> None:
    """A source never asks less than it bids, and shows prices and sizes above zero."""
    symbols = ("SYM0", "ABC/DEF", "TSLA")
    sink, _ = await play(40 / rate, symbols=symbols, rate=rate, sources=sources, seed=seed)
    assert len(sink.quotes) >= 3
    for quote in sink.quotes:
        assert quote.bid
        assert quote.ask
        assert quote.bid_size
        assert quote.ask_size
        assert 0 < quote.bid < quote.ask
        assert min(quote.bid_size, quote.ask_size) > 0
        assert quote.ask / quote.bid < 1.01


async def test_a_seed_says_what_happens_whatever_the_shape() -> None:
    quotes = [shown_by(quote) for quote in (await play(5, sources=3))[0].quotes]
    again = [shown_by(quote) for quote in (await play(5, sources=3))[0].quotes]
    spread = [shown_by(quote) for quote in (await play(5, sources=3, shape="spread"))[0].quotes]
    other = [shown_by(quote) for quote in (await play(5, sources=3, seed=8))[0].quotes]
    common = min(len(quotes), len(spread))
    assert quotes == again
    assert common > 300
    assert quotes[:common] == spread[:common]
    assert quotes[100:] != other[100:]


async def test_a_made_up_symbol_starts_at_the_same_price_in_any_company() -> None:
    alone, _ = await play(1, symbols=("SYM3",), rate=1)
    among, _ = await play(1, symbols=("SYM0", "SYM1", "SYM2", "SYM3"), rate=1)
    first, same = alone.quotes[0].bid, among.quotes[3].bid
    assert first
    assert same
    assert first == pytest.approx(same, rel=0.01)
    assert among.quotes[0].bid != pytest.approx(same, rel=0.01)


async def test_prices_lie_on_the_tick_of_their_symbol() -> None:
    sink, _ = await play(20)
    for quote in sink.quotes:
        decimals = DECIMALS.get(quote.symbol, 2)
        for price in (quote.bid, quote.ask, quote.last):
            assert price is None or price == round(price, decimals)


async def test_a_week_ends_near_where_it_began() -> None:
    """The walk is pulled back, so it neither dies nor explodes; it moves nevertheless."""
    sink, _ = await play(7 * 86_400, rate=1 / 60)
    for symbol in DEFAULT_SYMBOLS:
        bids = [quote.bid for quote in sink.quotes if quote.symbol == symbol and quote.bid]
        assert len(bids) > 10_000
        assert 0.6 < min(bids) / bids[0] < 0.9999
        assert 1.0001 < max(bids) / bids[0] < 1.6


async def test_the_spread_breathes() -> None:
    sink, _ = await play(60, symbols=("EUR/USD",))
    spreads = {round(((quote.ask or 0) - (quote.bid or 0)) * 1e5) for quote in sink.quotes}
    assert len(spreads) >= 4
    assert max(spreads) <= 20


async def test_sources_disagree_and_rarely_cross() -> None:
    sink, _ = await play(600, sources=2)
    shown: dict[tuple[str, str], Quote] = {}
    crossed = 0
    for quote in sink.quotes:
        shown[quote.symbol, quote.source] = quote
        sides = [shown.get((quote.symbol, source), quote) for source in ("sim-1", "sim-2")]
        crossed += max(side.bid or 0 for side in sides) > min(side.ask or 0 for side in sides)
    assert {quote.source for quote in sink.quotes} == {"sim-1", "sim-2"}
    assert 0 < crossed < 0.02 * len(sink.quotes)


async def test_a_burst_offers_all_symbols_in_one_call_rate_times_a_second() -> None:
    sink, _ = await play(3, rate=5)
    assert len(sink.offers) == 15 + 1
    for offer in sink.offers:
        assert [quote.symbol for quote in offer] == list(DEFAULT_SYMBOLS)
        assert len({quote.at_ms for quote in offer}) == 1
    times = [offer[0].at_ms for offer in sink.offers]
    assert all(abs(later - earlier - 200) <= 2 for earlier, later in pairwise(times))


async def test_spread_offers_one_symbol_after_the_other_evenly() -> None:
    sink, _ = await play(3, rate=5, shape="spread")
    assert [quote.symbol for quote in sink.quotes][:16] == [*DEFAULT_SYMBOLS, *DEFAULT_SYMBOLS]
    assert {len(offer) for offer in sink.offers} == {1}
    times = [quote.at_ms for quote in sink.quotes]
    assert all(abs(later - earlier - 25) <= 2 for earlier, later in pairwise(times))


@pytest.mark.parametrize("shape", ["burst", "spread"])
@pytest.mark.parametrize("rate", [0.5, 7, 300, 5000])
async def test_the_rate_is_exact_in_the_long_run_on_late_timers(shape: Shape, rate: float) -> None:
    """Due times are fixed at the start, so what a timer loses is made up for."""
    draw = random.Random(1)
    seconds = max(10, 20 / rate)
    symbols = ("AAPL", "MSFT", "EUR/USD")
    sink, _ = await play(seconds, symbols=symbols, rate=rate, shape=shape, late=lambda: draw.random() * 0.02)
    expected = rate * seconds * len(symbols)
    assert len(sink.quotes) == pytest.approx(expected, rel=0.003, abs=len(symbols) * 2)
    for offer in sink.offers:
        assert len(offer) == 3 or (shape == "spread" and len(offer) <= 256)


@pytest.mark.parametrize("shape", ["burst", "spread"])
async def test_a_process_that_stood_still_does_not_flood_afterwards(shape: Shape) -> None:
    """What is more than a second late is skipped."""
    delays = iter([0.0] * 50 + [3600.0])
    sink, _ = await play(3605, rate=10, shape=shape, late=lambda: next(delays, 0.0))
    assert len(sink.quotes) < 10 * len(DEFAULT_SYMBOLS) * 12


@pytest.mark.parametrize("shape", ["burst", "spread"])
async def test_waits_are_long_enough_to_be_waits(shape: Shape) -> None:
    """Some loops fire a timer below a millisecond at once, which would be a busy loop."""
    _, waits = await play(2, rate=20_000, shape=shape, symbols=("AAPL",))
    assert all(wait == 0 or wait >= 0.001 for wait in waits)
    assert sum(wait == 0 for wait in waits) < len(waits) / 2


@pytest.mark.parametrize("shape", ["burst", "spread"])
async def test_catching_up_gives_others_their_turn(shape: Shape) -> None:
    delays = iter([0.0, 0.9])
    _, waits = await play(2, rate=1000, shape=shape, symbols=("AAPL", "MSFT"), late=lambda: next(delays, 0.0))
    assert waits.count(0) >= 1800 // 256


async def test_the_source_time_never_goes_back_when_the_wall_clock_does() -> None:
    clock = FakeClock()
    delays = iter(range(20))

    def late() -> float:
        if next(delays, 0) == 10:
            clock.correct_wall(-60_000)
        return 0.0

    sink, _ = await play(5, clock=clock, late=late)
    times = [quote.at_ms for quote in sink.quotes]
    assert times == sorted(times)
    assert times[0] == 1_700_000_000_000
    assert visible_changes(sink.quotes) == Counter(quote.symbol for quote in sink.quotes)


async def test_shares_trade_and_their_volume_grows_until_midnight() -> None:
    midnight = 1_700_006_400_000
    sink, _ = await play(60, symbols=("AAPL",), sources=2, clock=FakeClock(wall_ms=midnight - 30_000))
    before = [quote.volume or 0 for quote in sink.quotes if quote.at_ms < midnight]
    after = [quote.volume or 0 for quote in sink.quotes if quote.at_ms >= midnight]
    assert before == sorted(before)
    assert after == sorted(after)
    assert after[0] < before[-1]
    assert after[-1] > after[0]
    assert len({quote.last for quote in sink.quotes}) > 3


@pytest.mark.parametrize("shape", ["burst", "spread"])
async def test_on_demand_only_what_is_watched_is_quoted_at_its_rate(shape: Shape) -> None:
    clock, sink = FakeClock(), RecordingSink()
    feed = SyntheticFeed(
        symbols=("A", "B", "C"), rate=10, shape=shape, demand=True, clock=clock, sleep=clock.sleep
    )
    task = asyncio.create_task(feed.run(sink))
    await sink.until_asked()
    assert sink.quotes == []
    clock.advance(0.5)
    await sink.want("B", "NOT-ITS")
    await sink.until(21)
    assert {quote.symbol for quote in sink.quotes} == {"B"}
    times = [quote.at_ms for quote in sink.quotes]
    assert times[0] == 1_700_000_000_500
    assert all(abs(later - earlier - 100) <= 2 for earlier, later in pairwise(times[1:]))
    await sink.want("C")
    begun = len(sink.quotes)
    await sink.until(begun + 40)
    later = Counter(quote.symbol for quote in sink.quotes[begun:])
    assert set(later) == {"B", "C"}
    assert abs(later["B"] - later["C"]) <= 2
    assert all(sink.offers)
    await _cancelled(task)


async def test_on_demand_nothing_is_quoted_or_waited_for_once_nobody_watches() -> None:
    clock, sink = FakeClock(), RecordingSink()
    feed = SyntheticFeed(symbols=("A", "B"), demand=True, clock=clock, sleep=clock.sleep)
    task = asyncio.create_task(feed.run(sink))
    for symbol in ("A", "B"):
        await sink.want(symbol)
        await sink.until(len(sink.quotes) + 5)
        await sink.unwant(symbol)
        await sink.until_asked()
        at_rest, stopped = len(sink.quotes), clock.now()
        assert sink.quotes[-1].symbol == symbol
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(sink.quotes) == at_rest
        assert clock.now() - stopped <= 0.1
    await _cancelled(task)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_currencies_are_quoted_without_trades() -> None:
    sink, _ = await play(5, symbols=("EUR/USD",))
    assert {(quote.last, quote.volume) for quote in sink.quotes} == {(None, None)}


async def test_it_waits_by_the_clock_it_was_given() -> None:
    """The default sleep is the loop's own; an injected one replaces it entirely."""
    waited: list[float] = []
    clock = FakeClock()

    async def sleep(wait: float) -> None:
        waited.append(wait)
        if len(waited) == 3:
            raise _TimeIsUpError
        await clock.sleep(wait)

    sleeper: Callable[[float], Awaitable[None]] = sleep
    feed = SyntheticFeed(symbols=("AAPL",), rate=4, sources=1, clock=clock, sleep=sleeper)
    with pytest.raises(_TimeIsUpError):
        await feed.run(RecordingSink())
    assert waited == [pytest.approx(0.25)] * 3
