"""Parse entries of the Redis stream of best prices.

The field holds {eventType, payload: BestPrice, tenantId?}; further keys are passed over, so that producers
may add some. What is not such an event is refused with the path of the fault.
"""

from dataclasses import dataclass

from marketstream.core.market.model import BestPrice
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.errors import FutureTimeError, InvalidMessageError
from marketstream.wire.json import loads_with_nan
from marketstream.wire.publication import best_price, tenant_of

EVENT_TYPE = "market-data.best-price"


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry says.

    Attributes:
        price: As it came.
        tenant: The only tenant that may see it; None means all.
    """

    price: BestPrice
    tenant: str | None


def parse(data: bytes, registry: SymbolRegistry, now_ms: int, added_ms: int) -> Entry:
    """Read an entry.

    Args:
        data: Bytes of its field `event`.
        registry: Symbols of this server.
        now_ms: Epoch milliseconds now, which its time is checked against.
        added_ms: Epoch milliseconds when it was added: its time if it has none. With the time of reading, an
            entry that is read again would be newer than those added after it.

    Raises:
        InvalidMessageError: It is not one.
    """
    value = loads_with_nan(data)
    if not isinstance(value, dict):
        raise InvalidMessageError("must be an object with eventType and payload")
    if value.get("eventType") != EVENT_TYPE:
        raise InvalidMessageError(f"eventType: must be {EVENT_TYPE}", path="eventType")
    payload = value.get("payload")
    if not isinstance(payload, dict):
        raise InvalidMessageError("payload: must be an object", path="payload")
    if payload.get("timestamp") is None:
        payload["timestamp"] = added_ms
    try:
        price = best_price(payload, registry, now_ms)
    except FutureTimeError as error:
        raise FutureTimeError(f"payload.{error}", error.at_ms, path=f"payload.{error.path}") from error
    except InvalidMessageError as error:
        raise InvalidMessageError(f"payload.{error}", path=f"payload.{error.path}") from error
    return Entry(price, tenant_of(value))
