"""Changes the code in small ways and sees whether the tests notice.

    python -m tests.mutation.run SECONDS SEED [PART OF A PATH]

Mutants are those of mutmut. Each is tried in a process of its own, forked from one that has the libraries
loaded, with the tests of the folder that is laid out like its module's: those named for the module first, and
no further than the first failure. When time is short a sample is tried, the same for the same seed. What ends
too late counts as noticed. The report names what survived, by file and line.
"""

import argparse
import gc
import importlib
import importlib.abc
import importlib.util
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import libcst
import pytest
from hypothesis import Phase, settings
from mutmut.mutation.file_mutation import Mutation, create_mutations, deep_replace

PACKAGES = ("core", "coordination", "bus")
"""Folders of the package that are mutated."""

LIMIT = 120
"""Seconds that the tests may take for one mutant."""

MEMORY = 2 << 30
"""Bytes that they may take."""

EXAMPLES = 25
"""Examples of a property that are tried, always the same ones."""

KILLED, SURVIVED = 1, 0


@dataclass(frozen=True)
class Module:
    """A file that is mutated.

    Attributes:
        path: Where it is.
        tree: What it says.
        mutations: What is changed in it, one at a time.
        tests: What is run.
    """

    path: Path
    tree: libcst.Module
    mutations: Sequence[Mutation]
    tests: Sequence[str]

    @property
    def name(self) -> str:
        """As it is imported."""
        return ".".join(self.path.with_suffix("").parts)

    @property
    def package(self) -> str:
        """The folder that it counts for."""
        return self.path.parts[1]

    def code(self, mutation: Mutation | None) -> str:
        """The file with one change."""
        if mutation is None:
            return str(self.tree.code)
        changed: Any = deep_replace(self.tree, mutation.original_node, mutation.mutated_node)
        return str(changed.code)


class Replacement(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a text instead of its file."""

    def __init__(self, name: str, path: Path, code: str) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        found = (
            importlib.util.spec_from_loader(name, self, origin=str(self._path))
            if name == self._name
            else None
        )
        if found is not None:
            found.has_location = True
        return found

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`."""
        exec(compile(self._code, str(self._path), "exec"), module.__dict__)  # noqa: S102  # our own code, changed


class Few:
    """A plugin of pytest: properties are tried with a few examples, and failures are not made smaller."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        """After `conftest.py` has chosen its profile."""
        phases = [Phase.explicit, Phase.generate]
        settings.register_profile(
            "few", max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=phases
        )
        settings.load_profile("few")


def tests_of(path: Path) -> list[str]:
    """The tests of a module: those named for it first, then all of its folder."""
    below = path.parent.relative_to("marketstream")
    folders = [
        folder for folder in (Path("tests/unit") / below, Path("tests/property") / below) if folder.is_dir()
    ]
    found = [test for folder in folders for test in sorted(folder.glob("test_*.py"))]
    return [str(test) for test in sorted(found, key=lambda test: path.stem not in test.stem)]


def modules(wanted: str) -> Iterator[Module]:
    """Every file that is mutated and has tests.

    Args:
        wanted: A part of its path.
    """
    for package in PACKAGES:
        for path in sorted(Path("marketstream", package).rglob("*.py")):
            if wanted in str(path) and (tests := tests_of(path)):
                tree, mutations, *_ = create_mutations(str(path), path.read_text())
                # As mutmut does: outside of functions most changes are to types, which nobody can notice.
                within = [each for each in mutations if each.contained_by_top_level_function is not None]
                yield Module(path, tree, within, tests)


def load_libraries() -> None:
    """Imports what the tests import, and forgets what of it is ours: each mutant loads that anew."""
    importlib.import_module("tests.conftest")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("marketstream", "tests")]:
        if name != __name__:
            del sys.modules[name]
    # Otherwise each child would copy what it only looks at.
    gc.freeze()


def attempt(module: Module, mutation: Mutation | None, log: Path) -> int:
    """Runs the tests of a module in a process of its own; returns `SURVIVED`, or anything else."""
    code = module.code(mutation)
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    signal.alarm(LIMIT)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.meta_path.insert(0, Replacement(module.name, module.path, code))
    options = [
        "-x",
        "-q",
        "--assert=plain",
        "-p",
        "no:benchmark",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-o",
        "timeout=0",
    ]
    ended = pytest.main([*options, *module.tests], plugins=[Few()])
    os._exit(SURVIVED if ended == pytest.ExitCode.OK else KILLED)


def change(module: Module, mutation: Mutation) -> str:
    """What a mutant is, in one line or a few."""
    before, after = module.code(None).splitlines(), module.code(mutation).splitlines()
    lines = list(unified_diff(before, after, lineterm="", n=0))
    at = lines[2].split()[1].lstrip("-").split(",")[0]
    return f"{module.path}:{at}\n    " + "\n    ".join(line for line in lines[3:])


def say(text: str) -> None:
    """Writes a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check(found: Sequence[Module], log: Path) -> None:
    """Ends the program where the tests fail without a mutant."""
    for module in {frozenset(module.tests): module for module in found}.values():
        if attempt(module, None, log):
            raise SystemExit(f"mutants: the tests fail without a mutant: {log.read_text()}")


def report(found: Sequence[Module], outcomes: Counter[tuple[str, bool]]) -> None:
    """Says the score of each package."""
    for package in PACKAGES:
        killed, survived = outcomes[package, False], outcomes[package, True]
        total = sum(len(module.mutations) for module in found if module.package == package)
        if killed + survived:
            score = f"{100 * killed / (killed + survived):5.1f} %"
            say(f"mutants: {package:12} {score} ({killed} killed, {survived} survived, {total} in all)")


def main() -> None:
    """Try mutants until the time is over, and say what became of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("wanted", nargs="?", default="")
    given = parser.parse_args()
    log = Path("tests/artifacts/mutant.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    found = list(modules(given.wanted))
    load_libraries()
    check(found, log)
    waiting = [(module, mutation) for module in found for mutation in module.mutations]
    random.Random(given.seed).shuffle(waiting)
    say(f"mutants: {len(waiting)} in {len(found)} files, for {given.seconds:.0f} s")
    ends_at = time.monotonic() + given.seconds
    outcomes: Counter[tuple[str, bool]] = Counter()
    for module, mutation in waiting:
        if time.monotonic() > ends_at:
            break
        survived = attempt(module, mutation, log) == SURVIVED
        outcomes[module.package, survived] += 1
        if survived:
            say(change(module, mutation))
    report(found, outcomes)


if __name__ == "__main__":
    main()
