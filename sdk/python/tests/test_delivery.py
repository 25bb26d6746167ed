import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import Quote
from marketstream_sdk.delivery import Delivery
from rehearsal.cases import golden, quote

CASES = json.loads(golden("sdk/delivery.json"))

QUOTES = st.lists(st.builds(quote, st.sampled_from("AB"), st.integers(1, 3), st.integers(1, 5)))


@pytest.mark.parametrize("case", CASES, ids=[case["rule"] for case in CASES])
def test_it_delivers_what_every_client_library_delivers(case: dict[str, Any]) -> None:
    """A reconnect changes nothing: what was delivered before counts after it."""
    delivery = Delivery()
    prices = [price for price in case["arrives"] if price != "reconnected"]
    delivered = [
        index
        for index, price in enumerate(prices)
        if delivery.accept(quote(price["symbol"], price["midPrice"], price["timestamp"]))
    ]
    assert delivered == case["delivered"]


@given(QUOTES)
def test_time_never_goes_back_and_nothing_comes_twice_in_a_row(quotes: list[Quote]) -> None:
    delivery = Delivery()
    delivered = [each for each in quotes if delivery.accept(each)]
    for symbol in "AB":
        mine = [each for each in delivered if each.symbol == symbol]
        assert all(a.timestamp <= b.timestamp and a != b for a, b in pairwise(mine))
        assert delivery.last(symbol) == (mine[-1] if mine else None)


@given(QUOTES)
def test_the_newest_quote_is_always_delivered(quotes: list[Quote]) -> None:
    delivery = Delivery()
    delivered = [each for each in quotes if delivery.accept(each)]
    for each in quotes:
        mine = [other.timestamp for other in delivered if other.symbol == each.symbol]
        assert max(mine) >= each.timestamp


def test_what_is_no_longer_sent_is_forgotten() -> None:
    """Whoever subscribes it again begins with the current value, whatever that is."""
    delivery = Delivery()
    for symbol in "AB":
        delivery.accept(quote(symbol, 5))
    delivery.retain({"B"})
    assert delivery.last("A") is None
    assert delivery.accept(quote("A", 5))
    assert not delivery.accept(quote("B", 5))
