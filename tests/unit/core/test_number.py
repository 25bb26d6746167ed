import math

import pytest

from marketstream.core.number import decimal, whole

NEITHER = [
    *("", " ", "1_0", "1_000.5", " 1", "1 ", "1\n", "\t1", "\u0663", "1\u0663", "\uff11", "\u00b2", "\u216b"),
    *(
        "inf",
        "-inf",
        "Infinity",
        "nan",
        "NaN",
        "0x10",
        "1e",
        "e5",
        ".",
        "+",
        "--1",
        "1,5",
        "1.2.3",
        "1f",
        "\x001",
    ),
]


@pytest.mark.parametrize("text", NEITHER)
def test_what_only_python_reads_as_a_number_is_none(text: str) -> None:
    assert decimal(text) is None
    assert whole(text) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("007", 7), ("10", 10), ("1.5", 1.5), ("-0.25", -0.25), ("1e5", 1e5), (".5", 0.5), ("5.", 5)],
)
def test_a_number_is_read(text: str, value: float) -> None:
    assert decimal(text) == value


def test_a_number_without_bounds_is_infinite_and_no_error() -> None:
    assert decimal("9" * 400) == math.inf
    assert decimal("1e999") == math.inf


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_a_whole_number_is_read(text: str, value: int) -> None:
    assert whole(text) == value


@pytest.mark.parametrize("text", ["-1", "+1", "1.0", "1e5", "9" * 19])
def test_what_has_a_sign_a_fraction_or_no_end_is_not_whole(text: str) -> None:
    assert whole(text) is None
