"""Alpaca: no bytes make the parser raise, and whatever happens, what is wanted is had in the end."""

import json
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.market.model import Quote
from marketstream.errors import InvalidMessageError
from marketstream.feeds.alpaca_streams import Streams
from marketstream.wire.vendors.alpaca import parse
from marketstream.wire.vendors.alpaca_request import MAX_BYTES
from tests.support.alpaca import quote

NOW_MS = 1_709_564_700_000
CHANNELS = ("quotes", "trades")
WORDS = (
    *("T", "S", "bp", "bs", "ap", "as", "p", "s", "c", "v", "t", "code", "msg", "quotes", "q", "b", "d"),
    *("error", "success", "subscription", "AAPL", "2024-03-04T15:04:05Z", "9999-12-31T23:59:59+00:01"),
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=8),
    max_leaves=20,
)
symbols = st.frozensets(st.sampled_from("ABCDEFGH"))


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise(frame: bytes) -> None:
    messages, faults = parse(frame, "x", NOW_MS)
    assert all(isinstance(fault, InvalidMessageError) for fault in faults)
    assert messages == [] or faults == [] or len(messages) + len(faults) > 1


@given(st.lists(values, max_size=5))
def test_no_json_makes_the_parser_raise(items: list[object]) -> None:
    messages, faults = parse(json.dumps(items).encode(), "x", NOW_MS)
    assert len(messages) + len(faults) <= max(len(items), 1)


@given(
    bid=st.floats(0.0001, 1e6),
    ask=st.floats(0.0001, 1e6),
    at_ms=st.integers(1, NOW_MS),
    size=st.integers(0, 10**6),
)
def test_a_quote_says_what_was_sent(bid: float, ask: float, at_ms: int, size: int) -> None:
    frame = json.dumps([quote("AAPL", bid, ask, at_ms, size=size)]).encode()
    assert parse(frame, "x", NOW_MS) == ([Quote("AAPL", "x", bid, size, ask, size, at_ms)], [])


class Vendor:
    """The other side: a cap, and what is subscribed."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.had: dict[str, frozenset[str]] = {channel: frozenset() for channel in CHANNELS}

    def take(self, action: str, streams: Mapping[str, list[str]]) -> bool:
        """Does what a request asks for, as a whole; False when it is too much."""
        changed = {
            channel: had | set(streams.get(channel, ()))
            if action == "subscribe"
            else had - set(streams.get(channel, ()))
            for channel, had in self.had.items()
        }
        if sum(map(len, changed.values())) > self.cap:
            return False
        self.had = changed
        return True


@given(
    demands=st.lists(st.tuples(symbols, st.sampled_from(["settled", "asked", "answering"])), min_size=1),
    cap=st.integers(0, 20),
)
def test_in_the_end_the_vendor_sends_as_much_of_what_is_wanted_as_it_may(
    demands: list[tuple[frozenset[str], str]], cap: int
) -> None:
    """Demand may change at any moment, also while an answer is under way; no request is made in vain."""
    vendor, streams = Vendor(cap), Streams("x", CHANNELS, cap, frozenset())
    waiting = list(demands)

    def change(moment: str) -> None:
        while waiting and waiting[0][1] == moment:
            streams.want(waiting.pop(0)[0])

    while waiting:
        streams.want(waiting.pop(0)[0])
        while (request := streams.next()) is not None:
            assert len(request.render()) < MAX_BYTES
            change("asked")
            before = dict(vendor.had)
            assert vendor.take(request.action, {name: list(each) for name, each in request.streams.items()})
            assert vendor.had != before
            change("answering")
            assert streams.confirm(vendor.had)
    last, had = demands[-1][0], vendor.had["quotes"]
    assert vendor.had["trades"] == had == streams.chosen
    assert had <= last
    assert len(had) == min(len(last), cap // 2)
    assert streams.left_out == last - had


@given(wanted=symbols, cap=st.integers(0, 20))
def test_a_cap_that_nobody_told_us_of_is_found_without_asking_for_ever(
    wanted: frozenset[str], cap: int
) -> None:
    vendor, streams = Vendor(cap), Streams("x", CHANNELS, None, frozenset())
    streams.want(wanted)
    requests = 0
    while (request := streams.next()) is not None:
        requests += 1
        assert requests < 20
        if vendor.take(request.action, {name: list(each) for name, each in request.streams.items()}):
            streams.confirm(vendor.had)
        else:
            assert streams.refuse()
    assert 2 * len(streams.symbols) <= cap
    assert streams.symbols or not wanted or cap < 2 * (len(wanted) // 2 or 1)
