"""The one door to orjson: JSON in and out, with this project's errors."""

from typing import Any

import orjson

from marketstream.errors import InvalidMessageError


def dumps(value: object) -> bytes:
    """Compact UTF-8 JSON of a value.

    Raises:
        InvalidMessageError: The value holds something JSON has no form for.
    """
    try:
        # A copy: orjson's own result keeps the whole buffer it was written into, 4 KiB for a price of 200
        # bytes, for as long as a last value, a delayed price or a cached answer is kept.
        return memoryview(orjson.dumps(value)).tobytes()
    except orjson.JSONEncodeError as exc:
        raise InvalidMessageError(f"cannot be written as JSON: {exc}") from exc


def loads(data: bytes | str) -> Any:  # noqa: ANN401  # JSON is of any shape
    """The value of a JSON text.

    Raises:
        InvalidMessageError: It is not JSON, or nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise InvalidMessageError(f"not JSON: {exc}") from exc
