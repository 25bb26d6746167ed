"""Find what a scheme or a name stands for among the entry points of the packages that are installed.

This package registers its own parts in the same way. Nothing is imported before it is used, so a plug-in that
is not named costs nothing, and one that is broken harms nobody.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from typing import Generic, TypeVar, cast

from marketstream import __version__
from marketstream.errors import ConfigurationError

T = TypeVar("T")

PREFIX = "marketstream."
_OWN = "marketstream"
_CHECKOUT = Path(__file__).parents[2] / "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point and who brings it.

    Attributes:
        name: The scheme or name that it stands for.
        package: Distribution and version.
        entry: What is imported.
    """

    name: str
    package: str
    entry: EntryPoint


@dataclass(frozen=True)
class Point(Generic[T]):
    """A kind of part that packages may add; `T` is the type of its factories.

    Attributes:
        noun: The kind, such as `bus`.
    """

    noun: str

    @property
    def group(self) -> str:
        """The group of entry points."""
        return PREFIX + self.noun

    def plugins(self) -> Sequence[Plugin]:
        """Return all that are installed, by name; a name that two packages claim comes twice."""
        return installed().get(self.group, ())

    def names(self) -> list[str]:
        """Return each name once."""
        return list(dict.fromkeys(plugin.name for plugin in self.plugins()))

    def load(self, name: str, setting: str) -> T:
        """Import the factory that a name stands for.

        Args:
            name: The scheme or name.
            setting: Where it was named, for errors.

        Raises:
            ConfigurationError: Nothing or more than one thing has the name, or it cannot be imported.
        """
        found = [plugin for plugin in self.plugins() if plugin.name == name]
        if not found:
            text = f"there is no {self.noun} {name}; there are {', '.join(self.names())}"
            raise ConfigurationError(setting, text)
        if len(found) > 1:
            packages = " and ".join(plugin.package for plugin in found)
            text = f"the {self.noun} {name} is in two packages, {packages}: uninstall one"
            raise ConfigurationError(setting, text)
        (plugin,) = found
        try:
            factory = plugin.entry.load()
        except Exception as error:
            text = f"the {self.noun} {name} of {plugin.package} cannot be imported: {error!r}"
            raise ConfigurationError(setting, text) from error
        if not callable(factory):
            text = f"the {self.noun} {name} of {plugin.package} is no factory: {plugin.entry.value}"
            raise ConfigurationError(setting, text)
        return cast("T", factory)


@cache
def installed() -> Mapping[str, Sequence[Plugin]]:
    """Return all plug-ins by group, in the order of their names; read once."""
    own = _from_checkout()
    # What the installation says of a checkout was written when it was installed, which may be long ago.
    seen = {_OWN} if own else set[str]()
    every = list(own)
    for package in distributions():
        # Most packages are told apart from those that matter by this file, without parsing their metadata.
        if PREFIX in (package.read_text("entry_points.txt") or "") and package.name not in seen:
            # The first one on the path is the one that is imported.
            seen.add(package.name)
            every += [
                (entry.group, Plugin(entry.name, f"{package.name} {package.version}", entry))
                for entry in package.entry_points
                if entry.group.startswith(PREFIX)
            ]
    found: dict[str, list[Plugin]] = {}
    for group, plugin in sorted(every, key=lambda pair: (pair[1].name, pair[1].package)):
        found.setdefault(group, []).append(plugin)
    return found


def listing() -> list[str]:
    """Return a line for each point: its kind and the names there are, with the package of those of others."""
    return [
        f"{group.removeprefix(PREFIX)}: {', '.join(_shown(plugin) for plugin in plugins)}"
        for group, plugins in sorted(installed().items())
    ]


def _shown(plugin: Plugin) -> str:
    is_own = plugin.package.partition(" ")[0] == _OWN
    return plugin.name if is_own else f"{plugin.name} ({plugin.package})"


def _from_checkout() -> list[tuple[str, Plugin]]:
    """Return what the pyproject.toml beside this package declares; nothing where there is none."""
    try:
        project = tomllib.loads(_CHECKOUT.read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return []
    if project.get("name") != _OWN:
        return []
    return [
        (group, Plugin(name, f"{_OWN} {__version__}", EntryPoint(name, value, group)))
        for group, entries in project.get("entry-points", {}).items()
        for name, value in entries.items()
        if group.startswith(PREFIX)
    ]
