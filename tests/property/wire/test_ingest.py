import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.market.symbols import SymbolRegistry, normalise
from marketstream.errors import InvalidMessageError
from marketstream.wire import ingest
from tests.support.builders import AT_MS, HOSTILE, JSON

OPEN = SymbolRegistry("open")
FIELDS = st.sampled_from(["symbol", "bestBid", "bestAsk", "midPrice", "spread", "spreadBps", "timestamp"])
SIDES = st.dictionaries(st.sampled_from(["price", "size", "source"]), JSON | st.just("x"), max_size=3)
PAYLOADS = st.dictionaries(FIELDS, JSON | SIDES | st.just("AAPL"), max_size=7) | JSON
EVENTS = st.fixed_dictionaries(
    {"eventType": st.just(ingest.EVENT_TYPE) | JSON, "payload": PAYLOADS}, optional={"tenantId": JSON}
)


def read(data: bytes) -> None:
    """Reads what may be an entry, or may not."""
    with suppress(InvalidMessageError):
        entry = ingest.parse(data, OPEN, AT_MS, AT_MS)
        assert entry.price.symbol == normalise(entry.price.symbol)
        assert entry.price.at_ms >= 1
        assert entry.tenant is None or entry.tenant


@given(EVENTS | JSON)
def test_no_event_makes_the_reader_fail_in_any_other_way(value: Any) -> None:
    read(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_in_any_other_way(data: bytes) -> None:
    read(data)


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:12]))
@pytest.mark.parametrize("place", [b"%s", b'{"eventType":%s}', b'{"eventType":"%s","payload":{"symbol":%s}}'])
def test_what_has_broken_parsers_before_does_not_break_this_one(data: bytes, place: bytes) -> None:
    words = (ingest.EVENT_TYPE.encode(), data)
    read(place % words[-place.count(b"%s") :])
