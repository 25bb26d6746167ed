import math

import pytest

from marketstream.core.market.aggregate import Aggregation
from marketstream.core.market.model import BestPrice, Quote, Side, Status
from marketstream.errors import LateQuoteError

T = 1_399_033_500_000
EUR = "EUR/USD"


def quote(
    source: str,
    bid: float | None,
    ask: float | None,
    at_ms: int = T,
    *,
    symbol: str = EUR,
    sizes: tuple[float | None, float | None] = (None, None),
    trade: tuple[float, float | None] | None = None,
) -> Quote:
    """A quote; sizes are of bid and ask, a trade is last price and volume."""
    last, volume = trade or (None, None)
    return Quote(symbol, source, bid, sizes[0], ask, sizes[1], at_ms, last, volume)


def best(aggregation: Aggregation, *quotes: Quote) -> BestPrice:
    """What stands after the quotes have arrived together at second 0."""
    for one in quotes:
        aggregation.apply(one, 0.0)
    price = aggregation.price_of(quotes[0].symbol)
    assert price is not None
    return price


def figures(bid: float | None, ask: float | None) -> tuple[float | None, float | None, float | None]:
    """Middle, spread and basis points of one quote."""
    price = best(Aggregation(), quote("a", bid, ask))
    return price.mid_price, price.spread, price.spread_bps


def winners(aggregation: Aggregation, *quotes: Quote) -> tuple[str | None, str | None]:
    """Sources of the best bid and the best ask."""
    price = best(aggregation, *quotes)
    bid, ask = price.best_bid, price.best_ask
    return (bid.source if bid else None), (ask.source if ask else None)


def states(aggregation: Aggregation) -> list[tuple[str, str, str | None, int]]:
    """The transitions since the last look, as plain tuples."""
    return [(s.symbol, s.state, s.source, s.since_ms) for s in aggregation.drain_transitions()]


def test_the_first_quote_of_a_symbol_is_its_best_price() -> None:
    returned = Aggregation().apply(quote("ebs", 1.38619, 1.3863, sizes=(1e6, 2e6)), 0.0)
    assert returned == BestPrice(
        EUR, Side(1.38619, 1e6, "ebs"), Side(1.3863, 2e6, "ebs"), 1.386245, 0.00011, 0.7935, T
    )


def test_the_highest_bid_and_the_lowest_ask_may_come_from_two_sources() -> None:
    price = best(Aggregation(), quote("a", 1.3861, 1.3864), quote("b", 1.38619, 1.38655, T + 5))
    assert price.best_bid == Side(1.38619, None, "b")
    assert price.best_ask == Side(1.3864, None, "a")
    assert (price.mid_price, price.spread, price.spread_bps) == (1.386295, 0.00021, 1.5148)
    assert price.at_ms == T + 5


def test_a_worse_quote_of_the_winner_hands_the_side_to_the_next_best() -> None:
    aggregation = Aggregation()
    assert winners(aggregation, quote("a", 1.2, 1.4), quote("b", 1.1, 1.5)) == ("a", "a")
    assert winners(aggregation, quote("a", 1.0, 1.6, T + 1)) == ("b", "b")


def test_the_larger_size_wins_a_tie_and_no_size_counts_as_none_at_all() -> None:
    quotes = (
        quote("a", 1.2, 1.4),
        quote("b", 1.2, 1.4, sizes=(5, 1)),
        quote("c", 1.2, 1.4, sizes=(4, 2)),
    )
    assert winners(Aggregation(), *quotes) == ("b", "c")


def test_the_source_seen_first_wins_a_tie_of_sizes_whoever_spoke_last() -> None:
    a, b = quote("a", 1.2, 1.4, sizes=(None, 7)), quote("b", 1.2, 1.4, sizes=(0, 7))
    assert winners(Aggregation(), a, b) == ("a", "a")
    assert winners(Aggregation(), a, b, a) == ("a", "a")
    assert winners(Aggregation(), b, a, b) == ("b", "b")


