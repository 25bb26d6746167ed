import ast
import json
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
MAX_FUNCTION_LINES = 40
LONG_FILES = {
    "marketstream/app.py": "the composition root, still to be cut",
}
"""Files of the packages that may be longer, and why."""
LONG_FUNCTIONS = {
    "marketstream/app.py:__init__": "still to be cut",
    "marketstream/app.py:_build_app": "still to be cut",
    "marketstream/app.py:run": "still to be cut",
    "marketstream/cli.py:serve": "a table: the options of a command",
    "marketstream/cli.py:token": "a table: the options of a command",
    "marketstream/wiring.py:attach_reading": "still to be cut",
}
"""Functions that may be longer, and why."""
SOURCE_SUFFIXES = {".py", ".lua", ".js", ".mjs", ".css", ".html"}
TOP_LEVEL = {
    *("marketstream", "sdk", "tests", "examples", "config", "docs"),
    *("Procfile", "Makefile", "pyproject.toml", "LICENSE"),
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
    *("build", "dist"),  # what building leaves behind, never committed
}
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
PASSED_OVER = re.compile(
    r"mark\.(?:skip|xfail)|pytest\.(?:skip|xfail|importorskip)\b|\b(?:it|test|describe)\.skip\("
)
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


def sources(*folders: str) -> list[Path]:
    """Every source file under the folders; installed ones, and this one with its patterns, aside."""
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SOURCE_SUFFIXES and "node_modules" not in path.parts and path != Path(__file__)
    )


def test_the_version_that_is_imported_is_the_one_that_is_declared() -> None:
    """A stale install would test something else than this tree."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert import_module("marketstream").__version__ == declared


def test_the_package_under_test_is_the_one_in_this_tree() -> None:
    assert Path(str(import_module("marketstream").__file__)).parent == ROOT / "marketstream"


def test_no_source_file_is_too_long_to_be_read_in_one_go() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for path in sources("marketstream", "sdk/python/marketstream_sdk")
    }
    assert lengths
    long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
    assert {name: lines for name, lines in long.items() if name not in LONG_FILES} == {}


def test_no_function_is_too_long_to_be_seen_at_once() -> None:
    """Its docstring does not count, so that nobody saves on that."""
    long: dict[str, int] = {}
    for path in sources("marketstream", "sdk/python/marketstream_sdk"):
        if path.suffix != ".py":
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                name = f"{path.relative_to(ROOT).as_posix()}:{function.name}"
                long[name] = max(_lines(function), long.get(name, 0))
    assert long
    over = {name: lines for name, lines in long.items() if lines > MAX_FUNCTION_LINES}
    assert {name: lines for name, lines in over.items() if name not in LONG_FUNCTIONS} == {}


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def test_every_module_says_what_it_is() -> None:
    modules = [path for path in sources("marketstream") if path.suffix == ".py"]
    assert modules
    assert [str(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_nothing_is_left_unfinished_in_the_tree() -> None:
    assert [
        str(path) for path in sources("marketstream", "tests") if UNFINISHED.search(path.read_text())
    ] == []


def test_no_test_is_passed_over() -> None:
    """A test that cannot run fails and says why; it never looks as if it had passed."""
    assert [str(path) for path in sources("tests") if PASSED_OVER.search(path.read_text())] == []


@pytest.mark.parametrize("text", ["@pytest.mark.skipif(True)", "pytest.skip('no node')", "test.skip('x')"])
def test_the_ways_to_pass_a_test_over_are_recognised(text: str) -> None:
    assert PASSED_OVER.search(text)


def test_every_golden_file_is_json() -> None:
    """SDKs in other languages read them too."""
    for path in sorted((ROOT / "tests/golden").rglob("*.json")):
        json.loads(path.read_text())


@pytest.mark.parametrize("folder", ["tests/node", "sdk/page"])
def test_the_lock_file_names_no_host_to_fetch_from(folder: str) -> None:
    """Whoever installs decides where from; the checksums decide what. Only what is fetched is looked at."""
    packages = json.loads((ROOT / folder / "package-lock.json").read_text())["packages"]
    installed = {
        name: entry
        for name, entry in packages.items()
        if name.startswith("node_modules/") and "link" not in entry
    }
    assert installed
    assert [
        name for name, entry in installed.items() if "resolved" in entry or "integrity" not in entry
    ] == []


def test_the_top_level_holds_only_what_belongs_there() -> None:
    present = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert present - TOP_LEVEL == set()


def test_every_link_between_the_documents_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    links = [(path, target) for path in documents for target in LINK.findall(path.read_text())]
    assert [(str(path), target) for path, target in links if not (path.parent / target).exists()] == []
