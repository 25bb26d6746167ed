"""What gateways tell each other of their symbols."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream.errors import InvalidMessageError
from marketstream.wire.interest import Word, parse, parse_symbols, render

SYMBOLS = st.lists(st.from_regex(r"[A-Z0-9.\-_/=^:&]{1,32}", fullmatch=True), max_size=5).map(tuple)
GOOD: dict[str, Any] = {"node": "n", "number": 1, "kind": "change", "added": ["A"], "dropped": []}


@given(
    st.builds(
        Word,
        st.text(st.characters(codec="utf-8")),
        st.integers(0, 2**53),
        st.sampled_from(["change", "whole", "gone"]),
        SYMBOLS,
        SYMBOLS,
    )
)
def test_a_word_comes_out_as_it_went_in(word: Word) -> None:
    assert parse(render(word)) == word


@pytest.mark.parametrize(
    "wrong",
    [
        {"node": 1},
        {"number": "1"},
        {"number": None},
        {"kind": "other"},
        {"kind": None},
        {"added": "A"},
        {"added": ["a"]},
        {"dropped": [7]},
        {"dropped": ["A B"]},
    ],
)
def test_what_is_no_word_is_refused(wrong: dict[str, Any]) -> None:
    assert parse(json.dumps(GOOD).encode()).added == ("A",)
    with pytest.raises(InvalidMessageError):
        parse(json.dumps(GOOD | wrong).encode())


@given(st.binary() | st.just(b"[]") | st.just(b"7"))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        parse(data)
    except InvalidMessageError:
        return


def test_what_is_stored_of_a_node_is_a_number_and_symbols() -> None:
    assert parse_symbols({b"": b"7", b"A": b"", b"EUR/USD": b""}) == (7, ["A", "EUR/USD"])
    assert parse_symbols({}) == (0, [])


@pytest.mark.parametrize("stored", [{b"": b"x"}, {b"": b"1", b"a b": b""}, {b"": b"1", b"\xff": b""}])
def test_what_is_stored_otherwise_is_refused(stored: dict[bytes, bytes]) -> None:
    with pytest.raises(InvalidMessageError):
        parse_symbols(stored)
