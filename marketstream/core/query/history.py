"""Say how far back histories go, and which candles are final."""

from collections.abc import Sequence
from datetime import UTC, datetime

from marketstream.core.query.model import Candle

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_QUARTER_MS = 900_000

_ZONES_MS = 12 * _HOUR_MS
"""By how much a day may begin later somewhere than in UTC."""

MOST_CANDLES = 15_000
"""Candles of one history at most: half a megabyte of JSON."""

_DAYS = {
    "1d": 1,
    "5d": 5,
    "1mo": 31,
    "3mo": 92,
    "6mo": 183,
    "1y": 366,
    "2y": 731,
    "5y": 1_827,
    "10y": 3_653,
    "max": 7_305,
}
_INTERVAL_MS = {
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "1d": DAY_MS,
    "1wk": 7 * DAY_MS,
    "1mo": 30 * DAY_MS,
}
_LONGEST_MS = {"1d": DAY_MS, "1wk": 7 * DAY_MS, "1mo": 31 * DAY_MS}


def period_ms(period: str, now_ms: int) -> int:
    """Return the length of a period in milliseconds.

    `ytd` reaches from the first of January (UTC), `max` 20 years.
    """
    if period == "ytd":
        year = datetime.fromtimestamp(now_ms / 1000, UTC).year
        return now_ms - int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)
    return _DAYS[period] * DAY_MS


def interval_ms(interval: str) -> int:
    """Return the length of a candle in milliseconds; a month counts as 30 days."""
    return _INTERVAL_MS[interval]


def too_fine(period: str, interval: str) -> bool:
    """Return whether a period holds more candles than anybody is given; a year that began counts whole."""
    days = _DAYS["1y"] if period == "ytd" else _DAYS[period]
    return days * DAY_MS > MOST_CANDLES * _INTERVAL_MS[interval]


def ended(candles: Sequence[Candle], interval: str, by_ms: float) -> list[Candle]:
    """Return the candles that had ended at a moment, whatever calendar and time zone they were made by.

    Vendors date days, weeks and months by what is a day to them; where that cannot be known the longest that
    fits counts. So a candle may be left out for some hours after its end, and never comes too early.

    Args:
        candles: With rising times, the running one last if there is one.
        interval: Of them.
        by_ms: The moment, epoch milliseconds.
    """
    found = []
    for index, each in enumerate(candles):
        end = _latest_end(each.at_ms, interval)
        if interval in _LONGEST_MS and index + 1 < len(candles):
            following = candles[index + 1].at_ms
            end = min(end, following + (_ZONES_MS if following % DAY_MS == 0 else 0))
        if end <= by_ms:
            found.append(each)
    return found


def _latest_end(at_ms: int, interval: str) -> int:
    if interval not in _LONGEST_MS:
        return at_ms + _INTERVAL_MS[interval]
    end = at_ms + _LONGEST_MS[interval]
    if at_ms % DAY_MS == 0:
        # A date, of whatever zone.
        return end + _ZONES_MS
    # The midnight of some zone, where clocks may be set back before the end; or no beginning of a day.
    return end + _HOUR_MS if at_ms % _QUARTER_MS == 0 else end
