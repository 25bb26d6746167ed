"""Markets that are closed: silence that is expected makes a symbol closed, not stale."""

from marketstream.core.market.aggregate import Aggregation
from marketstream.core.market.model import BestPrice
from tests.support.builders import quote

AT_MS = 1_700_000_000_000


def states(aggregation: Aggregation) -> list[tuple[str, str, str | None, int]]:
    """What was said of symbols since the last time."""
    return [(s.symbol, s.state, s.source, s.since_ms) for s in aggregation.drain_transitions()]


def quoted(*sources: tuple[str, str]) -> Aggregation:
    """An aggregation with a quote of each source and feed of A, at second 0; its states were drained."""
    aggregation = Aggregation(30)
    for source, feed in sources:
        aggregation.apply(quote("A", source=source, at_ms=AT_MS), 0, feed=feed)
    aggregation.drain_transitions()
    return aggregation


def rest(aggregation: Aggregation, feed: str, *symbols: str) -> None:
    aggregation.rest(feed, frozenset(symbols), AT_MS + 7)


def test_a_symbol_that_falls_silent_while_it_rests_is_closed_and_keeps_its_price() -> None:
    aggregation = quoted(("yahoo", "yahoo"))
    rest(aggregation, "yahoo", "A")
    assert states(aggregation) == []
    assert aggregation.expire(30, AT_MS + 30_000) == []
    assert states(aggregation) == [("A", "closed", "yahoo", AT_MS + 30_000)]
    best = aggregation.price_of("A")
    assert isinstance(best, BestPrice)
    assert best.best_bid is not None


def test_a_symbol_that_was_stale_already_is_closed_when_its_market_is() -> None:
    aggregation = quoted(("yahoo", "yahoo"))
    aggregation.expire(30, AT_MS)
    aggregation.drain_transitions()
    rest(aggregation, "yahoo", "A", "UNHEARD-OF")
    assert states(aggregation) == [("A", "closed", "yahoo", AT_MS + 7)]


def test_a_symbol_is_stale_when_its_market_opens_and_nothing_is_heard() -> None:
    aggregation = quoted(("yahoo", "yahoo"))
    rest(aggregation, "yahoo", "A")
    aggregation.expire(30, AT_MS)
    rest(aggregation, "yahoo", "B")
    assert [state for _, state, _, _ in states(aggregation)] == ["closed", "stale"]


def test_a_quote_after_hours_makes_it_live_until_it_is_silent_again() -> None:
    aggregation = quoted(("yahoo", "yahoo"))
    rest(aggregation, "yahoo", "A")
    aggregation.expire(30, AT_MS)
    aggregation.apply(quote("A", source="yahoo", at_ms=AT_MS + 1), 40, feed="yahoo")
    aggregation.expire(70, AT_MS)
    assert [state for _, state, _, _ in states(aggregation)] == ["closed", "live", "closed"]


def test_a_silent_source_leaves_the_best_price_though_its_market_is_closed() -> None:
    """Else the last bid of the evening would stand against those who trade on."""
    aggregation = quoted(("yahoo", "yahoo"), ("late", "other"))
    rest(aggregation, "yahoo", "A")
    aggregation.apply(quote("A", bid=0.5, source="late", at_ms=AT_MS + 1), 20, feed="other")
    (best,) = aggregation.expire(30, AT_MS)
    assert best.best_bid is not None
    assert (best.best_bid.price, best.best_bid.source) == (0.5, "late")
    assert states(aggregation) == []


def test_a_symbol_is_stale_while_one_of_its_silent_sources_should_speak() -> None:
    aggregation = quoted(("yahoo", "yahoo"), ("late", "other"))
    rest(aggregation, "yahoo", "A")
    aggregation.expire(30, AT_MS)
    assert [state for _, state, _, _ in states(aggregation)] == ["stale"]
    rest(aggregation, "other", "A")
    assert [state for _, state, _, _ in states(aggregation)] == ["closed"]
