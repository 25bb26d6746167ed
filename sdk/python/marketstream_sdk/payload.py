"""Values of messages, read; raises what `wire` translates: KeyError, TypeError, ValueError and the like."""

from collections.abc import Iterable, Mapping
from typing import Any

from marketstream_sdk.model import Quote, Side


def parse_quote(payload: Any) -> Quote:  # noqa: ANN401 - JSON is of any shape
    """Return a best price as the wire has it."""
    return Quote(
        text(payload["symbol"]),
        _side(payload["bestBid"]),
        _side(payload["bestAsk"]),
        maybe(payload["midPrice"]),
        maybe(payload["spread"]),
        maybe(payload["spreadBps"]),
        whole(payload["timestamp"]),
    )


def text(value: object) -> str:
    """Return a text, and nothing else."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def number(value: object) -> float:
    """Return a number, and nothing else."""
    # The numbers of JSON come as exactly these two; `isinstance` would let a boolean through.
    if type(value) is float or type(value) is int:
        return value
    raise TypeError(f"{value!r} is not a number")


def maybe(value: object) -> float | None:
    """Return a number, or nothing."""
    return None if value is None else number(value)


def whole(value: object) -> int:
    """Return a whole number."""
    return int(number(value))


def maybe_text(value: object) -> str | None:
    """Return a text, or nothing."""
    return None if value is None else text(value)


def names(value: object) -> list[str]:
    """Return the names in a list; none where there is something else."""
    return [str(name) for name in value] if isinstance(value, list) else []


def named(answer: Mapping[str, Any], field: str, asked: Iterable[str]) -> list[str]:
    """Return those of the names in a field of an answer that were asked for."""
    confirmed = set(names(answer.get(field)))
    return [name for name in asked if name in confirmed]


def _side(value: Any) -> Side | None:  # noqa: ANN401 - JSON is of any shape
    if value is None:
        return None
    return Side(number(value["price"]), maybe(value["size"]), text(value["source"]))
