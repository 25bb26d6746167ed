from marketstream.core.query.history import period_ms

DAY_MS = 24 * 3_600_000
FIRST_OF_2026_MS = 1_767_225_600_000


def test_the_year_to_date_reaches_from_the_first_of_january() -> None:
    assert period_ms("ytd", FIRST_OF_2026_MS + 40 * DAY_MS + 7) == 40 * DAY_MS + 7
    assert period_ms("ytd", FIRST_OF_2026_MS - 1) == 365 * DAY_MS - 1


def test_any_other_period_is_as_long_whenever_it_is_asked_for() -> None:
    assert [period_ms("5d", at) for at in (0, FIRST_OF_2026_MS)] == [5 * DAY_MS] * 2
