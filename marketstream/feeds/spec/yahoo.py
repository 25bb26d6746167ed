"""The feed `yahoo`, of a specification."""

from marketstream.feeds.yahoo import YahooFeed
from marketstream.plugins.feed import FeedContext, FeedFactory, FeedSpec
from marketstream.plugins.parameters import seconds, websocket_url


def build(spec: FeedSpec, context: FeedContext) -> YahooFeed:
    """See `FeedFactory`."""
    spec.refuse_target()
    return YahooFeed(clock=context.clock, **spec.parameters(_PARAMETERS))


_PARAMETERS = {"mute_after": seconds, "url": websocket_url, "stale_after": seconds}

_: FeedFactory = build
