"""Aggregate the quotes of all sources into the best price of each symbol.

An `Aggregation` keeps the latest quote of each source and answers with a new best price only when a client
could see the difference. Its figures are exact: middle and spread are computed in whole units of the
finest decimal either side was quoted in, so no binary dust ever shows. A source's word is never replaced
by an older one, and the timestamp of a symbol never goes back. It takes quotes as the parsers let them
through; a price that is not a finite number counts as no price.

Memory follows symbols times sources, never time or traffic. It must be told the time, and told to `expire`.
"""

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from heapq import heappop, heappush

from marketstream.core.market.model import BestPrice, Quote, Side, State, Status
from marketstream.errors import LateQuoteError

# Up to here a power of ten is exact as a float, and a rounded product of the two below is exact as well.
_EXACT_DIGITS = 22
_EXACT_UNITS = 2.0**51

# Middle, spread, spread in basis points.
_Figures = tuple[float | None, float | None, float | None]


class _Source:
    """What is remembered of one source of one symbol, for as long as the symbol is known.

    Attributes:
        name: The source.
        quote: What it says now; None once it has fallen silent.
        newest_ms: Source time of the newest quote ever taken from it.
        feed: Feed that brought the quote.
        ended: Whether that feed has ended since.
        deadline: Monotonic seconds at which it will have been silent for too long.
        patience: Shortest silence that was allowed when it was put into the heap, seconds.
        scheduled: Time under which it waits in the expiry heap, never after the deadline; else infinity.
    """

    __slots__ = ("deadline", "ended", "feed", "name", "newest_ms", "patience", "quote", "scheduled")

    def __init__(self, quote: Quote) -> None:
        self.name = quote.source
        self.quote: Quote | None = quote
        self.newest_ms = quote.at_ms
        self.feed = ""
        self.ended = False
        self.deadline = math.inf
        self.patience = math.inf
        self.scheduled = math.inf


class _Symbol:
    """One symbol: its sources in the order they were first seen, and what was last said of it."""

    __slots__ = ("best", "last", "sources", "status", "symbol", "traded_ms", "volume")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.sources: dict[str, _Source] = {}
        self.best: BestPrice | None = None
        self.status: Status | None = None
        self.last: float | None = None
        self.volume: float | None = None
        self.traded_ms = -math.inf

    def refresh(self) -> BestPrice | None:
        """Work out the best price again; None when it equals the one last returned."""
        old = self.best
        old_bid, old_ask = (None, None) if old is None else (old.best_bid, old.best_ask)
        bidder, asker = _winners(self.sources.values())
        bid = None if bidder is None else _side(bidder.bid, bidder.bid_size, bidder.source, old_bid)
        ask = None if asker is None else _side(asker.ask, asker.ask_size, asker.source, old_ask)
        at_ms = _newest(bidder, asker, self.sources.values())
        # When a winner leaves, the next best may be older; clients drop what goes back.
        if old is not None:
            at_ms = max(at_ms, old.at_ms)
            # `_side` returns the old object when nothing changed, so identity is enough and cheap.
            same_sides = bid is old_bid and ask is old_ask
            same_trade = self.last == old.last and self.volume == old.volume
            if same_sides and same_trade and at_ms == old.at_ms:
                return None
        mid, spread, bps = _figures(bid, ask, old)
        self.best = BestPrice(self.symbol, bid, ask, mid, spread, bps, at_ms, self.last, self.volume)
        return self.best

    def speaking(self) -> list[_Source]:
        """Return the sources that have not fallen silent."""
        return [source for source in self.sources.values() if source.quote is not None]


