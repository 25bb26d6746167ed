from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import MarketQuote, Side

QUOTE = MarketQuote(
    symbol="EUR/USD",
    price=1.3864,
    change=None,
    change_percent=None,
    volume=None,
    bid=1.3863,
    ask=1.3865,
    timestamp=1,
    data_source="ebs+lmax",
    status="ok",
    last_updated="2023-11-14T22:13:20.000+00:00",
    age_seconds=0.0,
)


def test_an_answer_can_be_shown_like_a_quote_of_a_stream() -> None:
    assert QUOTE.best_bid == Side(1.3863, None, "ebs+lmax")
    assert QUOTE.best_ask == Side(1.3865, None, "ebs+lmax")
    assert (QUOTE.mid_price, QUOTE.spread, QUOTE.spread_bps) == (1.3864, 0.0002, 1.4426)


def test_without_a_side_there_is_no_middle_and_no_spread() -> None:
    for quote in (replace(QUOTE, bid=None), replace(QUOTE, ask=None)):
        assert (quote.mid_price, quote.spread, quote.spread_bps) == (None, None, None)
    assert replace(QUOTE, bid=None).best_bid is None
    assert replace(QUOTE, ask=None).best_ask is None


def test_a_middle_of_nothing_has_no_spread_in_percent() -> None:
    assert replace(QUOTE, bid=-1.0, ask=1.0).spread_bps is None


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.integers(0, 6))
def test_the_middle_and_the_spread_are_exact(bid: int, ask: int, decimals: int) -> None:
    """As written in decimals, not as binary fractions come out."""
    quote = replace(QUOTE, bid=bid / 10**decimals, ask=ask / 10**decimals)
    assert quote.mid_price == float(f"{bid + ask}e-{decimals}") / 2
    assert quote.spread == float(f"{ask - bid}e-{decimals}")
