"""Sources of quotes, named by `--feed NAME[:TARGET][?PARAMETERS]`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from marketstream.errors import ConfigurationError
from marketstream.plugins.registry import Point
from marketstream.ports import Clock, Feed

SETTING = "feed"
"""What errors about a specification name; it may come from a flag or from the setting `feeds.specs`."""


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """One specification, taken apart.

    Attributes:
        name: What stands before the first colon or question mark.
        target: What stands between the two, such as a file; empty where there is no colon.
        query: What stands behind the first question mark.
    """

    name: str
    target: str
    query: str

    def refuse_target(self) -> None:
        """Raise `ConfigurationError` if there is a target."""
        if self.target:
            raise ConfigurationError(SETTING, f"{self.name}: nothing may follow a colon: {self.target!r}")

    def parameters(self, known: Mapping[str, Callable[[str], object]]) -> dict[str, Any]:
        """Return the parameters of the query by name.

        Args:
            known: What reads each of them; raises ValueError with the end of a sentence that begins with the
                value, such as `must be 0 or 1`.

        Raises:
            ConfigurationError: One is unknown, given twice, or cannot be read.
        """
        values: dict[str, Any] = {}
        for part in self.query.split("&") if self.query else ():
            name, _, text = part.partition("=")
            if name not in known:
                accepted = ", ".join(known) or "none at all"
                text = f"{self.name}: {part!r} is not a parameter, accepted are {accepted}"
                raise ConfigurationError(SETTING, text)
            if name in values:
                raise ConfigurationError(SETTING, f"{self.name}: {name} is given twice")
            try:
                values[name] = known[name](unquote(text))
            except ValueError as error:
                raise ConfigurationError(SETTING, f"{self.name}: {name} is {text!r}, {error}") from error
        return values


@dataclass(frozen=True, slots=True)
class FeedContext:
    """What a factory of feeds is given besides the specification.

    Attributes:
        clock: Time.
        secret: The value of a secret by the name of its environment variable, such as `ACME_API_KEY`; None
            where it is not set. It is the setting's where there is one for that variable.
    """

    clock: Clock
    secret: Callable[[str], str | None] = lambda _: None


FeedFactory = Callable[[FeedSpec, FeedContext], Feed | None]
"""Makes a feed that does not run yet, or none; raises `ConfigurationError` for what it cannot accept."""

FEED: Point[FeedFactory] = Point("feed")


def build_feed(spec: str, context: FeedContext) -> Feed | None:
    """Make the feed that a specification names, not running yet; None for `none`.

    Raises:
        ConfigurationError: There is no such feed, or it does not accept the specification.
    """
    head, _, query = spec.partition("?")
    name, _, target = head.partition(":")
    return FEED.load(name, SETTING)(FeedSpec(name, target, query), context)