class Aggregation:
    """Quotes of many sources in, one best price per symbol out.

    Args:
        stale_after: Seconds of silence after which a source leaves, unless its feed says otherwise.

    Attributes:
        late: Quotes refused because their source had already sent a newer one.
    """

    def __init__(self, stale_after: float = 30.0) -> None:
        self.late = 0
        self._stale_after = stale_after
        self._books: dict[str, _Symbol] = {}
        self._resting: dict[str, frozenset[str]] = {}
        self._transitions: list[Status] = []
        # (time, tie-breaker, book, source), once per speaking source. Quotes do not move an entry: it is
        # looked at when its time has come, and put back if the source has spoken since. So a source costs
        # the heap one visit per `stale_after`, however fast it ticks.
        self._heap: list[tuple[float, int, _Symbol, _Source]] = []
        self._pushed = 0

    def apply(
        self, quote: Quote, now: float, *, feed: str = "", stale_after: float | None = None
    ) -> BestPrice | None:
        """Take the latest quote of a source.

        Args:
            quote: What the source says.
            now: Monotonic seconds of its arrival.
            feed: Name of the feed it came through, for `finish`.
            stale_after: Seconds of silence that this feed allows; None for the default.

        Returns:
            The new best price of the symbol, or None when nothing that a client can see has changed.

        Raises:
            LateQuoteError: The source has already sent a newer quote of this symbol; nothing was changed.
        """
        entry = self._books.get(quote.symbol)
        if entry is None:
            entry = self._books[quote.symbol] = _Symbol(quote.symbol)
        source = entry.sources.get(quote.source)
        if source is None:
            source = entry.sources[quote.source] = _Source(quote)
        # Compared with the newest ever, not with the present quote: that one is gone after a silence.
        # An equal time is taken: sources send several changes in one millisecond.
        elif quote.at_ms < source.newest_ms:
            self.late += 1
            text = f"{quote.symbol}: {quote.source} has sent {quote.at_ms} after {source.newest_ms}"
            raise LateQuoteError(text)
        source.quote, source.newest_ms = quote, quote.at_ms
        source.feed = feed
        # A tape that is played again speaks again.
        source.ended = False
        patience = self._stale_after if stale_after is None else stale_after
        source.deadline = now + patience
        # Only an earlier deadline needs a new entry; a later one is found when the old entry comes up.
        if source.deadline < source.scheduled:
            source.patience = min(source.patience, patience)
            self._schedule(entry, source, now)
        # A trade has a time of its own: a quote of a slower source must not bring an older trade back.
        if quote.last is not None and quote.at_ms >= entry.traded_ms:
            entry.last, entry.volume, entry.traded_ms = quote.last, quote.volume, quote.at_ms
        if entry.status is None or entry.status.state != "live":
            self._enter(entry, "live", quote.source, quote.at_ms)
        return entry.refresh()

    def expire(self, now: float, at_ms: int) -> list[BestPrice]:
        """Let go of the sources that have been silent for as long as their feed allows.

        Args:
            now: Monotonic seconds.
            at_ms: Epoch milliseconds that status changes are dated with.

        Returns:
            The best prices that changed. A symbol without any source left keeps its last one and is stale, or
            closed if that silence was to be expected.
        """
        leavers: dict[str, tuple[_Symbol, _Source]] = {}
        # All leave first, then each symbol is worked out once: two that leave together are one change.
        for entry, source in self._silent(now):
            source.quote = None
            leavers.pop(entry.symbol, None)  # so that symbols stand in the order of their last leaver
            leavers[entry.symbol] = (entry, source)
        changed = []
        for entry, source in leavers.values():
            # Without a source left the last price stays, marked stale: an empty price would tell less.
            if entry.speaking() and (best := entry.refresh()) is not None:
                changed.append(best)
            self._enter(entry, self._state(entry), source.name, at_ms)
        return changed

    def finish(self, feed: str, at_ms: int) -> None:
        """Note that a feed has come to its regular end, as a tape does.

        What its sources said last stays, as silence no longer means anything; a symbol that only such
        sources quote is closed, until any source quotes it again.

        Args:
            feed: Name of the feed, as given to `apply`.
            at_ms: Epoch milliseconds that status changes are dated with.
        """
        for entry in self._books.values():
            ended = [s for s in entry.sources.values() if s.quote is not None and s.feed == feed]
            for source in ended:
                # Never silent again: the end of a tape is not a fault.
                source.ended = True
                source.deadline = math.inf
            if ended:
                newest = max(ended, key=lambda source: source.newest_ms)
                self._enter(entry, self._state(entry), newest.name, at_ms)

    def rest(self, feed: str, symbols: frozenset[str], at_ms: int) -> None:
        """Note of which symbols a feed may be silent because their market is closed.

        Its sources leave the best price all the same when they fall silent. A symbol that nobody else quoted
        is then closed instead of stale, and stale when its market opens and nothing is heard.

        Args:
            feed: Name of the feed, as given to `apply`.
            symbols: All of them; what the feed said before is replaced.
            at_ms: Epoch milliseconds that status changes are dated with.
        """
        # Only what changed sides is judged again; a feed says all its symbols each time.
        changed = symbols ^ self._resting.get(feed, frozenset())
        self._resting[feed] = symbols
        for symbol in sorted(changed):
            entry = self._books.get(symbol)
            if entry is not None:
                newest = max(entry.sources.values(), key=lambda source: source.newest_ms)
                self._enter(entry, self._state(entry), newest.name, at_ms)

    def unsay(self) -> None:
        """Forget that it was said of symbols that they are live: it is said again with their next quote."""
        for entry in self._books.values():
            if entry.status is not None and entry.status.state == "live":
                entry.status = None

    def drain_transitions(self) -> list[Status]:
        """Return the state changes since the last call, in the order in which they happened."""
        drained, self._transitions = self._transitions, []
        return drained

    def state_of(self, symbol: str) -> Status | None:
        """Return the state of a symbol and since when; None when no source has ever quoted it."""
        entry = self._books.get(symbol)
        return None if entry is None else entry.status

    def price_of(self, symbol: str) -> BestPrice | None:
        """Return the best price last returned for a symbol, also when it is stale.

        None when there never was one.
        """
        entry = self._books.get(symbol)
        return None if entry is None else entry.best

    def _schedule(self, entry: _Symbol, source: _Source, now: float) -> None:
        # A source that is heard through a patient and an impatient feed in turn waits for the impatient one:
        # each cut of a longer wait would leave an entry behind in the heap.
        source.scheduled = min(source.deadline, now + source.patience)
        self._pushed += 1
        heappush(self._heap, (source.scheduled, self._pushed, entry, source))

    def _silent(self, now: float) -> list[tuple[_Symbol, _Source]]:
        """Return the sources whose deadline has passed, in the order in which it did; they leave the heap."""
        silent: list[tuple[_Symbol, _Source]] = []
        heard: list[tuple[_Symbol, _Source]] = []
        while self._heap and self._heap[0][0] <= now:
            scheduled, _, entry, source = heappop(self._heap)
            if scheduled == source.scheduled:  # else a shorter patience has put the source further ahead
                source.scheduled = math.inf
                (silent if source.deadline <= now else heard).append((entry, source))
        for entry, source in heard:
            if source.deadline < math.inf:
                self._schedule(entry, source, now)
        return sorted(silent, key=lambda pair: pair[1].deadline)

    def _state(self, entry: _Symbol) -> State:
        """Return the state, by which sources still quote and whether the others may be silent."""
        speaking = entry.speaking()
        if speaking:
            return "closed" if all(source.ended for source in speaking) else "live"
        silent = entry.sources.values()
        expected = all(entry.symbol in self._resting.get(source.feed, ()) for source in silent)
        return "closed" if expected else "stale"

    def _enter(self, entry: _Symbol, state: State, source: str, at_ms: int) -> None:
        if entry.status is None or entry.status.state != state:
            entry.status = Status(entry.symbol, state, source, at_ms)
            self._transitions.append(entry.status)


