"""Sort and bound the candles of every vendor."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from marketstream.core.query.model import Candle, History
from marketstream.wire.vendors.reading import number, unknown

EPOCH = date(1970, 1, 1)
DAILY = frozenset(("1d", "1wk", "1mo"))
"""Intervals whose candles are days or longer."""

_DAYS = {"1mo": 31, "3mo": 92, "6mo": 183, "1y": 366, "2y": 731, "5y": 1827, "10y": 3653}
_SESSIONS = {"1d": 1, "5d": 5}
_CLOSED_FOR = 5  # days that a market may be closed in a row


def first_day(period: str, today: date) -> date:
    """Return the day from which candles must be asked for.

    Args:
        period: One of `core.query.model.PERIODS`.
        today: The day in UTC.
    """
    if period in _SESSIONS:
        return today - timedelta(days=_SESSIONS[period] + _CLOSED_FOR)
    if period == "ytd":
        return date(today.year, 1, 1)
    return EPOCH if period == "max" else today - timedelta(days=_DAYS[period])


def candle(at_ms: int | None, values: tuple[object, object, object, object], volume: object) -> Candle | None:
    """Return one candle; None when its time or one of its prices is missing, as in minutes without a trade.

    Args:
        at_ms: Epoch milliseconds.
        values: Open, high, low and close, as they were sent.
        volume: As it was sent.
    """
    opened, high, low, close = map(number, values)
    if at_ms is None or opened is None or high is None or low is None or close is None:
        return None
    return Candle(at_ms, opened, high, low, close, number(volume))


def history(
    symbol: str, period: str, interval: str, candles: Iterable[Candle | None], today: date
) -> History:
    """Return candles in their order, each time once, those of the period only.

    Raises:
        UnknownSymbolError: There is none.
    """
    by_time = {each.at_ms: each for each in candles if each is not None}
    found = [by_time[at_ms] for at_ms in sorted(by_time)]
    if period in _SESSIONS:
        sessions = sorted({day_of(each) for each in found})[-_SESSIONS[period] :]
        found = [each for each in found if day_of(each) in sessions]
    else:
        found = [each for each in found if day_of(each) >= first_day(period, today)]
    if not found:
        raise unknown(symbol)
    return History(symbol, period, interval, tuple(found))


def longer(days: Iterable[Candle | None], interval: str) -> list[Candle]:
    """Return candles of weeks or months made of those of days.

    Args:
        days: Daily candles.
        interval: `1wk` or `1mo`; daily candles stay as they are for any other.
    """
    whole = sorted((each for each in days if each is not None), key=lambda each: each.at_ms)
    if interval not in ("1wk", "1mo"):
        return whole

    def part(each: Candle) -> tuple[int, int]:
        day = day_of(each)
        return day.isocalendar()[:2] if interval == "1wk" else (day.year, day.month)

    return [_joined(list(group)) for _, group in groupby(whole, key=part)]


def day_of(each: Candle) -> date:
    """Return the day in UTC on which a candle begins."""
    return datetime.fromtimestamp(each.at_ms / 1000, UTC).date()


def _joined(group: list[Candle]) -> Candle:
    volumes = [each.volume for each in group if each.volume is not None]
    return Candle(
        group[0].at_ms,
        group[0].open,
        max(each.high for each in group),
        min(each.low for each in group),
        group[-1].close,
        sum(volumes) if volumes else None,
    )
