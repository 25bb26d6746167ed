"""Parse Yahoo's streamer, encode requests to it, and translate symbols.

A frame is JSON `{"message": base64}` around a protobuf message `PricingData`; its fields are those of
`pricing.proto` in yfinance 1.7.0. Prices are 32-bit floats: they are read as the shortest decimal number that
is the same float, rounded to the decimals that the message itself names. Most messages report a trade and no
bid or ask; what is zero there is absent. Nobody promises any of this: the interface is not a public one.
"""

import base64
import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from marketstream.core.market.hours import Market
from marketstream.core.market.model import Quote
from marketstream.core.market.symbols import normalise
from marketstream.errors import FutureTimeError, InvalidMessageError
from marketstream.wire.json import dumps, loads
from marketstream.wire.publication import MAX_AHEAD_MS
from marketstream.wire.vendors.protobuf import Message

SOURCE = "yahoo"

_ID, _PRICE, _TIME, _EXCHANGE, _QUOTE_TYPE, _MARKET_HOURS, _DAY_VOLUME = 1, 2, 3, 5, 6, 7, 9
_BID, _BID_SIZE, _ASK, _ASK_SIZE, _PRICE_HINT = 23, 24, 25, 26, 27
_HEARTBEAT, _CURRENCY, _COIN = 7, 14, 41
_REGULAR = 1
# Nasdaq, NYSE and its sisters, Cboe, and the indices of S&P, Dow Jones and Nasdaq.
_NEW_YORK = frozenset({"NMS", "NGM", "NCM", "NIM", "NYQ", "ASE", "PCX", "BTS", "SNP", "DJI"})

_LARGEST = 1e15
_MAX_HINT = 12
# A hint that would change a price by more than this share of it is not believed: it is that of another unit.
_TOLERANCE = 1e-3
# A 32-bit float has six decimal digits for certain, and nine tell any two apart.
_DIGITS = range(6, 10)
_FLOAT = struct.Struct("<f")

