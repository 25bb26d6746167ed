import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream_sdk import (
    AuthenticationError,
    ChannelUpdate,
    ConnectionLostError,
    InvalidMessageError,
    Lagged,
    MarketQuote,
    Quote,
    RateLimitedError,
    RequestError,
    Side,
    SubscriptionError,
    SymbolStatus,
)
from marketstream_sdk.wire import (
    Fault,
    Prices,
    Refused,
    TokenExpiring,
    parse_event,
    parse_failure,
    parse_market_quote,
    parse_refused,
    unreachable,
)
from rehearsal.cases import golden, golden_answer, golden_event

AT = 1_700_000_000_000
EUR_USD = Quote(
    symbol="EUR/USD",
    best_bid=Side(1.3863, 1_500_000.0, "ebs"),
    best_ask=Side(1.3865, None, "lmax"),
    mid_price=1.3864,
    spread=0.0002,
    spread_bps=1.4426,
    timestamp=AT,
)
AAPL = Quote("AAPL", Side(150.0, 100.0, "iex"), None, None, None, None, AT)

EVENTS = {
    "price": Prices((EUR_USD,)),
    "price_one_sided": Prices((AAPL,)),
    "snapshot": Prices((EUR_USD, AAPL)),
    "status": SymbolStatus("AAPL", "stale", "iex", AT),
    "lagged": Lagged("EUR/USD", 37),
    "market_update": ChannelUpdate("indices", {"^GSPC": {"price": 4514.02}}, AT),
    "sector_update": ChannelUpdate("sectors", {"Energy": 0.4}, AT),
    "sentiment_update": ChannelUpdate("sentiment", {"score": 61}, AT),
    "token_expiring": TokenExpiring(AT + 3_600_000),
    "error": Fault("TOKEN_EXPIRED", "the token has expired"),
    "heartbeat": None,
    "connected": None,
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_of_the_server_is_understood(name: str) -> None:
    assert parse_event(*golden_event(name)) == EVENTS[name]


def test_an_event_that_is_not_known_is_passed_over() -> None:
    """The server may learn new ones, and back ends send their own."""
    assert parse_event("trade", {"symbol": "AAPL"}) is None


@given(st.sampled_from(sorted(EVENTS)), JSON)
def test_no_payload_raises_anything_but_an_invalid_message(name: str, payload: Any) -> None:
    event, _ = golden_event(name)
    with suppress(InvalidMessageError):
        parse_event(event, payload)


@given(st.sampled_from(sorted(golden_event("price")[1])), JSON)
def test_no_field_of_a_price_raises_anything_but_an_invalid_message(field: str, value: Any) -> None:
    payload = golden_event("price")[1]
    try:
        parsed = parse_event("price", payload | {field: value})
    except InvalidMessageError:
        return
    assert isinstance(parsed, Prices)


@pytest.mark.parametrize("bad", [{"midPrice": True}, {"midPrice": "1"}, {"symbol": 1}, {"timestamp": None}])
def test_a_price_with_a_field_of_another_type_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessageError, match="price"):
        parse_event("price", golden_event("price")[1] | bad)


def test_the_answer_to_get_quote_is_understood() -> None:
    assert parse_market_quote(golden_answer("quote_ack")) == MarketQuote(
        symbol="EUR/USD",
        price=1.3864,
        change=None,
        change_percent=None,
        volume=None,
        bid=1.3863,
        ask=1.3865,
        timestamp=AT,
        data_source="ebs+lmax",
        status="ok",
        last_updated="2023-11-14T22:13:20.000+00:00",
        age_seconds=0.0,
    )


def test_the_quote_of_a_provider_is_the_same_with_more_in_it() -> None:
    quote = parse_market_quote(json.loads(golden("http/quote_fallback.json")))
    assert (quote.change, quote.change_percent, quote.volume) == (1.5, 1.0101, 1000.0)
    assert (quote.status, quote.warning) == ("partial_data", "all_providers_failed")


@given(JSON)
def test_no_quote_raises_anything_but_an_invalid_message(payload: Any) -> None:
    with pytest.raises(InvalidMessageError):
        parse_market_quote(payload)


def test_a_call_that_succeeds_has_not_failed() -> None:
    for name in ("subscribe_ack", "unsubscribe_ack", "subscriptions_ack", "authenticate_ack", "quote_ack"):
        assert parse_failure(golden_answer(name)) is None


def test_a_call_that_fails_says_so_with_the_code_of_the_server() -> None:
    failure = parse_failure(golden_answer("invalid_message_ack"))
    assert isinstance(failure, RequestError)
    assert (failure.code, str(failure)) == ("INVALID_MESSAGE", "symbols must be a list of strings")


def test_a_call_too_many_says_when_the_next_one_is_taken() -> None:
    failure = parse_failure(golden_answer("rate_limited_ack"))
    assert isinstance(failure, RateLimitedError)
    assert failure.retry_after == 1.0


@given(JSON)
def test_an_answer_of_any_shape_is_a_success_or_a_failure(answer: Any) -> None:
    assert parse_failure(answer) is None or str(parse_failure(answer))


def test_what_is_not_to_be_had_is_told_by_symbol() -> None:
    told = parse_refused(golden_answer("subscribe_ack")["errors"])
    assert [(error.symbol, error.reason) for error in told] == [
        ("no symbol", "invalid symbol"),
        ("MSFT", "max subscriptions reached"),
    ]


def test_a_stream_says_the_same_in_an_event() -> None:
    data = golden("sse/subscribed.txt").partition("data: ")[2]
    message = parse_event("subscribed", json.loads(data))
    assert isinstance(message, Refused)
    [error] = message.errors
    assert isinstance(error, SubscriptionError)
    assert (error.symbol, error.reason, error.code) == ("!", "invalid symbol", "SUBSCRIPTION")


@pytest.mark.parametrize("code", ["UNAUTHORIZED", "AUTH_FAILED", "TOKEN_EXPIRED"])
def test_a_refused_token_is_an_error_of_its_own(code: str) -> None:
    error = unreachable(code, "no")
    assert isinstance(error, AuthenticationError)
    assert error.code == code


def test_everything_else_that_keeps_a_client_out_may_pass() -> None:
    error = unreachable("CONNECTION_LIMIT", "too many", 3.0)
    assert isinstance(error, ConnectionLostError)
    assert (error.code, error.retry_after) == ("CONNECTION_LIMIT", 3.0)
