"""What one who reads by HTTP can rely on, whatever providers do meanwhile."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from marketstream.core.delivery.entitlements import Plan
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.core.query.model import Candle
from tests.support.builders import AT_MS, PRO, principal
from tests.support.providers import down, exhausted, given_quote, unknown
from tests.support.reading import MAX_BODY, PAGE, Api, reading

ORDER = ("yahoo", "fmp", "alpha_vantage", "tiingo")
SYMBOL_PATHS = ("quote", "historical", "profile", "news")
PATHS = (
    *("overview", "indices", "sectors", "movers", "sentiment", "providers"),
    *(f"{path}/AAPL" for path in SYMBOL_PATHS),
)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """All four providers, which all answer."""
    async with reading(*ORDER) as running:
        yield running


async def test_a_quote_is_answered_as_was_promised(api: Api) -> None:
    assert await api.get("quote/aapl") == (
        200,
        {
            "symbol": "AAPL",
            "price": 150.0,
            "change": 1.5,
            "changePercent": 1.0101,
            "volume": 1000.0,
            "bid": 149.9,
            "ask": 150.1,
            "timestamp": 1_700_000_000_000,
            "data_source": "yahoo",
            "status": "ok",
            "last_updated": "2023-11-14T22:13:20.000+00:00",
            "age_seconds": 0.0,
            "retry_attempts": 1,
        },
    )


@pytest.mark.parametrize("written", ["EUR%2FUSD", "EUR/USD", "eur%2Fusd"])
async def test_a_symbol_in_a_path_may_hold_a_slash(api: Api, written: str) -> None:
    for path in SYMBOL_PATHS:
        status, body = await api.get(f"{path}/{written}")
        assert (status, body["symbol"]) == (200, "EUR/USD")


async def test_a_source_that_takes_seven_seconds_gives_way_to_the_cache_after_five(api: Api) -> None:
    _, first = await api.get("quote/AAPL")
    api.reader.clock.advance(60)
    for name in ORDER:
        api.reader.script(name, 7.0)
    began = api.reader.clock.now()
    status, body = await api.get("quote/AAPL")
    assert status == 200
    assert (body["status"], body["data_source"], body["warning"]) == (
        "partial_data",
        "cache",
        "external_api_timeout",
    )
    assert (body["price"], body["last_updated"], body["age_seconds"]) == (150.0, first["last_updated"], 65.0)
    assert api.reader.clock.now() - began < 6


async def test_a_source_that_fails_twice_is_asked_three_times(api: Api) -> None:
    api.reader.script("yahoo", down("yahoo"), down("yahoo"), None)
    _, body = await api.get("quote/AAPL")
    assert (body["retry_attempts"], body["data_source"], body["status"]) == (3, "yahoo", "ok")


async def test_a_source_without_quota_is_passed_over_at_once(api: Api) -> None:
    api.reader.script("yahoo", exhausted("yahoo"))
    began = api.reader.clock.now()
    _, body = await api.get("quote/AAPL")
    assert (body["data_source"], body["retry_attempts"]) == ("fmp", 2)
    assert api.reader.clock.now() == began


async def test_when_all_fail_and_nothing_is_remembered_the_answer_says_who_was_asked(api: Api) -> None:
    for name in ORDER:
        api.reader.script(name, exhausted(name))
    response = await api.raw("quote/AAPL")
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (503, "ALL_PROVIDERS_FAILED")
    assert error["details"]["attempts"] == [{"provider": name, "error": "PROVIDER_QUOTA"} for name in ORDER]
    assert int(response.headers["Retry-After"]) > 0


async def test_when_all_fail_the_remembered_value_says_so(api: Api) -> None:
    await api.get("quote/AAPL")
    api.reader.clock.advance(60)
    for name in ORDER:
        api.reader.script(name, exhausted(name))
    _, body = await api.get("quote/AAPL")
    assert (body["status"], body["warning"]) == ("partial_data", "all_providers_failed")


async def test_a_symbol_that_nobody_knows_is_not_found(api: Api) -> None:
    for name in ORDER:
        api.reader.script(name, unknown())
    for path in SYMBOL_PATHS:
        status, body = await api.get(f"{path}/NOPE")
        assert (status, body["error"]["code"]) == (404, "UNKNOWN_SYMBOL")


async def test_many_who_ask_at_once_cost_one_question() -> None:
    async with reading("yahoo") as api:
        api.tokens.known["good"] = principal(plan=replace(PRO, rate_capacity=1_000))
        api.reader.script("yahoo", 1.0)
        answers = await asyncio.gather(*(api.get("quote/AAPL") for _ in range(50)))
        assert {status for status, _ in answers} == {200}
        assert api.reader["yahoo"].asked == ["quote AAPL"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("quote/a%20b", "symbol"),
        (f"quote/{'A' * 33}", "symbol"),
        ("historical/AAPL?period=9d", "period"),
        ("historical/AAPL?interval=2m", "interval"),
        ("historical/AAPL?period=max&interval=1m", "interval"),
        ("news/AAPL?limit=0", "limit"),
        ("news/AAPL?limit=51", "limit"),
        ("news/AAPL?limit=many", "limit"),
        ("movers?type=sideways", "type"),
    ],
)
async def test_an_impossible_field_is_named(api: Api, path: str, field: str) -> None:
    status, body = await api.get(path)
    assert (status, body["error"]["code"]) == (400, "INVALID_MESSAGE")
    assert body["error"]["details"] == {"path": field}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "query"),
        ({"query": " "}, "query"),
        ({"query": "x" * 65}, "query"),
        ({"query": 5}, "query"),
        ({"query": "apple", "limit": 0}, "limit"),
    ],
)
async def test_an_impossible_field_of_a_search_is_named(api: Api, body: Any, field: str) -> None:
    status, answer = await api.search({"json": body})
    assert (status, answer["error"]["details"]) == (400, {"path": field})


@pytest.mark.parametrize("data", [b"", b"[]", b"apple", b'{"query":', b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_object_is_refused(api: Api, data: bytes) -> None:
    status, _ = await api.search({"data": data})
    assert status == 400


async def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    status, body = await api.search({"data": b" " * (MAX_BODY + 1)})
    assert (status, body["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_search_finds(api: Api) -> None:
    status, body = await api.search({"json": {"query": " Apple ", "limit": 3}})
    assert status == 200
    assert (body["query"], body["results"][0]["symbol"], body["data_source"]) == ("Apple", "AAPL", "yahoo")


@pytest.mark.parametrize("path", PATHS)
async def test_nobody_reads_without_a_token_that_is_good_for_it(api: Api, path: str) -> None:
    assert (await api.raw(path, None)).status == 401
    assert (await api.raw(path, "bad")).status == 401
    assert (await api.raw(path, "publisher")).status == 403
    assert (await api.raw(path)).status == 200


async def test_the_cache_is_shown_to_operators_only(api: Api) -> None:
    await api.get("quote/AAPL")
    await api.get("quote/AAPL")
    assert (await api.get("cache/stats"))[0] == 403
    _, body = await api.get("cache/stats", "admin")
    assert body == {
        "backend": "memory",
        "connected": True,
        # The quote, what stands in for it, and that the symbol exists.
        "entries": 3,
        "hits": 1,
        "misses": 1,
        "fallbacks": 0,
        "hitRatio": 0.5,
    }


async def test_what_the_plan_or_the_token_does_not_cover_is_not_shown(api: Api) -> None:
    plan = Plan("currencies", symbols=("*/*",), channels=("indices",))
    api.tokens.known["good"] = principal(plan=plan)
    for path in SYMBOL_PATHS:
        assert (await api.get(f"{path}/AAPL"))[0] == 403
    assert (await api.get("quote/EUR%2FUSD"))[0] == 200
    for path in ("overview", "sectors", "movers", "sentiment"):
        assert (await api.get(path))[0] == 403
    assert (await api.get("indices"))[1]["indices"] == []


async def test_views_leave_out_symbols_that_the_token_does_not_cover(api: Api) -> None:
    api.tokens.known["good"] = principal(symbols=("AAPL", "XLK"))
    _, body = await api.get("overview")
    assert [row["symbol"] for row in body["movers"]["gainers"]] == ["AAPL"]
    assert [row["symbol"] for row in body["sectors"]] == ["XLK"]
    assert body["indices"] == []
    assert [row["symbol"] for row in (await api.get("movers"))[1]["movers"]] == ["AAPL"]


async def test_a_symbol_that_is_not_listed_is_not_found() -> None:
    async with reading("yahoo", registry=SymbolRegistry("listed", ["AAPL"])) as api:
        assert (await api.get("quote/AAPL"))[0] == 200
        assert (await api.get("quote/MSFT"))[0] == 404


async def test_a_plan_that_shows_prices_late_never_shows_one_of_now() -> None:
    """The quote is the delayed best price, candles end before, and views of now are refused."""
    plan = replace(PRO, name="late", delay=900)
    async with reading("yahoo") as api:
        api.tokens.known["good"] = principal(plan=plan)
        assert (await api.get("quote/AAPL"))[0] == 404
        assert api.reader["yahoo"].asked == []
        for path in ("overview", "indices", "sectors", "movers"):
            assert (await api.get(path))[0] == 403
        assert (await api.get("sentiment"))[0] == 200
        _, body = await api.get("historical/AAPL?interval=1d")
        assert body["candles"] == []
        api.reader.clock.advance(86_400 + 900)
        _, body = await api.get("historical/AAPL?interval=1d")
        assert len(body["candles"]) == 1


@pytest.mark.parametrize(("interval", "days"), [("1d", 1), ("1wk", 7), ("1mo", 31)])
async def test_a_plan_that_shows_prices_late_sees_no_candle_that_may_be_running(
    interval: str, days: int
) -> None:
    """On the 31st the candle of the month has 30 days behind it, and today's close in it."""
    plan = replace(PRO, name="late", delay=900)
    async with reading("yahoo") as api:
        api.tokens.known["good"] = principal(plan=plan)
        path = f"historical/AAPL?interval={interval}&period=max"
        api.reader["yahoo"].candles = (Candle(AT_MS, 1.0, 2.0, 0.5, 1.5, None),)
        api.reader.clock.advance(days * 86_400 + 899)
        assert (await api.get(path))[1]["candles"] == []
        api.reader.clock.advance(1)
        assert len((await api.get(path))[1]["candles"]) == 1


