"""The package as a whole: what it stands on, and what it says of itself."""

import ast
import inspect
import re
import sys
import tomllib
from pathlib import Path

import marketstream_sdk
from marketstream_sdk import MarketDataClient, SyncMarketDataClient

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "marketstream_sdk").rglob("*.py"))
STANDS_ON = {"aiohttp", "marketstream_sdk", "socketio"}
MAX_LINES = 300


def imported(module: Path) -> set[str]:
    """Top-level names of what a module imports from outside the standard library."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


def test_it_stands_on_two_libraries_and_knows_nothing_of_the_server() -> None:
    assert MODULES
    outside = set().union(*map(imported, MODULES)) - sys.stdlib_module_names
    assert outside == STANDS_ON


def test_every_module_says_what_it_is_and_can_be_read_in_one_go() -> None:
    assert [str(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []
    assert [str(path) for path in MODULES if len(path.read_text().splitlines()) > MAX_LINES] == []


def test_the_version_is_the_one_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert marketstream_sdk.__version__ == project["version"]
    assert project["license-files"] == ["LICENSE"]
    assert (ROOT / "LICENSE").read_text() == (ROOT.parents[1] / "LICENSE").read_text()


def test_the_client_without_await_has_all_that_the_other_one_has() -> None:
    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(MarketDataClient) == public(SyncMarketDataClient)
    alike = ("subscribe", "unsubscribe", "remove_callback", "subscribe_channels", "on_state")
    for name in (*alike, "subscribe_events", "unsubscribe_events", "on_event", "on_events_dropped"):
        mine = inspect.signature(getattr(SyncMarketDataClient, name)).parameters
        assert list(mine) == list(inspect.signature(getattr(MarketDataClient, name)).parameters)


def test_the_readme_names_every_option_and_every_method() -> None:
    readme = (ROOT / "README.md").read_text()
    options = set(inspect.signature(MarketDataClient).parameters) - {"url"}
    assert [option for option in sorted(options) if f"| `{option}` |" not in readme] == []
    methods = [name for name in dir(MarketDataClient) if not name.startswith("_")]
    assert [name for name in methods if not re.search(rf"\b{name}\b", readme)] == []


def test_everything_that_is_public_can_be_imported_from_the_top() -> None:
    assert [name for name in marketstream_sdk.__all__ if not hasattr(marketstream_sdk, name)] == []
    errors = {name for name in vars(marketstream_sdk.errors) if name.endswith("Error")}
    assert errors <= set(marketstream_sdk.__all__)
