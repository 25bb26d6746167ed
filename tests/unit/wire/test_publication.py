import json
from typing import Any

import pytest

from marketstream.core.market.model import BestPrice, Quote, Side
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.errors import InvalidMessageError, RequestError
from marketstream.wire.publication import MAX_AHEAD_MS, MAX_ITEMS, MAX_NAME, parse

NOW = 1_700_000_000_000
OPEN = SymbolRegistry("open")
QUOTE = {"symbol": "aapl", "source": "x", "bid": 1, "bidSize": 2, "ask": 3, "askSize": 4, "timestamp": NOW}
PRICE = {
    "symbol": "AAPL",
    "bestBid": {"price": 1, "size": None, "source": "x"},
    "bestAsk": None,
    "midPrice": None,
    "spread": None,
    "spreadBps": None,
    "timestamp": NOW,
}


def items(body: Any, registry: SymbolRegistry = OPEN) -> list[tuple[int, BestPrice | Quote | RequestError]]:
    return list(parse(json.dumps(body).encode()).items(registry, NOW))


def item(kind: str, value: Any) -> BestPrice | Quote | RequestError:
    ((_, only),) = items({kind: [value]})
    return only


def refusal(kind: str, value: Any) -> InvalidMessageError:
    found = item(kind, value)
    assert isinstance(found, InvalidMessageError), found
    return found


def test_a_quote_is_read_as_it_was_written() -> None:
    assert item("quotes", QUOTE) == Quote("AAPL", "x", 1.0, 2.0, 3.0, 4.0, NOW)


def test_a_price_is_read_as_it_was_written() -> None:
    full = PRICE | {
        "bestAsk": {"price": 3, "size": 4, "source": "y"},
        "midPrice": 2,
        "spread": 2,
        "spreadBps": 10,
    }
    assert item("prices", full) == BestPrice(
        "AAPL", Side(1.0, None, "x"), Side(3.0, 4.0, "y"), 2.0, 2.0, 10.0, NOW
    )
    assert item("prices", PRICE) == BestPrice("AAPL", Side(1.0, None, "x"), None, None, None, None, NOW)


def test_a_quote_may_be_one_sided_or_a_trade_only() -> None:
    assert item("quotes", {"symbol": "A", "source": "x", "ask": 3}) == Quote(
        "A", "x", None, None, 3.0, None, NOW
    )
    assert item("quotes", {"symbol": "A", "source": "x", "last": 3, "volume": 9}) == Quote(
        "A", "x", None, None, None, None, NOW, 3.0, 9.0
    )


def test_an_item_without_a_time_is_of_now() -> None:
    found = item("quotes", QUOTE | {"timestamp": None})
    assert isinstance(found, Quote)
    assert found.at_ms == NOW


def test_a_clock_may_be_a_little_ahead_and_no_more() -> None:
    ahead = NOW + MAX_AHEAD_MS
    assert isinstance(item("quotes", QUOTE | {"timestamp": ahead}), Quote)
    assert refusal("quotes", QUOTE | {"timestamp": ahead + 1}).path == "timestamp"


def test_the_index_counts_prices_first_and_then_quotes_and_a_bad_item_harms_no_other() -> None:
    body = {"quotes": [QUOTE, 5, QUOTE], "prices": [PRICE, {}]}
    kinds = [(index, type(found)) for index, found in items(body)]
    bad = InvalidMessageError
    assert kinds == [(0, BestPrice), (1, bad), (2, Quote), (3, bad), (4, Quote)]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"symbol": "no symbol"}, "symbol"),
        ({"symbol": 5}, "symbol"),
        ({"source": ""}, "source"),
        ({"source": None}, "source"),
        ({"source": "x" * (MAX_NAME + 1)}, "source"),
        ({"bid": "1"}, "bid"),
        ({"bid": True}, "bid"),
        ({"bid": None, "ask": None}, "bid"),
        ({"ask": [1]}, "ask"),
        ({"bidSize": -1}, "bidSize"),
        ({"askSize": "x"}, "askSize"),
        ({"volume": -1}, "volume"),
        ({"timestamp": 0}, "timestamp"),
        ({"timestamp": -5}, "timestamp"),
        ({"timestamp": "2024-01-01"}, "timestamp"),
        ({"timestamp": True}, "timestamp"),
    ],
)
def test_a_bad_field_of_a_quote_is_named(change: dict[str, Any], path: str) -> None:
    assert refusal("quotes", QUOTE | change).path == path


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"symbol": None}, "symbol"),
        ({"bestBid": 5}, "bestBid"),
        ({"bestBid": {"source": "x"}}, "bestBid.price"),
        ({"bestBid": {"price": "1", "source": "x"}}, "bestBid.price"),
        ({"bestAsk": {"price": 1, "source": 5}}, "bestAsk.source"),
        ({"bestAsk": {"price": 1, "source": "x", "size": -1}}, "bestAsk.size"),
        ({"midPrice": "2"}, "midPrice"),
        ({"spreadBps": []}, "spreadBps"),
        ({"timestamp": NOW * 1_000}, "timestamp"),
    ],
)
def test_a_bad_field_of_a_price_is_named(change: dict[str, Any], path: str) -> None:
    assert refusal("prices", PRICE | change).path == path


