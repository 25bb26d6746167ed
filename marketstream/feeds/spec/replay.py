"""The feed `replay`, of a specification."""

import os
from pathlib import Path

from marketstream.errors import ConfigurationError
from marketstream.feeds.replay import ReplayFeed
from marketstream.plugins.feed import SETTING, FeedContext, FeedFactory, FeedSpec
from marketstream.plugins.parameters import flag, seconds, speed, whole_number


def build(spec: FeedSpec, context: FeedContext) -> ReplayFeed:
    """See `FeedFactory`; the file must exist."""
    file = spec.target
    if not file:
        raise ConfigurationError(SETTING, "replay: a file is needed, as in replay:FILE")
    if not os.path.isfile(file):  # noqa: PTH113 - Path.is_file raises for a path that is no path
        raise ConfigurationError(SETTING, f"replay: there is no file {file!r}, a CSV or CSV.gz is needed")
    return ReplayFeed(path=Path(file), clock=context.clock, **spec.parameters(_PARAMETERS))


_PARAMETERS = {
    "speed": speed,
    "loop": whole_number(0, 999_999_999),
    "wait": flag,
    "stale_after": seconds,
}

_: FeedFactory = build
