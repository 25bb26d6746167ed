"""Define routing rules, as `config/routes.toml` has them.

`parse_rules` reads the tables of such a file and refuses what it does not know with the path of the fault: a
rule that is misread sends events to the wrong people.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from marketstream.core.events.field import read_name
from marketstream.core.events.filter import Filter, read_filter
from marketstream.errors import ConfigurationError, InvalidMessageError

Strategy = Literal["broadcast_all", "content_based", "priority_first", "load_balanced"]

DROPPABLE = ("symbol", "tier", "confidence", "expiresAt", "market", "data")
"""Fields that may be kept from a plan; of `market` and `data` also parts, such as `data.score`."""

_KEYS = ("name", "filter", "strategy", "group", "shared", "enrich", "drop")
_OPEN = ("market", "data")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: Name for figures and logs.
        filter: Events that it is for.
        strategy: broadcast_all (everybody who is connected, of the event's tenant if it has one),
            content_based (whose subscriptions match), priority_first (the same, higher plans first) or
            load_balanced (one worker of a group).
        group: The group of workers; None for other strategies.
        shared: Whether workers of all tenants are one group, instead of one for each tenant.
        enrich: Whether the event is sent with its symbol's best price and state.
        drop: Plan to fields that it may not see, as dotted paths on the wire.
    """

    name: str
    filter: Filter = field(default_factory=Filter)
    strategy: Strategy = "content_based"
    group: str | None = None
    shared: bool = False
    enrich: bool = False
    drop: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


DEFAULT = Rule("default")
"""The last rule, which is always there: whoever has asked for an event gets it."""


def parse_rules(table: Mapping[str, object], plans: Collection[str]) -> tuple[Rule, ...]:
    """Read rules.

    Args:
        table: {"rules": [...]}, in the order in which they are tried.
        plans: Names of the plans that there are.

    Returns:
        The rules, and `DEFAULT` behind them.

    Raises:
        ConfigurationError: They cannot be; the path is that of the key, such as `rules[0].filter.types[2]`.
    """
    _known(table, ("rules",), "")
    entries = table.get("rules", [])
    if not isinstance(entries, list):
        raise ConfigurationError("rules", "must be a list of tables")
    rules = [_rule(entry, f"rules[{index}]", plans) for index, entry in enumerate(entries)]
    taken = {DEFAULT.name}
    for index, rule in enumerate(rules):
        if rule.name in taken:
            raise ConfigurationError(f"rules[{index}].name", f"{rule.name!r} is the name of another rule")
        taken.add(rule.name)
    _agree(rules)
    return (*rules, DEFAULT)


def _agree(rules: Sequence[Rule]) -> None:
    """Check that all rules of a group say alike who its members are."""
    shared: dict[str, bool] = {}
    for index, rule in enumerate(rules):
        if rule.group is not None and shared.setdefault(rule.group, rule.shared) != rule.shared:
            text = f"the group {rule.group!r} is shared by another rule, or not; they must agree"
            raise ConfigurationError(f"rules[{index}].shared", text)


def _rule(entry: object, path: str, plans: Collection[str]) -> Rule:
    if not isinstance(entry, dict):
        raise ConfigurationError(path, "must be a table")
    _known(entry, _KEYS, path)
    strategy = entry.get("strategy", "content_based")
    if strategy not in get_args(Strategy):
        raise ConfigurationError(f"{path}.strategy", f"must be one of {', '.join(get_args(Strategy))}")
    group = _group(entry.get("group"), strategy, f"{path}.group")
    if group is None and "shared" in entry:
        raise ConfigurationError(f"{path}.shared", "only a group of workers is shared")
    return Rule(
        name=_name(entry.get("name"), f"{path}.name"),
        filter=_filter(entry.get("filter", {}), f"{path}.filter"),
        strategy=cast("Strategy", strategy),
        group=group,
        shared=_flag(entry, "shared", path),
        enrich=_flag(entry, "enrich", path),
        drop=_drop(entry.get("drop", {}), f"{path}.drop", plans),
    )


def _known(table: Mapping[str, object], keys: Collection[str], path: str) -> None:
    unknown = next((key for key in table if key not in keys), None)
    if unknown is not None:
        raise ConfigurationError(f"{path}.{unknown}".lstrip("."), "unknown key")


def _name(value: object, path: str) -> str:
    try:
        return read_name(value, "")
    except InvalidMessageError as error:
        raise ConfigurationError(path, str(error).removeprefix(": ")) from error


def _filter(value: object, path: str) -> Filter:
    try:
        return read_filter(value)
    except InvalidMessageError as error:
        text = str(error).removeprefix(f"{error.path}: ")
        raise ConfigurationError(f"{path}.{error.path}".rstrip("."), text) from error


def _group(value: object, strategy: str, path: str) -> str | None:
    if strategy == "load_balanced":
        return _name(value, path)
    if value is not None:
        raise ConfigurationError(path, "only a rule with the strategy load_balanced has a group")
    return None


def _flag(entry: Mapping[str, object], key: str, path: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise ConfigurationError(f"{path}.{key}", "must be true or false")
    return value


def _drop(value: object, path: str, plans: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ConfigurationError(path, "must be a table of plans")
    unknown = next((plan for plan in value if plan not in plans), None)
    if unknown is not None:
        raise ConfigurationError(f"{path}.{unknown}", f"no such plan; there are {', '.join(plans)}")
    return {plan: _fields(fields, f"{path}.{plan}") for plan, fields in value.items()}


def _fields(value: Any, path: str) -> tuple[str, ...]:  # noqa: ANN401  # what a file may hold
    if not isinstance(value, list):
        raise ConfigurationError(path, "must be a list of fields")
    for index, entry in enumerate(value):
        first, *parts = entry.split(".") if isinstance(entry, str) else [""]
        if first not in DROPPABLE or (parts and first not in _OPEN) or not all(parts):
            text = f"must be one of {', '.join(DROPPABLE)}, or a part such as data.score"
            raise ConfigurationError(f"{path}[{index}]", text)
    return tuple(value)
