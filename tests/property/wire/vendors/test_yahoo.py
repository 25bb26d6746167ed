"""No bytes hurt the reader, and what yfinance would read of a message is what it reads."""

import base64
import json
import struct
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from yfinance.pricing_pb2 import PricingData

from marketstream.errors import InvalidMessageError
from marketstream.wire.vendors import yahoo
from marketstream.wire.vendors.protobuf import Message
from tests.support.builders import HOSTILE, JSON
from tests.support.yahoo import AT_MS, varint, wrapped

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SIGNED = st.integers(-(2**63), 2**63 - 1)
PLAIN = st.integers(0, 2**31 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
KINDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(["id", "currency", "exchange", "short_name", "last_market"], TEXTS),
    **dict.fromkeys(["price", "change", "day_high", "open_price", "bid", "ask"], FLOATS),
    **dict.fromkeys(["time", "day_volume", "bid_size", "ask_size", "price_hint", "vol_24hr"], SIGNED),
    **dict.fromkeys(["quote_type", "market_hours"], PLAIN),
    **dict.fromkeys(["circulating_supply", "market_cap"], st.floats(allow_nan=False)),
}
MESSAGES = st.fixed_dictionaries({}, optional=KINDS)
NUMBERS = {name: PricingData.DESCRIPTOR.fields_by_name[name].number for name in KINDS}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/=^:&"
SYMBOLS = st.from_regex(r"[A-Z0-9.\-_/=^:&]{1,32}", fullmatch=True)
CODES = st.sampled_from(sorted(yahoo.CURRENCIES | {"BTC", "ETH", "SOL", "AAPL"}))
NAMES = SYMBOLS | st.builds("{}{}{}".format, CODES, st.sampled_from(["/", "-", ""]), CODES)


def attempt(data: bytes) -> yahoo.Tick | None:
    """What a frame says, if anything."""
    try:
        return yahoo.parse(data, AT_MS)
    except InvalidMessageError:
        return None


@given(
    st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()) | st.sampled_from(HOSTILE)
)
def test_no_bytes_raise_anything_but_an_invalid_message(data: bytes) -> None:
    attempt(data)


@given(st.binary(max_size=200))
def test_no_message_raises_anything_but_an_invalid_message(data: bytes) -> None:
    attempt(wrapped(data).encode())


@given(MESSAGES, st.integers(0, 400), st.binary(max_size=3))
def test_no_damage_raises_anything_but_an_invalid_message(
    fields: dict[str, Any], at: int, damage: bytes
) -> None:
    data = PricingData(**fields).SerializeToString()
    attempt(wrapped(data[:at] + damage + data[at + len(damage) :]).encode())


@given(MESSAGES, st.lists(st.integers(0, 2**64 - 1), max_size=2))
def test_a_message_reads_as_yfinance_reads_it(fields: dict[str, Any], unknown: list[int]) -> None:
    data = PricingData(**fields).SerializeToString()
    for number in unknown:
        data += b"\xf8\x3f" + varint(number)  # field 1023
    theirs, ours = PricingData(), Message(data)
    theirs.ParseFromString(data)
    for name, number in NUMBERS.items():
        kind = KINDS[name]
        if kind is TEXTS:
            assert ours.text(number) == getattr(theirs, name)
        elif kind is FLOATS:
            assert ours.float32(number) == getattr(theirs, name)
        elif kind is SIGNED:
            assert ours.signed(number) == getattr(theirs, name)
        elif kind is PLAIN:
            assert ours.unsigned(number) == getattr(theirs, name)


@given(
    symbol=SYMBOLS,
    price=st.floats(2**-20, 2**20, width=32),
    hint=st.integers(0, 12),
    at_ms=st.integers(1, AT_MS),
    volume=st.integers(0, 2**52),
)
@example(symbol="A", price=struct.unpack("<f", struct.pack("<f", 451.2))[0], hint=2, at_ms=1, volume=0)
def test_every_sensible_message_is_a_quote_close_to_what_was_sent(
    symbol: str, price: float, hint: int, at_ms: int, volume: int
) -> None:
    message = PricingData(id=symbol, price=price, price_hint=hint, time=at_ms, day_volume=volume)
    tick = attempt(json.dumps({"message": base64.b64encode(message.SerializeToString()).decode()}).encode())
    assert tick is not None
    quote = tick.quote
    assert quote.last is not None
    assert abs(quote.last - price) <= price * 1.001e-3
    assert (quote.at_ms, quote.volume or 0) == (at_ms, volume)


@given(NAMES)
def test_one_symbol_stands_for_an_instrument_whatever_it_is_called(symbol: str) -> None:
    instrument = yahoo.from_yahoo(yahoo.to_yahoo(symbol))
    name = yahoo.to_yahoo(instrument)
    assert yahoo.from_yahoo(name) == instrument
    assert set(name) <= set(ALPHABET)
