import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import Quote
from marketstream_sdk.progress import Cursors, Delivery, Recent
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


@given(st.lists(st.sampled_from("abcdef")), st.integers(1, 4))
def test_an_id_is_new_unless_it_is_among_the_last_new_ones_and_memory_is_bounded(
    ids: list[str], room: int
) -> None:
    recent = Recent(room)
    news: list[str] = []
    for ident in ids:
        assert recent.add(ident) == (ident not in news[-room:])
        if ident not in news[-room:]:
            news.append(ident)
        assert len(recent) <= room


NOTES = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 20)))


def test_a_stream_is_resumed_from_the_symbol_that_is_farthest_behind() -> None:
    """The newest id of all would leave out what another symbol missed just before it."""
    cursors = Cursors()
    cursors.note("A", "A-1@100")
    cursors.note("B", "B-1@99")
    assert cursors.resume(["A", "B"]) == "B-1@99"


def test_a_symbol_without_a_price_makes_the_stream_begin_anew() -> None:
    """Its current value may be older than all that was heard of the others."""
    cursors = Cursors()
    cursors.note("A", "A-1@100")
    assert cursors.resume(["A", "B"]) == ""


def test_symbols_that_were_left_are_forgotten() -> None:
    cursors = Cursors()
    for symbol in "AB":
        cursors.note(symbol, f"{symbol}-1@100")
    assert cursors.resume(["A"]) == "A-1@100"
    assert cursors.resume(["A", "B"]) == ""


def test_an_id_without_a_cursor_says_nothing() -> None:
    cursors = Cursors()
    for ident in ("", "A-1", "A-1@", "A-1@x"):
        cursors.note("A", ident)
    assert cursors.resume(["A"]) == ""


@given(NOTES)
def test_nothing_newer_than_what_was_heard_is_ever_left_out(notes: list[tuple[str, int]]) -> None:
    cursors = Cursors()
    for symbol, cursor in notes:
        cursors.note(symbol, f"{symbol}-1@{cursor}")
    newest = {symbol: max(c for s, c in notes if s == symbol) for symbol, _ in notes}
    resumed = cursors.resume(["A", "B", "C"])
    if len(newest) < 3:
        assert resumed == ""
    else:
        assert int(resumed.rpartition("@")[2]) == min(newest.values())
