"""Parse what back ends publish, with an error for each bad item."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from marketstream.core.market.model import BestPrice, Quote, Side
from marketstream.core.market.symbols import SymbolRegistry, normalise
from marketstream.errors import FutureTimeError, InvalidMessageError, RequestError
from marketstream.wire.json import loads_with_nan

MAX_ITEMS = 10_000
MAX_NAME = 64
MAX_AHEAD_MS = 5 * 60 * 1000
"""What lies further ahead is no wrong clock but a mistake of units; the engine allows clocks less."""
EARLIEST_MS = 631_152_000_000
"""The year 1990: seconds taken for milliseconds lie in January 1970, microseconds in the future."""


@dataclass(frozen=True, slots=True)
class Publication:
    """One request to publish.

    Attributes:
        prices: As they came.
        quotes: As they came.
        tenant: The only tenant that may see them; None means all.
    """

    prices: list[Any]
    quotes: list[Any]
    tenant: str | None

    def items(
        self, registry: SymbolRegistry, at_ms: int
    ) -> Iterator[tuple[int, BestPrice | Quote | RequestError]]:
        """Yield every item with its index (prices first, then quotes), read or refused.

        Args:
            registry: Symbols of this server.
            at_ms: Epoch milliseconds now: the time of items without one, and what they are checked against.
        """
        readers: list[
            tuple[list[Any], Callable[[dict[str, Any], SymbolRegistry, int], BestPrice | Quote]]
        ] = [
            (self.prices, best_price),
            (self.quotes, _quote),
        ]
        index = 0
        for values, read in readers:
            for value in values:
                yield index, _attempt(read, value, registry, at_ms)
                index += 1


def parse(body: bytes) -> Publication:
    """Read the body of a request to publish.

    Raises:
        InvalidMessageError: It is not {quotes?, prices?, tenantId?}.
    """
    value = loads_with_nan(body)
    if not isinstance(value, dict):
        raise InvalidMessageError("the body must be an object with quotes, prices or both")
    prices, quotes = (_list(value, field) for field in ("prices", "quotes"))
    if not ({"prices", "quotes"} & value.keys()):
        raise InvalidMessageError("the body must hold quotes, prices or both")
    if len(prices) + len(quotes) > MAX_ITEMS:
        raise InvalidMessageError(f"at most {MAX_ITEMS} quotes and prices can be published at a time")
    return Publication(prices, quotes, tenant_of(value))


def tenant_of(value: dict[str, Any]) -> str | None:
    """Return the only tenant that may see what a message publishes; None means all.

    Raises:
        InvalidMessageError: `tenantId` is no name.
    """
    tenant = value.get("tenantId")
    # As in tokens: who is called otherwise could not be reached anyway.
    if tenant is not None and not (isinstance(tenant, str) and tenant and tenant.isprintable()):
        raise InvalidMessageError(
            "tenantId must be a non-empty string of printable characters", path="tenantId"
        )
    return tenant


def best_price(value: dict[str, Any], registry: SymbolRegistry, at_ms: int) -> BestPrice:
    """Read a best price.

    Args:
        value: The object it is.
        registry: Symbols of this server.
        at_ms: Epoch milliseconds now: its time if it has none, and what its time is checked against.

    Raises:
        InvalidMessageError: It is not one; the text begins with the path of the fault.
    """
    if all(value.get(field) is None for field in ("bestBid", "bestAsk", "timestamp")):
        raise InvalidMessageError("a price needs a bestBid, a bestAsk or a timestamp", path="bestBid")
    return BestPrice(
        symbol=_symbol(value, registry),
        best_bid=_side(value, "bestBid"),
        best_ask=_side(value, "bestAsk"),
        mid_price=_number(value, "midPrice"),
        spread=_number(value, "spread"),
        spread_bps=_number(value, "spreadBps"),
        at_ms=_time(value, at_ms),
    )


def _attempt(
    read: Callable[[dict[str, Any], SymbolRegistry, int], BestPrice | Quote],
    value: object,
    registry: SymbolRegistry,
    at_ms: int,
) -> BestPrice | Quote | RequestError:
    try:
        if not isinstance(value, dict):
            raise InvalidMessageError("must be an object")
        return read(value, registry, at_ms)
    except RequestError as error:
        return error


def _quote(value: dict[str, Any], registry: SymbolRegistry, at_ms: int) -> Quote:
    bid, ask = _number(value, "bid"), _number(value, "ask")
    last = _number(value, "last")
    if bid is None and ask is None and last is None:
        raise InvalidMessageError("a quote needs a bid, an ask or both", path="bid")
    return Quote(
        symbol=_symbol(value, registry),
        source=_name(value, "source"),
        bid=bid,
        bid_size=_size(value, "bidSize"),
        ask=ask,
        ask_size=_size(value, "askSize"),
        at_ms=_time(value, at_ms),
        last=last,
        volume=_size(value, "volume"),
    )


def _symbol(value: dict[str, Any], registry: SymbolRegistry) -> str:
    symbol = normalise(value.get("symbol"))
    if symbol is None or not registry.accepts(symbol):
        raise InvalidMessageError("symbol: invalid symbol", path="symbol")
    return symbol


def _side(value: dict[str, Any], field: str) -> Side | None:
    side = value.get(field)
    if side is None:
        return None
    if not isinstance(side, dict):
        raise InvalidMessageError(f"{field}: must be an object or null", path=field)
    price = _number(side, "price", f"{field}.price")
    if price is None:
        raise InvalidMessageError(f"{field}.price: must be a number", path=f"{field}.price")
    return Side(price, _size(side, "size", f"{field}.size"), _name(side, "source", f"{field}.source"))


def _number(value: dict[str, Any], field: str, path: str = "") -> float | None:
    number = value.get(field)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise InvalidMessageError(f"{path or field}: must be a finite number or null", path=path or field)
    return float(number)


def _size(value: dict[str, Any], field: str, path: str = "") -> float | None:
    number = _number(value, field, path)
    if number is not None and number < 0:
        raise InvalidMessageError(f"{path or field}: must not be negative", path=path or field)
    return number


def _name(value: dict[str, Any], field: str, path: str = "") -> str:
    name = value.get(field)
    # Printable: it is shown in terminals, logs and pages, which must not obey it.
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        text = f"{path or field}: must be a string of 1 to {MAX_NAME} printable characters"
        raise InvalidMessageError(text, path=path or field)
    return name


def _time(value: dict[str, Any], at_ms: int) -> int:
    time = value.get("timestamp")
    if time is None:
        return at_ms
    if isinstance(time, bool) or not isinstance(time, int | float) or not EARLIEST_MS <= time < math.inf:
        text = "timestamp: must be epoch milliseconds, in 1990 or later; seconds are too small"
        raise InvalidMessageError(text, path="timestamp")
    if time > at_ms + MAX_AHEAD_MS:
        text = "timestamp: lies in the future; epoch milliseconds are expected"
        raise FutureTimeError(text, int(time), path="timestamp")
    return int(time)


def _list(value: dict[str, Any], field: str) -> list[Any]:
    items = value.get(field)
    if items is None:
        return []
    if not isinstance(items, list):
        raise InvalidMessageError(f"{field} must be a list", path=field)
    return items
