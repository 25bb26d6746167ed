"""Choose the recipients of an event: rules first, then the index or a remembered answer.

A `Router` owns the changes of its index, so it knows which answers they touch. Only users who are connected
here are ever recipients, whatever the index holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marketstream.core.events.cache import CAPACITY, TTL, WEIGHT, Answer, Cache, kind_of
from marketstream.core.events.event import Event, User
from marketstream.core.events.filter import Filter
from marketstream.core.events.index import Index, Pair, merge
from marketstream.core.events.rule import DEFAULT, Rule


@dataclass(frozen=True, slots=True)
class Route:
    """Where an event goes.

    Attributes:
        rule: The rule that it falls under; with load_balanced there are no recipients, its group decides.
        recipients: Each user once, with the names of the matching subscriptions in order; none with
            broadcast_all. With priority_first those of higher plans come first; else in no promised order.
        cached: Whether the answer was known from before.
    """

    rule: Rule
    recipients: Sequence[Pair]
    cached: bool


class Router:
    """Finds the recipients of events.

    Args:
        rules: In the order in which they are tried; what none is for falls under `rule.DEFAULT`.
        index: Whose subscriptions want what; from now on changed by this router only.
        capacity: Answers to keep, at least 1.
        ttl: Seconds to keep one.
        weight: Candidates and recipients that all answers kept may hold.

    Raises:
        ValueError: The capacity is less.
    """

    __slots__ = ("_cache", "_everybody", "_index", "_members", "_ranks", "_rules")

    def __init__(
        self,
        rules: Sequence[Rule],
        index: Index,
        capacity: int = CAPACITY,
        ttl: float = TTL,
        weight: int = WEIGHT,
    ) -> None:
        self._rules = tuple(rules)
        self._index = index
        self._cache = Cache(capacity, ttl, weight)
        self._ranks: dict[User, int] = {}
        self._members: dict[str, dict[User, Pair]] = {}
        self._everybody: dict[str | None, tuple[Pair, ...]] = {}

    def use_rules(self, rules: Sequence[Rule]) -> None:
        """Try these rules from now on; answers of the index do not depend on them."""
        self._rules = tuple(rules)

    @property
    def hits(self) -> int:
        """Events whose candidates were known."""
        return self._cache.hits

    @property
    def misses(self) -> int:
        """Events for which the index was asked."""
        return self._cache.misses

    @property
    def invalidated(self) -> int:
        """Return the answers that were dropped because a subscription changed."""
        return self._cache.invalidated

    @property
    def connected(self) -> int:
        """Users who are connected."""
        return len(self._ranks)

    @property
    def subscriptions(self) -> int:
        """Subscriptions that are held."""
        return len(self._index)

    def join(self, user: User, rank: int = 0) -> None:
        """Note that a user is connected, or has another plan now.

        Args:
            user: The user.
            rank: Rank of the plan; more is higher.
        """
        if self._ranks.get(user) == rank:
            return
        if user not in self._ranks:
            self._members.setdefault(user[0], {})[user] = user, ()
            self._recount(user[0])
        self._ranks[user] = rank
        for filter_ in self._index.held(user).values():
            self._cache.invalidate(user[0], filter_)

    def leave(self, user: User) -> None:
        """Note that a user is connected no longer, and let the subscriptions go."""
        for filter_ in self._index.drop(user).values():
            self._cache.invalidate(user[0], filter_)
        if self._ranks.pop(user, None) is None:
            return
        members = self._members[user[0]]
        del members[user]
        if not members:
            del self._members[user[0]]
        self._recount(user[0])

    def subscribe(self, user: User, name: str, filter_: Filter) -> None:
        """Hold a subscription from now on, in place of one of the same name."""
        before = self._index.put(user, name, filter_)
        if before == filter_:
            return
        if before is not None:
            self._cache.invalidate(user[0], before)
        self._cache.invalidate(user[0], filter_)

    def unsubscribe(self, user: User, name: str) -> bool:
        """Let a subscription go.

        Returns:
            Whether there was one.
        """
        before = self._index.remove(user, name)
        if before is not None:
            self._cache.invalidate(user[0], before)
        return before is not None

    def held(self, user: User) -> Mapping[str, Filter]:
        """Return the subscriptions of a user by name."""
        return self._index.held(user)

    def rebuild(self) -> None:
        """Build the index anew; nobody's answer changes by it."""
        self._index.rebuild()

    def rule_of(self, event: Event) -> Rule:
        """Return the rule that an event falls under."""
        return next((rule for rule in self._rules if rule.filter.matches(event)), DEFAULT)

    def route(self, event: Event, now: float, rule: Rule | None = None) -> Route:
        """Find who gets an event.

        Args:
            event: The event.
            now: Monotonic seconds.
            rule: The rule that it falls under, where that is known already.
        """
        rule = rule or self.rule_of(event)
        if rule.strategy == "load_balanced":
            return Route(rule, (), cached=False)
        if rule.strategy == "broadcast_all":
            return Route(rule, self._all(event.tenant), cached=False)
        kind = kind_of(event, rule.strategy)
        known = self._cache.find(kind, now)
        answer = known or self._cache.keep(kind, self._index.candidates(event), now)
        return Route(rule, self._recipients(answer, event, rule), cached=known is not None)

    def _recipients(self, answer: Answer, event: Event, rule: Rule) -> tuple[Pair, ...]:
        reach = answer.candidates.reach(event.confidence)
        recipients = answer.recipients.get(reach)
        if recipients is None:
            ranks = self._ranks
            wanting = answer.candidates.pairs[:reach]
            found = merge(wanting)
            # Where nobody wants it twice, the pairs of the index serve again.
            merged = wanting if len(found) == len(wanting) else found.items()
            pairs = [pair for pair in merged if pair[0] in ranks]
            if rule.strategy == "priority_first":
                pairs.sort(key=lambda pair: ranks[pair[0]], reverse=True)
            recipients = tuple(pairs)
            self._cache.remember(answer, reach, recipients)
        return recipients

    def _all(self, tenant: str | None) -> tuple[Pair, ...]:
        if tenant is not None and tenant not in self._members:
            return ()
        known = self._everybody.get(tenant)
        if known is None:
            tenants = self._members.values() if tenant is None else (self._members[tenant],)
            known = tuple(pair for members in tenants for pair in members.values())
            self._everybody[tenant] = known
        return known

    def _recount(self, tenant: str) -> None:
        self._everybody.pop(tenant, None)
        self._everybody.pop(None, None)
