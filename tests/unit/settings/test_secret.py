"""The secret of development mode: the same at each start, for nobody else to read."""

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from marketstream.security.jwt import MIN_SECRET_BYTES
from marketstream.settings.secret import kept_secret


def where(folder: Path) -> Path:
    """The file that keeps it."""
    return folder / "marketstream" / "dev-secret"


def test_it_is_the_same_at_each_start(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    first = kept_secret(environ)
    assert len(first) >= MIN_SECRET_BYTES
    assert kept_secret(environ) == first
    assert kept_secret({"XDG_STATE_HOME": str(tmp_path / "other")}) != first
    assert stat.S_IMODE(where(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(where(tmp_path).parent.stat().st_mode) == 0o700
    assert [path.name for path in where(tmp_path).parent.iterdir()] == ["dev-secret"]


@pytest.mark.parametrize("state", [{}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}])
def test_it_stands_below_the_home_unless_something_else_is_said(
    tmp_path: Path, state: dict[str, str]
) -> None:
    secret = kept_secret({"HOME": str(tmp_path), **state})
    assert where(tmp_path / ".local/state").read_text() == f"{secret}\n"


def test_without_a_home_each_start_has_its_own() -> None:
    assert kept_secret({}) != kept_secret({"HOME": "relative"})


def _empty(path: Path) -> None:
    path.write_text("")


def _cut(path: Path) -> None:
    path.write_text(path.read_text()[:10])


def _garble(path: Path) -> None:
    path.write_bytes(b"\xff" * 64)


def _grow(path: Path) -> None:
    path.write_text(path.read_text() * 1000)


def _open_to_all(path: Path) -> None:
    path.chmod(0o644)


def _lead_elsewhere(path: Path) -> None:
    other = path.with_name("other")
    path.rename(other)
    path.symlink_to(other)


def _make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [_empty, _cut, _garble, _grow, _open_to_all, _lead_elsewhere, _make_pipe],
    ids=lambda f: f.__name__,
)
def test_one_that_is_spoilt_is_replaced_and_kept(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Not whole, or in a place where others could have read or written it."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    before = kept_secret(environ)
    spoil(where(tmp_path))
    after = kept_secret(environ)
    assert after != before
    assert kept_secret(environ) == after
    assert stat.S_IMODE(where(tmp_path).lstat().st_mode) == 0o600


@pytest.mark.parametrize("in_the_way", ["state", "folder", "file"])
def test_where_none_can_be_kept_each_start_has_its_own(tmp_path: Path, in_the_way: str) -> None:
    """As in a home that is read-only."""
    state = tmp_path / "state"
    paths = {"state": state, "folder": state / "marketstream", "file": where(state)}
    if in_the_way == "file":
        paths["file"].mkdir(parents=True)
    else:
        paths[in_the_way].parent.mkdir(exist_ok=True)
        paths[in_the_way].write_text("a file where a folder should be")
    environ = {"XDG_STATE_HOME": str(state)}
    assert len({kept_secret(environ), kept_secret(environ)}) == 2


def test_of_many_that_start_at_once_all_have_the_same(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(kept_secret, [environ] * 50))) == 1
