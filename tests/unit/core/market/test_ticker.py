"""Sides, trades and volume of one source, put together."""

import pytest

from marketstream.core.market.model import Quote
from marketstream.core.market.ticker import Tickers


def sides(bid: float, at_ms: int) -> Quote:
    """A quote as it comes from the vendor: without a trade."""
    return Quote("A", "x", bid, 1, bid + 1, 2, at_ms)


@pytest.fixture
def tickers() -> Tickers:
    """A source that sends both sides and trades."""
    return Tickers("x", sided=True)


def test_a_quote_without_a_trade_goes_out_as_it_is(tickers: Tickers) -> None:
    assert tickers.quote(sides(1, 10)) == sides(1, 10)


def test_a_trade_repeats_the_sides_and_a_quote_the_trade(tickers: Tickers) -> None:
    """A quote replaces the one before as a whole: a trade alone would take the sides away."""
    tickers.quote(sides(1, 10))
    assert tickers.trade("A", 1.5, 20) == Quote("A", "x", 1, 1, 2, 2, 20, 1.5)
    assert tickers.quote(sides(3, 30)) == Quote("A", "x", 3, 1, 4, 2, 30, 1.5)


def test_a_trade_waits_for_the_sides(tickers: Tickers) -> None:
    assert tickers.trade("A", 1.5, 20) is None
    assert tickers.quote(sides(1, 10)) == Quote("A", "x", 1, 1, 2, 2, 20, 1.5)


def test_where_there_are_no_sides_a_trade_goes_out_alone() -> None:
    tickers = Tickers("x", sided=False)
    assert tickers.trade("A", 1.5, 20) == Quote("A", "x", None, None, None, None, 20, 1.5)


def test_times_of_quotes_and_trades_may_cross_without_one_being_late(tickers: Tickers) -> None:
    tickers.quote(sides(1, 10))
    tickers.trade("A", 1.5, 20)
    crossed = tickers.quote(sides(2, 15))
    assert (crossed.bid, crossed.at_ms) == (2, 20)


def test_an_older_trade_than_the_last_is_left_out(tickers: Tickers) -> None:
    tickers.quote(sides(1, 10))
    tickers.trade("A", 1.5, 20)
    assert tickers.trade("A", 9, 19) is None
    assert tickers.quote(sides(2, 30)).last == 1.5
    assert tickers.trade("A", 1.75, 20) is not None


def test_an_older_quote_than_the_last_is_left_to_be_found_late(tickers: Tickers) -> None:
    tickers.quote(sides(2, 10))
    assert tickers.quote(sides(1, 9)) == sides(1, 9)
    traded = tickers.trade("A", 1.5, 20)
    assert traded is not None
    assert traded.bid == 2


def test_the_volume_goes_out_with_the_trade(tickers: Tickers) -> None:
    tickers.volume("A", 1000)
    assert tickers.quote(sides(1, 10)).volume is None
    traded = tickers.trade("A", 1.5, 20)
    assert traded is not None
    assert traded.volume == 1000


def test_what_is_not_kept_is_forgotten(tickers: Tickers) -> None:
    """Sides from before a gap must not look new because of a trade after it."""
    tickers.quote(sides(1, 10))
    tickers.keep({"B"})
    assert len(tickers) == 0
    assert tickers.trade("A", 1.5, 20) is None


def test_a_quote_as_new_as_the_last_one_replaces_it(tickers: Tickers) -> None:
    """A vendor may send two within a millisecond: the second one is what holds."""
    tickers.quote(sides(10, 5))
    tickers.trade("A", 12.0, 5)
    assert tickers.quote(sides(11, 5)).bid == 11
    found = tickers.trade("A", 13.0, 6)
    assert found is not None
    assert found.bid == 11
