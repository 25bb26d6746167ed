import pytest

from marketstream.core.delivery import closing
from marketstream.core.delivery.closing import CloseReason

REASONS = [value for value in vars(closing).values() if isinstance(value, CloseReason)]


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (closing.TOKEN_EXPIRED, 4401),
        (closing.SLOW_CONSUMER, 4408),
        (closing.TOO_MANY_MESSAGES, 4429),
        (closing.DRAIN, 1012),
    ],
)
def test_the_close_codes_are_those_of_the_protocol(reason: CloseReason, code: int) -> None:
    assert reason.websocket_code == code


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.code)
def test_every_reason_fits_a_close_frame(reason: CloseReason) -> None:
    """A control frame holds 125 bytes, two of them for the code, and only some codes may be sent."""
    assert len(reason.text.encode()) <= 123
    assert reason.websocket_code in {1000, *range(1002, 1004), *range(1007, 1015), *range(4000, 5000)}


def test_no_two_reasons_share_a_name() -> None:
    assert len(REASONS) >= 12
    assert len({reason.code for reason in REASONS}) == len(REASONS)


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.code)
def test_only_who_can_do_better_next_time_is_told_to_come_back(reason: CloseReason) -> None:
    hopeful = {"connect_timeout", "evicted", "overloaded", "slow_consumer", "idle", "drain", "internal"}
    assert reason.reconnect == (reason.code in hopeful)
