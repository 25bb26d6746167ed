import pytest

from marketstream.core.events.cache import TTL
from marketstream.core.events.event import Event, Priority
from marketstream.core.events.filter import Filter
from marketstream.core.events.index import Index
from marketstream.core.events.router import Router
from marketstream.core.events.rule import Rule
from tests.support.events import event

ANN, BOB, EVE = ("acme", "ann"), ("acme", "bob"), ("globex", "eve")
APPLE, MSFT = Filter(symbols=frozenset({"AAPL"})), Filter(symbols=frozenset({"MSFT"}))


def router(*rules: Rule, capacity: int = 100, weight: int = 1_000) -> Router:
    made = Router(rules, Index(), capacity=capacity, weight=weight)
    for user in (ANN, BOB, EVE):
        made.join(user)
    return made


def users(made: Router, sent: Event, now: float = 0) -> list[tuple[str, str]]:
    return [user for user, _ in made.route(sent, now).recipients]


def test_the_first_rule_that_matches_counts() -> None:
    alerts = Rule("alerts", Filter(types=frozenset({"alert"})), "broadcast_all")
    made = router(alerts, Rule("again", alerts.filter, "load_balanced", group="g"))
    assert made.route(event(type="alert"), 0).rule.name == "alerts"
    assert made.route(event(type="news"), 0).rule.name == "default"


def test_a_broadcast_reaches_everybody_who_is_connected_of_its_tenant() -> None:
    made = router(Rule("all", strategy="broadcast_all"))
    assert set(users(made, event())) == {ANN, BOB, EVE}
    assert set(users(made, event(tenant="acme"))) == {ANN, BOB}
    made.leave(BOB)
    assert set(users(made, event())) == {ANN, EVE}
    assert users(made, event(tenant="acme")) == [ANN]
    made.join(("acme", "new"))
    assert len(users(made, event())) == 3
    assert users(made, event(tenant="initech")) == []
    assert made.connected == 3


def test_a_load_balanced_event_is_for_its_group_and_nobody_else() -> None:
    made = router(Rule("jobs", strategy="load_balanced", group="workers"))
    route = made.route(event(), 0)
    assert (route.rule.group, list(route.recipients)) == ("workers", [])


def test_higher_plans_come_first_with_priority_first() -> None:
    made = router(Rule("urgent", strategy="priority_first"))
    for user, rank in ((ANN, 1), (BOB, 3), (EVE, 2)):
        made.join(user, rank)
        made.subscribe(user, "all", Filter())
    assert users(made, event()) == [BOB, EVE, ANN]
    made.join(ANN, 4)
    assert users(made, event()) == [ANN, BOB, EVE]


def test_only_users_who_are_connected_are_recipients() -> None:
    """A subscription may be there before its user is."""
    made = router()
    late = ("acme", "late")
    made.subscribe(late, "all", Filter())
    assert users(made, event()) == []
    made.join(late)
    assert users(made, event()) == [late]
    made.leave(late)
    assert users(made, event()) == []
    assert dict(made.held(late)) == {}


def test_the_same_kind_of_event_is_looked_up_once_whatever_its_confidence() -> None:
    made = router()
    made.subscribe(ANN, "all", Filter())
    made.subscribe(BOB, "sure", Filter(min_confidence=0.8))
    assert users(made, event(confidence=0.9)) == [ANN, BOB]
    route = made.route(event("e2", confidence=0.5, data=b'{"x":1}'), 0)
    assert [user for user, _ in route.recipients] == [ANN]
    assert route.cached
    assert users(made, event("e3")) == [ANN]
    assert (made.hits, made.misses) == (2, 1)


def test_many_confidences_are_answered_right_and_not_all_remembered() -> None:
    made = router()
    for number in range(20):
        made.subscribe(ANN, f"{number:02}", Filter(min_confidence=number / 20))
    for confidence in [*range(20), *range(20)]:
        ((_, names),) = made.route(event(confidence=confidence / 20), 0).recipients
        assert len(names) == confidence + 1
    (answer,) = made._cache._answers.values()
    assert len(answer.recipients) <= 6


@pytest.mark.parametrize(
    "other",
    [
        event(type="news"),
        event(name="flag"),
        event(symbol="AAPL"),
        event(tier="daily"),
        event(priority=Priority.HIGH),
        event(tenant="acme"),
    ],
)
def test_another_kind_of_event_is_looked_up_for_itself(other: Event) -> None:
    made = router()
    made.route(event(), 0)
    assert not made.route(other, 0).cached


def test_a_changed_subscription_takes_along_only_what_it_could_touch() -> None:
    """By what it was and by what it is."""
    made = router()
    made.subscribe(ANN, "mine", APPLE)
    apple, microsoft, other = (event(symbol=symbol) for symbol in ("AAPL", "MSFT", "NVDA"))
    for sent in (apple, microsoft, other):
        made.route(sent, 0)
    made.subscribe(ANN, "mine", MSFT)
    assert made.invalidated == 2
    assert made.route(other, 0).cached
    assert users(made, apple) == []
    assert users(made, microsoft) == [ANN]


def test_what_changes_nothing_takes_nothing_along() -> None:
    made = router()
    made.subscribe(ANN, "mine", APPLE)
    for tenant in ("acme", "globex"):
        made.route(event(symbol="AAPL", tenant=tenant, priority=Priority.LOW), 0)
    made.subscribe(ANN, "mine", APPLE)
    made.join(ANN)
    assert not made.unsubscribe(ANN, "other")
    made.subscribe(EVE, "urgent", Filter(min_priority=Priority.HIGH))
    assert made.invalidated == 0
    made.subscribe(EVE, "mine", APPLE)
    assert made.invalidated == 1
    assert made.route(event(symbol="AAPL", tenant="acme", priority=Priority.LOW), 0).cached


def test_an_answer_holds_five_minutes() -> None:
    made = router()
    made.route(event(), 10)
    assert made.route(event(), 10 + TTL - 0.1).cached
    assert not made.route(event(), 10 + TTL).cached


def test_the_answer_that_was_not_needed_for_longest_goes_first() -> None:
    made = router(capacity=2)
    first, second, third = (event(type=kind) for kind in "abc")
    for sent in (first, second, first, third):
        made.route(sent, 0)
    assert made.route(first, 0).cached
    assert not made.route(second, 0).cached


def test_answers_hold_no_more_candidates_than_allowed() -> None:
    made = router(weight=3)
    for user in (ANN, BOB, EVE):
        made.subscribe(user, "all", Filter())
        made.subscribe(user, "more", APPLE)
    assert len(users(made, event())) == 3
    assert made.route(event(), 0).cached
    # Six candidates are too many to be remembered at all; those who were remembered stay.
    assert len(users(made, event(symbol="AAPL"))) == 3
    assert not made.route(event(symbol="AAPL"), 0).cached
    assert made.route(event(), 0).cached


def test_a_cache_that_could_hold_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="holds none"):
        Router((), Index(), capacity=0)
