"""Compute the past of a synthetic symbol from its name and a seed.

The price wanders around that of the symbol's instrument, as the synthetic feed does, so that what the feed
quotes fits what was before. The same moment has the same price in every process and for ever.
"""

import math
import random
from collections.abc import Iterator

from marketstream.core.query.history import DAY_MS
from marketstream.core.query.model import Candle
from marketstream.feeds.instrument import Instrument, instrument_of

# Days and weights of the waves that make up the way of a price: slow ones are high, fast ones shallow.
_WAVES = (
    (307.0, 1.0),
    (79.0, 0.8),
    (23.1, 0.55),
    (7.3, 0.35),
    (2.13, 0.2),
    (0.61, 0.08),
    (0.131, 0.03),
    (0.0371, 0.012),
    (0.0093, 0.005),
)
# Seconds whose deviation the waves have: less than the feed's, which starts in the middle of them.
_SPREAD_OUT = 150.0
_VOLUME_DAYS = 5.3


class Past:
    """See the module.

    Args:
        symbol: Upper-case symbol.
        seed: Same seed, same past.

    Attributes:
        instrument: How the symbol trades.
    """

    def __init__(self, symbol: str, seed: int) -> None:
        self.instrument: Instrument = instrument_of(symbol, seed)
        draw = random.Random(f"{seed}:{symbol}:past")  # noqa: S311 - a past that must repeat, not a secret
        deviation = self.instrument.volatility * _SPREAD_OUT
        self._waves = [
            (math.tau / (days * DAY_MS), deviation * weight, draw.uniform(0, math.tau))
            for days, weight in _WAVES
        ]
        self._per_day = math.exp(draw.uniform(math.log(2e6), math.log(6e7)))
        self._swing = draw.uniform(0, math.tau)
        self.shares = round(math.exp(draw.uniform(math.log(1e9), math.log(1.2e10))))

    def price(self, at_ms: float) -> float:
        """Return the price at a moment."""
        way = sum(height * math.sin(speed * at_ms + phase) for speed, height, phase in self._waves)
        return round(self.instrument.price * math.exp(way), self.instrument.decimals)

    def close_before(self, at_ms: int) -> float:
        """Return the price at the end of the day (UTC) before a moment."""
        return self.price(at_ms // DAY_MS * DAY_MS)

    def volume(self, start_ms: int, end_ms: int) -> float | None:
        """Return what was traded between two moments; None where there is no tape of trades."""
        if not self.instrument.trades:
            return None
        return float(max(0, round(self._traded(end_ms) - self._traded(start_ms))))

    def candles(self, start_ms: int, end_ms: int, step_ms: int) -> Iterator[Candle]:
        """Yield candles of whole steps since the epoch, the last one as far as it has come."""
        begin = start_ms // step_ms * step_ms
        opening = self.price(begin)
        while begin < end_ms:
            end = min(begin + step_ms, end_ms)
            closing = self.price(end)
            between = [self.price(begin + (end - begin) * part) for part in (0.25, 0.5, 0.75)]
            low, high = min(opening, closing, *between), max(opening, closing, *between)
            yield Candle(begin, opening, high, low, closing, self.volume(begin, end))
            begin, opening = end, closing

    def _traded(self, at_ms: int) -> float:
        """Return what was traded since the epoch: a steady stream that swells and ebbs."""
        speed = math.tau / _VOLUME_DAYS
        days = at_ms / DAY_MS
        return self._per_day * (days - 0.6 / speed * math.cos(speed * days + self._swing))
