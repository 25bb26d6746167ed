"""No answer, however odd, makes a parser raise anything but what its callers expect."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketstream.core.query.model import INTERVALS, PERIODS, Candle
from marketstream.errors import ProviderError, UnknownSymbolError
from marketstream.wire.vendors import alpha_vantage, fmp, tiingo, yahoo_rest
from marketstream.wire.vendors.candle import first_day, history
from tests.support.vendors import RECORDED

TODAY = date(2025, 2, 5)
CANDLES: dict[str, Any] = {"symbol": "AAPL", "period": "1y", "interval": "1wk", "today": TODAY}
READERS: dict[str, list[Callable[[bytes], object]]] = {
    "fmp": [
        partial(fmp.quote, symbol="AAPL"),
        partial(fmp.history, **CANDLES),
        partial(fmp.profile, symbol="AAPL"),
        partial(fmp.matches, limit=5),
        partial(fmp.news, limit=5),
    ],
    "alpha_vantage": [
        partial(alpha_vantage.quote, symbol="IBM"),
        partial(alpha_vantage.history, **CANDLES),
        partial(alpha_vantage.profile, symbol="IBM"),
        partial(alpha_vantage.matches, limit=5),
        partial(alpha_vantage.news, symbol="IBM", limit=5),
    ],
    "tiingo": [
        partial(tiingo.quote, symbol="AAPL"),
        partial(tiingo.history, **CANDLES),
        partial(tiingo.profile, symbol="AAPL"),
        partial(tiingo.matches, limit=5),
        partial(tiingo.news, symbol="AAPL", limit=5),
    ],
    "yahoo": [
        partial(yahoo_rest.quote, symbol="AAPL"),
        partial(yahoo_rest.history, **CANDLES),
        partial(yahoo_rest.profile, symbol="AAPL"),
        partial(yahoo_rest.matches, limit=5),
        partial(yahoo_rest.news, limit=5),
    ],
}
VENDORS = list(READERS)

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["1e999", "nan", "-inf", "0001-01-01", "9999-12-31T23:59:59-23:59", "2025-02-30", "%"]),
    st.lists(st.none(), max_size=2),
    st.dictionaries(st.text(max_size=4), st.none(), max_size=2),
)


def read_by_all(vendor: str, data: bytes) -> None:
    for read in READERS[vendor]:
        with suppress(ProviderError, UnknownSymbolError):
            read(data)


@pytest.mark.parametrize("vendor", VENDORS)
@given(data=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(vendor: str, data: bytes) -> None:
    read_by_all(vendor, data)


@st.composite
def spoilt(draw: st.DrawFn, vendor: str) -> bytes:
    """A recorded answer of a vendor, with a few of its values replaced by odd ones, or gone."""
    answer = json.loads(draw(st.sampled_from(sorted((RECORDED / vendor).glob("*.json")))).read_bytes())
    for _ in range(draw(st.integers(1, 4))):
        answer = spoil(draw, answer)
    return json.dumps(answer).encode()


def spoil(draw: st.DrawFn, value: Any) -> Any:
    """One value somewhere inside replaced."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 9)) == 0:
        return draw(odd)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = draw(st.sampled_from(keys))
    changed: Any = value.copy()
    if draw(st.integers(0, 9)) == 0:
        del changed[key]
    else:
        changed[key] = spoil(draw, value[key])
    return changed


@pytest.mark.parametrize("vendor", VENDORS)
@given(data=st.data())
def test_an_answer_with_something_odd_in_it_is_read_or_refused(vendor: str, data: st.DataObject) -> None:
    read_by_all(vendor, data.draw(spoilt(vendor)))


candles = st.lists(
    st.builds(
        Candle,
        at_ms=st.integers(0, 1_738_713_600_000),
        open=st.floats(1, 9),
        high=st.floats(1, 9),
        low=st.floats(1, 9),
        close=st.floats(1, 9),
        volume=st.none() | st.floats(0, 9),
    ),
    max_size=30,
)


@given(candles, st.sampled_from(PERIODS), st.sampled_from(INTERVALS))
def test_a_history_rises_in_time_and_stays_within_its_period(
    candles: list[Candle], period: str, interval: str
) -> None:
    try:
        found = history("AAPL", period, interval, candles, TODAY).candles
    except UnknownSymbolError:
        assert period not in ("1d", "5d", "max") or not candles
        return
    times = [each.at_ms for each in found]
    assert times == sorted(set(times))
    assert set(found) <= set(candles)
    days = {at_ms // 86_400_000 for at_ms in times}
    if period in ("1d", "5d"):
        assert len(days) <= int(period[0])
    else:
        assert min(days) >= (first_day(period, TODAY) - date(1970, 1, 1)).days


@given(st.sampled_from(PERIODS), st.dates(min_value=date(2000, 1, 1), max_value=date(2100, 1, 1)))
def test_every_period_begins_before_it_ends(period: str, today: date) -> None:
    assert first_day(period, today) <= today
