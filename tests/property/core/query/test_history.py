"""No candle is taken for one that has ended before it has, in any calendar and any time zone."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.query.history import DAY_MS, ended
from marketstream.core.query.model import Candle

# As far from UTC as zones go, both ways, and some that set their clocks back.
ZONES = [
    *("Etc/GMT+12", "Etc/GMT-14", "UTC", "Asia/Tokyo", "Asia/Kathmandu"),
    *("America/New_York", "Europe/London", "Australia/Lord_Howe", "Pacific/Auckland"),
]
HOUR_MS = 3_600_000


def begins(day: date, interval: str) -> date:
    """The first day of the day, week or month after one."""
    if interval == "1d":
        return day + timedelta(days=1)
    if interval == "1wk":
        return day + timedelta(days=7 - day.weekday())
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def midnight(day: date, zone: str) -> int:
    """Epoch milliseconds at which a day begins somewhere."""
    return round(datetime.combine(day, time(), ZoneInfo(zone)).timestamp() * 1000)


@given(
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from(["1d", "1wk", "1mo"]),
    first=st.dates(date(2023, 1, 1), date(2027, 12, 31)),
    count=st.integers(1, 5),
    dated=st.booleans(),
    since_ms=st.integers(-40 * HOUR_MS, 40 * HOUR_MS),
)
def test_only_candles_that_have_ended_are_shown(
    zone: str,
    interval: str,
    first: date,
    count: int,
    dated: bool,  # noqa: FBT001  # drawn by its name
    since_ms: int,
) -> None:
    """Vendors write the moment at which a candle begins, or its date as if all the world were in London."""
    days = [begins(first, interval)]
    for _ in range(count):
        days.append(begins(days[-1], interval))
    ends = [midnight(day, zone) for day in days[1:]]
    labels = [midnight(day, "UTC" if dated else zone) for day in days[:-1]]
    candles = [Candle(at_ms, 1, 1, 1, 1, None) for at_ms in labels]
    by_ms = ends[-1] + since_ms
    shown = ended(candles, interval, by_ms)
    assert shown == candles[: len(shown)]
    assert all(end <= by_ms for end in ends[: len(shown)])
    # Nothing is kept back for longer than a day and a half after its successor has begun.
    assert len(shown) >= sum(end + 36 * HOUR_MS <= by_ms for end in ends[:-1])


@given(st.integers(0, 10**7), st.integers(0, 10**9))
def test_a_candle_within_a_day_ends_when_its_time_is_over(number: int, by_ms: int) -> None:
    at_ms = number * 60_000
    assert bool(ended([Candle(at_ms, 1, 1, 1, 1, None)], "5m", by_ms)) == (at_ms + 300_000 <= by_ms)


def test_the_month_that_lasts_until_tonight_is_running() -> None:
    """The 31st is the thirty-first day: thirty whole ones lie behind it."""
    first = round(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    now = first + 30 * DAY_MS + 20 * HOUR_MS
    assert ended([Candle(first, 1, 1, 1, 1, None)], "1mo", now - 900_000) == []
