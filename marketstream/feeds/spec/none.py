"""The specification `none`: no feed, where one is named by default."""

from marketstream.plugins.feed import FeedContext, FeedFactory, FeedSpec


def build(spec: FeedSpec, _context: FeedContext) -> None:
    """See `FeedFactory`."""
    spec.refuse_target()
    spec.parameters({})


_: FeedFactory = build