def test_a_source_that_comes_back_keeps_its_place_among_those_seen() -> None:
    aggregation = Aggregation(10)
    a, b = quote("a", 1.2, 1.4), quote("b", 1.2, 1.4)
    aggregation.apply(a, 0.0)
    aggregation.apply(b, 5.0)
    aggregation.expire(10.0, T)
    assert winners(aggregation, a) == ("a", "a")


def test_a_symbol_knows_only_its_own_sources() -> None:
    aggregation = Aggregation()
    aggregation.apply(quote("a", 9.0, 9.5, symbol="AAPL"), 0.0)
    assert winners(aggregation, quote("b", 1.2, 1.4)) == ("b", "b")


@pytest.mark.parametrize(
    ("bid", "ask", "mid", "spread", "bps"),
    [
        (1.38619, 1.3863, 1.386245, 0.00011, 0.7935),
        (1.3862, 1.3863, 1.38625, 0.0001, 0.7214),
        (150.0, 151.0, 150.5, 1.0, 66.4452),
        (150.0, 150.25, 150.125, 0.25, 16.6528),
        (0.1, 0.3, 0.2, 0.2, 10_000.0),
        (100.05, 100.1, 100.075, 0.05, 4.9963),
        (1e-07, 3e-07, 2e-07, 2e-07, 10_000.0),
        (1.5e-07, 2e-07, 1.75e-07, 5e-08, 2857.1429),
        (1e22, 1e22, 1e22, 0.0, 0.0),
        (1e22, 1e22 + 2**22, 1.0000000000000002e22, 4e6, 0.0),
        (123456789012.25, 123456789012.75, 123456789012.5, 0.5, 0.0),
        (1.7976931348623157e308, 1.7976931348623157e308, 1.7976931348623157e308, 0.0, 0.0),
        (5e-324, 1.5e-323, 1e-323, 1e-323, 10_000.0),
        (1e-30, 1e30, 5e29, 1e30, 20_000.0),
        (0.0, 0.0, 0.0, 0.0, None),
    ],
)
def test_figures_are_exact_to_one_decimal_more_than_the_finer_side(
    bid: float, ask: float, mid: float, spread: float, bps: float | None
) -> None:
    assert figures(bid, ask) == (mid, spread, bps)


def test_basis_points_half_way_between_two_are_rounded_to_the_even_one() -> None:
    assert figures(8.27, 12.21)[2] == 3847.6562  # exactly 3847.65625
    assert figures(8.25, 12.23)[2] == 3886.7188  # exactly 3886.71875


def test_a_crossed_market_is_published_as_it_is() -> None:
    assert figures(1.3863, 1.3862) == (1.38625, -0.0001, -0.7214)


def test_a_spread_in_basis_points_needs_a_positive_middle() -> None:
    assert figures(-37.63, -37.6) == (-37.615, 0.03, None)
    assert figures(-1.0, 1.0) == (0.0, 2.0, None)
    assert figures(-1.0, 1.5) == (0.25, 2.5, 100_000.0)


def test_no_figure_is_a_negative_zero() -> None:
    for bid, ask in ((-0.0, -0.0), (1.5, 1.5), (-1.5, 1.5), (-0.0, 0.0)):
        assert all(math.copysign(1, figure) == 1 for figure in figures(bid, ask) if figure == 0)


def test_a_spread_that_no_float_can_hold_is_left_out() -> None:
    assert figures(-1.7e308, 1.7e308) == (0.0, None, None)


def test_a_missing_side_leaves_the_figures_out() -> None:
    assert figures(1.3862, None) == (None, None, None)
    assert figures(None, 1.3862) == (None, None, None)
    price = best(Aggregation(), quote("a", None, 1.3862))
    assert (price.best_bid, price.best_ask) == (None, Side(1.3862, None, "a"))


