"""Decide what a client's command does: identity, limits, entitlements, subscriptions.

The same rules for every edge: limits, entitlements and idempotence are decided here once. A session
answers a command with a reply and a list of effects; it carries none of them out.
"""

from collections.abc import Iterable
from math import ceil
from typing import assert_never

from marketstream.core.delivery.bucket import TokenBucket
from marketstream.core.delivery.commands import (
    Effect,
    Join,
    JoinChannel,
    Leave,
    LeaveChannel,
    ListSubscriptions,
    Ping,
    Pong,
    Reply,
    SendSnapshot,
    Subscribe,
    Subscribed,
    Subscription,
    Subscriptions,
    Unsubscribe,
    Unsubscribed,
)
from marketstream.core.delivery.entitlements import Principal
from marketstream.core.market.symbols import SymbolRegistry, normalise
from marketstream.errors import (
    AuthFailedError,
    InvalidMessageError,
    NotEntitledError,
    RateLimitedError,
)

CHANNELS = ("indices", "sectors", "sentiment", "movers")
READ = "market:read"
READERS = frozenset({READ, "admin"})
"""Scopes that may see prices."""
WORK = "events:work"
"""Scope of those who may do the work of groups."""

SHOWN = 64
"""Characters of a bad symbol that are repeated in its error."""


