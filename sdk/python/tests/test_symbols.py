import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import InvalidSymbolError
from marketstream_sdk.symbols import normalise


def test_symbols_are_trimmed_and_upper_cased_and_named_once() -> None:
    assert normalise([" eur/usd", "AAPL\n", "EUR/USD"]) == ("EUR/USD", "AAPL")


def test_one_symbol_needs_no_list() -> None:
    assert normalise("brk-b") == ("BRK-B",)


@pytest.mark.parametrize("symbols", [[], "", " ", ["AAPL", ""], "A B", "A,B", "€", "ß", "\u0131", "A" * 33])
def test_what_cannot_be_a_symbol_is_refused_at_once(symbols: str | list[str]) -> None:
    """Letters that only become A to Z by upper-casing are none."""
    with pytest.raises(InvalidSymbolError) as caught:
        normalise(symbols)
    assert caught.value.code == "INVALID_SYMBOL"
    assert isinstance(caught.value, ValueError)


@given(st.text(alphabet="abcXYZ019.-_/=^:&", min_size=1, max_size=32))
def test_whatever_is_well_formed_is_taken(symbol: str) -> None:
    assert normalise(symbol) == (symbol.upper(),)