def test_a_side_that_a_source_withdraws_goes_away() -> None:
    price = best(Aggregation(), quote("a", 1.2, 1.4), quote("a", 1.2, None, T + 1))
    assert (price.best_bid, price.best_ask, price.mid_price) == (Side(1.2, None, "a"), None, None)


def test_a_symbol_without_any_side_is_dated_by_its_newest_quote() -> None:
    price = best(Aggregation(), quote("a", None, None, T + 3), quote("b", None, None, T + 9))
    assert price == BestPrice(EUR, None, None, None, None, None, T + 9)


@pytest.mark.parametrize("nothing", [math.nan, math.inf, -math.inf])
def test_a_price_that_is_not_a_finite_number_is_no_price(nothing: float) -> None:
    price = best(Aggregation(), quote("bad", nothing, nothing), quote("a", 1.2, 1.4, T + 1))
    assert (price.best_bid, price.best_ask) == (Side(1.2, None, "a"), Side(1.4, None, "a"))
    assert figures(nothing, nothing) == (None, None, None)


def test_the_timestamp_is_of_the_winners_only() -> None:
    aggregation = Aggregation()
    aggregation.apply(quote("a", 1.2, 1.4, T), 0.0)
    assert aggregation.apply(quote("b", 1.1, 1.5, T + 50), 0.0) is None
    price = aggregation.apply(quote("c", 1.3, 1.5, T + 20), 0.0)
    assert price is not None
    assert price.at_ms == T + 20


def test_the_timestamp_never_goes_back_when_an_older_quote_takes_over() -> None:
    aggregation = Aggregation()
    price = best(
        aggregation, quote("a", 1.1, 1.5, T), quote("b", 1.2, 1.4, T + 50), quote("b", 1.0, 1.6, T + 60)
    )
    assert price.best_bid == Side(1.1, None, "a")
    assert price.at_ms == T + 50


def test_nothing_is_returned_when_nothing_visible_changed() -> None:
    aggregation = Aggregation()
    first = quote("a", 1.2, 1.4)
    assert aggregation.apply(first, 0.0) is not None
    assert aggregation.apply(first, 1.0) is None
    assert aggregation.apply(quote("b", 1.1, 1.5, T + 1), 1.0) is None
    assert aggregation.apply(quote("a", 1.2, 1.4, T + 1), 2.0) is not None


def test_a_change_of_size_alone_is_visible() -> None:
    aggregation = Aggregation()
    aggregation.apply(quote("a", 1.2, 1.4, sizes=(1, 1)), 0.0)
    price = aggregation.apply(quote("a", 1.2, 1.4, sizes=(1, 2)), 0.0)
    assert price is not None
    assert price.best_ask == Side(1.4, 2, "a")


def test_a_late_quote_is_refused_and_changes_nothing() -> None:
    aggregation = Aggregation(10)
    stood = aggregation.apply(quote("a", 1.2, 1.4, T), 0.0)
    with pytest.raises(LateQuoteError, match="EUR/USD: a has sent"):
        aggregation.apply(quote("a", 1.3, 1.35, T - 1, trade=(1.3, 1.0)), 5.0)
    assert aggregation.price_of(EUR) is stood
    assert aggregation.late == 1
    aggregation.expire(10.0, T)
    assert states(aggregation)[-1][:2] == (EUR, "stale")


def test_a_quote_as_old_as_the_last_one_is_taken() -> None:
    price = best(Aggregation(), quote("a", 1.2, 1.4, T), quote("a", 1.3, 1.4, T))
    assert price.best_bid == Side(1.3, None, "a")


def test_lateness_is_a_matter_of_one_source_and_one_symbol() -> None:
    aggregation = Aggregation()
    aggregation.apply(quote("a", 1.2, 1.4, T), 0.0)
    aggregation.apply(quote("b", 1.3, 1.4, T - 100), 0.0)
    aggregation.apply(quote("a", 9.0, 9.5, T - 100, symbol="AAPL"), 0.0)
    assert aggregation.late == 0


