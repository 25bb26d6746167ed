"""Encode and decode JSON; the one door to orjson."""

import json
from typing import Any

import orjson

from marketstream.errors import InvalidMessageError

_EXACT = 2**53
"""Up to here a float holds every whole number."""


def dumps(value: object) -> bytes:
    """Return compact UTF-8 JSON of a value, whole numbers without a fraction: 1500000, not 1500000.0.

    Raises:
        InvalidMessageError: The value holds something JSON has no form for, or is nested too deeply.
    """
    try:
        return dumps_as_is(_whole(value))
    except RecursionError:
        raise InvalidMessageError("cannot be written as JSON: it is nested too deeply") from None


def whole(number: float | None) -> float | None:
    """Return a number as an integer where it is one."""
    if number.__class__ is float and number.is_integer() and -_EXACT <= number <= _EXACT:
        return int(number)
    return number


def _whole(value: object) -> object:
    kind = value.__class__
    if kind is float:
        return whole(value)  # type: ignore[arg-type]  # as said
    if kind is dict:
        return {key: _whole(item) for key, item in value.items()}  # type: ignore[attr-defined]  # as said
    if kind is list or kind is tuple:
        return [_whole(item) for item in value]  # type: ignore[attr-defined]  # as said
    return value


def dumps_as_is(value: object) -> bytes:
    """Return what `dumps` does, without a look at each number: for prices, whose numbers are known.

    Raises:
        InvalidMessageError: As of `dumps`.
    """
    try:
        # A copy: orjson's own result keeps the whole buffer it was written into, 4 KiB for a price of 200
        # bytes, for as long as a last value, a delayed price or a cached answer is kept.
        return memoryview(orjson.dumps(value)).tobytes()
    except orjson.JSONEncodeError as exc:
        raise InvalidMessageError(f"cannot be written as JSON: {exc}") from exc


def loads_with_nan(data: bytes) -> Any:  # noqa: ANN401  # JSON is of any shape
    """Return the value of a text that is JSON but for `NaN`, `Infinity` and `-Infinity` among its numbers.

    Many libraries write them. Read so, one of them costs its own item instead of the whole batch. What is
    plain JSON is read as fast as by `loads`.

    Raises:
        InvalidMessageError: It is not even that, or is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        if b"NaN" not in data and b"Infinity" not in data:
            raise InvalidMessageError(f"not JSON: {exc}") from exc
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise InvalidMessageError(f"not JSON: {exc}") from exc


def loads(data: bytes | str) -> Any:  # noqa: ANN401  # JSON is of any shape
    """Return the value of a JSON text.

    Raises:
        InvalidMessageError: It is not JSON, or nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise InvalidMessageError(f"not JSON: {exc}") from exc