async def test_a_plan_that_shows_prices_late_gets_no_price_by_another_way() -> None:
    """Market value is price times shares, and news say how prices move."""
    plan = replace(PRO, name="late", delay=900)
    async with reading("yahoo") as api:
        live = {kind: (await api.get(f"{kind}/AAPL"))[1] for kind in ("profile", "news")}
        assert live["profile"]["marketCap"]
        api.tokens.known["good"] = principal(plan=plan)
        assert (await api.get("profile/AAPL"))[1]["marketCap"] is None
        newest = max(article["publishedAt"] for article in live["news"]["articles"])
        assert newest not in [each["publishedAt"] for each in (await api.get("news/AAPL"))[1]["articles"]]
        api.reader.clock.advance(900)
        assert newest in [each["publishedAt"] for each in (await api.get("news/AAPL"))[1]["articles"]]


async def test_movers_are_sorted_by_what_was_asked(api: Api) -> None:
    for number, symbol in enumerate(("AAPL", "MSFT", "XOM")):
        quote = given_quote(symbol, percent=number - 1.0, volume=100.0 - number)
        api.reader["yahoo"].prices[symbol] = quote
    found = {}
    for movement in ("gainers", "losers", "active"):
        _, body = await api.get(f"movers?type={movement}")
        assert body["type"] == movement
        found[movement] = [row["symbol"] for row in body["movers"]]
    assert found == {"gainers": ["XOM"], "losers": ["AAPL"], "active": ["AAPL", "MSFT", "XOM"]}


