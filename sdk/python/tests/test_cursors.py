from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk.cursors import Cursors

NOTES = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(1, 20)))


def test_a_stream_is_resumed_from_the_symbol_that_is_farthest_behind() -> None:
    """The newest id of all would leave out what another symbol missed just before it."""
    cursors = Cursors()
    cursors.note("A", "A-1@100")
    cursors.note("B", "B-1@99")
    assert cursors.resume(["A", "B"]) == "B-1@99"


def test_a_symbol_without_a_price_makes_the_stream_begin_anew() -> None:
    """Its current value may be older than all that was heard of the others."""
    cursors = Cursors()
    cursors.note("A", "A-1@100")
    assert cursors.resume(["A", "B"]) == ""


def test_symbols_that_were_left_are_forgotten() -> None:
    cursors = Cursors()
    for symbol in "AB":
        cursors.note(symbol, f"{symbol}-1@100")
    assert cursors.resume(["A"]) == "A-1@100"
    assert cursors.resume(["A", "B"]) == ""


def test_an_id_without_a_cursor_says_nothing() -> None:
    cursors = Cursors()
    for ident in ("", "A-1", "A-1@", "A-1@x"):
        cursors.note("A", ident)
    assert cursors.resume(["A"]) == ""


@given(NOTES)
def test_nothing_newer_than_what_was_heard_is_ever_left_out(notes: list[tuple[str, int]]) -> None:
    cursors = Cursors()
    for symbol, cursor in notes:
        cursors.note(symbol, f"{symbol}-1@{cursor}")
    newest = {symbol: max(c for s, c in notes if s == symbol) for symbol, _ in notes}
    resumed = cursors.resume(["A", "B", "C"])
    if len(newest) < 3:
        assert resumed == ""
    else:
        assert int(resumed.rpartition("@")[2]) == min(newest.values())
