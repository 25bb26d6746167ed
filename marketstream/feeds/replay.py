"""Replay a recorded tape at any speed.

A tape is CSV, gzipped or not, with the header `timestamp_ms,symbol,source,bid,bid_size,ask,ask_size`, sorted
by time; an empty price is a side the source does not quote, an empty size one it does not tell. Quotes keep
the times on the tape. The file is read as a stream, a batch at a time, so its length costs no memory.

Every row is played, however late: a slow process falls behind the pace and catches up, it never skips. A tape
that is not what it should be ends the feed with the file's name, the line and what is wrong with it; what
stands before that line has been played by then.
"""

import asyncio
import csv
import gzip
import math
import zlib
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import closing
from io import TextIOWrapper
from itertools import chain
from pathlib import Path

from marketstream.core.market.model import Quote
from marketstream.core.market.symbols import normalise
from marketstream.core.number import decimal, whole
from marketstream.errors import FeedError
from marketstream.ports import Clock, Feed, QuoteSink

HEADER = ("timestamp_ms", "symbol", "source", "bid", "bid_size", "ask", "ask_size")

_GZIP_MAGIC = b"\x1f\x8b"
# Enough to be cheap, little enough that the loop is held for a quarter of a millisecond.
_BATCH = 64
# Rows of one instant go in one offer, but a tape that never moves on must not fill the memory.
_LARGEST_BATCH = 4096
# A timer below a millisecond fires at once on some loops: waiting less would spin instead of sleep.
_SHORTEST_SLEEP = 0.001
_BETWEEN_ROUNDS_MS = 1000
# The year 33658; above 2**53 a client that counts in floats would lose milliseconds.
_TIME_DIGITS = 15


