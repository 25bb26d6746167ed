from hypothesis import given
from hypothesis import strategies as st

from marketstream.coordination.lease_state import LOOKS, LeaseState

SEEN = st.lists(st.sampled_from(["free", "held", "unanswered", "term over"]), max_size=30)


@given(SEEN, st.booleans())
def test_a_lease_is_taken_from_nobody_who_may_be_alive(seen: list[str], ever_held: bool) -> None:  # noqa: FBT001  # given
    """It was never held as far as anybody knows, or was found free that often in a row."""
    state, free, known = LeaseState(), 0, ever_held
    for each in seen:
        if each == "unanswered":
            state.unanswered()
            free = 0
        elif each == "term over":
            state.begin("1")
            state.end()
            free, known = 0, True
        else:
            free = free + 1 if each == "free" else 0
            known = known or each == "held"
            taken = state.looked(held=each == "held", ever_held=ever_held)
            assert taken == (free >= (LOOKS if known else 1))
