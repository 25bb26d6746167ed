"""Publications between processes: read as they were written, and nothing else is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream.errors import InvalidMessageError
from marketstream.wire import forwarded
from marketstream.wire.forwarded import Answer, Request

NUMBERS = st.integers(0, 2**64 - 1)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=99), NUMBERS, st.binary())
def test_a_request_is_read_as_it_was_written(reply: str, number: int, body: bytes) -> None:
    assert forwarded.parse_request(forwarded.request(reply, number, body)) == Request(reply, number, body)


@given(NUMBERS, st.integers(0, 65_535), st.binary())
def test_an_answer_is_read_as_it_was_written(number: int, status: int, body: bytes) -> None:
    assert forwarded.parse_answer(forwarded.answer(number, status, body)) == Answer(number, status, body)


@given(st.binary())
def test_no_bytes_make_a_reader_raise_anything_else(data: bytes) -> None:
    for parse in (forwarded.parse_request, forwarded.parse_answer):
        try:
            parse(data)
        except InvalidMessageError:
            continue


@pytest.mark.parametrize(
    "data", [b"", b"\x02" + bytes(10), b"\x01" + bytes(9) + b"\x05abc", b"\x01" + bytes(10)]
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        forwarded.parse_request(data)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x02" + bytes(10)])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        forwarded.parse_answer(data)
