"""A made-up tape, and what its best prices are by somebody else's arithmetic.

Nothing here comes from the server: `best_prices` works them out again with decimal numbers, straight from the
text on the tape and the rules of the protocol, so that the two can be held against each other.
"""

import csv
import gzip
import io
import random
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

HEADER = ("timestamp_ms", "symbol", "source", "bid", "bid_size", "ask", "ask_size")
START_MS = 1_398_902_400_000
SOURCES = ("oanda", "fxcm")
MIDDLES = {"EUR/USD": 138_620, "NZD/USD": 86_410}

Row = tuple[str, ...]


def write_tape(path: Path, rows: int, seed: int = 7) -> None:
    """Writes a gzipped tape of two currencies by two sources, the same for the same arguments.

    It has quiet times and bursts, rows of the same millisecond, crossed and equal prices, sources without a
    size or without a side, and rows that repeat the one above.
    """
    draw = random.Random(seed)
    middles = dict(MIDDLES)
    shown: dict[str, tuple[int, int]] = {}
    at_ms = START_MS
    row: Row = ()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for _ in range(rows):
        if not row or draw.random() > 0.03:
            at_ms += _pause(draw)
            row = _row(draw, at_ms, middles, shown)
        writer.writerow(row)
    # No file name and no time of writing: the bytes follow from the arguments alone.
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def _pause(draw: random.Random) -> int:
    """Milliseconds since the last row: mostly a burst, now and then quiet."""
    kind = draw.random()
    if kind < 0.15:
        return 0
    return draw.randint(1, 25) if kind < 0.8 else draw.randint(60, 900)


def _row(draw: random.Random, at_ms: int, middles: dict[str, int], shown: dict[str, tuple[int, int]]) -> Row:
    """One source's new quote of one symbol, around a middle that wanders by ticks."""
    symbol = draw.choice(tuple(middles))
    middles[symbol] += draw.choice((-2, -1, -1, 0, 0, 1, 1, 2))
    bid = middles[symbol] - draw.randint(2, 8) + draw.choice((0,) * 16 + (9, -9))
    ask = bid + draw.randint(3, 14)
    if symbol in shown and draw.random() < 0.15:
        bid, ask = shown[symbol]
    shown[symbol] = bid, ask
    cells = [_price(bid), _size(draw), _price(ask), _size(draw)]
    missing = draw.random()
    if missing < 0.04:
        cells[:2] = "", ""
    elif missing < 0.08:
        cells[2:] = "", ""
    return str(at_ms), symbol, draw.choice(SOURCES), *cells


def _price(ticks: int) -> str:
    return f"{Decimal(ticks).scaleb(-5)}"


def _size(draw: random.Random) -> str:
    return draw.choice(("", "", "100000", "500000", "1000000", "2500000.5"))


@dataclass(slots=True)
class _Side:
    """What one source shows on one side: the price as a number to compare with and as a float to publish."""

    price: Decimal
    size: Decimal | None
    source: str
    at_ms: int

    def wire(self) -> dict[str, Any]:
        size = None if self.size is None else float(self.size)
        return {"price": float(self.price), "size": size, "source": self.source}


@dataclass(slots=True)
class _Book:
    """The sides of each source of one symbol, in the order in which sources were first seen."""

    bids: dict[str, _Side | None] = field(default_factory=dict)
    asks: dict[str, _Side | None] = field(default_factory=dict)
    newest_ms: int = 0
    entries: list[dict[str, Any]] = field(default_factory=list)


def best_prices(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every best price that a tape leads to, by symbol, in order, in wire form.

    An entry follows the one before it only where they differ. A source that is silent never leaves.
    """
    books: dict[str, _Book] = {}
    packed = path.read_bytes()
    text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode()
    for row in csv.DictReader(io.StringIO(text)):
        book = books.setdefault(row["symbol"], _Book())
        book.bids[row["source"]] = _side(row, "bid")
        book.asks[row["source"]] = _side(row, "ask")
        entry = _entry(row["symbol"], book)
        if not book.entries or book.entries[-1] != entry:
            book.entries.append(entry)
    return {symbol: book.entries for symbol, book in books.items()}


def _side(row: dict[str, str], name: str) -> _Side | None:
    if not row[name]:
        return None
    size = row[f"{name}_size"]
    price = Decimal(repr(float(row[name])))
    return _Side(price, Decimal(size) if size else None, row["source"], int(row["timestamp_ms"]))


def _best(sides: dict[str, _Side | None], sign: int) -> _Side | None:
    """The highest price times the sign; `max` keeps the first of equals, which is the source first seen."""
    present = [side for side in sides.values() if side is not None]
    return max(present, key=lambda side: (side.price * sign, side.size or 0), default=None)


def _entry(symbol: str, book: _Book) -> dict[str, Any]:
    bid, ask = _best(book.bids, 1), _best(book.asks, -1)
    book.newest_ms = max([book.newest_ms, *(side.at_ms for side in (bid, ask) if side is not None)])
    middle = spread = bps = None
    if bid is not None and ask is not None:
        # Half of a sum has at most one decimal more than its parts: what the protocol rounds to is exact.
        exact = (bid.price + ask.price) / 2
        middle, spread = float(exact), float(ask.price - bid.price)
        if exact > 0:
            ratio = (ask.price - bid.price) * 10_000 / exact
            bps = float(ratio.quantize(Decimal("0.0001"), ROUND_HALF_EVEN))
    return {
        "symbol": symbol,
        "bestBid": None if bid is None else bid.wire(),
        "bestAsk": None if ask is None else ask.wire(),
        "midPrice": middle,
        "spread": spread,
        "spreadBps": bps,
        "timestamp": book.newest_ms,
    }
