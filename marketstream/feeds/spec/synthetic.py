"""The feed `synthetic`, of a specification."""

from marketstream.feeds.synthetic import SHAPES, Shape, SyntheticFeed
from marketstream.plugins.feed import FeedContext, FeedFactory, FeedSpec
from marketstream.plugins.parameters import flag, rate, seconds, symbols, whole_number

MAX_SOURCES = 32


def build(spec: FeedSpec, context: FeedContext) -> SyntheticFeed:
    """See `FeedFactory`."""
    spec.refuse_target()
    return SyntheticFeed(clock=context.clock, **spec.parameters(_PARAMETERS))


def _shape(text: str) -> Shape:
    """How updates lie within a second."""
    for shape in SHAPES:
        if text == shape:
            return shape
    raise ValueError(f"must be {' or '.join(SHAPES)}")


_PARAMETERS = {
    "symbols": symbols,
    "rate": rate,
    "sources": whole_number(1, MAX_SOURCES),
    "shape": _shape,
    "seed": whole_number(0, 999_999_999),
    "demand": flag,
    "stale_after": seconds,
}

_: FeedFactory = build
