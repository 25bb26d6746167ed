"""`--feed` names a feed and its parameters; what it does not understand it refuses with what it would."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketstream.core.market.model import Quote
from marketstream.errors import ConfigurationError
from marketstream.feeds.alpaca import Access, AlpacaFeed
from marketstream.feeds.replay import ReplayFeed
from marketstream.feeds.synthetic import DEFAULT_SYMBOLS, SyntheticFeed
from marketstream.feeds.yahoo import YahooFeed
from marketstream.plugins.feed import FeedContext, build_feed
from tests.support.clock import FakeClock
from tests.support.sink import RecordingSink
from tests.support.yahoo import Streamer

HEAD = "timestamp_ms,symbol,source,bid,bid_size,ask,ask_size\n"


class _EnoughError(Exception):
    """Ends a feed that never ends by itself."""


class TickingClock(FakeClock):
    """Moves on by itself whenever somebody looks at it, so that a feed is hardly ever early."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    def now(self) -> float:
        """Monotonic seconds, a step later than at the last look."""
        self.advance(self.step)
        return super().now()


class FullSink(RecordingSink):
    """Takes that many offers and no more."""

    def __init__(self, offers: int) -> None:
        super().__init__()
        self.room = offers

    def offer(self, quotes: Sequence[Quote]) -> None:
        """Keeps an offer; raises when there is no room for another."""
        super().offer(quotes)
        if len(self.offers) >= self.room:
            raise _EnoughError


async def offers(spec: str, count: int = 1, *, step: float = 0.1) -> list[tuple[Quote, ...]]:
    """What a synthetic feed offers first."""
    feed = build_feed(spec, FeedContext(TickingClock(step)))
    sink = FullSink(count)
    assert isinstance(feed, SyntheticFeed)
    with pytest.raises(_EnoughError):
        await feed.run(sink)
    return sink.offers


async def symbols_of(spec: str) -> list[str]:
    """The symbols of a synthetic feed, in their order."""
    return [quote.symbol for quote in (await offers(spec))[0]]


def keyed(key: str | None, secret: str | None) -> FeedContext:
    """A context with the keys of an account."""
    keys = {"ALPACA_API_KEY": key, "ALPACA_API_SECRET": secret}
    return FeedContext(FakeClock(), keys.get)


def refusal(spec: str) -> str:
    """Why a specification is refused."""
    with pytest.raises(ConfigurationError) as caught:
        build_feed(spec, FeedContext(FakeClock()))
    assert caught.value.path == "feed"
    return str(caught.value)


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """A tape of two rows, with a name that a careless parser trips over."""
    path = tmp_path / "a=b:c.csv"
    path.write_text(HEAD + "1000,AAPL,x,1,,2,\n1005,AAPL,x,1,,3,\n", encoding="utf-8")
    return path


def test_none_is_no_feed() -> None:
    assert build_feed("none", FeedContext(FakeClock())) is None


@pytest.mark.parametrize("spec", ["synthetic", "synthetic?"])
async def test_synthetic_alone_is_a_handful_of_known_symbols_by_two_sources(spec: str) -> None:
    bursts = await offers(spec, 3)
    assert [quote.symbol for quote in bursts[0]] == list(DEFAULT_SYMBOLS)
    assert [burst[0].source for burst in bursts] == ["sim-1", "sim-2", "sim-1"]


async def test_symbols_may_be_listed_and_numbered() -> None:
    assert await symbols_of("synthetic?symbols=EUR/USD,aapl") == ["EUR/USD", "AAPL"]
    assert await symbols_of("synthetic?symbols=SYM*100") == [f"SYM{number}" for number in range(100)]
    assert await symbols_of("synthetic?symbols=AAPL,SYM*3,MSFT") == ["AAPL", "SYM0", "SYM1", "SYM2", "MSFT"]
    assert await symbols_of("synthetic?symbols=SYM1,SYM*2,SYM1") == ["SYM1", "SYM0"]
    assert await symbols_of("synthetic?symbols=EURUSD=X,^GSPC,EUR%2FUSD") == ["EURUSD=X", "^GSPC", "EUR/USD"]


