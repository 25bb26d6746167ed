from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from marketstream.core.events.event import Event, Priority, User
from marketstream.core.events.filter import Filter
from marketstream.core.events.index import Index
from marketstream.core.events.router import Router
from marketstream.core.events.rule import Rule
from tests.support.events import EVENTS, FILTERS, NAMES, USERS, event

CAPACITY, WEIGHT, TTL = 4, 9, 60.0
RULES = (
    Rule("halts", Filter(types=frozenset({"halt"}), min_priority=Priority.CRITICAL), "broadcast_all"),
    Rule("flags", Filter(names=frozenset({"flag"}), min_confidence=0.5), "priority_first"),
)
# Few kinds, so that they are asked for again and again.
KINDS = st.builds(
    event,
    type=st.sampled_from(["alert", "halt"]),
    name=st.sampled_from(["wedge", "flag"]),
    symbol=st.sampled_from([None, "AAPL"]),
    confidence=st.sampled_from([None, 0.2, 0.5, 0.7]),
    priority=st.sampled_from([Priority.MEDIUM, Priority.CRITICAL]),
    tenant=st.sampled_from([None, "acme"]),
)


class RouterMachine(RuleBasedStateMachine):
    """What a router remembers never differs from what the index says now."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 10.0
        self.router = Router(RULES, Index(), CAPACITY, TTL, WEIGHT)
        self.held: dict[tuple[User, str], Filter] = {}
        self.ranks: dict[User, int] = {}
        self.asked = 0

    @rule(user=st.sampled_from(USERS), rank=st.integers(0, 2))
    def join(self, user: User, rank: int) -> None:
        """A user connects, or has another plan."""
        self.router.join(user, rank)
        self.ranks[user] = rank

    @rule(user=st.sampled_from(USERS))
    def leave(self, user: User) -> None:
        """A user is gone, and the subscriptions too."""
        self.router.leave(user)
        self.ranks.pop(user, None)
        self.held = {key: filter_ for key, filter_ in self.held.items() if key[0] != user}

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES), filter_=FILTERS | st.just(Filter()))
    def subscribe(self, user: User, name: str, filter_: Filter) -> None:
        """A subscription comes or changes, of a user who may not be connected yet."""
        self.router.subscribe(user, name, filter_)
        self.held[user, name] = filter_

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES))
    def unsubscribe(self, user: User, name: str) -> None:
        """A subscription goes."""
        assert self.router.unsubscribe(user, name) == (self.held.pop((user, name), None) is not None)

    @rule(seconds=st.sampled_from([0.0, 1.0, TTL]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def rebuild(self) -> None:
        """The index is built anew."""
        self.router.rebuild()

    @rule(event=EVENTS | KINDS)
    def route(self, event: Event) -> None:
        """An event goes to whom it should, twice."""
        for _ in range(2):
            route = self.router.route(event, self.now)
            expected = next((rule for rule in RULES if rule.filter.matches(event)), None)
            assert route.rule.name == (expected.name if expected else "default")
            recipients = dict(route.recipients)
            assert len(recipients) == len(route.recipients)
            if route.rule.strategy == "broadcast_all":
                tenants = (event.tenant,) if event.tenant else ("acme", "globex")
                assert recipients == {user: () for user in self.ranks if user[0] in tenants}
                continue
            self.asked += 1
            assert recipients == self.brute(event)
            if route.rule.strategy == "priority_first":
                ranks = [self.ranks[user] for user, _ in route.recipients]
                assert ranks == sorted(ranks, reverse=True)

    def brute(self, event: Event) -> dict[User, tuple[str, ...]]:
        """Who is connected and wants an event, by asking each subscription."""
        found: dict[User, tuple[str, ...]] = {}
        for (user, name), filter_ in sorted(self.held.items(), key=lambda item: item[0]):
            if user in self.ranks and event.tenant in (None, user[0]) and filter_.matches(event):
                found[user] = (*found.get(user, ()), name)
        return found

    @invariant()
    def bounded(self) -> None:
        """It remembers no more than it may, and every question was a hit or a miss."""
        cache = self.router._cache
        assert len(cache) <= CAPACITY
        answers = cache._answers.values()
        held = sum(len(each.candidates.pairs) for each in answers)
        held += sum(len(recipients) for each in answers for recipients in each.recipients.values())
        assert cache.weight == held
        assert cache.weight <= WEIGHT
        assert self.router.hits + self.router.misses == self.asked
        assert self.router.connected == len(self.ranks)

    @invariant()
    def tidy(self) -> None:
        """Nothing is left of answers that are gone."""
        if not self.router._cache._answers:
            assert not any(self.router._cache._fields)
            assert not any(self.router._cache._priorities)
            assert len(self.router._cache._free) == CAPACITY


TestRouter = RouterMachine.TestCase
