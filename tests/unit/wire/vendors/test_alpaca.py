"""What Alpaca says, and what is said to it."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from marketstream.core.market.model import Quote
from marketstream.wire.publication import MAX_AHEAD_MS
from marketstream.wire.vendors.alpaca import (
    Control,
    Message,
    Refusal,
    Subscription,
    Trade,
    Volume,
    parse,
)
from marketstream.wire.vendors.alpaca_request import (
    MAX_BYTES,
    Request,
    auth_headers,
    choose,
    next_request,
    reaction,
    render_auth,
    shares,
)

RECORDED = Path(__file__).parents[3] / "recorded/alpaca"
NOW_MS = 1_709_564_700_000  # 2024-03-04T15:05:00Z
CHANNELS = ("quotes", "trades")
QUOTE = {"T": "q", "S": "AAPL", "bp": 1, "bs": 1, "ap": 2, "as": 1, "t": "2024-03-04T15:04:05Z"}
AT_MS = NOW_MS - 55_000


def recorded(name: str) -> list[Message]:
    """The messages of a recorded frame that is whole."""
    messages, faults = parse((RECORDED / f"{name}.json").read_bytes(), "alpaca-iex", NOW_MS)
    assert faults == []
    return messages


def read(*items: object) -> tuple[list[Message], list[str]]:
    """What a frame of these messages comes to."""
    messages, faults = parse(json.dumps(items).encode(), "alpaca-iex", NOW_MS)
    return messages, [str(fault) for fault in faults]


def test_a_quote_has_both_sides_and_the_vendors_time_to_the_millisecond() -> None:
    assert recorded("quotes")[0] == Quote("AAPL", "alpaca-iex", 187.31, 4, 187.34, 2, AT_MS + 678)


def test_a_side_of_zero_is_no_side() -> None:
    """Size 0 at price 0 is how the vendor says that nobody bids."""
    quote = recorded("quotes")[1]
    assert quote == Quote("BRK.B", "alpaca-iex", None, None, 401.5, 1, AT_MS + 1000)


def test_a_crossed_quote_is_passed_on_as_it_is() -> None:
    quote = recorded("quotes")[2]
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.ask) == (402, 401.98)


def test_a_trade_has_a_price_and_a_time() -> None:
    assert recorded("trades") == [Trade("AAPL", 187.325, AT_MS + 700), Trade("SPY", 512, AT_MS + 999)]


def test_a_minute_bar_closes_at_its_end_and_a_daily_bar_has_the_volume() -> None:
    assert recorded("bars") == [Trade("SPY", 512.1, NOW_MS - 60_000), Volume("SPY", 1_234_567)]


def test_an_acknowledgement_names_all_that_is_subscribed() -> None:
    (message,) = recorded("subscription")
    assert isinstance(message, Subscription)
    assert message.streams == {
        "trades": {"AAPL"},
        "quotes": {"AAPL", "MSFT"},
        "bars": {"*"},
        "dailyBars": {"SPY"},
    }


def test_the_steps_of_the_handshake_are_controls() -> None:
    assert recorded("handshake") == [Control("connected"), Control("authenticated")]


def test_an_error_has_a_code_and_perhaps_a_text() -> None:
    assert recorded("errors") == [Refusal(405, "symbol limit exceeded"), Refusal(500, "")]


def test_kinds_of_messages_that_nobody_needs_are_passed_over() -> None:
    """A correction, whose kind is `c`, and a trade with conditions, whose key is `c`, are not confused."""
    assert recorded("passed_over") == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"T": None}, "T: must be a string"),
        ({"S": None}, "S: must be a symbol"),
        ({"S": "A B"}, "S: must be a symbol"),
        ({"bp": "1"}, "bp: must be a number"),
        ({"bp": -1}, "bp: must be a number"),
        ({"ap": True}, "ap: must be a number"),
        ({"bs": None}, "bs: must be a number"),
        ({"as": -1}, "as: must be a number"),
        ({"t": None}, "t: must be an RFC 3339 time"),
        ({"t": 1_709_564_645_000}, "t: must be an RFC 3339 time"),
        ({"t": "2024-03-04"}, "t: must be an RFC 3339 time"),
        ({"t": "2024-03-04T15:04:05"}, "t: must be an RFC 3339 time"),
        ({"t": "2024-13-04T15:04:05Z"}, "t: must be an RFC 3339 time"),
        ({"t": "yesterday"}, "t: must be an RFC 3339 time"),
        ({"t": "0001-01-01T00:00:00Z"}, "t: lies before 1970"),
        ({"T": "t", "p": 0}, "p: must be a price above 0"),
        ({"T": "t", "p": None}, "p: must be a number"),
        ({"T": "b", "c": ["@"]}, "c: must be a number"),
        ({"T": "d", "v": "many"}, "v: must be a number"),
        ({"T": "error", "code": "402"}, "code: must be a whole number"),
        ({"T": "success"}, "msg: must be a string"),
        ({"T": "subscription", "quotes": "AAPL"}, "quotes: must be a list"),
        ({"T": "subscription", "trades": [1]}, "trades: must be a list"),
    ],
)
def test_a_bad_message_costs_only_itself(change: dict[str, Any], fault: str) -> None:
    good = QUOTE | {"S": "MSFT"}
    messages, faults = read(good, QUOTE | change, good)
    assert [message.symbol for message in messages if isinstance(message, Quote)] == ["MSFT", "MSFT"]
    assert len(faults) == 1
    assert faults[0].startswith(fault)


@pytest.mark.parametrize("item", [None, 3, "q", ["q"], {}])
def test_what_is_no_message_at_all_costs_only_itself(item: object) -> None:
    messages, faults = read(item, QUOTE)
    assert (len(messages), len(faults)) == (1, 1)


@pytest.mark.parametrize("frame", [b"", b"{}", b"null", b"[", b"\xff", b'{"T":"q"}'])
def test_a_frame_that_is_no_array_is_one_fault(frame: bytes) -> None:
    messages, faults = parse(frame, "alpaca-iex", NOW_MS)
    assert (messages, len(faults)) == ([], 1)


def test_a_time_with_an_offset_is_the_same_moment() -> None:
    (quote,), _ = read(QUOTE | {"t": "2024-03-04T10:04:05.000000001-05:00"})
    assert isinstance(quote, Quote)
    assert quote.at_ms == AT_MS


def test_what_lies_hours_ahead_is_refused_and_what_lies_hours_back_is_not() -> None:
    """One time of tomorrow would make everything late until then; an old time is only old."""
    messages, faults = read(QUOTE | {"t": "2024-03-04T16:04:05Z"}, QUOTE | {"t": "2024-03-04T14:04:05Z"})
    assert [message.at_ms for message in messages if isinstance(message, Quote)] == [AT_MS - 3_600_000]
    assert faults == ["t: lies in the future"]
    edge, _ = parse(json.dumps([QUOTE]).encode(), "x", AT_MS - MAX_AHEAD_MS)
    over, _ = parse(json.dumps([QUOTE]).encode(), "x", AT_MS - MAX_AHEAD_MS - 1)
    assert (len(edge), len(over)) == (1, 0)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, "give up") for code in (402, 409, 411)),
        (405, "fewer"),
        (406, "later"),
        (407, "slower"),
        *((code, "again") for code in (400, 401, 403, 404, 408, 410, 500, 499)),
    ],
)
def test_every_error_has_its_reaction(code: int, expected: str) -> None:
    assert reaction(code) == expected


def test_the_keys_go_with_the_first_message_or_with_the_headers() -> None:
    assert json.loads(render_auth("k", "s")) == {"action": "auth", "key": "k", "secret": "s"}
    assert auth_headers("k", "s") == {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}


def test_only_what_may_be_a_share_is_asked_for() -> None:
    symbols = {"AAPL", "BRK.B", "FAKEPACA", "BF-B", "EUR/USD", "^GSPC", "ES=F", "A:B", "A_B"}
    assert shares(symbols) == {"AAPL", "BRK.B", "FAKEPACA", "BF-B"}


def test_who_has_a_place_keeps_it_and_free_ones_go_by_the_alphabet() -> None:
    wanted = {"A", "B", "C", "D", "E"}
    assert choose(wanted, (), (), None) == wanted
    assert choose(wanted, (), (), 5) == wanted
    assert choose(wanted, (), (), 2) == {"A", "B"}
    assert choose(wanted, {"D"}, {"C", "D"}, 3) == {"A", "C", "D"}
    assert choose(wanted, {"D"}, {"C", "D"}, 1) == {"D"}
    assert choose(wanted, {"Z"}, {"Y", "Z"}, 2) == {"A", "B"}
    assert choose(wanted, {"A"}, (), 0) == frozenset()


def test_what_is_too_much_is_given_back_before_anything_is_asked_for() -> None:
    confirmed = {"quotes": {"A", "B"}, "trades": {"A"}}
    request = next_request({"A", "C"}, confirmed, CHANNELS)
    assert request == Request("unsubscribe", {"quotes": ["B"]})
    confirmed["quotes"].remove("B")
    request = next_request({"A", "C"}, confirmed, CHANNELS)
    assert request == Request("subscribe", {"quotes": ["C"], "trades": ["C"]})
    assert len(request) == 2
    assert json.loads(request.render()) == {"action": "subscribe", "quotes": ["C"], "trades": ["C"]}


def test_nothing_is_asked_for_when_all_is_as_it_should_be() -> None:
    assert next_request({"A"}, {"quotes": {"A"}, "trades": {"A"}, "bars": set()}, CHANNELS) is None
    assert next_request((), {}, CHANNELS) is None


def test_a_symbol_that_is_on_one_channel_only_is_asked_for_on_the_other() -> None:
    assert next_request({"A"}, {"quotes": {"A"}}, CHANNELS) == Request("subscribe", {"trades": ["A"]})


def test_a_channel_that_was_never_asked_for_is_given_back() -> None:
    confirmed = {"quotes": {"A"}, "trades": {"A"}, "bars": {"*"}}
    assert next_request({"A"}, confirmed, CHANNELS) == Request("unsubscribe", {"bars": ["*"]})


def test_a_long_request_goes_in_parts_below_the_limit() -> None:
    symbols = {f"SYM{number}" for number in range(8_000)}
    confirmed: dict[str, set[str]] = {channel: set() for channel in CHANNELS}
    sizes = []
    while (request := next_request(symbols, confirmed, CHANNELS)) is not None:
        sizes.append(len(request.render()))
        for channel, added in request.streams.items():
            assert confirmed[channel].isdisjoint(added)
            confirmed[channel].update(added)
    assert confirmed == dict.fromkeys(CHANNELS, symbols)
    assert all(size < MAX_BYTES for size in sizes)
    assert all(size > MAX_BYTES - 100 for size, _ in pairwise(sizes)), "parts are as long as they may be"
