"""The aggregation against a recomputation from scratch, in decimals, under any history."""

import math
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.market.aggregate import Aggregation
from marketstream.core.market.model import BestPrice, Quote, Side
from marketstream.errors import LateQuoteError

DEFAULT_PATIENCE = 10.0
DIGITS = 1500  # enough for the sum of the largest and the smallest float

FINITE = st.floats(allow_nan=False, allow_infinity=False)
GRID = st.builds(
    lambda units, decimals: units / 10**decimals, st.integers(-(10**9), 10**9), st.integers(0, 9)
)


@dataclass(frozen=True)
class Take:
    """A quote arrives."""

    quote: Quote
    feed: str
    patience: float | None


@dataclass(frozen=True)
class Wait:
    """Time passes, and what is silent expires."""

    seconds: float


@dataclass(frozen=True)
class End:
    """A feed comes to its end."""

    feed: str


@dataclass
class Heard:
    """One source as the recomputation remembers it."""

    quote: Quote
    feed: str
    deadline: float
    gone: bool = False


@dataclass
class History:
    """Everything that was ever heard of one symbol; sources stay in the order they were first seen."""

    heard: dict[str, Heard] = field(default_factory=dict)
    trades: list[Quote] = field(default_factory=list)
    shown_ms: int = 0

    def state(self) -> str:
        """What the sources that are left make of the symbol."""
        present = [one for one in self.heard.values() if not one.gone]
        if not present:
            return "stale"
        return "closed" if all(one.deadline == math.inf for one in present) else "live"

    def best(self, symbol: str) -> BestPrice:
        """The best price from scratch."""
        quotes = [one.quote for one in self.heard.values() if not one.gone]
        # sorted() keeps the order of equals, so the source first seen stays in front.
        bids = sorted(
            (q for q in quotes if q.bid is not None), key=lambda q: (-(q.bid or 0), -(q.bid_size or 0))
        )
        asks = sorted(
            (q for q in quotes if q.ask is not None), key=lambda q: (q.ask or 0, -(q.ask_size or 0))
        )
        bid = Side(bids[0].bid or 0.0, bids[0].bid_size, bids[0].source) if bids else None
        ask = Side(asks[0].ask or 0.0, asks[0].ask_size, asks[0].source) if asks else None
        at_ms = max(quote.at_ms for quote in (bids[:1] + asks[:1]) or quotes)
        trade = max(reversed(self.trades), key=lambda quote: quote.at_ms, default=None)
        figures = in_decimals(bid.price, ask.price) if bid and ask else (None, None, None)
        last, volume = (trade.last, trade.volume) if trade else (None, None)
        return BestPrice(symbol, bid, ask, *figures, max(at_ms, self.shown_ms), last, volume)


def in_decimals(bid: float, ask: float) -> tuple[float | None, float | None, float | None]:
    """Middle, spread and basis points by the book."""
    with localcontext() as context:
        context.prec, context.rounding = DIGITS, ROUND_HALF_EVEN
        low, high = Decimal(repr(bid)), Decimal(repr(ask))
        exponents = [int(price.normalize().as_tuple().exponent) for price in (low, high) if price]
        finer = Decimal(1).scaleb(min([0, *exponents]) - 1)
        mid, spread = ((low + high) / 2).quantize(finer), (high - low).quantize(finer)
        bps = (spread / mid * 10_000).quantize(Decimal("0.0001")) if float(mid) > 0 else None
        return printable(mid), printable(spread), None if bps is None else printable(bps)


def printable(figure: Decimal) -> float | None:
    """The figure as a float without a negative zero; None when no float is that large."""
    number = float(figure) + 0.0
    return None if math.isinf(number) else number


def prices() -> st.SearchStrategy[float | None]:
    """Few enough to tie and cross often, of different decimals."""
    return st.sampled_from([None, 1.3, 1.31, 1.30005, 1.2999, 2.0])


def steps() -> st.SearchStrategy[Take | Wait | End]:
    """One thing that may happen; two symbols, three sources, two feeds."""
    quotes = st.builds(
        Quote,
        symbol=st.sampled_from(["A", "B"]),
        source=st.sampled_from(["x", "y", "z"]),
        bid=prices(),
        bid_size=st.sampled_from([None, 0.0, 1.0, 2.0]),
        ask=prices(),
        ask_size=st.sampled_from([None, 0.0, 1.0, 2.0]),
        at_ms=st.integers(100, 106),
        last=st.sampled_from([None, None, 1.3, 1.4]),
        volume=st.sampled_from([None, 5.0]),
    )
    feeds = st.sampled_from(["f", "g"])
    return st.one_of(
        st.builds(Take, quotes, feeds, st.sampled_from([None, 3.0, 30.0])),
        st.builds(Take, quotes, feeds, st.none()),
        st.builds(Wait, st.sampled_from([0.0, 1.0, 2.0, 5.0, 10.0])),
        st.builds(End, feeds),
    )


