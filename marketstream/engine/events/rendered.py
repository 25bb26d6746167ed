"""Render one event once for each set of names and plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from marketstream.core.delivery.entitlements import Plan, Principal
from marketstream.core.events.queue import QueuedEvent
from marketstream.core.events.rule import Rule
from marketstream.wire.events import codec as wire
from marketstream.wire.events.between_processes import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedEvent(QueuedEvent):
    """A rendered event that knows when it was received.

    Attributes:
        received_at: Monotonic seconds at which its event reached this process.
        sent_ms: Epoch milliseconds at which some process took it.
        source: What it was rendered from, and is again for others.
        names: The subscriptions by which its user gets it.
    """

    received_at: float
    sent_ms: int
    source: "RenderedEvents" = field(compare=False, repr=False)
    names: tuple[str, ...] = field(compare=False)

    def of(self, who: Principal) -> "RenderedEvent | None":
        """Return the same event as somebody else may see it; None: not at all."""
        return self.source.of(who, self.names)


class RenderedEvents:
    """One event, rendered for each set of names and plan.

    Args:
        message: The event, as it arrived.
        rule: The rule that it falls under.
        received_at: Monotonic seconds now.
        expires_at: Monotonic seconds from which on it is of no use.
    """

    def __init__(self, message: Message, rule: Rule, *, received_at: float, expires_at: float) -> None:
        self._message = message
        self._drop: Mapping[str, tuple[str, ...]] = rule.drop
        self._received_at = received_at
        self._expires_at = expires_at
        self._bodies: dict[tuple[str, bool], bytes] = {}
        self._by_plan: dict[tuple[str, bool, tuple[str, ...]], RenderedEvent] = {}

    def of(self, who: Principal, names: Sequence[str]) -> RenderedEvent | None:
        """Return the event for a user; None for one whose plan or token does not cover its symbols.

        Args:
            who: The user; to a plan that sees prices late it is not shown how the market is.
            names: The subscriptions by which the user gets it.
        """
        symbol, plan = self._message.event.symbol, who.plan
        if symbol is not None and not who.allows_symbol(symbol):
            return None
        # A plan that drops nothing is like any other such plan.
        key = (plan.name if plan.name in self._drop else "", plan.delay > 0, tuple(names))
        rendered = self._by_plan.get(key)
        if rendered is None:
            body = self.body(plan)
            if names:
                body = wire.render_matched(body, names)
            priority = self._message.event.priority
            rendered = RenderedEvent(
                body,
                priority,
                self._expires_at,
                received_at=self._received_at,
                sent_ms=self._message.sent_ms,
                source=self,
                names=key[2],
            )
            self._by_plan[key] = rendered
        return rendered

    def body(self, plan: Plan) -> bytes:
        """Return the event as a plan may see it."""
        key = (plan.name if plan.name in self._drop else "", plan.delay > 0)
        body = self._bodies.get(key)
        if body is None:
            body, market = self._message.body, self._message.market
            if market is not None and not plan.delay:
                body = wire.enrich(body, market.price, market.state)
            if key[0]:
                body = wire.drop_fields(body, self._drop[plan.name])
            self._bodies[key] = body
        return body
