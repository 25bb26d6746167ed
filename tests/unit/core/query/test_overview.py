import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.query.cache_policy import INDICES, QUOTE
from marketstream.core.query.overview import movers
from marketstream.core.query.sentiment import sentiment
from marketstream.engine.query.overview import Overview
from marketstream.errors import AllProvidersFailedError
from tests.support.providers import Reader, exhausted, given_quote, unknown

POPULAR = ("A", "B", "C")


def overview(reader: Reader) -> Overview:
    return Overview(
        queries=reader.service,
        clock=reader.clock,
        popular=POPULAR,
        indices=[("^X", "Index X"), ("^Y", "Index Y")],
        sectors=[("XLK", "Technology")],
    )


QUOTES = [
    given_quote("A", percent=2.0, volume=5),
    given_quote("B", percent=-3.0, volume=9),
    given_quote("C", percent=0.0, volume=None),
    given_quote("D", percent=4.0, volume=7),
    given_quote("E", percent=None, volume=0),
]


def test_gainers_rose_and_the_first_the_most() -> None:
    assert [quote.symbol for quote in movers(QUOTES, "gainers")] == ["D", "A"]


def test_losers_fell() -> None:
    assert [quote.symbol for quote in movers(QUOTES, "losers")] == ["B"]


def test_active_are_those_that_were_traded_most() -> None:
    assert [quote.symbol for quote in movers(QUOTES, "active")] == ["B", "D", "A"]


def test_a_list_of_movers_has_ten_at_most() -> None:
    quotes = [given_quote(f"S{number:02}", percent=number) for number in range(1, 30)]
    assert [quote.symbol for quote in movers(quotes, "gainers")] == [f"S{n}" for n in range(29, 19, -1)]


@pytest.mark.parametrize(
    ("changes", "score", "label"),
    [
        ([0.0], 50.0, "neutral"),
        ([2.0, 2.0], 100.0, "very bullish"),
        ([-5.0], 0.0, "very bearish"),
        ([1.0, 1.0, -0.5], 64.6, "bullish"),
        ([0.2, -0.4, -0.4], 39.2, "bearish"),
    ],
)
def test_the_mood_follows_its_formula(changes: list[float], score: float, label: str) -> None:
    found = sentiment(changes)
    assert (found.score, found.label) == (score, label)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60))
def test_the_mood_is_between_all_and_nothing_and_turns_with_the_market(changes: list[float]) -> None:
    found, turned = sentiment(changes), sentiment([-change for change in changes])
    assert 0 <= found.score <= 100
    assert found.score + turned.score == pytest.approx(100, abs=0.11)
    assert found.advancers + found.decliners + found.unchanged == len(changes)


def test_no_symbol_at_all_has_no_mood() -> None:
    with pytest.raises(ValueError, match="no symbol"):
        sentiment([])


async def test_indices_come_in_their_order_with_their_names() -> None:
    reader = Reader("yahoo")
    found = await overview(reader).indices()
    assert [(each.name, each.quote.symbol) for each in found.value] == [("Index X", "^X"), ("Index Y", "^Y")]
    assert (found.source, found.warning) == ("yahoo", None)


async def test_a_view_is_remembered_for_its_time() -> None:
    reader = Reader("yahoo")
    await overview(reader).indices()
    reader.clock.advance(INDICES.ttl - 1)
    await overview(reader).indices()
    assert len(reader["yahoo"].asked) == 2
    reader.clock.advance(1)
    await overview(reader).indices()
    assert len(reader["yahoo"].asked) == 4


async def test_a_quote_that_cannot_be_had_is_left_out_and_the_view_says_so() -> None:
    reader = Reader("yahoo")
    reader.script("yahoo", exhausted("yahoo"), None)
    found = await overview(reader).indices()
    assert (len(found.value), found.warning) == (1, "all_providers_failed")


async def test_a_view_with_holes_is_not_remembered_for_long() -> None:
    reader = Reader("yahoo")
    reader.script("yahoo", exhausted("yahoo"), None)
    await overview(reader).indices()
    assert (await overview(reader).indices()).warning == "all_providers_failed"
    reader.clock.advance(15)
    assert (await overview(reader).indices()).warning is None


async def test_a_symbol_that_nobody_knows_is_left_out_quietly() -> None:
    reader = Reader("yahoo")
    reader.script("yahoo", unknown(), None)
    found = await overview(reader).indices()
    assert (len(found.value), found.warning) == (1, None)


async def test_a_view_without_any_quote_is_the_last_one_for_a_day() -> None:
    reader = Reader("yahoo")
    first = await overview(reader).movers("gainers")
    reader.script("yahoo", exhausted("yahoo"))
    reader.clock.advance(80_000)
    found = await overview(reader).movers("gainers")
    assert (found.value, found.source, found.warning) == (first.value, "cache", "all_providers_failed")
    reader.clock.advance(80_000)
    with pytest.raises(AllProvidersFailedError):
        await overview(reader).movers("gainers")


async def test_a_view_made_of_old_quotes_says_that_they_are_old() -> None:
    reader = Reader("yahoo")
    view = overview(reader)
    for symbol in POPULAR:
        await reader.service.quote(symbol)
    reader.script("yahoo", exhausted("yahoo"))
    reader.clock.advance(QUOTE.ttl)
    found = await view.sentiment()
    assert (found.source, found.warning, found.value.advancers) == ("cache", "all_providers_failed", 3)


async def test_the_mood_needs_to_know_how_symbols_moved() -> None:
    reader = Reader("yahoo")
    for symbol in POPULAR:
        reader["yahoo"].prices[symbol] = given_quote(symbol, change=None, percent=None)
    with pytest.raises(AllProvidersFailedError):
        await overview(reader).sentiment()
