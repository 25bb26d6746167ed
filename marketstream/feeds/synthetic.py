"""Generate a synthetic market from a seed.

Each symbol has one fair value, a walk that is pulled back to where it started, so that a week of it ends
within a few percent. Sources quote around it in turn, each with its own bias and noise, around a spread
that breathes. The same seed and symbols give the same sequence of prices, whatever the machine's timing.

It promises that every quote changes the best price of its symbol: the source that quotes is best on at
least one side afterwards, joining the best price with a larger size where its own price would not do, and
never repeats the sizes it showed before. So a client sees exactly `rate` changes a second of each symbol,
with any number of sources and even several in one millisecond. Asked to, it quotes only what somebody
watches, as a vendor that is paid by the symbol would; then the sequence follows the clients too.

It does not check its arguments (`feeds.spec` does), does not wait for its sink, and refuses to make up for
more than a second: what a stalled process missed is skipped, not flooded.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, get_args

from marketstream.core.market.model import Quote
from marketstream.feeds.instrument import Instrument, instrument_of
from marketstream.ports import Clock, Feed, QuoteSink

Shape = Literal["burst", "spread"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

_DAY_MS = 86_400_000
# A timer below a millisecond fires at once on some loops: waiting less would spin instead of sleep.
_SHORTEST_SLEEP = 0.001
_LONGEST_SLEEP = 60.0
_GIVE_UP_BEHIND = 1.0
# Quotes made between two looks at the loop when catching up: about a millisecond of work.
_CHUNK = 256
# Seconds in which the fair value forgets where it was, and in which the spread does.
_MEMORY = 3 * 86_400.0
_BREATH_MEMORY = 5.0
# The difference of two uniform numbers has a variance of 1/6: this makes it 1.
_UNIT = math.sqrt(6.0)
# Parts of the usual spread: how far it breathes, how far the market moves while all sources quote once, the
# least the spread becomes, how far the middles of the two most different sources lie apart, and how far one
# source wavers from quote to quote.
_BREATH = 0.25
_STRIDE = 0.5
_THINNEST = 0.4
_BIAS = 0.25
_WAVER = 0.3
_TRADE_CHANCE = 0.3
# How often a source does not notice that another one's price already stands in the way.
_CROSS_CHANCE = 0.1
_NO_ASK = 1 << 62


DEFAULT_SYMBOLS = ("EUR/USD", "GBP/USD", "USD/JPY", "AAPL", "MSFT", "NVDA", "TSLA", "BTC/USD")


def _pull(memory: float, deviation: float, rate: float) -> tuple[float, float]:
    """Factors of a walk that is pulled back to zero, exact for steps of any length.

    Args:
        memory: Seconds after which it has forgotten where it was.
        deviation: Its standard deviation in the long run.
        rate: Steps a second.

    Returns:
        What to multiply the last value with, and the difference of two uniform numbers to be added.
    """
    step = deviation * math.sqrt(-math.expm1(-2 / (rate * memory)))
    return math.exp(-1 / (rate * memory)), step * _UNIT


class _Market:
    """One symbol: its fair value, and what each source shows of it now.

    Attributes:
        symbol: The symbol.
    """

    __slots__ = (
        "_ask_lots",
        "_asks",
        "_bid_lots",
        "_bids",
        "_breath",
        "_breath_keep",
        "_breath_step",
        "_cross_chance",
        "_divisor",
        "_drift",
        "_keep",
        "_largest",
        "_last",
        "_lean",
        "_lot",
        "_lot_divisor",
        "_random",
        "_several",
        "_sources",
        "_spread",
        "_step",
        "_thinnest",
        "_trades",
        "_turn",
        "_volume",
        "_waver",
        "symbol",
    )

    def __init__(
        self,
        symbol: str,
        instrument: Instrument,
        sources: Sequence[str],
        rate: float,
        draw: random.Random,
    ) -> None:
        self.symbol = symbol
        self._sources = sources
        self._random = draw.random
        self._divisor = 10**instrument.decimals
        self._lot, self._lot_divisor = instrument.lot, instrument.lot_divisor
        self._largest = instrument.largest
        self._trades = instrument.trades
        count = len(sources)
        self._start(instrument, rate, count)
        self._several = count > 1
        # Where each source's middle would be without drift, and the half tick that makes int() round.
        apart = _BIAS * instrument.spread / max(1, count - 1)
        middle = instrument.price * self._divisor - _WAVER * instrument.spread / 2 + 0.5
        self._lean = [middle + (index - (count - 1) / 2) * apart for index in range(count)]
        self._cross_chance = _CROSS_CHANCE / count
        self._bids, self._asks = [-1] * count, [_NO_ASK] * count
        self._bid_lots, self._ask_lots = [0] * count, [0] * count
        self._turn = 0
        self._last = round(instrument.price * self._divisor)
        self._volume = 0

    def _start(self, instrument: Instrument, rate: float, count: int) -> None:
        """Set the two walks, of the fair value and of the spread, for steps of 1/rate seconds."""
        self._drift = self._breath = 0.0
        deviation = instrument.price * self._divisor * instrument.volatility * math.sqrt(_MEMORY / 2)
        self._keep, step = _pull(_MEMORY, deviation, rate)
        if count > 1:
            # A market that left its silent sources far behind would show quotes as wide as the way it went.
            step = min(step, _UNIT * _STRIDE * instrument.spread / math.sqrt(count))
        self._step = step
        self._spread = instrument.spread
        self._thinnest = max(1.0, _THINNEST * instrument.spread)
        self._waver = _WAVER * instrument.spread
        self._breath_keep, self._breath_step = _pull(_BREATH_MEMORY, _BREATH * instrument.spread, rate)

    def new_day(self) -> None:
        """Start counting the volume again."""
        self._volume = 0

    def quote(self, at_ms: int) -> Quote:
        """Return the next source's quote, made so that it changes the best price."""
        turn, uniform = self._turn, self._random
        bid, ask = self._price(turn, uniform)
        # Small sizes more often than large ones, and never the size the source showed before.
        draw = uniform()
        bid_lots = 1 + int(draw * draw * self._largest)
        if bid_lots == self._bid_lots[turn]:
            bid_lots += 1
        draw = uniform()
        ask_lots = 1 + int(draw * draw * self._largest)
        if ask_lots == self._ask_lots[turn]:
            ask_lots += 1
        if self._several:
            self._turn = turn + 1 if turn + 1 < len(self._sources) else 0
            bid, ask, bid_lots, ask_lots = self._join(turn, bid, ask, bid_lots, ask_lots)
        self._bid_lots[turn], self._ask_lots[turn] = bid_lots, ask_lots
        divisor, lot, lot_divisor = self._divisor, self._lot, self._lot_divisor
        last = volume = None
        if self._trades:
            draw = uniform()
            if draw < _TRADE_CHANCE:
                self._last = bid if draw < _TRADE_CHANCE / 2 else ask
                self._volume += 1 + int(uniform() * bid_lots)
            last, volume = self._last / divisor, self._volume * lot / lot_divisor
        # Whole numbers divided once: the nearest float to the decimal price, without rounding it.
        return Quote(
            self.symbol,
            self._sources[turn],
            bid / divisor,
            bid_lots * lot / lot_divisor,
            ask / divisor,
            ask_lots * lot / lot_divisor,
            at_ms,
            last,
            volume,
        )

    def _price(self, turn: int, uniform: Callable[[], float]) -> tuple[int, int]:
        """Move the market by one step and give what the source would show, ticks."""
        self._drift = drift = self._drift * self._keep + (uniform() - uniform()) * self._step
        breath = self._breath * self._breath_keep + (uniform() - uniform()) * self._breath_step
        self._breath = breath
        spread = self._spread + breath
        if spread < self._thinnest:  # noqa: PLR1730 - a call of max() costs as much as three draws
            spread = self._thinnest
        bid = int(self._lean[turn] + drift + uniform() * self._waver - spread / 2)
        return bid, bid + int(spread + 0.5)

    def _join(self, turn: int, bid: int, ask: int, bid_lots: int, ask_lots: int) -> tuple[int, int, int, int]:
        """Bring a source that would be behind on both sides to the best price of the nearer side.

        It matches the price with a larger size instead of beating it, so sources never drive each other
        into ever narrower spreads.
        """
        bids, asks = self._bids, self._asks
        bids[turn], asks[turn] = -1, _NO_ASK
        best_bid, best_ask = max(bids), min(asks)
        if (bid >= best_ask or ask <= best_bid) and self._random() >= self._cross_chance:
            bid, ask = min(bid, best_ask - 1), max(ask, best_bid + 1)
        if bid <= best_bid and ask >= best_ask:
            if best_bid - bid <= ask - best_ask:
                bid, ask = best_bid, max(ask, best_bid + 1)
                bid_lots = self._outsize(turn, bid_lots, bids, best_bid, self._bid_lots)
            else:
                bid, ask = min(bid, best_ask - 1), best_ask
                ask_lots = self._outsize(turn, ask_lots, asks, best_ask, self._ask_lots)
        bids[turn], asks[turn] = bid, ask
        return bid, ask, bid_lots, ask_lots

    @staticmethod
    def _outsize(turn: int, lots: int, prices: list[int], best: int, shown: list[int]) -> int:
        """Return a size larger than any shown at the best price, and not the one the source showed before."""
        rival = max(size for price, size in zip(prices, shown, strict=True) if price == best)
        if lots <= rival:
            lots = rival + 1
        return lots if lots != shown[turn] else lots + 1


