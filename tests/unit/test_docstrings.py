"""What docstrings name exists: renames leave them behind, and no other check notices."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("marketstream", "sdk/python/marketstream_sdk")
REFERENCE = re.compile(r"`((?:[a-z_]+\.)+\w+)`")
ENTRY = re.compile(r"    (\w+): ")
ELSEWHERE = {"feeds.specs", "cache.url", "publish.lua"}
"""Settings, and a script: written with a dot, and no module."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def listed(node: ast.AST, section: str) -> set[str]:
    """Return the names that a section of a docstring has an entry for."""
    text = ast.get_docstring(node) if isinstance(node, ast.ClassDef | Function) else None
    lines = iter((text or "").splitlines())
    if not any(line == f"{section}:" for line in lines):
        return set()
    entries = []
    for line in lines:
        if line and not line.startswith(" "):
            break
        entries.append(ENTRY.match(line))
    return {entry[1] for entry in entries if entry}


def arguments(function: Function) -> set[str]:
    """Return the names of the arguments of a function."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {argument.arg for argument in every if argument is not None}


def attributes(node: ast.ClassDef) -> set[str]:
    """Return whatever is an attribute in a class: fields, methods, and what its methods use."""
    found = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    found |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return found | {each.name for each in node.body if isinstance(each, Function)}


def strays(tree: ast.Module) -> Iterator[str]:
    """Yield what docstrings describe and the code does not have."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield from (f"{node.name}: {name}" for name in listed(node, "Args") - arguments(node))
        elif isinstance(node, ast.ClassDef):
            made = [each for each in node.body if isinstance(each, Function) and each.name == "__init__"]
            for init in made:
                yield from (f"{node.name}: {name}" for name in listed(node, "Args") - arguments(init))
            yield from (f"{node.name}: {name}" for name in listed(node, "Attributes") - attributes(node))


@pytest.mark.parametrize("folder", FOLDERS)
def test_arguments_and_attributes_that_docstrings_describe_exist(folder: str) -> None:
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    found = {str(path.relative_to(ROOT)): list(strays(ast.parse(path.read_text()))) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


def test_modules_that_docstrings_refer_to_exist() -> None:
    """`core.market.model` is a module below the package; what follows a module is one of its words."""
    package = ROOT / "marketstream"
    folders = {path.name for path in package.iterdir() if path.is_dir()}
    assert folders
    wrong = []
    for path in package.rglob("*.py"):
        for reference in REFERENCE.findall(path.read_text()):
            parts = reference.split(".")
            if parts[0] in folders and not any(
                _has(package, parts[:n], parts[n:]) for n in range(1, len(parts) + 1)
            ):
                wrong.append((path.name, reference))
    assert [(name, reference) for name, reference in wrong if reference not in ELSEWHERE] == []


def _has(package: Path, module: list[str], words: list[str]) -> bool:
    """Whether a module exists and holds these words."""
    base = package.joinpath(*module)
    files = sorted(base.glob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    texts = [file.read_text() for file in files if file.exists()]
    return any(all(re.search(rf"\b{word}\b", text) for word in words) for text in texts)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ('def f(a):\n    """Do.\n\n    Args:\n        b: Gone.\n    """', ["f: b"]),
        ('class C:\n    """Be.\n\n    Attributes:\n        x: Gone.\n    """\n    y: int', ["C: x"]),
        (
            'class C:\n    """Be.\n\n    Args:\n        x: Gone.\n    """\n    def __init__(self, y): ...',
            ["C: x"],
        ),
        ('class C:\n    """Be.\n\n    Args:\n        y: Here.\n    """\n    def __init__(self, y): ...', []),
        ('class C:\n    """Be.\n\n    Attributes:\n        z: Here.\n    """\n    z: int', []),
    ],
)
def test_what_is_not_there_is_found(source: str, names: list[str]) -> None:
    assert list(strays(ast.parse(source))) == names
