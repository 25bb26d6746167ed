"""Define the filter of a subscription and when it matches an event.

`Filter.matches` is that definition. `read_filter` makes one from a table, for clients, who spell the fields
as the protocol does, and for rules in a file alike; it refuses what it does not know, because a misspelt
field that is passed over would send somebody everything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marketstream.core.events.event import Event, Priority, Tier
from marketstream.core.events.field import (
    MAX_LENGTH,
    read_confidence,
    read_name,
    read_priority,
    read_symbol,
    read_tier,
)
from marketstream.errors import InvalidMessageError

MAX_VALUES = 200
"""Values that one field may list."""
MAX_NAMES = 50
"""Subscriptions that one user may hold."""

FIELDS = ("types", "names", "symbols", "tiers", "min_confidence", "min_priority")


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that an event must all meet; None means that anything will do.

    An event without a symbol, tier or confidence never meets a condition on that field.

    Attributes:
        types: Types of which it must have one.
        names: Names of which it must have one.
        symbols: Upper-case symbols of which it must have one.
        tiers: Tiers of which it must have one.
        min_confidence: Least confidence, from 0 to 1.
        min_priority: Least priority.
    """

    types: frozenset[str] | None = None
    names: frozenset[str] | None = None
    symbols: frozenset[str] | None = None
    tiers: frozenset[Tier] | None = None
    min_confidence: float | None = None
    min_priority: Priority | None = None

    def matches(self, event: Event) -> bool:
        """Return whether an event meets every condition.

        Of whose tenant it is, is not a matter of the filter.
        """
        return (
            (self.types is None or event.type in self.types)
            and (self.names is None or event.name in self.names)
            and (self.symbols is None or event.symbol in self.symbols)
            and (self.tiers is None or event.tier in self.tiers)
            and (self.min_priority is None or event.priority >= self.min_priority)
            and (
                self.min_confidence is None
                or (event.confidence is not None and event.confidence >= self.min_confidence)
            )
        )


def read_filter(table: object, spelling: Mapping[str, str] | None = None) -> Filter:
    """Read a filter.

    Args:
        table: Field to value; an absent field, or None, means that anything will do.
        spelling: How each field is written in the table, where that is not as in `FIELDS`.

    Raises:
        InvalidMessageError: It is none; the path is that of the field as it is written.
    """
    if not isinstance(table, Mapping):
        raise InvalidMessageError("a filter must be an object")
    spelt = {(spelling or {}).get(field, field): field for field in FIELDS}
    unknown = next((key for key in table if key not in spelt), None)
    if unknown is not None:
        shown = str(unknown)[:MAX_LENGTH]
        text = f"{shown}: is no field of a filter; there are {', '.join(spelt)}"
        raise InvalidMessageError(text, path=shown)
    given = {key: field for key, field in spelt.items() if table.get(key) is not None}
    return Filter(**{field: _READERS[field](table[key], key) for key, field in given.items()})


def _listed(read: Callable[[object, str], str]) -> Callable[[object, str], frozenset[str]]:
    def values(value: object, path: str) -> frozenset[str]:
        if not isinstance(value, list):
            raise InvalidMessageError(f"{path}: must be a list", path=path)
        if not value:
            text = f"{path}: is empty, so nothing would ever match; leave it out to match anything"
            raise InvalidMessageError(text, path=path)
        if len(value) > MAX_VALUES:
            text = f"{path}: may list {MAX_VALUES} values, {len(value)} were given"
            raise InvalidMessageError(text, path=path)
        return frozenset(read(item, f"{path}[{index}]") for index, item in enumerate(value))

    return values


_READERS: dict[str, Callable[[object, str], Any]] = {
    "types": _listed(read_name),
    "names": _listed(read_name),
    "symbols": _listed(read_symbol),
    "tiers": _listed(read_tier),
    "min_confidence": read_confidence,
    "min_priority": read_priority,
}