class SyntheticFeed:
    """Quotes of made-up sources for any symbols, at an exact rate, until it is cancelled.

    Args:
        symbols: Upper-case symbols, at least one, each once.
        rate: Best-price changes per symbol and second, above 0.
        sources: How many sources quote in turn; they are called `sim-1`, `sim-2` and so on.
        shape: `burst` offers all symbols in one call, `rate` times a second; `spread` offers one symbol
            after the other, evenly over the second, and those due together when the timer is late.
        seed: Same seed, same sequence of prices.
        demand: Whether only symbols that somebody watches are quoted: at once when the first one comes, then
            as due, until a few seconds after the last one left.
        clock: Time; `at_ms` of a quote is its wall time when offered, and never goes back.
        sleep: Waits that many seconds.
    """

    name = "synthetic"

    def __init__(  # noqa: PLR0913  # one for each parameter of a specification
        self,
        *,
        symbols: Sequence[str] = DEFAULT_SYMBOLS,
        rate: float = 10,
        sources: int = 2,
        shape: Shape = "burst",
        seed: int = 7,
        demand: bool = False,
        stale_after: float | None = None,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stale_after = stale_after
        draw = random.Random(seed)  # noqa: S311 - a market that must repeat, not a secret
        names = [f"sim-{number}" for number in range(1, sources + 1)]
        self._markets = [
            _Market(symbol, instrument_of(symbol, seed), names, rate, draw) for symbol in symbols
        ]
        self._clock = clock
        self._sleep = sleep
        # Symbols per due time, and seconds between two due times.
        self._group = len(self._markets) if shape == "burst" else 1
        self._period = self._group / (rate * len(self._markets))
        self._together = max(1, _CHUNK // len(self._markets)) if shape == "burst" else _CHUNK
        self._cursor = 0
        self._at_ms = clock.wall_ms()
        self._demand = demand
        self._watched: frozenset[_Market] = frozenset()
        self._woken = asyncio.Event()

    async def run(self, sink: QuoteSink) -> None:
        """Offer quotes when they are due, by times fixed at the start; end only when cancelled.

        Args:
            sink: Where quotes go.
        """
        if not self._demand:
            await self._tick(sink)
            return
        self._watched = frozenset()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(sink))
            await self._tick(sink)

    async def _follow(self, sink: QuoteSink) -> None:
        """Keep to what is watched."""
        wanted: frozenset[str] = frozenset()
        while True:
            wanted = await sink.interest(wanted)
            watched = [market for market in self._markets if market.symbol in wanted]
            # Who asks for a symbol should not have to wait for its next turn.
            at_ms = self._now_ms()
            first = [market.quote(at_ms) for market in watched if market not in self._watched]
            if first:
                sink.offer(first)
            self._watched = frozenset(watched)
            self._woken.set()

    async def _tick(self, sink: QuoteSink) -> None:
        """Offer quotes when they are due."""
        period = self._period
        origin, done = self._clock.now(), 0
        while True:
            if self._demand and not self._watched:
                self._woken.clear()
                await self._woken.wait()
                origin, done = self._clock.now() + period, 0
                continue
            behind = self._clock.now() - (origin + done * period)
            if behind < 0:
                await self._sleep(min(max(-behind, _SHORTEST_SLEEP), _LONGEST_SLEEP))
                continue
            if behind > _GIVE_UP_BEHIND:
                origin += behind
                behind = 0.0
            due = min(int(behind / period) + 1, self._together)
            self._offer(sink, due)
            done += due
            if due == self._together:
                await self._sleep(0)

    def _offer(self, sink: QuoteSink, due: int) -> None:
        """Offer what is due: one call for each burst, one call for all single quotes."""
        bursts = [self._group] * due if self._group > 1 else [due]
        for count in bursts:
            quotes = self._next(count)
            if quotes:
                sink.offer(quotes)

    def _next(self, count: int) -> list[Quote]:
        """Return the next quotes, symbol after symbol, stamped with the present."""
        markets, cursor = self._markets, self._cursor
        at_ms = self._now_ms()
        if count != len(markets) or cursor:
            turns = range(cursor, cursor + count)
            self._cursor = turns.stop % len(markets)
            markets = [markets[turn % len(markets)] for turn in turns]
        if self._demand:
            watched = self._watched
            markets = [market for market in markets if market in watched]
        return [market.quote(at_ms) for market in markets]

    def _now_ms(self) -> int:
        """Return the present, which never goes back; with a new day volumes start again."""
        at_ms = max(self._at_ms, self._clock.wall_ms())
        if at_ms // _DAY_MS != self._at_ms // _DAY_MS:
            for market in self._markets:
                market.new_day()
        self._at_ms = at_ms
        return at_ms


_: type[Feed] = SyntheticFeed
