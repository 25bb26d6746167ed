"""Describe how symbols of the synthetic market trade.

Any symbol has an instrument. Those that people know look like themselves; every other one is made of its
name and the seed, the same in every process.
"""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instrument:
    """How one symbol trades; prices are counted in ticks, sizes in lots, both whole numbers.

    Attributes:
        price: Where it starts and returns to.
        decimals: Decimals of a price; one tick is one unit of the last.
        spread: Usual distance of bid and ask, ticks.
        volatility: Deviation of the price over one second, as a part of the price.
        lot: Size of one lot times `lot_divisor`.
        lot_divisor: What a count of lots times `lot` is divided by.
        largest: Usual largest size, lots.
        trades: Whether there is a tape of trades; currencies are only quoted.
    """

    price: float
    decimals: int
    spread: float
    volatility: float
    lot: int = 100
    lot_divisor: int = 1
    largest: int = 12
    trades: bool = True


def _currency(price: float, decimals: int, spread: float) -> Instrument:
    return Instrument(price, decimals, spread, 1.8e-5, lot=100_000, largest=50, trades=False)


def _share(price: float, spread: float, volatility: float = 1.2e-4) -> Instrument:
    return Instrument(price, 2, spread, volatility)


def _index(price: float, volatility: float = 0.5e-4) -> Instrument:
    return Instrument(price, 2, 10, volatility, lot=1, largest=1, trades=False)


def _coin(price: float, spread: float) -> Instrument:
    return Instrument(price, 2, spread, 1.1e-4, lot=1, lot_divisor=1000, largest=2500)


KNOWN = {
    "EUR/USD": _currency(1.08450, 5, 7),
    "GBP/USD": _currency(1.27120, 5, 10),
    "USD/JPY": _currency(149.500, 3, 9),
    "USD/CHF": _currency(0.88340, 5, 10),
    "AUD/USD": _currency(0.65780, 5, 8),
    "NZD/USD": _currency(0.60930, 5, 11),
    "USD/CAD": _currency(1.36420, 5, 10),
    "EUR/GBP": _currency(0.85310, 5, 9),
    "AAPL": _share(228.50, 2.0, 1.0e-4),
    "MSFT": _share(427.10, 5.0, 0.9e-4),
    "NVDA": _share(135.20, 2.0, 1.9e-4),
    "TSLA": _share(345.60, 7.0, 2.2e-4),
    "AMZN": _share(205.40, 2.5),
    "GOOGL": _share(176.30, 2.5),
    "META": _share(574.80, 12.0),
    "JPM": _share(214.80, 3.0, 0.8e-4),
    "XOM": _share(117.30, 2.5, 0.8e-4),
    "JNJ": _share(161.90, 3.0, 0.6e-4),
    "PG": _share(171.40, 3.0, 0.6e-4),
    "WMT": _share(81.20, 1.5, 0.7e-4),
    "SPY": _share(579.60, 2.0, 0.5e-4),
    "QQQ": _share(494.30, 3.0, 0.7e-4),
    "BTC/USD": _coin(64_250.00, 420.0),
    "ETH/USD": _coin(3_125.00, 35.0),
    "^GSPC": _index(5_792.04),
    "^IXIC": _index(18_291.62, 0.7e-4),
    "^DJI": _index(42_512.00),
    "^RUT": _index(2_200.59, 0.7e-4),
    "^VIX": _index(20.86, 2.4e-4),
    "XLK": _share(226.50, 2.5, 0.7e-4),
    "XLF": _share(46.10, 1.5, 0.6e-4),
    "XLV": _share(152.70, 2.0, 0.5e-4),
    "XLE": _share(91.80, 2.0, 0.8e-4),
    "XLY": _share(199.40, 2.5, 0.7e-4),
    "XLP": _share(81.90, 1.5, 0.4e-4),
    "XLI": _share(135.60, 2.0, 0.6e-4),
    "XLU": _share(79.30, 1.5, 0.6e-4),
    "XLB": _share(95.20, 2.0, 0.6e-4),
    "XLRE": _share(43.70, 1.5, 0.6e-4),
    "XLC": _share(90.10, 1.5, 0.7e-4),
}
"""What is modelled after something that people know; only names and sizes are, not the prices of any day."""


def instrument_of(symbol: str, seed: int) -> Instrument:
    """Return the known instrument, or a made-up one that depends on nothing but the symbol and the seed."""
    known = KNOWN.get(symbol)
    if known is not None:
        return known
    draw = random.Random(f"{seed}:{symbol}")  # noqa: S311 - a market that must repeat, not a secret
    if "/" in symbol:
        return _currency(round(draw.uniform(0.6, 1.9), 5), 5, draw.uniform(7, 15))
    price = round(math.exp(draw.uniform(math.log(15), math.log(600))), 2)
    return _share(price, draw.uniform(1.5, 3) + price / 100, draw.uniform(0.8e-4, 2e-4))
