"""Read numbers, dates and missing values as vendors write them.

A value that cannot be used is None; what a whole answer must have is asked for by `need` and `rows`. Links
are only taken when a browser may follow them.
"""

import math
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from marketstream.core.market.symbols import normalise
from marketstream.core.number import decimal
from marketstream.core.query.model import Match
from marketstream.errors import InvalidMessageError, ProviderDataError, UnknownSymbolError
from marketstream.wire import json

T = TypeVar("T")

NEW_YORK = ZoneInfo("America/New_York")
"""The clock of vendors that name no zone: they began with American shares."""

_NOTHING = frozenset(("", "-", "none", "null", "n/a", "nan"))
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999


def decode(vendor: str, data: bytes) -> Any:  # noqa: ANN401  # JSON is of any shape
    """Return the value of a JSON answer.

    Raises:
        ProviderDataError: It is not JSON.
    """
    try:
        return json.loads(data)
    except InvalidMessageError:
        raise ProviderDataError(vendor, "its answer is not JSON") from None  # the cause would quote it


def need(vendor: str, value: T | None, what: str) -> T:
    """Return a value that an answer must have.

    Raises:
        ProviderDataError: It has not.
    """
    if value is None:
        raise ProviderDataError(vendor, f"its answer has no usable {what}")
    return value


def rows(vendor: str, value: object, what: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects that an answer must have.

    Raises:
        ProviderDataError: It is not one.
    """
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ProviderDataError(vendor, f"its answer has no list of {what}")
    return value


def table(value: object) -> dict[str, Any]:
    """Return a JSON object; what is none reads as an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """Return a finite number, also one written as text, with or without a percent sign."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        found = decimal(value.strip().removesuffix("%")) if isinstance(value, str) else float(value)
    except OverflowError:
        return None
    return found if found is not None and math.isfinite(found) else None


def positive(value: object) -> float | None:
    """Return a number above 0: vendors write 0 for a price, a size or a value that they do not have."""
    found = number(value)
    return found if found is not None and found > 0 else None


def text(value: object) -> str | None:
    """Text with something in it, without what surrounds it."""
    if not isinstance(value, str) or value.strip().lower() in _NOTHING:
        return None
    return value.strip()


def link(value: object) -> str | None:
    """Return an address on the web; never one that would run something."""
    found = text(value)
    return found if found and found.lower().startswith(("https://", "http://")) else None


def instant(value: object, zone: tzinfo = UTC) -> int | None:
    """Return epoch milliseconds of a date, or a date and a time, in any form of ISO 8601.

    Args:
        value: What was sent.
        zone: Where it is so late, if the text does not say; a date alone begins in UTC.
    """
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value.strip())
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC if len(value.strip()) <= len("2024-01-01") else zone)
        return _reasonable(found.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def moment(value: object) -> int | None:
    """Return epoch milliseconds of a number of epoch seconds."""
    seconds = number(value)
    return None if seconds is None else _reasonable(seconds * 1000)


def moved(price: float, before: float | None) -> tuple[float | None, float | None]:
    """Return how far a price is from the close before, and the same in percent of that."""
    if not before:
        return None, None
    change = price - before
    return round(change, 6), round(100 * change / before, 4)


def check_symbol(vendor: str, found: object, symbol: str) -> None:
    """Hold an answer to its question; punctuation does not count, since vendors write it in their own ways.

    Raises:
        ProviderDataError: It is about another symbol.
    """
    if not isinstance(found, str) or _bare(found) != _bare(symbol):
        raise ProviderDataError(vendor, "its answer is about another symbol")


def match(symbol: object, name: object, exchange: object, kind: object) -> Match | None:
    """Return one answer of a search; None when its symbol cannot be asked for here."""
    found = normalise(symbol)
    if found is None:
        return None
    return Match(found, text(name) or found, text(exchange), text(kind))


def symbols(values: object) -> tuple[str, ...]:
    """Return those of some values that are symbols, each once, in their order."""
    listed = values if isinstance(values, list) else []
    return tuple(dict.fromkeys(found for value in listed if (found := normalise(value))))


def unknown(symbol: str) -> UnknownSymbolError:
    """Return the error for a symbol that a vendor does not know."""
    return UnknownSymbolError(f"{symbol}: no such symbol is known")


def _bare(symbol: str) -> str:
    return "".join(filter(str.isalnum, symbol)).upper()


def _reasonable(at_ms: float) -> int | None:
    return round(at_ms) if 0 <= at_ms <= _LATEST_MS else None
