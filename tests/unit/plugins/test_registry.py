import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from marketstream.backends.memory import MemoryBackend
from marketstream.errors import ConfigurationError
from marketstream.plugins import registry
from marketstream.plugins.backend import BUS, BusContext
from marketstream.plugins.registry import Point
from tests.support.clock import FakeClock

ROOT = Path(__file__).parents[3]
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package of one module, as pip would leave it, where only this test finds it."""

    def install(package: str, group: str, source: str = "", **entries: str) -> None:
        folder = tmp_path / package
        info = folder / f"{package.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
        (folder / f"{package.replace('-', '_')}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        registry.installed.cache_clear()

    yield install
    registry.installed.cache_clear()


def refused(point: Point[Any], name: str) -> str:
    """Why a name is refused."""
    with pytest.raises(ConfigurationError) as caught:
        point.load(name, "bus.url")
    assert caught.value.path == "bus.url"
    return str(caught.value)


def test_its_own_parts_are_found_like_those_of_others() -> None:
    backend = BUS.load("memory", "bus.url")("memory://", BusContext(FakeClock()))
    assert isinstance(backend, MemoryBackend)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert {group for group in declared if group.startswith("marketstream.")} == set(registry.installed())
    for group, entries in declared.items():
        assert Point[Any](group.removeprefix("marketstream.")).names() == sorted(entries)


@pytest.mark.parametrize("group", registry.installed())
def test_each_of_its_own_parts_can_be_imported(group: str) -> None:
    point = Point[Any](group.removeprefix("marketstream."))
    assert all(callable(point.load(name, "x")) for name in point.names())


def test_a_checkout_counts_more_than_what_was_written_when_it_was_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = distribution("marketstream").version
    assert {plugin.package for plugin in BUS.plugins()} == {f"marketstream {version}"}
    other = tmp_path / "pyproject.toml"
    for text in ("[project]\nname = 'other'", "no TOML"):
        other.write_text(text)
        monkeypatch.setattr(registry, "_CHECKOUT", other)
        assert registry._from_checkout() == []


def test_another_package_adds_a_name(install: Install) -> None:
    install("acme-bus", "marketstream.bus", "def build(): return 7", nats="acme_bus:build")
    assert "nats" in BUS.names()
    found = BUS.load("nats", "bus.url")
    assert found() == 7  # type: ignore[call-arg,comparison-overlap]  # of another shape than a factory of buses
    assert [plugin.package for plugin in BUS.plugins() if plugin.name == "nats"] == ["acme-bus 1.2"]


def test_the_list_of_what_is_installed_names_the_packages_of_others(install: Install) -> None:
    install("acme-bus", "marketstream.bus", nats="acme_bus:build")
    expected = "bus: memory, nats (acme-bus 1.2), redis, redis+cluster, redis+sentinel, rediss"
    assert expected in registry.listing()


def test_a_name_that_nobody_has_is_refused_with_those_there_are(install: Install) -> None:
    install("acme-bus", "marketstream.bus", nats="acme_bus:build")
    expected = "there is no bus amqp; there are memory, nats, redis, redis+cluster, redis+sentinel, rediss"
    assert refused(BUS, "amqp") == f"bus.url: {expected}"


def test_two_packages_with_one_name_are_refused_with_both(install: Install) -> None:
    for package in ("acme-bus", "bolt-bus"):
        install(package, "marketstream.bus", nats="acme_bus:build")
    expected = "bus.url: the bus nats is in two packages, acme-bus 1.2 and bolt-bus 1.2: uninstall one"
    assert refused(BUS, "nats") == expected
    assert callable(BUS.load("memory", "bus.url"))


def test_nobody_takes_the_name_of_a_part_that_is_there(install: Install) -> None:
    install("acme-bus", "marketstream.bus", redis="acme_bus:build")
    assert "acme-bus 1.2 and marketstream" in refused(BUS, "redis")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_to_be_found", "cannot be imported: ModuleNotFoundError"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("", "cannot be imported: AttributeError"),
        ("build = 3", "is no factory: acme_bus:build"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_named_with_its_package(
    install: Install, source: str, reason: str
) -> None:
    sys.modules.pop("acme_bus", None)
    install("acme-bus", "marketstream.bus", source, nats="acme_bus:build")
    text = refused(BUS, "nats")
    assert text.startswith("bus.url: the bus nats of acme-bus 1.2 ")
    assert reason in text
    assert callable(BUS.load("memory", "bus.url"))


def test_what_is_not_used_is_not_imported(install: Install) -> None:
    install("acme-bus", "marketstream.bus", "1 / 0", nats="acme_bus:build")
    assert "nats" in BUS.names()
    assert callable(BUS.load("memory", "bus.url"))


def test_the_first_of_two_copies_of_a_package_counts(install: Install, tmp_path: Path) -> None:
    """As with any import: a copy further down the path is not another package."""
    install("acme-bus", "marketstream.bus", nats="acme_bus:build")
    sys.path.append(str(tmp_path / "acme-bus"))
    try:
        registry.installed.cache_clear()
        assert len([plugin for plugin in BUS.plugins() if plugin.name == "nats"]) == 1
    finally:
        sys.path.remove(str(tmp_path / "acme-bus"))