async def test_an_overview_without_some_of_its_parts_says_so() -> None:
    async with reading("yahoo") as api:
        for symbol in ("AAPL", "MSFT", "XOM"):
            api.reader["yahoo"].prices[symbol] = given_quote(symbol, change=None, percent=None)
        status, body = await api.get("overview")
        assert (status, body["status"], body["sentiment"]) == (200, "partial_data", None)
        assert body["indices"][0]["name"] == "S&P 500"


async def test_an_overview_of_nothing_at_all_is_an_error() -> None:
    async with reading("yahoo") as api:
        api.reader.script("yahoo", exhausted("yahoo"))
        assert (await api.get("overview"))[0] == 503


async def test_providers_without_a_key_are_listed_as_unconfigured(api: Api) -> None:
    api.reader["tiingo"].configured = False
    api.reader.script("yahoo", exhausted("yahoo"))
    await api.get("quote/AAPL")
    _, body = await api.get("providers")
    rows = {row["name"]: (row["status"], row["requests"], row["failures"]) for row in body["providers"]}
    assert list(rows) == list(ORDER)
    assert rows["yahoo"] == ("configured", 1, 1)
    assert rows["fmp"] == ("configured", 1, 0)
    assert rows["tiingo"] == ("unconfigured", 0, 0)


# What a client may keep


async def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    first = await api.raw("quote/AAPL")
    etag = first.headers["ETag"]
    api.reader.clock.advance(5)
    again = await api.raw("quote/AAPL", If_None_Match=etag)
    assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
    api.reader["yahoo"].prices["AAPL"] = given_quote(price=151.0)
    api.reader.clock.advance(60)
    changed = await api.raw("quote/AAPL", If_None_Match=etag)
    assert (changed.status, (await changed.json())["price"]) == (200, 151.0)


async def test_a_value_that_only_stands_in_is_another_one(api: Api) -> None:
    etag = (await api.raw("quote/AAPL")).headers["ETag"]
    api.reader.clock.advance(60)
    for name in ORDER:
        api.reader.script(name, exhausted(name))
    response = await api.raw("quote/AAPL", If_None_Match=etag)
    assert (response.status, response.headers["Cache-Control"]) == (200, "private, no-cache")