class Recomputation:
    """Drives an aggregation and holds each of its answers against the history."""

    def __init__(self) -> None:
        self.aggregation = Aggregation(DEFAULT_PATIENCE)
        self.histories: dict[str, History] = {}
        self.shown: dict[str, BestPrice] = {}
        self.states: dict[str, str] = {}
        self.now = 0.0

    def step(self, step: Take | Wait | End, at_ms: int) -> None:
        """Lets one thing happen and checks everything that can be seen of it."""
        causes: dict[str, set[str]] = {}
        if isinstance(step, Take):
            at_ms = step.quote.at_ms
            causes = self.take(step)
        elif isinstance(step, Wait):
            causes = self.wait(step.seconds, at_ms)
        else:
            causes = self.end(step.feed, at_ms)
        self.check_states(causes, at_ms)

    def take(self, step: Take) -> dict[str, set[str]]:
        """Applies a quote; returns the sources that may have changed a symbol's state."""
        quote, history = step.quote, self.histories.setdefault(step.quote.symbol, History())
        known = history.heard.get(quote.source)
        if known and quote.at_ms < known.quote.at_ms:
            with pytest.raises(LateQuoteError):
                self.aggregation.apply(quote, self.now, feed=step.feed, stale_after=step.patience)
            return {}
        patience = DEFAULT_PATIENCE if step.patience is None else step.patience
        history.heard[quote.source] = Heard(quote, step.feed, self.now + patience)
        if quote.last is not None:
            history.trades.append(quote)
        answer = self.aggregation.apply(quote, self.now, feed=step.feed, stale_after=step.patience)
        self.check_answers([quote.symbol], [answer] if answer else [])
        return {quote.symbol: {quote.source}}

    def wait(self, seconds: float, at_ms: int) -> dict[str, set[str]]:
        """Lets the silent go; of those of one symbol, the last may have changed its state."""
        self.now += seconds
        causes = {}
        for symbol, history in self.histories.items():
            left = [one for one in history.heard.values() if not one.gone and one.deadline <= self.now]
            for one in left:
                one.gone = True
            if left:
                latest = max(one.deadline for one in left)
                causes[symbol] = {one.quote.source for one in left if one.deadline == latest}
        present = [symbol for symbol in causes if self.histories[symbol].state() != "stale"]
        self.check_answers(present, self.aggregation.expire(self.now, at_ms))
        return causes

    def end(self, feed: str, at_ms: int) -> dict[str, set[str]]:
        """Ends a feed; any of its sources may be named for it."""
        causes: dict[str, set[str]] = {}
        for symbol, history in self.histories.items():
            for one in history.heard.values():
                if one.feed == feed and not one.gone:
                    one.deadline = math.inf
                    causes.setdefault(symbol, set()).add(one.quote.source)
        self.aggregation.finish(feed, at_ms)
        return causes

    def check_answers(self, touched: list[str], answers: list[BestPrice]) -> None:
        """An answer for exactly the symbols whose best price differs from the one shown before."""
        expected = {symbol: self.histories[symbol].best(symbol) for symbol in touched}
        changed = {symbol: best for symbol, best in expected.items() if best != self.shown.get(symbol)}
        assert len(answers) == len(changed)
        assert {answer.symbol: answer for answer in answers} == changed
        for symbol, best in changed.items():
            assert best.at_ms >= self.histories[symbol].shown_ms
            self.histories[symbol].shown_ms = best.at_ms
        self.shown.update(changed)

    def check_states(self, causes: dict[str, set[str]], at_ms: int) -> None:
        """A transition for exactly the symbols whose state differs from the one before."""
        after = {symbol: history.state() for symbol, history in self.histories.items()}
        expected = {symbol for symbol, state in after.items() if state != self.states.get(symbol)}
        transitions = self.aggregation.drain_transitions()
        assert sorted(status.symbol for status in transitions) == sorted(expected)
        for status in transitions:
            assert (status.state, status.since_ms) == (after[status.symbol], at_ms)
            assert status.source in causes[status.symbol]
            assert self.aggregation.state_of(status.symbol) == status
        self.states = after


@given(st.lists(steps(), max_size=60))
def test_every_answer_equals_a_recomputation_whatever_happened_before(
    history: list[Take | Wait | End],
) -> None:
    """Best price, timestamp, silence when nothing changed, lateness, expiry and states."""
    recomputation = Recomputation()
    for at_ms, step in enumerate(history, 1000):
        recomputation.step(step, at_ms)
        for symbol in recomputation.histories:
            assert recomputation.aggregation.price_of(symbol) == recomputation.shown.get(symbol)


@given(st.one_of(GRID, FINITE), st.one_of(GRID, FINITE))
def test_figures_of_any_two_prices_are_the_floats_nearest_to_the_exact_ones(bid: float, ask: float) -> None:
    price = Aggregation().apply(Quote("A", "x", bid, None, ask, None, 0), 0.0)
    assert price is not None
    figures = (price.mid_price, price.spread, price.spread_bps)
    assert repr(figures) == repr(in_decimals(bid, ask))


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([0.5, 3.0, 10.0, math.inf])), min_size=1, max_size=80
    )
)
def test_what_waits_to_expire_is_bounded_by_the_sources_that_speak(
    ticks: list[tuple[int, float]],
) -> None:
    """A source may wait twice when its patience was cut short, never more often than there are patiences."""
    aggregation = Aggregation()
    for now, (source, patience) in enumerate(ticks):
        aggregation.apply(Quote("A", str(source), 1.0, None, 2.0, None, now), now, stale_after=patience)
        aggregation.expire(now, now)
        assert len(aggregation._heap) <= 3 * len({source for source, _ in ticks})