def _winners(sources: Iterable[_Source]) -> tuple[Quote | None, Quote | None]:
    """Return the quotes with the best bid and ask; in a tie the larger size wins, then the first."""
    bidder = asker = None
    highest, lowest = -math.inf, math.inf
    for source in sources:
        quote = source.quote
        if quote is None:
            continue
        # One pass over the sources for both sides: this runs for every quote.
        bid, ask = quote.bid, quote.ask
        if bid is not None and highest <= bid < math.inf:  # not a number and -infinity are nobody's bid
            if bid > highest:
                bidder, highest = quote, bid
            elif bidder is not None and (quote.bid_size or 0) > (bidder.bid_size or 0):
                bidder = quote
        if ask is not None and lowest >= ask > -math.inf:
            if ask < lowest:
                asker, lowest = quote, ask
            elif asker is not None and (quote.ask_size or 0) > (asker.ask_size or 0):
                asker = quote
    return bidder, asker


def _newest(bidder: Quote | None, asker: Quote | None, sources: Iterable[_Source]) -> int:
    """Return the newest source time of the two winners; of all sources when neither side has a price."""
    if bidder is not None and asker is not None:
        return max(bidder.at_ms, asker.at_ms)
    winner = bidder or asker
    if winner is not None:
        return winner.at_ms
    return max(source.quote.at_ms for source in sources if source.quote is not None)