def test_a_source_that_comes_back_is_still_held_to_its_newest_quote() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("a", 1.2, 1.4, T), 0.0)
    aggregation.expire(10.0, T)
    with pytest.raises(LateQuoteError):
        aggregation.apply(quote("a", 1.2, 1.4, T - 1), 11.0)
    assert [state for _, state, _, _ in states(aggregation)] == ["live", "stale"]


def test_the_newest_trade_of_any_source_is_kept_when_later_quotes_have_none() -> None:
    aggregation = Aggregation()
    price = best(
        aggregation,
        quote("a", 1.2, 1.4, T, trade=(1.3, 500.0)),
        quote("b", 1.1, 1.5, T + 10, trade=(1.25, None)),
        quote("a", 1.2, 1.4, T + 5, trade=(1.31, 600.0)),
        quote("a", 1.2, 1.4, T + 20),
    )
    assert (price.last, price.volume) == (1.25, None)


def test_a_trade_by_itself_is_visible() -> None:
    aggregation = Aggregation()
    aggregation.apply(quote("a", 1.2, 1.4, T), 0.0)
    price = aggregation.apply(quote("b", 1.1, 1.5, T + 1, trade=(1.3, 500.0)), 0.0)
    assert price is not None
    assert (price.last, price.volume, price.at_ms) == (1.3, 500.0, T)
    price = aggregation.apply(quote("b", 1.1, 1.5, T + 1, trade=(1.3, 501.0)), 0.0)
    assert price is not None
    assert price.volume == 501.0


def test_a_silent_source_leaves_exactly_when_its_time_is_up() -> None:
    aggregation = Aggregation()
    aggregation.apply(quote("a", 1.2, 1.4, T), 100.0)
    aggregation.apply(quote("b", 1.1, 1.5, T + 1), 101.0)
    assert aggregation.expire(129.999, T) == []
    changed = aggregation.expire(130.0, T + 30_000)
    assert changed == [BestPrice(EUR, Side(1.1, None, "b"), Side(1.5, None, "b"), 1.3, 0.4, 3076.9231, T + 1)]
    assert changed == [aggregation.price_of(EUR)]


def test_a_quote_renews_the_patience_with_its_source() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("a", 1.2, 1.4), 0.0)
    aggregation.apply(quote("a", 1.2, 1.4), 9.0)
    aggregation.expire(18.9, T)
    assert [state for _, state, _, _ in states(aggregation)] == ["live"]
    aggregation.expire(19.0, T)
    assert [state for _, state, _, _ in states(aggregation)] == ["stale"]


def test_each_feed_has_its_own_patience_and_the_latest_quote_decides() -> None:
    aggregation = Aggregation(30)
    aggregation.apply(quote("slow", 1.2, 1.4), 0.0, feed="s", stale_after=300)
    aggregation.apply(quote("fast", 1.3, 1.35), 0.0, feed="f", stale_after=3)
    assert [price.best_bid and price.best_bid.source for price in aggregation.expire(3.0, T)] == ["slow"]
    aggregation.apply(quote("slow", 1.2, 1.4), 10.0, feed="f", stale_after=3)
    aggregation.expire(12.9, T)
    assert states(aggregation) == [(EUR, "live", "slow", T)]
    aggregation.expire(13.0, T + 1)
    assert states(aggregation) == [(EUR, "stale", "slow", T + 1)]


def test_a_feed_of_endless_patience_never_expires() -> None:
    aggregation = Aggregation()
    aggregation.apply(quote("a", 1.2, 1.4), 0.0, stale_after=math.inf)
    aggregation.expire(1e9, T)
    assert [state for _, state, _, _ in states(aggregation)] == ["live"]


