from typing import cast

import pytest

from marketstream.core.market.symbols import SymbolMode, SymbolRegistry, normalise
from marketstream.errors import ConfigurationError


@pytest.mark.parametrize(
    "raw", ["EUR/USD", "AAPL", "BRK.B", "^GSPC", "EURUSD=X", "BTC-USD", "A_B", "X:Y", "7203", "M&M.NS"]
)
def test_a_well_formed_symbol_is_returned_as_it_is(raw: str) -> None:
    assert normalise(raw) == raw


def test_a_symbol_is_upper_cased() -> None:
    assert normalise("eur/Usd") == "EUR/USD"


def test_a_symbol_has_one_to_thirty_two_characters() -> None:
    assert normalise("A") == "A"
    assert normalise("a" * 32) == "A" * 32
    assert normalise("A" * 33) is None
    assert normalise("") is None


@pytest.mark.parametrize(
    "raw", ["EUR USD", " AAPL", "AAPL\n", "AAPL\0", "A,B", "*", "A?", "[A]", "A{B}", "A%2FB"]
)
def test_any_other_character_is_refused(raw: str) -> None:
    assert normalise(raw) is None


@pytest.mark.parametrize("raw", ["STRA\u00dfE", "\u017f", "\u0131", "\ufb01", "\u00c9", "\u0391", "\uff11"])
def test_foreign_letters_are_refused_even_when_their_upper_case_is_ascii(raw: str) -> None:
    assert normalise(raw) is None


@pytest.mark.parametrize("raw", [None, 7, 1.5, True, b"AAPL", ["AAPL"], {"symbol": "AAPL"}, object()])
def test_what_is_not_text_is_refused_without_an_error(raw: object) -> None:
    assert normalise(raw) is None


def test_an_open_registry_accepts_whatever_is_well_formed() -> None:
    registry = SymbolRegistry("open", ["AAPL"])
    assert registry.accepts("AAPL")
    assert registry.accepts("NEVER/HEARD")
    assert not registry.accepts("eur/usd")
    assert not registry.accepts("EUR USD")
    assert not registry.accepts("")


def test_a_listed_registry_accepts_symbols_and_globs_of_its_list_only() -> None:
    registry = SymbolRegistry("listed", ["AAPL", "eur/*", "SYM[0-9]", "^?"])
    assert all(map(registry.accepts, ("AAPL", "EUR/USD", "SYM7", "^X")))
    assert not any(map(registry.accepts, ("AAP", "AAPLX", "USD/EUR", "SYM77", "XEUR/USD", "aapl")))


def test_a_listed_registry_refuses_what_its_globs_match_but_no_symbol_may_be() -> None:
    assert not SymbolRegistry("listed", ["*"]).accepts("EUR USD")


def test_an_empty_list_accepts_nothing() -> None:
    assert not SymbolRegistry("listed", []).accepts("AAPL")


def test_a_list_may_be_given_as_any_iterable() -> None:
    registry = SymbolRegistry("listed", (name for name in ("AAPL", "MSFT")))
    assert registry.accepts("AAPL")
    assert registry.accepts("MSFT")


def test_an_unknown_mode_is_a_configuration_error_that_names_its_setting() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SymbolRegistry(cast("SymbolMode", "closed"), [])
    assert caught.value.path == "symbols.mode"