async def test_a_client_may_keep_a_value_as_long_as_there_is_no_newer_one(api: Api) -> None:
    assert (await api.raw("quote/AAPL")).headers["Cache-Control"] == "private, max-age=60"
    api.reader.clock.advance(50.5)
    assert (await api.raw("quote/AAPL")).headers["Cache-Control"] == "private, max-age=9"


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("deflate, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("br", False)],
)
async def test_a_large_answer_is_compressed_for_those_who_take_it(
    api: Api, accepted: str, *, packed: bool
) -> None:
    response = await api.raw("overview", Accept_Encoding=accepted)
    assert (response.headers.get("Content-Encoding") == "gzip") == packed
    assert "Accept-Encoding" in response.headers["Vary"]
    assert (await response.json())["status"] == "ok"


async def test_a_small_answer_is_not_compressed(api: Api) -> None:
    assert "Content-Encoding" not in (await api.raw("quote/AAPL", Accept_Encoding="gzip")).headers


async def test_an_allowed_page_may_read_the_answer_and_its_limits(api: Api) -> None:
    response = await api.raw("quote/AAPL", Origin=PAGE)
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert "RateLimit-Remaining" in response.headers["Access-Control-Expose-Headers"]
    assert {"Origin", "Authorization"} <= set(response.headers["Vary"].split(", "))


# How often


async def test_a_user_who_asks_too_often_is_told_when_to_come_back(api: Api) -> None:
    api.tokens.known["good"] = principal(plan=replace(PRO, rate_capacity=2, rate_refill=0.5))
    first = await api.raw("quote/AAPL")
    told = [first.headers[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")]
    assert told == ["2", "1", "2"]
    await api.raw("quote/AAPL")
    refused = await api.raw("quote/AAPL")
    assert (refused.status, (await refused.json())["error"]["code"]) == (429, "RATE_LIMITED")
    assert (refused.headers["Retry-After"], refused.headers["RateLimit-Remaining"]) == ("2", "0")
    api.reader.clock.advance(2)
    assert (await api.raw("quote/AAPL")).status == 200


async def test_users_have_allowances_of_their_own(api: Api) -> None:
    plan = replace(PRO, rate_capacity=1)
    api.tokens.known["good"] = principal("u1", plan=plan)
    api.tokens.known["other user"] = principal("u2", plan=plan)
    api.tokens.known["other tenant"] = principal("u1", "umbrella", plan=plan)
    assert [(await api.raw("quote/AAPL", token)).status for token in ("good", "good")] == [200, 429]
    assert (await api.raw("quote/AAPL", "other user")).status == 200
    assert (await api.raw("quote/AAPL", "other tenant")).status == 200


async def test_a_mistake_counts_and_tells_what_is_left(api: Api) -> None:
    response = await api.raw("movers?type=sideways")
    assert (response.status, response.headers["RateLimit-Remaining"]) == (400, "99")
    assert response.headers["Cache-Control"] == "no-store"


# The reference


async def test_the_document_describes_every_path_that_was_promised(api: Api) -> None:
    response = await api.http.get("/api/v1/openapi.json")
    document = await response.json()
    assert document["openapi"].startswith("3.1")
    paths = {path.removeprefix("/api/v1/market/"): set(item) for path, item in document["paths"].items()}
    assert paths == {
        **{path.replace("AAPL", "{symbol}"): {"get"} for path in (*PATHS, "cache/stats")},
        "search": {"post"},
        "jobs/status": {"get"},
        "jobs/{task_id}": {"get"},
        "jobs/{task_id}/stream": {"get"},
        "jobs/{name}/run": {"post"},
        "ws/stats": {"get"},
        "/api/v1/admin/stream": {"get"},
    }
    etag = response.headers["ETag"]
    assert (await api.http.get("/api/v1/openapi.json", headers={"If-None-Match": etag})).status == 304


async def test_every_reference_within_the_document_leads_somewhere(api: Api) -> None:
    text = await (await api.http.get("/api/v1/openapi.json")).text()
    document = json.loads(text)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names
    assert names <= document["components"]["schemas"].keys()


async def test_the_page_loads_nothing_from_elsewhere(api: Api) -> None:
    page = await (await api.http.get("/api/docs")).text()
    script = await api.http.get("/api/docs/docs.js")
    style = await api.http.get("/api/docs/docs.css")
    for text in (page, await script.text(), await style.text()):
        assert "//" not in text.replace("// ", "")
    assert script.content_type == "text/javascript"
    assert "default-src 'none'" in script.headers["Content-Security-Policy"]


async def test_what_is_sent_compressed_is_what_would_be_sent_plain(api: Api) -> None:
    plain = await (await api.raw("overview", Accept_Encoding="identity")).read()
    api.http.session._auto_decompress = False
    packed = await (await api.raw("overview", Accept_Encoding="gzip")).read()
    given, sent = json.loads(plain), json.loads(gzip.decompress(packed))
    assert {**given, "retry_attempts": 0} == {**sent, "retry_attempts": 0}
