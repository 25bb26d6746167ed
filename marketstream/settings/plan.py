"""Load plans and symbol lists from their files."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from marketstream.core.delivery.entitlements import Mode, Plan
from marketstream.core.events.rule import Rule, parse_rules
from marketstream.core.market.symbols import SymbolRegistry, normalise
from marketstream.errors import ConfigurationError
from marketstream.settings.model import Settings
from marketstream.settings.toml import first_fault, read_toml, shipped

_GLOB = re.compile(r"[*?\[\]!]")

Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _RateLimit(_Table):
    capacity: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 100
    refill: Positive = 10


class _PlanTable(_Table):
    """One `[plans.NAME]`; the meaning of each key is that of `core.delivery.entitlements.Plan`."""

    max_subscriptions: Annotated[int, Field(gt=0)] = 100
    max_connections: Annotated[int, Field(ge=0)] = 0
    rate_limit: _RateLimit = _RateLimit()
    symbols: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ("*",)
    max_rate: Rate = 0
    delay: Rate = 0
    modes: Annotated[tuple[Mode, ...], Field(min_length=1)] = ("latest", "every")
    rank: int = 0
    user_share: Share = 0.1
    plan_share: Share = 1.0

    def plan(self, name: str) -> Plan:
        """Return the same as the core knows it."""
        return Plan(
            name=name,
            max_subscriptions=self.max_subscriptions,
            max_connections=self.max_connections,
            rate_capacity=self.rate_limit.capacity,
            rate_refill=self.rate_limit.refill,
            symbols=tuple(glob.upper() for glob in self.symbols),
            channels=self.channels,
            max_rate=self.max_rate,
            delay=self.delay,
            modes=self.modes,
            rank=self.rank,
            user_share=self.user_share,
            plan_share=self.plan_share,
        )


class _PlansFile(_Table):
    plans: dict[Annotated[str, Field(min_length=1)], _PlanTable] = Field(min_length=1)


class _SymbolsFile(_Table):
    symbols: tuple[str, ...]


def load_plans(path: Path | None = None) -> dict[str, Plan]:
    """Return the plans of a file, by name.

    Args:
        path: The file; None: the shipped `config/plans.toml`.

    Raises:
        ConfigurationError: It cannot be read, or a key is unknown or impossible; its path is that of the
            key, such as `plans.pro.max_rate`.
    """
    file = path or shipped("plans.toml")
    try:
        tables = _PlansFile.model_validate(read_toml(file, "auth.plans_file")).plans
    except ValidationError as error:
        where, text = first_fault(error)
        raise ConfigurationError(where, f"{text} ({file})") from error
    return {name: table.plan(name) for name, table in tables.items()}


def load_rules(path: Path | None, plans: Collection[str]) -> tuple[Rule, ...]:
    """Return the rules by which events find their users.

    Args:
        path: The file; None: the shipped `config/routes.toml`.
        plans: Names of the plans that there are.

    Raises:
        ConfigurationError: It cannot be read, or a key is unknown or impossible.
    """
    file = path or shipped("routes.toml")
    try:
        return parse_rules(read_toml(file, "events.routes_file"), plans)
    except ConfigurationError as error:
        raise ConfigurationError(
            error.path, f"{str(error).removeprefix(f'{error.path}: ')} ({file})"
        ) from None


def load_registry(settings: Settings) -> SymbolRegistry:
    """Return which symbols this server serves.

    Raises:
        ConfigurationError: A list is asked for, and cannot be read or lists what is no symbol.
    """
    if settings.symbols.mode == "open":
        return SymbolRegistry(mode="open")
    file = settings.symbols.file or shipped("symbols.toml")
    try:
        listed = _SymbolsFile.model_validate(read_toml(file, "symbols.file")).symbols
    except ValidationError as error:
        where, text = first_fault(error)
        raise ConfigurationError(where, f"{text} ({file})") from error
    for index, name in enumerate(listed):
        if normalise(_GLOB.sub("A", name)) is None:
            raise ConfigurationError(f"symbols[{index}]", f"{name!r} is neither a symbol nor a glob ({file})")
    return SymbolRegistry(mode="listed", listed=listed)
