from collections.abc import Iterable
from typing import Any

import pytest

from marketstream.bus import outgoing as module
from marketstream.bus.outgoing import Batch, Outgoing
from marketstream.core.delivery.frame import Frame
from marketstream.wire import envelope, keys, messages
from tests.support.builders import best_price

SHARDS = 2
A = keys.shard_of("A", SHARDS)


def price(symbol: str = "A", bid: float = 1.0, tenant: str | None = None) -> Frame:
    return messages.price(best_price(symbol, bid), tenant)


def notice() -> Frame:
    """A frame without a key: nothing replaces it, and it is not stored."""
    return Frame("notice", b"{}", symbol="A")


def outgoing(*frames: Frame, sharded: bool = False) -> Outgoing:
    """One in which frames wait."""
    made = Outgoing(SHARDS, sharded=sharded)
    made.put(frames)
    return made


def taken(made: Outgoing) -> Batch:
    batch = made.take()
    assert batch is not None
    return batch


def sent(made: Outgoing, batch: Batch, *replies: list[Any]) -> list[str]:
    return made.sent(batch, [list(replies)])


def bodies(made: Outgoing) -> list[bytes]:
    """What would be sent now, without sending it."""
    batch = made.take()
    return [] if batch is None else [frame.body for _, frames in batch.frames for frame in frames]


def test_a_call_says_where_each_shard_is_kept_and_in_whose_name() -> None:
    frame = price()
    made = outgoing(frame)
    made.start_term("7")
    made.seen(41)
    batch = taken(made)
    names = [keys.last_values(A), keys.shard_cursor(A), keys.CURSOR, keys.frames_channel(A), keys.fence(A)]
    assert batch.calls == [(names, [41, "7", 1, keys.field(None, "A"), envelope.render(frame)])]
    assert (batch.term, batch.refused, batch.is_last) == ("7", [], True)


def test_a_frame_without_a_key_is_sent_and_stored_nowhere() -> None:
    ((_, words),) = taken(outgoing(notice())).calls
    assert words[3] == ""


def test_a_cluster_has_the_cursor_of_the_shard_in_place_of_that_of_all_and_a_call_for_each() -> None:
    both = [price("A"), next(price(s) for s in "BCDEF" if keys.shard_of(s, SHARDS) != A)]
    calls = taken(outgoing(*both, sharded=True)).calls
    assert [names[1] == names[2] for names, _ in calls] == [True, True]
    assert len(taken(outgoing(*both)).calls) == 1


def test_shards_travel_together_up_to_about_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP", 3)
    other = next(s for s in "BCDEF" if keys.shard_of(s, SHARDS) != A)
    together = outgoing(price("A", 1), price("A", 2), price(other))
    apart = outgoing(price("A", 1), price("A", 2), price(other, 1), price(other, 2))
    assert [len(taken(together).calls), len(taken(apart).calls)] == [1, 2]


def test_what_cannot_travel_is_left_out_and_said() -> None:
    good = price()
    batch = taken(outgoing(Frame("e", b"{}", key="k" * 70_000, symbol="A"), good))
    assert [[entry[0] for entry in entries] for _, entries in batch.entries] == [[good]]
    assert len(batch.refused) == 1
    assert "cannot travel" in batch.refused[0]


def test_who_takes_all_is_told_that_it_is_the_last() -> None:
    made = outgoing(*[price("A", bid) for bid in range(1, 502)])
    assert [taken(made).is_last, taken(made).is_last] == [False, True]
    assert made.take() is None


def test_what_was_sent_raises_the_newest_cursor_and_never_lowers_it() -> None:
    made = outgoing(price())
    assert sent(made, taken(made), [b"50"]) == []
    made.seen(49)
    assert made.newest == 50


def test_what_redis_left_out_is_counted_and_named() -> None:
    made = outgoing(price("A", 1), price("A", 2), price("A", 3, "acme"))
    assert sent(made, taken(made), [b"50", b"3", b"1"]) == [keys.field(None, "A"), keys.field("acme", "A")]
    assert made.late == 2


def test_a_batch_that_another_term_forbids_waits_and_nothing_more_is_sent() -> None:
    made = outgoing(price("A", 1))
    made.start_term("7")
    assert sent(made, taken(made), []) == []
    made.put([price("A", 2)])
    assert (made.fenced, len(made), made.take()) == (True, 2, None)
    made.start_term("8")
    assert bodies(made) == [price("A", 1).body, price("A", 2).body]


