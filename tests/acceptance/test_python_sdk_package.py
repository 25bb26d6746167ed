"""The Python SDK as its users get it: built, checked, installed alone, and started as its README says."""

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import scaled, wait_until
from tests.support.program import Program, clean_environment
from tests.support.server import Server, serving

SDK = Path(__file__).parents[2] / "sdk/python"
EXAMPLE = re.compile(r"```python\n(import asyncio.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(SDK))
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("--dev", feeds=("synthetic?symbols=EUR/USD,AAPL&rate=20",)) as running:
        yield running


def run(*command: str) -> str:
    """What a program prints that must succeed."""
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=scaled(100), env=clean_environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_and_sdist_are_fit_to_be_published(built: Path) -> None:
    files = sorted(built.iterdir())
    assert [path.name for path in files] == [
        "marketstream_sdk-0.1.0-py3-none-any.whl",
        "marketstream_sdk-0.1.0.tar.gz",
    ]
    run(sys.executable, "-m", "twine", "check", "--strict", *map(str, files))


def test_the_wheel_holds_the_package_with_its_types_and_its_licence_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "marketstream_sdk/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {"marketstream_sdk", "marketstream_sdk-0.1.0.dist-info"}
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2].split("/")[0] for name in archive.getnames()}
    assert inside - {""} == {
        "marketstream_sdk",
        "README.md",
        "LICENSE",
        "pyproject.toml",
        "PKG-INFO",
        ".gitignore",
    }


@pytest.mark.slow
def test_installed_alone_it_starts_as_its_readme_says(built: Path, server: Server, tmp_path: Path) -> None:
    """In an empty environment, with what pip fetches for it."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv/bin/python")
    [wheel] = built.glob("*.whl")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    installed = run(python, "-m", "pip", "list", "--format", "freeze")
    assert "marketstream-sdk==0.1.0" in installed
    assert "marketstream==" not in installed

    [example] = EXAMPLE.findall((SDK / "README.md").read_text())
    script = tmp_path / "start.py"
    script.write_text(example.replace("http://127.0.0.1:8080", server.url))
    environ = clean_environment({"PYTHONUNBUFFERED": "1"})
    with Program([python, str(script)], env=environ, cwd=tmp_path) as program:
        wait_until(lambda: len(program.out) >= 6 or not program.running, 15, "six quotes")
        assert program.running, program.err
    assert {line.split()[0] for line in program.out} == {"EUR/USD", "AAPL"}