CURRENCIES = frozenset(
    {
        *("AED", "ARS", "AUD", "BGN", "BRL", "CAD", "CHF", "CLP", "CNH", "CNY", "COP", "CZK", "DKK", "EGP"),
        *("EUR", "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "ISK", "JPY", "KRW", "KWD", "KZT", "MXN", "MYR"),
        *("NGN", "NOK", "NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SEK", "SGD"),
        *("THB", "TRY", "TWD", "UAH", "USD", "VND", "XAG", "XAU", "XPD", "XPT", "ZAR"),
    }
)
"""Currencies, and metals that are quoted like them."""
_PRICED_IN = CURRENCIES | {"BTC", "ETH"}
_FOREX = re.compile(r"([A-Z]{3})?([A-Z]{3})=X")


@dataclass(frozen=True, slots=True)
class Tick:
    """A quote, and what is known of the hours of its market.

    Attributes:
        quote: With the symbol as it is called here.
        market: The market, where its hours are known.
        regular: Whether it came in the regular hours of its market.
    """

    quote: Quote
    market: Market | None
    regular: bool

    def is_open(self, markets: frozenset[Market]) -> bool:
        """Return whether its market trades, given those that do.

        Where hours are unknown, as it was at the time.
        """
        return self.regular if self.market is None else self.market in markets


def subscribe(names: Iterable[str]) -> bytes:
    """Return the message that asks for symbols, by Yahoo's names; they add to those asked for before."""
    return dumps({"subscribe": list(names)})


def unsubscribe(names: Iterable[str]) -> bytes:
    """Return the message that ends the asking."""
    return dumps({"unsubscribe": list(names)})


def parse(frame: bytes, at_ms: int) -> Tick | None:
    """Read a frame.

    Args:
        frame: UTF-8 text of the frame.
        at_ms: Epoch milliseconds now: a price of tomorrow would silence its symbol until then.

    Returns:
        What it says; None for a sign of life that says nothing.

    Raises:
        InvalidMessageError: It is none of Yahoo's, or holds no price.
    """
    value = loads(frame)
    text = value.get("message") if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise InvalidMessageError("not an object with a text `message`", path="message")
    try:
        message = Message(base64.b64decode(text, validate=True))
    except ValueError as error:
        raise InvalidMessageError("message: is not base64", path="message") from error
    if message.unsigned(_QUOTE_TYPE) == _HEARTBEAT:
        return None
    return Tick(_quote(message, at_ms), _market(message), message.unsigned(_MARKET_HOURS) == _REGULAR)


def to_yahoo(symbol: str) -> str:
    """Yahoo's name of a symbol: EUR/USD is EURUSD=X, BTC/USD is BTC-USD, anything else is called the same."""
    base, slash, quoted = symbol.partition("/")
    if not slash or not base or quoted not in _PRICED_IN:
        return symbol
    if base in CURRENCIES and quoted in CURRENCIES:
        return f"{base}{quoted}=X"
    return f"{base}-{quoted}"


def from_yahoo(name: str) -> str:
    """Return what a symbol with one of Yahoo's names is called here.

    Of a pair against the dollar both are known.
    """
    forex = _FOREX.fullmatch(name)
    if forex and {forex[1] or "USD", forex[2]} <= CURRENCIES:
        return f"{forex[1] or 'USD'}/{forex[2]}"
    base, dash, quoted = name.rpartition("-")
    return f"{base}/{quoted}" if dash and base and "/" not in base and quoted in _PRICED_IN else name


def _quote(message: Message, at_ms: int) -> Quote:
    name = normalise(message.text(_ID))
    if name is None:
        raise InvalidMessageError("id: is not a symbol", path="id")
    time = message.signed(_TIME)
    if time < 1:
        raise InvalidMessageError("time: is not epoch milliseconds", path="time")
    if time > at_ms + MAX_AHEAD_MS:
        raise FutureTimeError("time: lies in the future", time, path="time")
    bid, ask, last = (_price(message, field) for field in (_BID, _ASK, _PRICE))
    if bid is None and ask is None and last is None:
        raise InvalidMessageError("holds no price", path="price")
    return Quote(
        symbol=from_yahoo(name),
        source=SOURCE,
        bid=bid,
        bid_size=None if bid is None else _amount(message, _BID_SIZE),
        ask=ask,
        ask_size=None if ask is None else _amount(message, _ASK_SIZE),
        at_ms=time,
        last=last,
        volume=_amount(message, _DAY_VOLUME),
    )


def _price(message: Message, field: int) -> float | None:
    """Return a price as it was meant; None where it is absent."""
    value = message.float32(field)
    if value == 0:
        return None
    if not -_LARGEST < value < _LARGEST:  # also what is not a number
        raise InvalidMessageError("price: is not a finite number", path="price")
    price = _shortest(value)
    hint = message.signed(_PRICE_HINT)
    if not 0 < hint <= _MAX_HINT:
        return price
    rounded = round(price, hint)
    return rounded if math.isclose(rounded, price, rel_tol=_TOLERANCE) else price


def _shortest(value: float) -> float:
    """Return the shortest decimal number that is this 32-bit float."""
    exact = _FLOAT.pack(value)
    candidates = (float(f"{value:.{digits}g}") for digits in _DIGITS)
    return next(candidate for candidate in candidates if _FLOAT.pack(candidate) == exact)


def _amount(message: Message, field: int) -> float | None:
    """Return a size or volume; None where it is absent or makes no sense."""
    amount = message.signed(field)
    return float(amount) if amount > 0 else None


def _market(message: Message) -> Market | None:
    kind = message.unsigned(_QUOTE_TYPE)
    if kind == _COIN:
        return "coins"
    if kind == _CURRENCY:
        return "currencies"
    return "new_york" if message.text(_EXCHANGE) in _NEW_YORK else None
