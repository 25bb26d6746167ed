import math

import pytest

from marketstream.core.delivery.bucket import MessageRate, TokenBucket


def test_a_bucket_starts_full_and_grants_its_capacity_in_one_burst() -> None:
    bucket = TokenBucket(100, 10)
    assert [bucket.take(5.0) for _ in range(100)] == [0.0] * 100
    assert bucket.take(5.0) == pytest.approx(0.1)


def test_a_refusal_says_how_long_to_wait_and_waiting_that_long_is_enough() -> None:
    bucket = TokenBucket(1, 10)
    now = 1_000_000.3
    assert bucket.take(now) == 0.0
    wait = bucket.take(now)
    assert wait == pytest.approx(0.1)
    assert bucket.take(now + wait) == 0.0


def test_a_refusal_costs_nothing() -> None:
    bucket = TokenBucket(1, 1)
    bucket.take(0.0)
    assert [bucket.take(0.5) for _ in range(3)] == [0.5, 0.5, 0.5]
    assert bucket.take(1.0) == 0.0


def test_an_idle_bucket_never_holds_more_than_its_capacity() -> None:
    bucket = TokenBucket(3, 10)
    bucket.take(0.0)
    assert [bucket.take(3600.0) for _ in range(4)] == [0.0, 0.0, 0.0, pytest.approx(0.1)]


def test_a_clock_that_goes_back_mints_no_token() -> None:
    """Neither on the way back nor when it comes to the same hour again."""
    bucket = TokenBucket(2, 1)
    assert [bucket.take(10.0), bucket.take(10.0)] == [0.0, 0.0]
    assert bucket.take(4.0) == 1.0
    assert bucket.take(10.0) == 1.0
    assert bucket.take(11.0) == 0.0


def test_a_bucket_works_whatever_the_zero_of_the_clock() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.take(-50.0) == 0.0
    assert bucket.take(-49.5) == 0.5
    assert bucket.take(-49.0) == 0.0


@pytest.mark.parametrize(
    ("capacity", "refill"), [(0.5, 1), (0, 1), (1, 0), (1, -1), (math.nan, 1), (1, math.nan)]
)
def test_a_bucket_that_would_grant_nothing_is_refused(capacity: float, refill: float) -> None:
    with pytest.raises(ValueError, match="grants nothing"):
        TokenBucket(capacity, refill)


def test_buckets_and_meters_carry_no_dictionary_as_every_connection_owns_one() -> None:
    assert not hasattr(TokenBucket(1, 1), "__dict__")
    assert not hasattr(MessageRate(), "__dict__")


def test_a_thousand_messages_a_second_are_allowed_and_one_more_is_not() -> None:
    message_rate = MessageRate()
    assert not any(message_rate.exceeded(7.0 + n / 1001) for n in range(1000))
    assert message_rate.exceeded(7.999)


def test_a_rate_counts_anew_in_each_second() -> None:
    message_rate = MessageRate(limit=2)
    assert [message_rate.exceeded(at) for at in (0.0, 0.5, 0.9, 1.0, 1.1, 1.2)] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]


def test_a_window_opens_with_the_first_message_after_a_pause() -> None:
    message_rate = MessageRate(limit=2)
    assert [message_rate.exceeded(at) for at in (0.0, 1.9, 2.1, 2.8, 2.9)] == [
        False,
        False,
        False,
        True,
        False,
    ]


def test_a_clock_that_goes_back_does_not_open_a_new_window() -> None:
    message_rate = MessageRate(limit=2)
    assert [message_rate.exceeded(at) for at in (5.0, 5.1, 1.0)] == [False, False, True]
