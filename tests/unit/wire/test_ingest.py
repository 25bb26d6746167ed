import json
from pathlib import Path
from typing import Any

import pytest

from marketstream.core.market.model import BestPrice, Side
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.errors import InvalidMessageError
from marketstream.wire import messages
from marketstream.wire.ingest import Entry, parse
from marketstream.wire.publication import MAX_AHEAD_MS

GOLDEN = Path(__file__).parents[2] / "golden/stream"
NOW = 1_700_000_001_000
ADDED = NOW - 500
OPEN = SymbolRegistry("open")
PRICE = {"symbol": "AAPL", "bestBid": None, "bestAsk": None, "timestamp": NOW}
EURUSD = BestPrice(
    "EUR/USD",
    Side(1.3863, 1_500_000.0, "ebs"),
    Side(1.3865, None, "lmax"),
    1.3864,
    0.0002,
    1.4426,
    1_700_000_000_000,
)


def read(payload: Any, **others: Any) -> Entry:
    value = {"eventType": "market-data.best-price", "payload": payload} | others
    return parse(json.dumps(value).encode(), OPEN, NOW, ADDED)


def test_an_entry_is_read_as_it_was_recorded() -> None:
    assert parse((GOLDEN / "best_price.json").read_bytes(), OPEN, NOW, ADDED) == Entry(EURUSD, "acme")


def test_a_payload_is_what_the_server_itself_calls_a_best_price() -> None:
    """Whoever has a price from a stream of this server can add it to another one's."""
    assert read(json.loads(messages.price(EURUSD).body)).price == EURUSD


@pytest.mark.parametrize("others", [{}, {"tenantId": None}, {"id": 7, "producer": {"name": "x"}}], ids=repr)
def test_an_entry_for_everybody_has_no_tenant_and_may_say_more(others: dict[str, Any]) -> None:
    assert read(PRICE, **others) == Entry(BestPrice("AAPL", None, None, None, None, None, NOW), None)


def test_a_price_without_a_time_has_that_of_its_entry_however_late_it_is_read() -> None:
    assert read({"symbol": "AAPL"}).price.at_ms == ADDED


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (None, ""),
        ([], ""),
        ({}, "eventType"),
        ({"eventType": "market-data.quote", "payload": PRICE}, "eventType"),
        ({"eventType": ["market-data.best-price"], "payload": PRICE}, "eventType"),
        ({"eventType": "market-data.best-price"}, "payload"),
        ({"eventType": "market-data.best-price", "payload": [PRICE]}, "payload"),
        ({"eventType": "market-data.best-price", "payload": PRICE, "tenantId": ""}, "tenantId"),
        ({"eventType": "market-data.best-price", "payload": PRICE, "tenantId": 7}, "tenantId"),
    ],
    ids=repr,
)
def test_what_is_no_event_is_refused_with_the_path_of_the_fault(value: Any, path: str) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        parse(json.dumps(value).encode(), OPEN, NOW, ADDED)
    assert refused.value.path == path
    assert str(refused.value).startswith(path)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"symbol": None}, "payload.symbol"),
        ({"bestBid": 7}, "payload.bestBid"),
        ({"bestAsk": {"price": "1", "size": None, "source": "x"}}, "payload.bestAsk.price"),
        ({"midPrice": True}, "payload.midPrice"),
        ({"timestamp": NOW + MAX_AHEAD_MS + 1}, "payload.timestamp"),
    ],
    ids=repr,
)
def test_what_is_no_best_price_is_refused_with_the_path_of_the_fault(change: Any, path: str) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        read(PRICE | change)
    assert refused.value.path == path
    assert str(refused.value).startswith(f"{path}: ")


def test_a_symbol_that_is_not_listed_is_refused() -> None:
    data = json.dumps({"eventType": "market-data.best-price", "payload": PRICE}).encode()
    with pytest.raises(InvalidMessageError, match=r"payload\.symbol"):
        parse(data, SymbolRegistry("listed", ["MSFT"]), NOW, ADDED)
