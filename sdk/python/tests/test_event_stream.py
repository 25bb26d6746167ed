import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import InvalidMessageError
from marketstream_sdk.transports.event_stream import LONGEST, Event, EventParser
from rehearsal.cases import golden, golden_event

STREAM = b"".join(
    golden(f"sse/{name}.txt").encode()
    for name in ("retry", "price", "comment", "price_one_sided", "lagged", "token_expiring", "error")
)


def read(*chunks: bytes) -> list[Event]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_a_stream_of_the_server_is_understood() -> None:
    events = read(STREAM)
    assert [event.name for event in events] == ["price", "price", "lagged", "token_expiring", "error"]
    assert [event.ident for event in events[:3]] == [
        "EUR/USD-1700000000000@1700000000000000",
        "AAPL-1700000000000@1700000000000001",
        "",
    ]
    assert json.loads(events[0].data) == golden_event("price")[1]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20), st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_it_does_not_matter_where_a_stream_is_cut_or_how_lines_end(cuts: list[int], end: bytes) -> None:
    stream = STREAM.replace(b"\n", end)
    cuts_at = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(cuts_at)]
    # A CR at the very end waits for the LF that may follow it.
    assert read(*chunks, b":\n") == read(STREAM)


def test_data_lines_are_joined_and_one_space_is_dropped() -> None:
    assert read(b"data: a\ndata:  b\ndata\n\n") == [Event("message", "a\n b\n", "")]


def test_an_event_that_is_not_finished_is_none() -> None:
    assert read(b"event: price\ndata: {}\n") == []


def test_an_event_without_data_is_none_and_leaves_nothing_behind() -> None:
    assert read(b"event: price\nid: 7\n\ndata: x\n\n") == [Event("message", "x", "")]


def test_comments_and_fields_that_are_not_known_are_passed_over() -> None:
    assert read(b": comment\nretry: 1\ncolour: red\nid: a\0b\ndata: x\n\n") == [Event("message", "x", "")]


def test_a_byte_order_mark_and_broken_characters_do_no_harm() -> None:
    assert read("\ufeffdata: €".encode()[:-1], b"\xac\xff\n\n") == [Event("message", "€\ufffd", "")]


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_bytes_raise_anything(chunks: list[bytes]) -> None:
    read(*chunks)


@pytest.mark.parametrize("line", [b"data: x\n", b"x"])
def test_an_event_without_end_is_refused(line: bytes) -> None:
    with pytest.raises(InvalidMessageError, match="too long"):
        read(line * (LONGEST + 1))