def test_a_source_that_leaves_unseen_changes_no_price() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("worse", 1.1, 1.5), 0.0)
    aggregation.apply(quote("better", 1.2, 1.4), 5.0)
    assert aggregation.expire(10.0, T) == []


def test_several_symbols_expire_in_one_call_in_the_order_of_their_silence() -> None:
    aggregation = Aggregation(10)
    for now, symbol in ((2.0, "B"), (1.0, "A"), (3.0, "C")):
        aggregation.apply(quote("a", 1.2, 1.4, symbol=symbol), now)
    aggregation.drain_transitions()
    assert aggregation.expire(100.0, T + 7) == []
    assert states(aggregation) == [(symbol, "stale", "a", T + 7) for symbol in "ABC"]


def test_a_symbol_with_several_sources_stands_where_its_last_one_left() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("x", 1.2, 1.4, symbol="A"), 1.0)
    aggregation.apply(quote("x", 1.2, 1.4, symbol="B"), 2.0)
    aggregation.apply(quote("y", 1.2, 1.4, symbol="A"), 3.0)
    aggregation.drain_transitions()
    aggregation.expire(100.0, T)
    assert states(aggregation) == [("B", "stale", "x", T), ("A", "stale", "y", T)]


def test_a_symbol_goes_live_then_stale_then_live_again() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("a", 1.2, 1.4, T), 0.0)
    aggregation.apply(quote("b", 1.2, 1.4, T + 1), 1.0)
    aggregation.expire(10.0, T + 10)
    aggregation.expire(11.0, T + 11)
    aggregation.apply(quote("a", 1.2, 1.4, T + 12), 12.0)
    assert states(aggregation) == [
        (EUR, "live", "a", T),
        (EUR, "stale", "b", T + 11),
        (EUR, "live", "a", T + 12),
    ]
    assert states(aggregation) == []


def test_the_last_source_to_leave_is_named_also_when_all_leave_at_once() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("a", 1.2, 1.4), 0.0)
    aggregation.apply(quote("b", 1.2, 1.4), 1.0)
    aggregation.apply(quote("a", 1.2, 1.4), 2.0)
    aggregation.expire(50.0, T)
    assert states(aggregation)[-1] == (EUR, "stale", "a", T)


def test_a_stale_symbol_keeps_its_last_price() -> None:
    aggregation = Aggregation(10)
    price = aggregation.apply(quote("a", 1.2, 1.4), 0.0)
    aggregation.expire(10.0, T)
    assert aggregation.price_of(EUR) is price
    assert aggregation.state_of(EUR) == Status(EUR, "stale", "a", T)


def test_nothing_is_known_of_a_symbol_that_was_never_quoted() -> None:
    assert Aggregation().price_of("AAPL") is None
    assert Aggregation().state_of("AAPL") is None


def test_a_feed_that_ends_closes_its_symbols_and_its_sources_never_expire() -> None:
    aggregation = Aggregation(10)
    price = aggregation.apply(quote("a", 1.2, 1.4), 0.0, feed="tape")
    aggregation.finish("tape", T + 5)
    assert aggregation.expire(1000.0, T + 9) == []
    assert states(aggregation) == [(EUR, "live", "a", T), (EUR, "closed", "a", T + 5)]
    assert aggregation.price_of(EUR) is price


def test_a_symbol_that_another_feed_still_quotes_closes_when_that_one_falls_silent() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("a", 1.2, 1.4, T), 0.0, feed="tape")
    aggregation.apply(quote("b", 1.3, 1.35, T + 1), 0.0, feed="venue")
    aggregation.finish("tape", T + 5)
    assert states(aggregation) == [(EUR, "live", "a", T)]
    assert [price.best_bid for price in aggregation.expire(10.0, T + 10)] == [Side(1.2, None, "a")]
    assert states(aggregation) == [(EUR, "closed", "b", T + 10)]