def _side(price: float | None, size: float | None, source: str, old: Side | None) -> Side | None:
    """Return one side of the best price; the old one itself when it says the same."""
    if price is None:
        return None
    if old is not None and old.price == price and old.size == size and old.source == source:
        return old
    return Side(price, size, source)


def _figures(bid: Side | None, ask: Side | None, old: BestPrice | None) -> _Figures:
    """Return the middle, spread and spread in basis points.

    Those of the old price when neither price has moved.
    """
    if bid is None or ask is None:
        return None, None, None
    if old is None or old.best_bid is None or old.best_ask is None:
        return _compute(bid.price, ask.price)
    # A change of size alone is frequent, and exact figures are the dear part.
    if old.best_bid.price == bid.price and old.best_ask.price == ask.price:
        return old.mid_price, old.spread, old.spread_bps
    return _compute(bid.price, ask.price)


def _compute(bid: float, ask: float) -> _Figures:
    """Return the middle and spread to one decimal more than the finer price, spread in basis points to 4.

    Both prices become whole numbers of the finest decimal in use. One decimal more then holds the middle
    without rounding, and each figure is rounded once: when it becomes a float.
    """
    digits = max(_decimals(bid), _decimals(ask))
    scale = 10**digits
    low, high = _units(bid, digits, scale), _units(ask, digits, scale)
    # Times five over ten: half of the sum in whole units, with the one decimal more.
    mid = _ratio((low + high) * 5, scale * 10)
    spread = _ratio(high - low, scale)
    if mid is None or mid <= 0:
        return mid, spread, None
    return mid, spread, _ratio(_nearest((high - low) * 2 * 10**8, low + high), 10**4)


@lru_cache(maxsize=16_384)  # a pure function whose arguments recur: prices move on a grid
def _decimals(price: float) -> int:
    """Decimals of a price as it is printed: 4 for 1.3863, none for 150.0."""
    digits, _, exponent = repr(price).partition("e")
    fraction = digits.partition(".")[2]
    return max(0, (0 if fraction == "0" else len(fraction)) - int(exponent or 0))


def _units(price: float, digits: int, scale: int) -> int:
    """Return the price as it is printed, times the scale: always a whole number."""
    if digits <= _EXACT_DIGITS:
        # Floats are exact in this range, and much cheaper than fractions.
        scaled = price * scale
        if -_EXACT_UNITS < scaled < _EXACT_UNITS:
            return round(scaled)
    return int(Fraction(repr(price)) * scale)


def _nearest(numerator: int, denominator: int) -> int:
    """Return the quotient of whole numbers, rounded half to even; the denominator is positive."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient % 2 == 1))


def _ratio(numerator: int, denominator: int) -> float | None:
    """Return the float nearest to a quotient, never a negative zero; None when no float is that large."""
    try:
        return numerator / denominator + 0.0
    except OverflowError:
        return None
