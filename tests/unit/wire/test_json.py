"""The door to JSON: numbers as people write them, and nothing but this project's errors."""

import json
import math
from typing import Any

import pytest
from hypothesis import given

from marketstream.errors import InvalidMessageError
from marketstream.wire import messages
from marketstream.wire.json import dumps, loads
from tests.support.builders import JSON, best_price


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_500_000.0, "1500000"),
        (0.0, "0"),
        (-3.0, "-3"),
        (0.5, "0.5"),
        (2.0**53, "9007199254740992"),
        (1e300, "1e+300"),
        (math.inf, "null"),
        (True, "true"),
        ({"delay": 0.0, "said": "1.0, 2.0", "list": [1.0, (2.0, 2.5)]}, None),
    ],
)
def test_whole_numbers_have_no_fraction(value: object, text: str | None) -> None:
    """Readers of typed languages take 0.0 for no whole number; a text keeps what it says."""
    assert dumps(value).decode() == (text or '{"delay":0,"said":"1.0, 2.0","list":[1,[2,2.5]]}')


@given(JSON)
def test_values_are_what_they_were(value: Any) -> None:
    assert loads(dumps(value)) == json.loads(json.dumps(value))


@pytest.mark.parametrize("depth", [300, 2_000])
def test_what_is_nested_too_deeply_is_refused(depth: int) -> None:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    with pytest.raises(InvalidMessageError):
        dumps(value)


def test_a_price_has_no_fraction_where_it_has_none() -> None:
    """Its JSON takes a way of its own, as the dearest."""
    assert b".0" not in messages.price(best_price("AAPL", 150.0)).body
