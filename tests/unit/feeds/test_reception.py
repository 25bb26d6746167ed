"""What is said and counted of a vendor that is hard to understand."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from marketstream.errors import FutureTimeError, InvalidMessageError
from marketstream.feeds.reception import SAY_EVERY, Reception
from tests.support.clock import FakeClock

HOUR_MS = 3_600_000


@pytest.fixture
def clock() -> FakeClock:
    """Ours."""
    return FakeClock()


def future(clock: FakeClock) -> FutureTimeError:
    """A message of in an hour."""
    return FutureTimeError("t: lies in the future", clock.wall_ms() + HOUR_MS)


def clock_warnings(logs: list[Any]) -> list[int]:
    """Seconds of each warning about a clock."""
    return [each["seconds"] for each in logs if each["event"] == "feed_clock_off"]


def test_nonsense_is_counted_and_the_first_of_it_is_shown(clock: FakeClock) -> None:
    reception = Reception("x", clock)
    with capture_logs() as logs:
        reception.refuse([InvalidMessageError("first"), InvalidMessageError("second")])
        reception.refuse([InvalidMessageError("third")])
        reception.refuse([])
    assert (reception.skipped, reception.ahead, reception.offset_ms) == (3, 0, None)
    assert [(each["event"], each["reason"], each["source"]) for each in logs] == [
        ("feed_message_skipped", "first", "x")
    ]


def test_a_time_ahead_is_counted_apart_and_hides_no_nonsense(clock: FakeClock) -> None:
    reception = Reception("x", clock)
    with capture_logs() as logs:
        reception.refuse([future(clock), InvalidMessageError("first")])
    assert (reception.skipped, reception.ahead, reception.offset_ms) == (2, 1, HOUR_MS)
    assert [each["event"] for each in logs] == ["feed_clock_off", "feed_message_skipped"]


def test_a_clock_that_stays_wrong_is_said_once_a_minute(clock: FakeClock) -> None:
    reception = Reception("x", clock)
    with capture_logs() as logs:
        for _ in range(round(2 * SAY_EVERY)):
            reception.refuse([future(clock)])
            clock.advance(1)
    assert reception.ahead == 2 * SAY_EVERY
    assert clock_warnings(logs) == [3600, 3600]


def test_prices_that_are_older_than_they_should_be_are_said_and_not_counted(clock: FakeClock) -> None:
    reception = Reception("x", clock, behind=1800)
    with capture_logs() as logs:
        reception.take(clock.wall_ms() - HOUR_MS // 2)
        assert not logs
        reception.take(clock.wall_ms() - HOUR_MS)
    assert clock_warnings(logs) == [-3600]
    assert (reception.skipped, reception.offset_ms) == (0, -HOUR_MS)


def test_where_old_prices_are_nothing_unusual_nothing_is_said(clock: FakeClock) -> None:
    reception = Reception("x", clock)
    with capture_logs() as logs:
        reception.take(1)
    assert not logs
    assert reception.offset_ms == 1 - clock.wall_ms()