async def test_the_parameters_reach_the_feed() -> None:
    spec = "synthetic?symbols=AAPL,MSFT&rate=20&sources=3&shape=burst&seed="
    bursts = await offers(spec + "5", 21, step=0.05)
    assert {quote.source for burst in bursts for quote in burst} == {"sim-1", "sim-2", "sim-3"}
    assert bursts[-1][0].at_ms - bursts[0][0].at_ms == pytest.approx(1000, abs=60)
    assert bursts[0][0].bid == (await offers(spec + "5"))[0][0].bid
    assert [quote.bid for quote in bursts[0]] != [quote.bid for quote in (await offers(spec + "6"))[0]]
    spread = await offers("synthetic?symbols=AAPL,MSFT&shape=spread&rate=0.5", 1, step=0)
    assert [quote.symbol for quote in spread[0]] == ["AAPL"]


async def test_a_tape_is_played_once_at_its_own_pace(tape: Path) -> None:
    feed, sink = build_feed(f"replay:{tape}", FeedContext(TickingClock(0.001))), RecordingSink()
    assert isinstance(feed, ReplayFeed)
    await feed.run(sink)
    assert [len(offer) for offer in sink.offers] == [1, 1]
    assert sink.asked == []


async def test_speed_loop_and_wait_reach_the_tape(tape: Path) -> None:
    feed, sink = build_feed(f"replay:{tape}?speed=0&loop=3&wait=1", FeedContext(FakeClock())), RecordingSink()
    assert feed is not None
    task = asyncio.create_task(feed.run(sink))
    await sink.want("AAPL")
    await task
    assert len(sink.quotes) == 6
    assert len(sink.offers) == 1
    assert sink.asked == [frozenset()]


async def test_synthetic_may_be_told_to_quote_only_what_is_watched() -> None:
    for demand, expected in ((0, {"AAPL", "MSFT"}), (1, {"MSFT"})):
        feed = build_feed(f"synthetic?symbols=AAPL,MSFT&demand={demand}", FeedContext(TickingClock(0.1)))
        sink = FullSink(3)
        await sink.want("MSFT")
        assert isinstance(feed, SyntheticFeed)
        with pytest.raises((_EnoughError, ExceptionGroup)):
            await feed.run(sink)
        assert {quote.symbol for quote in sink.quotes} == expected


@pytest.mark.parametrize("spec", ["", "Yahoo", "Synthetic", "bloomberg:x"])
def test_an_unknown_feed_is_refused_with_those_there_are(spec: str) -> None:
    name = spec.partition(":")[0]
    expected = f"feed: there is no feed {name}; there are alpaca, none, replay, synthetic, yahoo"
    assert refusal(spec) == expected


@pytest.mark.parametrize("name", ["yahoo", "alpaca", "synthetic", "none"])
def test_a_feed_that_needs_no_target_takes_none(name: str) -> None:
    assert refusal(f"{name}:x") == f"feed: {name}: nothing may follow a colon: 'x'"


