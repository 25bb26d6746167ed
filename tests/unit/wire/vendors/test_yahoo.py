import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from marketstream.core.market.hours import Market, open_markets
from marketstream.errors import InvalidMessageError
from marketstream.wire.vendors import yahoo
from tests.support.yahoo import AT_MS, frame, pricing, varint, wrapped

RECORDED = sorted((Path(__file__).parents[3] / "recorded/yahoo_stream").glob("*.json"))
WEDNESDAY_NOON = 1_700_067_600_000
"""In New York."""


def read(text: str | bytes, at_ms: int = AT_MS) -> yahoo.Tick:
    """What a frame says."""
    tick = yahoo.parse(text if isinstance(text, bytes) else text.encode(), at_ms)
    assert tick is not None
    return tick


def tick(price: float = 10.0, **fields: Any) -> yahoo.Tick:
    """What a frame with these fields says."""
    return read(frame("A", price, **fields))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_message_of_each_kind_is_read(path: Path) -> None:
    recorded = json.loads(path.read_text())
    found = read(recorded["frame"])
    assert asdict(found.quote) == recorded["quote"]
    assert (found.market, found.regular) == (recorded["market"], recorded["regular"])
    assert recorded["source"]


def test_there_are_messages_of_each_kind() -> None:
    assert len(RECORDED) == 5


@pytest.mark.parametrize(
    ("price", "hint", "expected"),
    [
        (451.2, 2, 451.2),
        (451.2, 0, 451.2),
        (230.605, 2, 230.6),
        (1.0876821, 4, 1.0877),
        (1.0876821, 0, 1.0876821),
        (741000.125, 2, 741000.1),
        (0.00000812, 2, 0.00000812),
        (0.0123, 2, 0.0123),
        (0.0123, 4, 0.0123),
        (10.0, -3, 10.0),
        (10.127, 99, 10.127),
        (-37.63, 2, -37.63),
        (16777216.0, 2, 16777216.0),
    ],
)
def test_a_price_is_what_was_meant_by_its_float(price: float, hint: int, expected: float) -> None:
    """451.2 travels as 451.20001220703125; a hint that does not fit the price is not believed."""
    assert tick(price, price_hint=hint).quote.last == expected


def test_bid_and_ask_are_rounded_like_the_trade() -> None:
    quote = tick(9.8765, bid=9.8712, ask=9.8812, price_hint=2).quote
    assert (quote.bid, quote.ask, quote.last) == (9.87, 9.88, 9.88)


def test_what_is_absent_is_not_known() -> None:
    quote = tick().quote
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size, quote.volume) == (None,) * 5


def test_a_size_without_its_price_and_one_below_zero_are_left_out() -> None:
    quote = tick(bid_size=5, ask=11.0, ask_size=-5, day_volume=-1).quote
    assert (quote.bid_size, quote.ask_size, quote.volume) == (None, None, None)


def test_a_bid_alone_is_a_quote() -> None:
    quote = tick(0, bid=9.5).quote
    assert (quote.bid, quote.ask, quote.last) == (9.5, None, None)


def test_large_numbers_keep_every_digit() -> None:
    assert tick(day_volume=2**52 + 1).quote.volume == 2**52 + 1


def test_a_sign_of_life_says_nothing() -> None:
    assert yahoo.parse(frame("", 0, quote_type=7).encode(), AT_MS) is None


def test_what_is_unknown_is_passed_over() -> None:
    """Fields that came later, of all wire types; of one that comes twice the last one counts."""
    unknown = b"".join(
        varint(900 << 3 | kind) + data
        for kind, data in ((0, varint(2**63)), (1, bytes(8)), (2, varint(3) + b"abc"), (5, bytes(4)))
    )
    message = pricing(id="A", price=1.0, time=AT_MS) + unknown + pricing(price=2.0)
    assert read(wrapped(message)).quote.last == 2.0


