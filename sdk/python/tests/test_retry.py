import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import AuthenticationError, ConnectionFailedError, ConnectionLostError
from marketstream_sdk.retry import Backoff, Retry

LOST = ConnectionLostError("it broke")
REFUSED = AuthenticationError("no", code="AUTH_FAILED")
EXPIRED = AuthenticationError("over", code="TOKEN_EXPIRED")


def retry(attempts: int = 5, *, renewable: bool = True) -> Retry:
    return Retry(Backoff(attempts), renewable=renewable)


def test_attempts_come_after_2_4_8_16_and_32_seconds_and_then_no_more() -> None:
    policy = retry()
    assert [policy.after(LOST, 0) for _ in range(5)] == [2, 4, 8, 16, 32]
    with pytest.raises(ConnectionFailedError) as caught:
        policy.after(LOST, 0)
    assert (caught.value.attempts, caught.value.last, caught.value.code) == (5, LOST, "CONNECTION_FAILED")
    assert policy.attempts == 5


def test_without_a_limit_it_goes_on_every_32_seconds() -> None:
    policy = retry(0)
    assert [policy.after(LOST, 0) for _ in range(5000)][-1] == 32


@given(st.integers(1, 100), st.floats(0, 1))
def test_chance_adds_a_tenth_at_most(attempt: int, chance: float) -> None:
    backoff = Backoff()
    least = backoff.delay(attempt, 0)
    assert least <= backoff.delay(attempt, chance) <= least * 1.1


def test_a_connection_that_was_in_order_starts_the_count_anew() -> None:
    policy = retry()
    for _ in range(4):
        policy.after(LOST, 0)
    policy.healthy()
    assert policy.attempts == 0
    assert policy.after(LOST, 0) == 2


def test_what_the_server_asks_for_counts_if_it_is_more() -> None:
    policy = retry()
    assert policy.after(ConnectionLostError("later", retry_after=7), 0) == 7
    assert policy.after(ConnectionLostError("later", retry_after=1), 0) == 4


@pytest.mark.parametrize("error", [REFUSED, EXPIRED, AuthenticationError("none", code="UNAUTHORIZED")])
def test_a_token_that_cannot_be_replaced_is_refused_for_good(error: AuthenticationError) -> None:
    with pytest.raises(AuthenticationError) as caught:
        retry(renewable=False).after(error, 0)
    assert caught.value is error


def test_one_refused_token_is_followed_by_another_at_once_and_a_second_ends_it() -> None:
    policy = retry()
    assert policy.after(REFUSED, 0) == 0
    assert policy.attempts == 0
    with pytest.raises(AuthenticationError):
        policy.after(REFUSED, 0)


def test_an_expired_token_is_replaced_at_once_and_repeated_counts_as_an_attempt() -> None:
    policy = retry(2)
    assert [policy.after(EXPIRED, 0) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(ConnectionFailedError):
        policy.after(EXPIRED, 0)


def test_refusals_that_were_long_ago_do_not_count() -> None:
    policy = retry()
    policy.after(REFUSED, 0)
    policy.healthy()
    assert policy.after(REFUSED, 0) == 0


def test_a_negative_number_of_attempts_is_no_number_of_attempts() -> None:
    with pytest.raises(ValueError, match="attempts"):
        Backoff(-1)


@given(st.lists(st.sampled_from([LOST, REFUSED, EXPIRED]), min_size=9, max_size=9))
def test_it_always_comes_to_an_end(errors: list[ConnectionLostError | AuthenticationError]) -> None:
    """Five attempts, and one at once for each of the two faults that a token can have."""
    policy = retry()

    def go_on() -> None:
        for error in errors:
            policy.after(error, 0)

    with pytest.raises((AuthenticationError, ConnectionFailedError)):
        go_on()
