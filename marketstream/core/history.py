"""How far histories go back and how fine they may be."""

from datetime import UTC, datetime

DAY_MS = 86_400_000

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


def period_ms(period: str, now_ms: int) -> int:
    """Length of a period in milliseconds; `ytd` reaches from the first of January (UTC), `max` 20 years."""
    if period == "ytd":
        year = datetime.fromtimestamp(now_ms / 1000, UTC).year
        return now_ms - int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)
    return _DAYS[period] * DAY_MS


def interval_ms(interval: str) -> int:
    """Length of a candle in milliseconds; a month counts as 30 days."""
    return _INTERVAL_MS[interval]


def too_fine(period: str, interval: str) -> bool:
    """Whether a period holds more candles than anybody is given; a year that began counts whole."""
    days = _DAYS["1y"] if period == "ytd" else _DAYS[period]
    return days * DAY_MS > MOST_CANDLES * _INTERVAL_MS[interval]
