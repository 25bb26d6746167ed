from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.market.hours import Market, is_open, open_markets

NEW_YORK = ZoneInfo("America/New_York")


def at(text: str) -> int:
    """Epoch milliseconds of a moment in New York."""
    return round(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp() * 1000)


@pytest.mark.parametrize(
    ("market", "opens", "closes"),
    [
        ("new_york", "2023-11-15T09:30", "2023-11-15T16:00"),
        ("new_york", "2024-07-15T09:30", "2024-07-15T16:00"),
        ("new_york", "2024-03-11T09:30", "2024-03-11T16:00"),
        ("new_york", "2024-11-04T09:30", "2024-11-04T16:00"),
        ("currencies", "2023-11-12T17:00", "2023-11-17T17:00"),
        ("currencies", "2024-03-10T17:00", "2024-03-15T17:00"),
    ],
)
def test_a_market_is_open_from_its_opening_until_its_close(market: Market, opens: str, closes: str) -> None:
    """In winter, in summer, and right after clocks were changed."""
    opening, close = at(opens), at(closes)
    found = [is_open(market, moment) for moment in (opening - 1, opening, close - 1, close)]
    assert found == [False, True, True, False]


def test_shares_rest_at_the_weekend() -> None:
    assert open_markets(at("2023-11-18T12:00")) == {"coins"}
    assert open_markets(at("2023-11-19T12:00")) == {"coins"}
    assert open_markets(at("2023-11-20T12:00")) == {"new_york", "currencies", "coins"}


@given(
    st.datetimes(min_value=datetime(2007, 1, 1), max_value=datetime(2037, 12, 31))  # noqa: DTZ001  # hypothesis wants it so
)
def test_clocks_in_new_york_are_those_of_the_zone_files(moment: datetime) -> None:
    utc = moment.replace(tzinfo=UTC)
    local = utc.astimezone(NEW_YORK)
    expected = local.weekday() < 5 and (9, 30) <= (local.hour, local.minute) < (16, 0)
    assert is_open("new_york", round(utc.timestamp() * 1000 - 0.5)) == expected