@pytest.mark.parametrize("spec", ["replay", "replay:"])
def test_a_tape_has_a_file(spec: str) -> None:
    assert refusal(spec) == "feed: replay: a file is needed, as in replay:FILE"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("size=3", "'size=3' is not a parameter, accepted are symbols, rate, sources, shape, seed"),
        ("rate=10&", "'' is not a parameter"),
        ("rate=1&rate=2", "rate is given twice"),
        ("rate=0", "rate is '0', must be a number above 0, up to 100000"),
        ("rate=-1", "rate is '-1', must be a number above 0"),
        ("rate=nan", "rate is 'nan', must be a number above 0"),
        ("rate=inf", "rate is 'inf', must be a number above 0"),
        ("rate=1e9", "rate is '1e9', must be a number above 0, up to 100000"),
        ("rate=ten", "rate is 'ten', must be a number above 0"),
        ("rate", "rate is '', must be a number above 0"),
        ("rate=1_0", "rate is '1_0', must be a number above 0"),
        ("sources=0", "sources is '0', must be a whole number from 1 to 32"),
        ("sources=33", "sources is '33', must be a whole number from 1 to 32"),
        ("sources=1.5", "sources is '1.5', must be a whole number"),
        ("shape=round", "shape is 'round', must be burst or spread"),
        ("seed=-1", "seed is '-1', must be a whole number from 0"),
        ("seed=\u0663", "seed is '\u0663', must be a whole number from 0"),
        ("symbols=", "where '' is not a symbol: must be a list such as AAPL,SYM*100"),
        ("symbols=A B", "where 'A B' is not a symbol"),
        ("symbols=AAPL,", "where '' is not a symbol"),
        ("symbols=SYM*x", "where 'SYM*x' is not a symbol"),
        ("symbols=*3", "where '*3' is not a symbol"),
        (f"symbols={'A' * 31}*11", f"where '{'A' * 31}10' is not a symbol"),
        ("symbols=SYM*0", "must name 1 to 100000 symbols"),
        ("symbols=A*60000,B*60000", "must name 1 to 100000 symbols"),
    ],
)
def test_a_bad_parameter_of_the_synthetic_feed_is_named(query: str, reason: str) -> None:
    text = refusal(f"synthetic?{query}")
    assert text.startswith("feed: synthetic: ")
    assert reason in text


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("rate=1", "'rate=1' is not a parameter, accepted are speed, loop, wait"),
        ("speed=-1", "speed is '-1', must be a number from 0"),
        ("speed=inf", "speed is 'inf', must be a number from 0"),
        ("speed=fast", "speed is 'fast', must be a number from 0"),
        ("loop=-1", "loop is '-1', must be a whole number from 0"),
        ("wait=yes", "wait is 'yes', must be 0 or 1"),
    ],
)
def test_a_bad_parameter_of_a_tape_is_named(tape: Path, query: str, reason: str) -> None:
    text = refusal(f"replay:{tape}?{query}")
    assert text.startswith("feed: replay: ")
    assert reason in text


@pytest.mark.parametrize("name", ["nowhere.csv", ".", "x" * 300, "a\0b"])
def test_a_tape_must_exist(tmp_path: Path, name: str) -> None:
    assert "there is no file" in refusal(f"replay:{tmp_path}/{name}")


@pytest.mark.parametrize(("query", "seconds"), [("", None), ("?stale_after=2.5", 2.5)])
def test_a_feed_says_how_long_its_sources_may_be_silent(query: str, seconds: float | None) -> None:
    feed = build_feed(f"synthetic{query}", FeedContext(FakeClock()))
    assert feed is not None
    assert feed.stale_after == seconds


@pytest.mark.parametrize("text", ["0", "-1", "nan", "soon"])
def test_a_silence_that_is_no_time_is_refused(text: str) -> None:
    assert "stale_after is" in refusal(f"synthetic?stale_after={text}")


def alpaca(query: str = "") -> AlpacaFeed:
    """The feed that a specification with keys names."""
    feed = build_feed(f"alpaca{query}", keyed("k", "s"))
    assert isinstance(feed, AlpacaFeed)
    return feed


@pytest.mark.parametrize(
    ("query", "path", "source", "cap"),
    [
        ("", "iex", "alpaca-iex", 30),
        ("?feed=iex&cap=0", "iex", "alpaca-iex", None),
        ("?feed=delayed_sip", "delayed_sip", "alpaca-delayed-sip", 30),
        ("?feed=sip", "sip", "alpaca-sip", None),
        ("?feed=sip&cap=100", "sip", "alpaca-sip", 100),
        ("?feed=test", "test", "alpaca-test", 30),
    ],
)
def test_alpaca_has_a_stream_for_each_of_its_feeds(
    query: str, path: str, source: str, cap: int | None
) -> None:
    feed = alpaca(query)
    assert feed.access == Access(f"wss://stream.data.alpaca.markets/v2/{path}", "k", "s")
    assert (feed.source, feed._cap) == (source, cap)
    assert feed.channels == ("quotes", "trades")
    assert (feed.mute_after, feed.stale_after, feed.busy_wait) == (None, None, 60)


