"""Say when markets trade, to tell silence from failure.

Regular hours only, and no holidays: on those a market counts as open. Summer time is that of the United
States since 2007, reckoned here so that it does not depend on the zone files of a machine.
"""

from datetime import UTC, datetime, time, timedelta
from typing import Literal, get_args

Market = Literal["new_york", "currencies", "coins"]

_OPENING, _CLOSING = time(9, 30), time(16)
# Currencies trade from Sunday to Friday evening in New York.
_WEEK_TURN = time(17)
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6


def open_markets(at_ms: int) -> frozenset[Market]:
    """Return the markets that trade at a moment in epoch milliseconds."""
    return frozenset(market for market in get_args(Market) if is_open(market, at_ms))


def is_open(market: Market, at_ms: int) -> bool:
    """Return whether a market trades (New York, currencies or coins) at a time in epoch milliseconds."""
    if market == "coins":
        return True
    local = _in_new_york(at_ms)
    day, at = local.weekday(), local.time()
    if market == "new_york":
        return day < _SATURDAY and _OPENING <= at < _CLOSING
    if day == _FRIDAY:
        return at < _WEEK_TURN
    return day != _SATURDAY and (day != _SUNDAY or at >= _WEEK_TURN)


def _in_new_york(at_ms: int) -> datetime:
    """Return what a clock on the wall there shows; without a zone."""
    utc = datetime.fromtimestamp(at_ms / 1000, UTC).replace(tzinfo=None)
    # Clocks change at two in the morning: from standard time in March, from summer time in November.
    begins = _sunday(utc.year, 3, 2) + timedelta(hours=7)
    ends = _sunday(utc.year, 11, 1) + timedelta(hours=6)
    return utc - timedelta(hours=4 if begins <= utc < ends else 5)


def _sunday(year: int, month: int, number: int) -> datetime:
    """Midnight of the first Sunday of a month, or of a later one."""
    first = datetime(year, month, 1)  # noqa: DTZ001  # UTC by agreement within this file
    return first + timedelta(days=_SUNDAY - first.weekday(), weeks=number - 1)