def test_a_batch_of_a_term_that_is_over_is_let_go_whatever_becomes_of_it() -> None:
    made = outgoing(price())
    made.start_term("7")
    refused, lost = taken(made), taken(outgoing(price()))
    made.end_term()
    made.start_term("8")
    sent(made, refused, [])
    made.failed(lost)
    assert (made.fenced, len(made), made.doubts()) == (False, 0, [])


def test_the_end_of_a_term_lets_go_what_waits_and_what_is_in_doubt() -> None:
    made = outgoing(price())
    made.failed(taken(made))
    made.put([price("A", 2)])
    made.end_term()
    assert (len(made), made.doubts()) == (0, [])


def test_what_may_have_arrived_is_kept_but_for_what_has_no_key() -> None:
    made = outgoing(price("A", 1), notice(), price("A", 2))
    made.failed(taken(made))
    assert made.lost == 1
    assert bodies(made) == [price("A", 2).body]


def doubtful(*frames: Frame) -> Outgoing:
    """One that does not know whether frames arrived."""
    made = outgoing(*frames)
    made.failed(taken(made))
    return made


def settle(made: Outgoing, stored: Iterable[bytes | None]) -> None:
    """Tells what is stored in the fields that are asked about."""
    made.settle(made.doubts(), [list(stored)])


def test_what_is_stored_as_it_was_sent_arrived_and_is_not_sent_again() -> None:
    made = doubtful(price())
    ((key, entries),) = made.doubts()
    assert (key, [field for _, field, _ in entries]) == (keys.last_values(A), [keys.field(None, "A")])
    settle(made, [envelope.render_value(price())])
    assert (len(made), made.doubts()) == (0, [])


@pytest.mark.parametrize("stored", [None, b"", envelope.render_value(price("A", 9)), b"12345678"])
def test_where_something_else_is_stored_it_is_sent_again(stored: bytes | None) -> None:
    """Also where it is older: only the very same shows that it arrived."""
    made = doubtful(price())
    settle(made, [stored])
    assert made.doubts() == []
    assert bodies(made) == [price().body]


def test_only_what_arrived_is_let_go_among_others() -> None:
    made = doubtful(price("A", 1), price("A", 2, "acme"))
    settle(made, [None, envelope.render_value(price("A", 2, "acme"))])
    assert bodies(made) == [price("A", 1).body]


def test_what_was_said_is_given_back_with_the_cursor_it_had() -> None:
    made = outgoing(price("A", 1), price("A", 2, "acme"), notice())
    sent(made, taken(made), [b"50"])
    ((names, words),) = made.memories([])
    first, second = price("A", 1), price("A", 2, "acme")
    first.cursor, second.cursor = 48, 49
    expected = [keys.field(None, "A"), envelope.render_value(first)]
    expected += [keys.field("acme", "A"), envelope.render_value(second)]
    assert names == (keys.last_values(A), keys.shard_cursor(A), keys.CURSOR, keys.frames_channel(A))
    assert words == [50, *expected]


def test_what_was_left_out_is_not_remembered_and_costs_no_cursor() -> None:
    made = outgoing(price("A", 1), price("A", 2, "acme"))
    sent(made, taken(made), [b"50", b"1"])
    ((_, words),) = made.memories([])
    only = price("A", 2, "acme")
    only.cursor = 50
    assert words[1:] == [keys.field("acme", "A"), envelope.render_value(only)]


@pytest.mark.parametrize(("cursor", "kept"), [(49, 1.0), (51, 9.0)])
def test_of_what_was_said_and_what_is_watched_the_newer_is_given_back(cursor: int, kept: float) -> None:
    made = outgoing(price("A", 1))
    sent(made, taken(made), [b"50"])
    watched = price("A", 9)
    watched.cursor = cursor
    ((_, words),) = made.memories([watched])
    assert envelope.parse_value(bytes(words[2])).body == price("A", kept).body  # type: ignore[arg-type]  # bytes


def test_what_was_said_is_remembered_within_a_bound_and_given_back_in_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_SAID", 3)
    monkeypatch.setattr(module, "PAGE", 2)
    made = outgoing(*[price("A", 1, f"t{number}") for number in range(5)])
    sent(made, taken(made), [b"50"])
    pages = [list(words[1::2]) for _, words in made.memories([])]
    assert pages == [[keys.field("t2", "A"), keys.field("t3", "A")], [keys.field("t4", "A")]]


def test_nothing_to_give_back_is_no_call() -> None:
    assert outgoing().memories([notice()]) == []