def test_a_new_quote_of_any_source_opens_a_closed_symbol_again() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("a", 1.2, 1.4, T), 0.0, feed="tape")
    aggregation.finish("tape", T + 5)
    aggregation.apply(quote("a", 1.2, 1.4, T + 6), 50.0, feed="tape")
    aggregation.expire(60.0, T + 9)
    assert states(aggregation)[2:] == [(EUR, "live", "a", T + 6), (EUR, "stale", "a", T + 9)]


def test_a_source_that_speaks_again_after_its_feed_ended_keeps_the_symbol_live() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("a", 1.2, 1.4), 0.0, feed="tape")
    aggregation.finish("tape", T)
    aggregation.apply(quote("b", 1.2, 1.4), 1.0, feed="venue")
    aggregation.apply(quote("a", 1.2, 1.4), 2.0, feed="tape")
    aggregation.expire(11.0, T)
    assert [state for _, state, _, _ in states(aggregation)] == ["live", "closed", "live"]


def test_a_closed_symbol_names_the_source_of_the_newest_quote_of_the_feed() -> None:
    aggregation = Aggregation()
    for source, at_ms in (("a", T), ("b", T + 9), ("c", T + 5)):
        aggregation.apply(quote(source, 1.2, 1.4, at_ms), 0.0, feed="tape")
    aggregation.finish("tape", T + 10)
    assert aggregation.state_of(EUR) == Status(EUR, "closed", "b", T + 10)


def test_the_end_of_a_feed_leaves_other_and_stale_symbols_alone() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("a", 1.2, 1.4, symbol="STALE"), 0.0, feed="tape")
    aggregation.apply(quote("a", 1.2, 1.4, symbol="OTHER"), 9.0, feed="venue")
    aggregation.expire(10.0, T)
    aggregation.drain_transitions()
    aggregation.finish("tape", T + 5)
    aggregation.finish("unheard of", T + 5)
    assert states(aggregation) == []


def test_a_source_of_two_patiences_does_not_pile_up_in_the_heap() -> None:
    aggregation = Aggregation(10)
    for tick in range(1000):
        aggregation.apply(quote("a", 1.2, 1.4, T + tick), float(tick), stale_after=(300, 3)[tick % 2])
        aggregation.expire(float(tick), T)
    assert len(aggregation._heap) == 1


def test_a_source_without_any_patience_leaves_at_once_and_may_come_back() -> None:
    aggregation = Aggregation(10)
    aggregation.apply(quote("a", 1.2, 1.4), 5.0, stale_after=0)
    aggregation.apply(quote("a", 1.2, 1.4), 5.0)
    aggregation.expire(5.0, T)
    aggregation.apply(quote("a", 1.2, 1.4), 6.0, stale_after=0)
    aggregation.expire(6.0, T)
    assert [state for _, state, _, _ in states(aggregation)] == ["live", "stale"]


def test_what_was_taken_back_is_said_again_with_the_next_quote_or_its_silence() -> None:
    """Also by a quote that changes no price."""
    aggregation = Aggregation(stale_after=30)
    best(
        aggregation,
        quote("a", 1.0, 2.0),
        quote("a", 1.0, 2.0, symbol="AAPL"),
        quote("a", 1, 2, symbol="MSFT"),
    )
    aggregation.rest("", frozenset({"MSFT"}), T)
    aggregation.expire(30.0, T)
    aggregation.apply(quote("a", 1.0, 2.0), 31.0)
    aggregation.apply(quote("a", 1.0, 2.0, symbol="AAPL"), 31.0)
    aggregation.drain_transitions()
    aggregation.unsay()
    assert aggregation.apply(quote("a", 1.0, 2.0), 32.0) is None
    assert [(each.symbol, each.state) for each in aggregation.drain_transitions()] == [(EUR, "live")]
    aggregation.expire(61.5, T)
    assert [(each.symbol, each.state) for each in aggregation.drain_transitions()] == [("AAPL", "stale")]