class Session:
    """The state machine behind one admitted connection.

    Attributes:
        principal: Who the client is; replaced when it authenticates again.
        subscriptions: What it watches, by symbol.
        channels: What it listens to.
    """

    __slots__ = ("_bucket", "_registry", "channels", "principal", "subscriptions")

    def __init__(self, principal: Principal, registry: SymbolRegistry) -> None:
        plan = principal.plan
        self.principal = principal
        self.subscriptions: dict[str, Subscription] = {}
        self.channels: tuple[str, ...] = ()
        self._registry = registry
        self._bucket = TokenBucket(plan.rate_capacity, plan.rate_refill)

    def handle(
        self, command: Subscribe | Unsubscribe | ListSubscriptions | Ping, now: float, at_ms: int
    ) -> tuple[Reply, list[Effect]]:
        """Decide what a command leads to.

        Args:
            command: What the client asks.
            now: Monotonic seconds, for the rate limit.
            at_ms: Epoch milliseconds, for the answer to a ping.

        Returns:
            The reply, and what must be done after it was sent, in order.

        Raises:
            RateLimitedError: The call comes too early; nothing was changed.
            NotEntitledError: The whole call is beyond the plan; nothing was changed.
            InvalidMessageError: A channel that does not exist was named; nothing was changed.
        """
        match command:
            case Subscribe():
                return self._subscribe(command, now)
            case Unsubscribe():
                return self._unsubscribe(command)
            case ListSubscriptions():
                return Subscriptions(tuple(self.subscriptions.values()), self.channels), []
            case Ping():
                return Pong(at_ms), []
            case _:
                assert_never(command)

    def require_reader(self) -> None:
        """Check that the token is one to read with.

        Raises:
            NotEntitledError: It is only good for something else, such as publishing.
        """
        if not self._reads:
            raise NotEntitledError(f"scope {READ} is required")

    def spend(self, now: float) -> None:
        """Take one call from the client's allowance.

        Raises:
            RateLimitedError: There is none left; says when there will be.
        """
        wait = self._bucket.take(now)
        if wait > 0:
            raise RateLimitedError(ceil(wait * 1000))

    def require_symbol(self, raw: str) -> str:
        """Return the well-formed symbol a client may see.

        Raises:
            InvalidMessageError: It is not a symbol, or not one of this server's.
            NotEntitledError: The plan or the token does not cover it.
        """
        symbol = normalise(raw)
        if symbol is None or not self._registry.accepts(symbol):
            raise InvalidMessageError(f"{raw[:SHOWN]}: invalid symbol", path="symbol")
        if not self.principal.allows_symbol(symbol):
            raise NotEntitledError(f"{symbol}: not entitled")
        return symbol

    def require_same(self, principal: Principal) -> None:
        """Check that a token is the same user's.

        Raises:
            AuthFailedError: It is somebody else's.
        """
        if (principal.user, principal.tenant) != (self.principal.user, self.principal.tenant):
            raise AuthFailedError("the token belongs to another user or tenant")

    def renew(self, principal: Principal, now: float) -> tuple[list[Effect], tuple[str, ...]]:
        """Go on under a newer token of the same user; what it does not allow is left.

        The allowance of calls goes on too: whoever changes between plans gains nothing by it.

        Args:
            principal: Who the newer token says the client is.
            now: Monotonic seconds.

        Returns:
            What must be done, and a sentence about each thing that ended or changed.

        Raises:
            AuthFailedError: The token is somebody else's; nothing was changed.
        """
        # First of all: somebody else's token must change nothing.
        self.require_same(principal)
        plan = principal.plan
        # What was spent stays spent, or a client could renew its token to call more often.
        self._bucket.resize(plan.rate_capacity, plan.rate_refill, now)
        self.principal = principal
        effects: list[Effect] = []
        ended: list[str] = []
        kept: dict[str, Subscription] = {}
        for symbol, held in self.subscriptions.items():
            # In the order of subscribing, so that a smaller plan keeps the oldest ones.
            fault = self._fault(symbol, len(kept))
            if fault is not None:
                effects.append(Leave(symbol))
                ended.append(fault)
                continue
            kept[symbol] = allowed = self._allowed(held)
            # The room stays; joining again only changes mode and rate.
            if allowed != held:
                effects.append(Join(allowed))
                ended.append(_changed(held, allowed))
        self.subscriptions = kept
        reads = self._reads
        silent = [channel for channel in self.channels if not (reads and plan.allows_channel(channel))]
        self.channels = tuple(channel for channel in self.channels if channel not in silent)
        effects += map(LeaveChannel, silent)
        return effects, (*ended, *(f"{channel}: not entitled" for channel in silent))

    @property
    def _reads(self) -> bool:
        return bool(self.principal.scopes & READERS)

    def _fault(self, symbol: str, before: int) -> str | None:
        """Return why a subscription that comes after so many others must end.

        The newest go where there are many.
        """
        if not self._reads or not self.principal.allows_symbol(symbol):
            return f"{symbol}: not entitled"
        return (
            f"{symbol}: max subscriptions reached"
            if before >= self.principal.plan.max_subscriptions
            else None
        )

    def _allowed(self, held: Subscription) -> Subscription:
        """Return a subscription as the plan allows it."""
        plan = self.principal.plan
        mode = held.mode if held.mode in plan.modes else plan.modes[0]
        return Subscription(held.symbol, mode, plan.effective_rate(held.max_rate))

    def _subscribe(self, command: Subscribe, now: float) -> tuple[Reply, list[Effect]]:
        # The call is paid for before it is judged: refused calls cost work too.
        self.spend(now)
        self.require_reader()
        # The whole call is checked before anything changes: an error means that nothing was done.
        self._check_call(command)
        plan = self.principal.plan
        rate = plan.effective_rate(command.max_rate)
        taken: dict[str, None] = {}
        errors: dict[str, None] = {}
        effects: list[Effect] = []
        for raw in command.symbols:
            symbol = normalise(raw)
            if symbol is None or not self._registry.accepts(symbol):
                errors[f"{raw[:SHOWN]}: invalid symbol"] = None
                continue
            held = self.subscriptions.get(symbol)
            # What is held already was allowed when it came; `renew` judges it when the token changes.
            if held is None and not self.principal.allows_symbol(symbol):
                errors[f"{symbol}: not entitled"] = None
                continue
            # Repeating what one has is confirmed at the cap too.
            if held is None and len(self.subscriptions) >= plan.max_subscriptions:
                errors[f"{symbol}: max subscriptions reached"] = None
                continue
            wanted = Subscription(symbol, command.mode, rate)
            # Nothing to do for an equal one: subscribing five times is subscribing once.
            if wanted != held:
                self.subscriptions[symbol] = wanted
                effects.append(Join(wanted))
            taken[symbol] = None
        channels, refused, joined = self._join_channels(command.channels)
        errors |= dict.fromkeys(refused)
        # After the joins: values between the snapshot and the join would be missing otherwise.
        if taken:
            effects.append(SendSnapshot(tuple(taken)))
        return Subscribed(tuple(taken), channels, tuple(errors)), [*effects, *joined]

    def _check_call(self, command: Subscribe) -> None:
        if command.mode not in self.principal.plan.modes:
            raise NotEntitledError(f"mode {command.mode} is not part of plan {self.principal.plan.name}")
        _check_channels(command.channels or ())

    def _join_channels(
        self, channels: tuple[str, ...] | None
    ) -> tuple[tuple[str, ...] | None, list[str], list[Effect]]:
        if channels is None:
            return None, [], []
        allowed = [c for c in dict.fromkeys(channels) if self.principal.plan.allows_channel(c)]
        refused = [f"{c}: not entitled" for c in dict.fromkeys(channels) if c not in allowed]
        fresh = [c for c in allowed if c not in self.channels]
        self.channels = (*self.channels, *fresh)
        return tuple(allowed), refused, [JoinChannel(c) for c in fresh]

    def _unsubscribe(self, command: Unsubscribe) -> tuple[Reply, list[Effect]]:
        _check_channels(command.channels or ())
        gone = dict.fromkeys(s for s in map(normalise, command.symbols) if s is not None)
        # Symbols that were not held are confirmed too: what the client wants is the case.
        effects: list[Effect] = [Leave(s) for s in gone if self.subscriptions.pop(s, None)]
        if command.channels is None:
            return Unsubscribed(tuple(gone), None), effects
        silent = tuple(dict.fromkeys(command.channels))
        effects += [LeaveChannel(c) for c in silent if c in self.channels]
        self.channels = tuple(c for c in self.channels if c not in silent)
        return Unsubscribed(tuple(gone), silent), effects


def _changed(held: Subscription, allowed: Subscription) -> str:
    if allowed.mode != held.mode:
        return f"{held.symbol}: mode {held.mode} is not part of the plan; mode {allowed.mode} now"
    return f"{held.symbol}: at most {allowed.max_rate:g} updates a second now"


def _check_channels(channels: Iterable[str]) -> None:
    for index, channel in enumerate(channels):
        if channel not in CHANNELS:
            raise InvalidMessageError(
                f"channels[{index}]: no such channel; there are {', '.join(CHANNELS)}",
                path=f"channels[{index}]",
            )