class ReplayFeed:
    """Offers the rows of a tape as quotes, once or again and again.

    Args:
        path: The tape; whether it is gzipped is seen from its content.
        speed: How many times faster than recorded; 0 is as fast as the sink takes it.
        loop: 0 plays once, 1 for ever, a larger number that many times. The times of each further round are
            shifted so that it begins one second after the end of the last.
        wait: Whether to start only when a client of any process watches one of the tape's symbols; the whole
            tape is read and checked once before.
        clock: Time, for the pace.
        sleep: Waits that many seconds.
    """

    name = "replay"

    def __init__(
        self,
        *,
        path: Path,
        speed: float = 1,
        loop: int = 0,
        wait: bool = False,
        stale_after: float | None = None,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stale_after = stale_after
        self._path = path
        self._speed = speed
        self._rounds = math.inf if loop == 1 else max(loop, 1)
        self._wait = wait
        self._clock = clock
        self._sleep = sleep

    async def run(self, sink: QuoteSink) -> None:
        """Play the tape; return when the last round was handed on.

        Args:
            sink: Where quotes go.

        Raises:
            FeedError: The tape cannot be read, or a line of it makes no sense.
        """
        if self._wait:
            await _watched(sink, await self._symbols())
        with closing(self._rows()) as rows:
            await self._play(sink, rows)
        await sink.ready()

    async def _play(self, sink: QuoteSink, rows: Generator[Quote, None, None]) -> None:
        """Offer rows in batches, each when it is due."""
        batch: list[Quote] = []
        opening = next(rows)
        due = self._schedule(opening.at_ms)
        try:
            for quote in chain((opening,), rows):
                if batch and self._closes(batch, quote, due):
                    sink.offer(batch)
                    batch = []
                    await self._rest(sink, due(quote.at_ms))
                batch.append(quote)
        finally:
            # Also when the next line is a bad one: those before it are due.
            if batch:
                sink.offer(batch)

    def _schedule(self, first_ms: int) -> Callable[[int], float]:
        """Return when a row of some time is due, in monotonic seconds, if the first row is due now."""
        if self._speed == 0:
            return lambda _: -math.inf
        origin, pace = self._clock.now(), 1000 * self._speed
        return lambda at_ms: origin + (at_ms - first_ms) / pace

    def _closes(self, batch: Sequence[Quote], quote: Quote, due: Callable[[int], float]) -> bool:
        """Return whether a batch goes before the next row, because it is full or the row is not due yet."""
        if quote.at_ms == batch[-1].at_ms:
            return len(batch) >= _LARGEST_BATCH
        return len(batch) >= _BATCH or due(quote.at_ms) > self._clock.now()

    async def _rest(self, sink: QuoteSink, due: float) -> None:
        """Wait until the next row is due: without a pace, until the sink has handed on the last ones."""
        if self._speed == 0:
            await sink.ready()
        # One turn of the loop for everybody else, also when the tape is late and the sink at once ready.
        await self._sleep(0)
        while (left := due - self._clock.now()) > 0:
            await self._sleep(max(left, _SHORTEST_SLEEP))

    async def _symbols(self) -> frozenset[str]:
        """Return every symbol on the tape."""
        symbols = set()
        with closing(_read(self._path, None)) as rows:
            for number, quote in enumerate(rows):
                symbols.add(quote.symbol)
                if number % _BATCH == 0:
                    await self._sleep(0)
        return frozenset(symbols)

    def _rows(self) -> Generator[Quote, None, None]:
        """Yield the rows of all rounds, in order of time."""
        played, resume_ms = 0, None
        while played < self._rounds:
            newest_ms = 0
            for quote in _read(self._path, resume_ms):
                yield quote
                newest_ms = quote.at_ms
            resume_ms = newest_ms + _BETWEEN_ROUNDS_MS
            played += 1


async def _watched(sink: QuoteSink, symbols: frozenset[str]) -> None:
    """Wait until somebody watches one of the symbols."""
    watched: frozenset[str] = frozenset()
    while watched.isdisjoint(symbols):
        watched = await sink.interest(watched)


def _read(path: Path, resume_ms: int | None) -> Generator[Quote, None, None]:
    """Yield the rows of a tape, checked; at least one.

    Args:
        path: The tape.
        resume_ms: Time that the first row is shifted to, and all others with it; None for no shift.

    Raises:
        FeedError: The tape cannot be read or is not one.
    """
    with closing(_lines(path)) as lines:
        number, cells = next(lines, (1, []))
        if tuple(cells) != HEADER:
            raise FeedError(f"{path}, line {number}: is not the header {','.join(HEADER)}")
        shift_ms, newest_ms = 0, -1
        symbols: dict[str, str] = {}
        for number, cells in lines:
            try:
                at_ms = _time(cells, newest_ms)
                if newest_ms < 0 and resume_ms is not None:
                    shift_ms = resume_ms - at_ms
                quote = _quote(cells, at_ms + shift_ms, symbols)
            except ValueError as error:
                raise FeedError(f"{path}, line {number}: {error}") from error
            newest_ms = at_ms
            yield quote
        if newest_ms < 0:
            raise FeedError(f"{path}, line {number + 1}: there must be at least one row after the header")


def _lines(path: Path) -> Generator[tuple[int, list[str]], None, None]:
    """Yield the lines of a file, gzipped or not, as their number and their cells.

    Raises:
        FeedError: The file cannot be read on.
    """
    number = 0
    try:
        with _open(path) as text:
            reader = csv.reader(text, strict=True)
            for cells in reader:
                number = reader.line_num
                yield number, cells
    except EOFError as error:
        raise FeedError(f"{path}, line {number + 1}: the gzip file is cut off") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise FeedError(f"{path}, line {number + 1}: the gzip file is damaged: {error}") from error
    except UnicodeDecodeError as error:
        raise FeedError(f"{path}, line {number + 1}: is not UTF-8 text") from error
    except csv.Error as error:
        raise FeedError(f"{path}, line {number + 1}: is not CSV: {error}") from error
    except OSError as error:
        raise FeedError(f"{path}, line {number + 1}: cannot be read: {error.strerror}") from error


def _open(path: Path) -> TextIOWrapper:
    """Return the text of a file, unpacked if it is packed."""
    with path.open("rb") as file:
        packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    return TextIOWrapper(gzip.open(path) if packed else path.open("rb"), encoding="utf-8", newline="")


def _time(cells: Sequence[str], newest_ms: int) -> int:
    """Return the time of a row, not before that of the line above; refuse a row of the wrong width first."""
    if len(cells) != len(HEADER):
        raise ValueError(f"has {len(cells)} columns, must have {len(HEADER)}")
    text = cells[0]
    at_ms = whole(text)
    if at_ms is None or len(text) > _TIME_DIGITS:
        raise ValueError(f"timestamp_ms is {text!r}, must be epoch milliseconds")
    if at_ms < newest_ms:
        raise ValueError(f"timestamp_ms is {at_ms}, before {newest_ms} of the line above")
    return at_ms


def _quote(cells: Sequence[str], at_ms: int, symbols: dict[str, str]) -> Quote:
    """Return the quote that a row stands for; `symbols` remembers spellings already seen."""
    _, raw, source, bid, bid_size, ask, ask_size = cells
    symbol = symbols.get(raw)
    if symbol is None:
        symbol = normalise(raw)
        if symbol is None:
            raise ValueError(f"symbol is {raw!r}, must be 1 to 32 of A-Z 0-9 . - _ / = ^ : &")
        symbols[raw] = symbol
    if not source:
        raise ValueError("source is empty")
    if not source.isprintable():
        raise ValueError("source has characters that cannot be printed")
    return Quote(
        symbol,
        source,
        _number("bid", bid),
        _size("bid_size", bid_size),
        _number("ask", ask),
        _size("ask_size", ask_size),
        at_ms,
    )


def _number(column: str, text: str) -> float | None:
    """Return a number as the source printed it; None for an empty cell."""
    if not text:
        return None
    value = decimal(text)
    if value is None or not math.isfinite(value):
        raise ValueError(f"{column} is {text!r}, must be empty or a finite number")
    return value


def _size(column: str, text: str) -> float | None:
    """Return a number that is not negative; None for an empty cell."""
    value = _number(column, text)
    if value is not None and value < 0:
        raise ValueError(f"{column} is {text!r}, must not be negative")
    return value


_: type[Feed] = ReplayFeed