def test_a_known_field_of_another_type_is_absent() -> None:
    message = pricing(id="A", price=1.0, time=AT_MS) + varint(23 << 3) + varint(7)
    assert read(wrapped(message)).quote.bid is None


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "is not a symbol"),
        (pricing(id="", price=1.0, time=AT_MS), "is not a symbol"),
        (pricing(id="A B", price=1.0, time=AT_MS), "is not a symbol"),
        (pricing(id="A", price=1.0), "time"),
        (pricing(id="A", price=1.0, time=AT_MS + 300_001), "time"),
        (pricing(id="A", time=AT_MS), "holds no price"),
        (pricing(id="A", time=AT_MS, price=float("nan")), "finite"),
        (pricing(id="A", time=AT_MS, price=1.0, bid=float("inf")), "finite"),
        (b"\x0a\x02\xff\xff", "UTF-8"),
        (b"\x0a\x05abc", "cut off"),
        (b"\x15\x00\x00", "cut off"),
        (b"\x18\x80\x80", "without an end"),
        (b"\x18" + b"\x80" * 11, "without an end"),
        (b"\x00\x01", "without a number"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x0e", "wire type 6"),
        (varint(1 << 35) + b"\x00", "without a number"),
    ],
)
def test_a_message_that_makes_no_sense_is_refused(message: bytes, reason: str) -> None:
    with pytest.raises(InvalidMessageError, match=reason):
        yahoo.parse(wrapped(message).encode(), AT_MS)


@pytest.mark.parametrize(
    "text", ["", "{", "7", "[]", "{}", '{"message":null}', '{"message":"a"}', '{"message":"é==="}', "\x00"]
)
def test_a_frame_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessageError):
        yahoo.parse(text.encode(), AT_MS)


def test_the_five_minutes_that_clocks_may_differ_are_given() -> None:
    assert tick(time=AT_MS + 300_000).quote.at_ms == AT_MS + 300_000


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("EUR/USD", "EURUSD=X"),
        ("USD/JPY", "USDJPY=X"),
        ("XAU/USD", "XAUUSD=X"),
        ("BTC/USD", "BTC-USD"),
        ("DOGE/EUR", "DOGE-EUR"),
        ("ETH/BTC", "ETH-BTC"),
        ("^GSPC", "^GSPC"),
        ("AAPL", "AAPL"),
        ("BRK-B", "BRK-B"),
        ("VOD.L", "VOD.L"),
        ("ES=F", "ES=F"),
        ("A/B", "A/B"),
        ("/USD", "/USD"),
        ("-USD", "-USD"),
    ],
)
def test_symbols_are_called_as_the_other_side_calls_them(ours: str, theirs: str) -> None:
    assert yahoo.to_yahoo(ours) == theirs
    assert yahoo.from_yahoo(theirs) == ours


def test_a_currency_against_the_dollar_has_a_short_name_too() -> None:
    assert yahoo.from_yahoo("JPY=X") == "USD/JPY"
    assert yahoo.from_yahoo("ZZZ=X") == "ZZZ=X"


def test_what_is_asked_for_is_json_as_yahoo_wants_it() -> None:
    assert yahoo.subscribe(["A", "B"]) == b'{"subscribe":["A","B"]}'
    assert yahoo.unsubscribe(["A"]) == b'{"unsubscribe":["A"]}'


@pytest.mark.parametrize(
    ("fields", "at_noon", "at_night"),
    [
        ({"quote_type": 8, "exchange": "NYQ", "market_hours": 0}, True, False),
        ({"quote_type": 41, "exchange": "CCC"}, True, True),
        ({"quote_type": 14, "exchange": "CCY"}, True, True),
        ({"quote_type": 8, "exchange": "LSE", "market_hours": 1}, True, True),
        ({"quote_type": 8, "exchange": "LSE", "market_hours": 2}, False, False),
    ],
)
def test_a_market_is_open_by_its_hours_or_by_its_last_word(
    fields: dict[str, Any], *, at_noon: bool, at_night: bool
) -> None:
    found = tick(**fields)
    assert found.is_open(open_markets(WEDNESDAY_NOON)) is at_noon
    assert found.is_open(open_markets(WEDNESDAY_NOON + 12 * 3_600_000)) is at_night


def test_markets_are_known_by_kind_and_exchange() -> None:
    expected: dict[tuple[int, str], Market | None] = {
        (8, "NMS"): "new_york",
        (20, "PCX"): "new_york",
        (9, "SNP"): "new_york",
        (14, "NMS"): "currencies",
        (41, ""): "coins",
        (8, "GER"): None,
        (18, "CME"): None,
    }
    found = {(kind, venue): tick(quote_type=kind, exchange=venue).market for kind, venue in expected}
    assert found == expected


def test_base64_is_taken_as_it_is_written() -> None:
    """No character is passed over: a damaged message must not become another one."""
    good = base64.b64encode(pricing(id="A", price=1.0, time=AT_MS)).decode()
    assert read(json.dumps({"message": good})).quote.last == 1.0
    with pytest.raises(InvalidMessageError):
        yahoo.parse(json.dumps({"message": good[:4] + "*" + good[4:]}).encode(), AT_MS)