def test_the_parameters_reach_alpaca() -> None:
    feed = alpaca(
        "?url=ws%3A%2F%2Flocalhost%3A9/v2/x%3Fa&auth=headers&channels=bars,trades,bars&mute_after=60"
        "&stale_after=120&busy_wait=10"
    )
    assert feed.access == Access("ws://localhost:9/v2/x?a", "k", "s", by_headers=True)
    assert feed.channels == ("bars", "trades")
    assert (feed.mute_after, feed.stale_after, feed.busy_wait) == (60, 120, 10)


@pytest.mark.parametrize(
    ("key", "secret", "path"),
    [
        (None, None, "providers.alpaca_api_key"),
        (None, "s", "providers.alpaca_api_key"),
        ("k", None, "providers.alpaca_api_secret"),
    ],
)
def test_alpaca_without_its_keys_does_not_start(key: str | None, secret: str | None, path: str) -> None:
    with pytest.raises(ConfigurationError, match="ALPACA_API_KEY and ALPACA_API_SECRET") as caught:
        build_feed("alpaca", keyed(key, secret))
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("symbols=AAPL", "accepted are feed, channels, cap, auth, mute_after, busy_wait, url, stale_after"),
        ("feed=IEX", "feed is 'IEX', must be iex or sip or delayed_sip or test"),
        ("channels=", "channels is '', must be a list of quotes, trades, bars, dailyBars"),
        ("channels=quotes,news", "must be a list of quotes, trades, bars, dailyBars"),
        ("channels=dailyBars", "with more in it than dailyBars"),
        ("cap=-1", "cap is '-1', must be a whole number from 0"),
        ("auth=basic", "auth is 'basic', must be message or headers"),
        ("mute_after=0", "mute_after is '0', must be a number of seconds above 0"),
        ("url=https://x/", "must be a URL that begins with wss:// or ws://"),
        ("url=wss://", "must be a URL"),
        ("url=wss://x:99999/", "must be a URL"),
        ("url=wss://[", "must be a URL"),
    ],
)
def test_a_bad_parameter_of_alpaca_is_named(query: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        alpaca(f"?{query}")
    assert str(caught.value).startswith("feed: alpaca: ")
    assert reason in str(caught.value)


async def test_yahoo_is_looked_for_where_the_specification_says() -> None:
    async with Streamer() as streamer:
        url = streamer.url.replace("?", "%3F")
        for spec in (f"yahoo?url={streamer.url}", f"yahoo?stale_after=5&url={url}"):
            feed, sink = build_feed(spec, FeedContext(FakeClock())), RecordingSink()
            assert isinstance(feed, YahooFeed)
            await sink.want("A")
            task = asyncio.create_task(feed.run(sink))
            await streamer.until_asked("A")
            task.cancel()
            await asyncio.wait([task])
            streamer.subscribed.clear()
        assert streamer.connections == 2


def test_yahoo_may_be_silent_for_as_long_as_is_said() -> None:
    feed = build_feed("yahoo?stale_after=5&mute_after=7", FeedContext(FakeClock()))
    assert isinstance(feed, YahooFeed)
    assert (feed.stale_after, feed.mute_after) == (5, 7)


def test_yahoo_needs_no_parameters() -> None:
    feed = build_feed("yahoo", FeedContext(FakeClock()))
    assert feed is not None
    assert (feed.name, feed.stale_after) == ("yahoo", None)


@pytest.mark.parametrize("url", ["", "https://host/", "wss://", "host", "wss://[", "wss://host:99999"])
def test_an_address_that_is_no_websockets_is_refused(url: str) -> None:
    assert "must be a URL that begins with wss:// or ws://" in refusal(f"yahoo?url={url}")


def test_none_takes_no_parameters() -> None:
    assert "'rate=1' is not a parameter, accepted are none at all" in refusal("none?rate=1")


@settings(deadline=None)
@given(
    kind=st.sampled_from(
        [
            *("", "synthetic?", "replay:", "none?", "synthetic?symbols=", "synthetic?rate="),
            *("alpaca?url=", "yahoo?url="),
        ]
    ),
    rest=st.text(max_size=40).filter(lambda text: "*" not in text),
)
def test_no_text_raises_anything_but_a_configuration_error(kind: str, rest: str) -> None:
    with suppress(ConfigurationError):
        build_feed(kind + rest, keyed("k", "s"))
