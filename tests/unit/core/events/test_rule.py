import tomllib
from typing import Any

import pytest

from marketstream.core.events.event import Priority
from marketstream.core.events.filter import Filter
from marketstream.core.events.index import Index
from marketstream.core.events.router import Router
from marketstream.core.events.rule import DEFAULT, Rule, parse_rules
from marketstream.errors import ConfigurationError
from marketstream.settings import shipped
from tests.support.events import event

PLANS = ("basic", "pro")
BALANCED = {"strategy": "load_balanced", "group": "g"}
ANN, EVE = ("acme", "ann"), ("globex", "eve")


def parsed(text: str) -> tuple[Rule, ...]:
    return parse_rules(tomllib.loads(text), PLANS)


def test_without_any_rule_subscriptions_decide() -> None:
    assert parse_rules({}, PLANS) == (DEFAULT,)
    assert (DEFAULT.strategy, DEFAULT.filter) == ("content_based", Filter())


def test_a_rule_says_what_is_sent_to_whom_and_how() -> None:
    text = """
        [[rules]]
        name = "signals"
        filter = { types = ["signal"], symbols = ["eur/usd"], min_confidence = 1, min_priority = "HIGH" }
        strategy = "priority_first"
        enrich = true
        drop = { basic = ["confidence", "data.score", "data.model.name", "market"] }
        [[rules]]
        name = "jobs"
        strategy = "load_balanced"
        group = "workers"
        [[rules]]
        name = "reports"
        strategy = "load_balanced"
        group = "printers"
        shared = true
    """
    signals, jobs, reports, last = parsed(text)
    assert signals == Rule(
        name="signals",
        filter=Filter(
            types=frozenset({"signal"}),
            symbols=frozenset({"EUR/USD"}),
            min_confidence=1.0,
            min_priority=Priority.HIGH,
        ),
        strategy="priority_first",
        enrich=True,
        drop={"basic": ("confidence", "data.score", "data.model.name", "market")},
    )
    assert jobs == Rule("jobs", strategy="load_balanced", group="workers")
    assert (jobs.shared, reports.shared) == (False, True)
    assert last is DEFAULT


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"rule": []}, "rule"),
        ({"rules": {}}, "rules"),
        ({"rules": ["a"]}, "rules[0]"),
        ({"rules": [{}]}, "rules[0].name"),
        ({"rules": [{"name": ""}]}, "rules[0].name"),
        ({"rules": [{"name": "a"}, {"name": "a"}]}, "rules[1].name"),
        ({"rules": [{"name": "default"}]}, "rules[0].name"),
        ({"rules": [{"name": "a", "priority": 1}]}, "rules[0].priority"),
        ({"rules": [{"name": "a", "strategy": "random"}]}, "rules[0].strategy"),
        ({"rules": [{"name": "a", "strategy": ["content_based"]}]}, "rules[0].strategy"),
        ({"rules": [{"name": "a", "filter": []}]}, "rules[0].filter"),
        ({"rules": [{"name": "a", "filter": {"minConfidence": 1}}]}, "rules[0].filter.minConfidence"),
        ({"rules": [{"name": "a", "filter": {"types": ["x", 1]}}]}, "rules[0].filter.types[1]"),
        ({"rules": [{"name": "a", "strategy": "load_balanced"}]}, "rules[0].group"),
        ({"rules": [{"name": "a", "group": "g"}]}, "rules[0].group"),
        ({"rules": [{"name": "a", "shared": True}]}, "rules[0].shared"),
        ({"rules": [BALANCED | {"name": "a", "shared": 1}]}, "rules[0].shared"),
        ({"rules": [BALANCED | {"name": "a"}, BALANCED | {"name": "b", "shared": True}]}, "rules[1].shared"),
        ({"rules": [{"name": "a", "enrich": 1}]}, "rules[0].enrich"),
        ({"rules": [{"name": "a", "drop": ["data"]}]}, "rules[0].drop"),
        ({"rules": [{"name": "a", "drop": {"gold": ["data"]}}]}, "rules[0].drop.gold"),
        ({"rules": [{"name": "a", "drop": {"pro": "data"}}]}, "rules[0].drop.pro"),
        ({"rules": [{"name": "a", "drop": {"pro": ["data", "id"]}}]}, "rules[0].drop.pro[1]"),
        ({"rules": [{"name": "a", "drop": {"pro": ["symbol.x"]}}]}, "rules[0].drop.pro[0]"),
        ({"rules": [{"name": "a", "drop": {"pro": ["data."]}}]}, "rules[0].drop.pro[0]"),
        ({"rules": [{"name": "a", "drop": {"pro": [1]}}]}, "rules[0].drop.pro[0]"),
    ],
)
def test_a_rule_that_cannot_be_stops_with_the_path_of_its_key(table: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_rules(table, PLANS)
    assert refused.value.path == path
    assert str(refused.value).startswith(f"{path}: ")
    assert not str(refused.value).startswith(f"{path}: :")


def test_the_shipped_rules_tell_everybody_of_a_halt_and_leave_the_rest_to_subscriptions() -> None:
    router = Router(parsed(shipped("routes.toml").read_text()), Index())
    for user in (ANN, EVE):
        router.join(user)
    router.subscribe(ANN, "halts", Filter(types=frozenset({"halt"})))
    urgent = router.route(event(type="halt", priority=Priority.CRITICAL), 0)
    assert {user for user, _ in urgent.recipients} == {ANN, EVE}
    usual = router.route(event(type="halt", priority=Priority.HIGH), 0)
    assert list(usual.recipients) == [(ANN, ("halts",))]


def test_the_examples_of_the_shipped_rules_are_rules() -> None:
    """Whoever takes the comment marks away gets what the comment says."""
    text = shipped("routes.toml").read_text()
    lines = [line.removeprefix("# ") for line in text[text.index("# Patterns") :].splitlines()]
    examples = "\n".join(line for line in lines if line.startswith("[[") or " = " in line)
    patterns, urgent, backtests, _ = parsed(examples)
    assert (patterns.strategy, patterns.enrich) == ("content_based", True)
    assert patterns.drop == {"basic": ("confidence", "data.score")}
    assert urgent.strategy == "priority_first"
    assert (backtests.strategy, backtests.group) == ("load_balanced", "backtesters")