def test_symbols_that_are_not_served_are_refused() -> None:
    ((_, found),) = items({"quotes": [QUOTE]}, SymbolRegistry("listed", ["MSFT"]))
    assert isinstance(found, InvalidMessageError)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b"null", b"{}", b'{"tenantId":"acme"}', b'{"quotes":{}}', b'{"prices":"x"}']
)
def test_a_body_of_the_wrong_shape_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        parse(body)


@pytest.mark.parametrize("tenant", ["", 5, ["acme"], {}])
def test_a_tenant_must_be_named_by_a_string(tenant: object) -> None:
    """Anything else must not mean everybody."""
    with pytest.raises(InvalidMessageError) as caught:
        parse(json.dumps({"quotes": [], "tenantId": tenant}).encode())
    assert caught.value.path == "tenantId"


def test_the_tenant_is_kept_and_none_means_all() -> None:
    assert parse(b'{"quotes":[],"tenantId":"acme"}').tenant == "acme"
    assert parse(b'{"quotes":[],"tenantId":null}').tenant is None


def test_one_body_holds_a_bounded_number_of_items() -> None:
    half = [0] * (MAX_ITEMS // 2)
    assert len(parse(json.dumps({"quotes": half, "prices": half}).encode()).quotes) == MAX_ITEMS // 2
    with pytest.raises(InvalidMessageError, match=str(MAX_ITEMS)):
        parse(json.dumps({"quotes": half, "prices": [*half, 0]}).encode())


CONTROLS = ["\x1b[31m", "a\nb", "\x00", "\x9b", "\u202e", "\u2028", "\x7f"]


@pytest.mark.parametrize("control", CONTROLS)
def test_no_name_holds_what_a_terminal_would_obey(control: str) -> None:
    assert refusal("quotes", QUOTE | {"source": f"x{control}"}).path == "source"
    side = {"price": 1, "size": None, "source": control}
    assert refusal("prices", PRICE | {"bestBid": side}).path == "bestBid.source"
    with pytest.raises(InvalidMessageError) as caught:
        parse(json.dumps({"quotes": [], "tenantId": f"acme{control}"}).encode())
    assert caught.value.path == "tenantId"


def test_a_name_may_be_in_any_script() -> None:
    quote = item("quotes", QUOTE | {"source": "銀行 é 😀"})
    assert isinstance(quote, Quote)
    assert quote.source == "銀行 é 😀"


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_has_no_form_for_costs_its_own_item_only(literal: str) -> None:
    """Python's json and others write them; orjson refuses the whole text."""
    quote = json.dumps(QUOTE)
    bad = quote.replace('"bid": 1', f'"bid": {literal}')
    first, second, third = parse(f'{{"quotes":[{quote},{bad},{quote}]}}'.encode()).items(OPEN, NOW)
    assert isinstance(first[1], Quote)
    assert (second[0], str(second[1])) == (1, "bid: must be a finite number or null")
    assert isinstance(third[1], Quote)


@pytest.mark.parametrize("body", [b'{"quotes":[{"bid":NaN}', b'{"quotes":NaN,,}', b"[" * 100_000 + b"NaN"])
def test_a_body_that_is_no_json_even_then_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessageError, match="not JSON"):
        parse(body)


@pytest.mark.parametrize("kind", ["quotes", "prices"])
@pytest.mark.parametrize("seconds", [1, 1_764_550_000, 1_764_550_000.5])
def test_seconds_are_no_milliseconds(kind: str, seconds: float) -> None:
    """Read as milliseconds they would lie in January 1970."""
    value = (QUOTE if kind == "quotes" else PRICE) | {"timestamp": seconds}
    assert "epoch milliseconds" in str(refusal(kind, value))


@pytest.mark.parametrize("finer", [NOW * 1_000, NOW * 1_000_000])
def test_microseconds_and_nanoseconds_are_no_milliseconds(finer: int) -> None:
    assert "epoch milliseconds" in str(item("quotes", QUOTE | {"timestamp": finer}))


def test_a_price_that_says_nothing_is_refused() -> None:
    """With a time it says that nobody quotes the symbol any more."""
    assert str(refusal("prices", {"symbol": "NOPE"})) == "a price needs a bestBid, a bestAsk or a timestamp"
    assert isinstance(item("prices", {"symbol": "NOPE", "timestamp": NOW}), BestPrice)
