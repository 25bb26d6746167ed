"""The feed `alpaca`, of a specification and the keys of an account."""

from marketstream.errors import ConfigurationError
from marketstream.feeds.alpaca import Access, AlpacaFeed
from marketstream.plugins.feed import FeedContext, FeedFactory, FeedSpec
from marketstream.plugins.parameters import one_of, seconds, websocket_url, whole_number
from marketstream.wire.vendors.alpaca import CHANNELS

URL = "wss://stream.data.alpaca.markets/v2/"
FEEDS = ("iex", "sip", "delayed_sip", "test")
CAP = 30


def build(spec: FeedSpec, context: FeedContext) -> AlpacaFeed:
    """See `FeedFactory`: shares, if there are keys to have them with."""
    spec.refuse_target()
    given = spec.parameters(_PARAMETERS)
    key, secret = context.secret("ALPACA_API_KEY"), context.secret("ALPACA_API_SECRET")
    if not key or not secret:
        name = "secret" if key else "key"
        text = "the feed alpaca needs both ALPACA_API_KEY and ALPACA_API_SECRET"
        raise ConfigurationError(f"providers.alpaca_api_{name}", text)
    feed = given.pop("feed", FEEDS[0])
    url, by_headers = given.pop("url", URL + feed), given.pop("auth", "message") == "headers"
    given["cap"] = given.get("cap", 0 if feed == "sip" else CAP) or None
    access = Access(url, key, secret, by_headers)
    # Sources of different delay must not be taken for one.
    return AlpacaFeed(access=access, source=f"alpaca-{feed.replace('_', '-')}", clock=context.clock, **given)


def _channels(text: str) -> tuple[str, ...]:
    """Channels, each once, in the order given."""
    channels = tuple(dict.fromkeys(text.split(",")))
    if not set(channels) <= set(CHANNELS) or channels == ("dailyBars",):
        raise ValueError(f"must be a list of {', '.join(CHANNELS)}, with more in it than dailyBars")
    return channels


_PARAMETERS = {
    "feed": one_of(*FEEDS),
    "channels": _channels,
    "cap": whole_number(0, 999_999_999),
    "auth": one_of("message", "headers"),
    "mute_after": seconds,
    "busy_wait": seconds,
    "url": websocket_url,
    "stale_after": seconds,
}

_: FeedFactory = build
