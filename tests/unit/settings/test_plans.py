from pathlib import Path

import pytest

from marketstream.errors import ConfigurationError
from marketstream.settings import load_plans, shipped
from tests.support.server import PLANS


def written(folder: Path, text: str) -> Path:
    file = folder / "plans.toml"
    file.write_text(text)
    return file


def test_the_shipped_plans_are_basic_and_pro_with_live_data() -> None:
    """What the contract promises of both; they differ in how many may connect."""
    plans = load_plans()
    assert list(plans) == ["basic", "pro"]
    for name, plan in plans.items():
        assert plan.name == name
        assert (plan.max_subscriptions, plan.rate_capacity, plan.rate_refill) == (100, 100, 10)
        assert (plan.max_rate, plan.delay, set(plan.modes)) == (0, 0, {"latest", "every"})
        assert plan.allows_symbol("EUR/USD")
        assert plan.allows_channel("indices")
    assert plans["basic"].max_connections < plans["pro"].max_connections


def test_servers_under_test_sell_the_shipped_plans_too() -> None:
    plans = load_plans(PLANS)
    assert {name: plans[name] for name in load_plans()} == load_plans()


def test_the_example_of_a_delayed_plan_is_a_plan(tmp_path: Path) -> None:
    """Whoever takes the comment marks away gets what the comment says."""
    text = shipped("plans.toml").read_text()
    example = text[text.index("# [plans.delayed]") :].replace("# ", "")
    plan = load_plans(written(tmp_path, example))["delayed"]
    assert plan.delay == 900
    assert plan.modes == ("latest",)
    assert not plan.allows_symbol("AAPL")
    assert plan.allows_symbol("EUR/USD")


def test_what_a_plan_does_not_say_is_as_the_core_has_it(tmp_path: Path) -> None:
    plan = load_plans(written(tmp_path, "[plans.free]"))["free"]
    assert (plan.max_subscriptions, plan.symbols, plan.modes) == (100, ("*",), ("latest", "every"))


def test_globs_of_symbols_are_upper_case_like_symbols(tmp_path: Path) -> None:
    plan = load_plans(written(tmp_path, "[plans.fx]\nsymbols = ['eur/*']\nchannels = ['Movers']"))["fx"]
    assert plan.allows_symbol("EUR/USD")
    assert plan.allows_channel("Movers")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[plans.pro]\nmax_rate = -1", "plans.pro.max_rate"),
        ("[plans.pro]\nmax_rate = inf", "plans.pro.max_rate"),
        ("[plans.pro]\nmax_rate = 'fast'", "plans.pro.max_rate"),
        ("[plans.pro]\nmax_subscriptions = 0", "plans.pro.max_subscriptions"),
        ("[plans.pro]\nmax_connections = -1", "plans.pro.max_connections"),
        ("[plans.pro]\nmax_speed = 1", "plans.pro.max_speed"),
        ("[plans.pro]\nrate_limit = { capacity = 0 }", "plans.pro.rate_limit.capacity"),
        ("[plans.pro]\nrate_limit = { refill = 0 }", "plans.pro.rate_limit.refill"),
        ("[plans.pro]\nrate_limit = { burst = 1 }", "plans.pro.rate_limit.burst"),
        ("[plans.pro]\nsymbols = '*'", "plans.pro.symbols"),
        ("[plans.pro]\nchannels = [1]", "plans.pro.channels[0]"),
        ("[plans.pro]\ndelay = nan", "plans.pro.delay"),
        ("[plans.pro]\nmodes = ['some']", "plans.pro.modes[0]"),
        ("[plans.pro]\nmodes = []", "plans.pro.modes"),
        ("[plans]", "plans"),
        ("[plan.pro]", "plans"),
        ("", "plans"),
        ("x", "auth.plans_file"),
    ],
)
def test_a_plan_that_cannot_be_stops_with_the_path_of_its_key(tmp_path: Path, text: str, path: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        load_plans(file)
    assert refused.value.path == path
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_plans_that_is_missing_is_told_by_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_plans(tmp_path / "absent.toml")
    assert refused.value.path == "auth.plans_file"
