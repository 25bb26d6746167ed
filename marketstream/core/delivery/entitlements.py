"""Define plans and principals: what a client may see and do."""

import re
from dataclasses import dataclass, field
from typing import Literal

from marketstream.core.glob import compile_globs

Mode = Literal["latest", "every"]

PRICED = frozenset({"indices", "sectors", "movers"})
"""Channels that show prices as they are now; nobody keeps old ones of them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a paying customer bought, as written in `config/plans.toml`.

    Attributes:
        name: Name that tokens use.
        max_subscriptions: Symbols one connection may hold.
        max_connections: Connections one user may hold at once; 0 means unlimited.
        rate_capacity: Calls a connection may make in a burst.
        rate_refill: Calls a second that come back.
        symbols: Globs of the symbols that may be seen.
        channels: Globs of the channels that may be heard.
        max_rate: Updates a second and symbol; 0 means unlimited.
        delay: Seconds that prices are held back; 0 means live.
        modes: Delivery modes that may be asked for.
        user_share: Part of a provider's day that one user may spend, from 0 to 1.
        plan_share: The same of all users of the plan together.
        rank: Where it stands among plans; events for higher ones may go out first.
    """

    name: str
    max_subscriptions: int = 100
    max_connections: int = 0
    rate_capacity: float = 100
    rate_refill: float = 10
    symbols: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ("*",)
    max_rate: float = 0
    delay: float = 0
    modes: tuple[Mode, ...] = ("latest", "every")
    rank: int = 0
    user_share: float = 0.1
    plan_share: float = 1.0
    _symbols: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _channels: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_symbols", compile_globs(glob.upper() for glob in self.symbols))
        object.__setattr__(self, "_channels", compile_globs(self.channels))

    def allows_symbol(self, symbol: str) -> bool:
        """Return whether the plan covers a symbol."""
        return self._symbols.match(symbol) is not None

    def allows_channel(self, channel: str) -> bool:
        """Return whether the plan covers a channel.

        A plan that shows prices late covers none of prices of now.
        """
        late = self.delay > 0 and channel in PRICED
        return not late and self._channels.match(channel) is not None

    def effective_rate(self, requested: float) -> float:
        """Return the stricter of the client's wish and the plan's limit, updates a second; 0 is unlimited."""
        limits = [rate for rate in (requested, self.max_rate) if rate > 0]
        return min(limits, default=0)


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller.

    Attributes:
        user: The token's `sub`.
        tenant: The token's `tenantId`.
        plan: What the caller may do.
        scopes: Rights such as `market:read`, `market:publish`, `admin`.
        symbols: Pattern that narrows the plan's symbols; None when the token does not narrow them.
        expires_at_ms: Epoch milliseconds at which the token ends.
    """

    user: str
    tenant: str
    plan: Plan
    scopes: frozenset[str]
    symbols: re.Pattern[str] | None
    expires_at_ms: int

    def allows_symbol(self, symbol: str) -> bool:
        """Return whether both the plan and the token cover a symbol."""
        return self.plan.allows_symbol(symbol) and (
            self.symbols is None or self.symbols.match(symbol) is not None
        )
