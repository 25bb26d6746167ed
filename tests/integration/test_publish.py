"""Publishing over HTTP, and what an operator's machines and a browser ask for beside it."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.conformance.market import BASE_MS, new_symbol, price, quote
from tests.conformance.raw import enter, raw_socket
from tests.conformance.stream import streaming
from tests.conformance.watcher import watching
from tests.support.eventually import eventually
from tests.support.server import UNLIMITED, Server

FLAGS = ("--dev",)
PUBLISH = "/api/v1/market/publish"
STATS = "/api/v1/market/ws/stats"
FAR_AHEAD_MS = 4_000_000_000_000

SERIES = {
    "websocket_active_connections": "gauge",
    "messages_per_second": "gauge",
    "websocket_message_latency_ms": "histogram",
    "ws_connections_total": "counter",
    "ws_subscriptions_total": "counter",
    "ws_broadcasts_total": "counter",
    "outbox_conflated_total": "counter",
    "outbox_closed_total": "counter",
    "bus_lag_ms": "gauge",
    "upstream_state": "gauge",
    "upstream_reconnects_total": "counter",
}


@pytest.fixture
async def http(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the server's HTTP side, without a token."""
    async with aiohttp.ClientSession(server.url) as session:
        yield session


def _bearer(server: Server, *scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.token(user='publisher', plan=UNLIMITED, scopes=scopes)}"}


async def _post(http: aiohttp.ClientSession, server: Server, body: bytes) -> tuple[int, dict[str, Any]]:
    headers = _bearer(server, "market:publish")
    async with http.post(PUBLISH, data=body, headers=headers) as answer:
        assert answer.content_type == "application/json"
        return answer.status, await answer.json()


async def test_quotes_meet_and_the_best_of_them_is_delivered(server: Server) -> None:
    """Highest bid, lowest ask, each with its source; the figures that follow from them."""
    symbol = new_symbol("EUR/USD")
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol]})
        quotes = [quote(symbol, "alpha", 1.1001, 1.1005, 1), quote(symbol, "beta", 1.1, 1.1003, 2)]
        assert await server.publish(quotes=quotes) == {"accepted": 2, "rejected": []}
        await watcher.fence()
        assert watcher.named("price")[-1] == {
            "symbol": symbol,
            "bestBid": {"price": 1.1001, "size": 100.0, "source": "alpha"},
            "bestAsk": {"price": 1.1003, "size": 200.0, "source": "beta"},
            "midPrice": 1.1002,
            "spread": 0.0002,
            "spreadBps": 1.8179,
            "timestamp": BASE_MS + 2,
        }


async def test_a_price_is_published_as_it_is(server: Server) -> None:
    """Whatever its figures say: it is somebody else's work."""
    symbol = new_symbol()
    odd = price(symbol, 1, bestAsk=None, midPrice=None, spread=-7.25, spreadBps=None)
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol]})
        assert await server.publish(prices=[odd]) == {"accepted": 1, "rejected": []}
        assert await watcher.until("price") == [odd]


async def test_each_bad_item_is_named_and_harms_no_other(server: Server) -> None:
    """The index counts within `prices`, then goes on in `quotes`."""
    good, other = new_symbol(), new_symbol()
    prices = [price(good, 1), {"symbol": "BAD SYMBOL"}, price(good, 2)]
    quotes = [
        quote(other, "a", 1.0, 1.1, 1),
        quote(other, "", 1.0, 1.1, 2),
        {**quote(other, "a", 1.0, 1.1, 3), "bid": "1.0"},
        {**quote(other, "a", 1.0, 1.1, 3), "bid": None, "ask": None},
        quote(other, "a", 1.2, 1.3, 4),
    ]
    answer = await server.publish(prices=prices, quotes=quotes)
    assert answer["accepted"] == 4
    assert [entry["index"] for entry in answer["rejected"]] == [1, 4, 5, 6]
    assert all(set(entry) == {"index", "error"} and entry["error"] for entry in answer["rejected"])
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": [good, other]})
        [snapshot] = await watcher.until("snapshot")
        assert [best["midPrice"] for best in snapshot["prices"]] == [2, 1.25]


@pytest.mark.parametrize(
    "item",
    [
        7,
        None,
        [],
        "EUR/USD",
        {},
        {"symbol": 7},
        {"symbol": "A" * 33},
        {"symbol": "X", "timestamp": "now"},
        {"symbol": "X", "timestamp": -1},
        {"symbol": "X", "timestamp": True},
        {"symbol": "X", "timestamp": FAR_AHEAD_MS},
        {"symbol": "X", "midPrice": "1"},
        {"symbol": "X", "bestBid": 1},
        {"symbol": "X", "bestBid": {"size": 1, "source": "a"}},
        {"symbol": "X", "bestBid": {"price": 1, "size": -1, "source": "a"}},
        {"symbol": "X", "bestBid": {"price": 1, "size": 1, "source": "a" * 65}},
        {"symbol": "X", "bestBid": {"price": True, "size": 1, "source": "a"}},
    ],
    ids=repr,
)
async def test_what_is_no_price_is_rejected(server: Server, item: Any) -> None:
    answer = await server.publish(prices=[item])
    assert answer["accepted"] == 0
    assert [entry["index"] for entry in answer["rejected"]] == [0]


async def test_a_late_quote_is_rejected_and_leaves_the_price_alone(server: Server) -> None:
    symbol = new_symbol()
    await server.publish(quotes=[quote(symbol, "a", 1.0, 1.1, 5)])
    answer = await server.publish(quotes=[quote(symbol, "a", 2.0, 2.1, 4), quote(symbol, "b", 1.0, 1.2, 3)])
    assert answer["accepted"] == 1
    assert [entry["index"] for entry in answer["rejected"]] == [0]
    async with watching(server) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol]})
        [snapshot] = await watcher.until("snapshot")
        [best] = snapshot["prices"]
        assert (best["bestBid"]["price"], best["timestamp"]) == (1.0, BASE_MS + 5)


async def test_a_late_price_is_rejected(server: Server) -> None:
    symbol = new_symbol()
    answer = await server.publish(prices=[price(symbol, 2), price(symbol, 1), price(symbol, 2)])
    assert (answer["accepted"], [entry["index"] for entry in answer["rejected"]]) == (2, [1])


@pytest.mark.parametrize(
    ("first", "second"), [(None, "acme"), ("acme", None)], ids=["own after public", "public after own"]
)
async def test_the_time_of_a_symbol_never_goes_back_for_a_tenant_with_prices_of_its_own(
    server: Server, first: str | None, second: str | None
) -> None:
    """What is older than the newest that its clients have is not sent to them, whoever it was meant for."""
    symbol = new_symbol()
    async with watching(server) as acme:
        await acme.call("subscribe", {"symbols": [symbol]})
        for number, tenant in ((5, first), (3, second), (6, first)):
            await server.publish(prices=[price(symbol, number)], tenant=tenant)
            await acme.fence()
        assert acme.prices(symbol) == [5, 6]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"prices":',
        b'{"quotes":7}',
        b'{"prices":{}}',
        b'{"prices":[],"tenantId":7}',
        b'{"prices":[],"tenantId":""}',
        b'{"prices":[NaN,]}',
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"prices": [None] * 10_001}).encode(),
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_a_body_that_is_no_publication_is_a_bad_request(
    server: Server, http: aiohttp.ClientSession, body: bytes
) -> None:
    status, answer = await _post(http, server, body)
    assert status == 400
    assert answer["error"]["code"] == "INVALID_MESSAGE"
    assert answer["error"]["message"]


async def test_an_empty_publication_is_one(server: Server, http: aiohttp.ClientSession) -> None:
    nothing = (200, {"accepted": 0, "rejected": []})
    assert await _post(http, server, b'{"prices":[]}') == nothing
    assert await _post(http, server, b'{"quotes":[],"tenantId":null}') == nothing


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_above_a_mebibyte_is_too_large(
    server: Server, http: aiohttp.ClientSession, framing: str
) -> None:
    body = b'{"prices":[]' + b" " * (1024 * 1024) + b"}"

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    headers = _bearer(server, "market:publish")
    async with http.post(
        PUBLISH, data=pieces() if framing == "chunked" else io.BytesIO(body), headers=headers
    ) as answer:
        assert answer.status == 413
        assert (await answer.json())["error"]["code"] == "PAYLOAD_TOO_LARGE"
    assert await server.publish(prices=[price(new_symbol(), 1)]) == {"accepted": 1, "rejected": []}


@pytest.mark.parametrize(
    ("method", "path", "scope"), [("POST", PUBLISH, "market:publish"), ("GET", STATS, "admin")]
)
async def test_an_endpoint_opens_only_with_its_scope(
    server: Server, http: aiohttp.ClientSession, method: str, path: str, scope: str
) -> None:
    others = {"market:read", "market:publish", "admin"} - {scope}
    cases = [
        ({}, 401, "UNAUTHORIZED"),
        ({"Authorization": "Bearer garbage"}, 401, "AUTH_FAILED"),
        ({"Authorization": f"Bearer {server.token(ttl=-60)}"}, 401, "TOKEN_EXPIRED"),
        (_bearer(server), 403, "NOT_ENTITLED"),
        (_bearer(server, *others), 403, "NOT_ENTITLED"),
    ]
    for headers, status, code in cases:
        async with http.request(method, path, headers=headers, data=b'{"prices":[]}') as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)
            assert ("WWW-Authenticate" in answer.headers) is (status == 401)
    async with http.request(method, path, headers=_bearer(server, scope), data=b'{"prices":[]}') as answer:
        assert answer.status == 200


async def test_the_stats_say_who_is_there(server: Server, http: aiohttp.ClientSession) -> None:
    async def stats() -> dict[str, Any]:
        async with http.get(STATS, headers=_bearer(server, "admin")) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def empty() -> bool:
        return not (await stats())["connections"]

    await eventually(empty, 5, "a server without clients")
    async with watching(server) as watcher, streaming(server, "X", token=server.token(tenant="globex")):
        await watcher.call("subscribe", {"symbols": ["X", "Y"]})
        now = await stats()
        assert now["connections"] == {"websocket": 1, "sse": 1}
        assert (now["subscriptions"], now["tenants"]) == (3, 2)
    await eventually(empty, 5, "a server without clients again")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_needs_no_token(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as answer:
        assert answer.status == 200
        assert (await answer.json())["status"] in ("ok", "ready")


async def _metrics(http: aiohttp.ClientSession) -> str:
    async with http.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        return await answer.text()


def _value(text: str, series: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(series))


@pytest.mark.parametrize(("name", "kind"), SERIES.items())
async def test_a_promised_series_is_there_with_its_type(
    http: aiohttp.ClientSession, name: str, kind: str
) -> None:
    lines = (await _metrics(http)).splitlines()
    assert f"# TYPE {name} {kind}" in lines


async def test_the_figures_follow_what_happens(server: Server, http: aiohttp.ClientSession) -> None:
    symbol, before = new_symbol(), await _metrics(http)
    async with watching(server) as watcher, raw_socket(server.url) as stranger:
        await watcher.call("subscribe", {"symbols": [symbol]})
        await server.publish(prices=[price(symbol, 1)])
        await watcher.until("price")
        await stranger.send(enter("garbage"))
        await stranger.read_to("44")
        during = await _metrics(http)
    gains = {
        'websocket_active_connections{transport="websocket"}': 1,
        'ws_connections_total{transport="websocket"}': 1,
        "ws_subscriptions_total": 1,
        "websocket_message_latency_ms_count": 1,
        'ws_handshakes_refused_total{code="AUTH_FAILED"}': 1,
    }
    for series, gain in gains.items():
        assert _value(during, series) - _value(before, series) == gain, series


async def test_no_figure_names_a_user_a_tenant_or_a_symbol(
    server: Server, http: aiohttp.ClientSession
) -> None:
    symbol = new_symbol("SECRET")
    token = server.token(tenant="hidden-tenant", user="hidden-user")
    async with watching(server, token) as watcher:
        await watcher.call("subscribe", {"symbols": [symbol]})
        await server.publish(prices=[price(symbol, 1)], quotes=[quote(symbol, "hidden-source", 1.0, 1.1, 2)])
        text = await _metrics(http)
    for word in (symbol, "hidden-tenant", "hidden-user", "hidden-source"):
        assert word not in text


@pytest.mark.parametrize("path", [PUBLISH, "/market-data/stream", "/socket.io/?EIO=4&transport=polling"])
async def test_a_listed_page_passes_its_preflight_and_another_does_not(
    http: aiohttp.ClientSession, path: str
) -> None:
    for origin, allowed in (("http://localhost:3000", True), ("https://evil.example", False)):
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type",
        }
        async with http.options(path, headers=headers) as answer:
            assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is allowed
            if allowed:
                assert answer.status == 204
                assert "POST" in answer.headers["Access-Control-Allow-Methods"]
                names = answer.headers["Access-Control-Allow-Headers"].lower()
                assert {"authorization", "content-type", "last-event-id"} <= {
                    n.strip() for n in names.split(",")
                }
                assert answer.headers["Vary"].split(", ").count("Origin") == 1


async def test_a_page_can_read_errors_too(http: aiohttp.ClientSession) -> None:
    async with http.post(PUBLISH, headers={"Origin": "http://localhost:3000"}) as answer:
        assert answer.status == 401
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


async def test_an_unknown_path_or_method_is_answered_in_the_same_shape(http: aiohttp.ClientSession) -> None:
    for method, path, status in (("GET", "/nothing/here", 404), ("GET", PUBLISH, 405)):
        async with http.request(method, path) as answer:
            assert answer.status == status
            error = (await answer.json())["error"]
            assert error["code"]
            assert error["message"]


async def test_a_development_token_opens_every_door(server: Server, http: aiohttp.ClientSession) -> None:
    """`GET /dev/token[?tenant=&user=&plan=]`: plan pro, all scopes."""
    symbol = new_symbol()
    query = {"tenant": "globex", "user": "me"}
    async with http.get("/dev/token", params=query) as answer:
        body = await answer.json()
        assert list(body) == ["token"]
        assert answer.headers["Cache-Control"] == "no-store"
    headers = {"Authorization": f"Bearer {body['token']}"}
    async with http.get(STATS, headers=headers) as answer:
        assert answer.status == 200
    async with watching(server, body["token"]) as watcher:
        [connected] = watcher.named("connected")
        assert connected["plan"] == "pro"
        await watcher.call("subscribe", {"symbols": [symbol]})
        content = {"prices": [price(symbol, 1)], "tenantId": "globex"}
        async with http.post(PUBLISH, json=content, headers=headers) as answer:
            assert (await answer.json())["accepted"] == 1
        await watcher.until("price")


@pytest.mark.parametrize("query", [{"plan": "platinum"}, {"tenant": ""}, {"user": "u" * 65}])
async def test_a_development_token_that_cannot_be_made_is_a_bad_request(
    http: aiohttp.ClientSession, query: dict[str, str]
) -> None:
    async with http.get("/dev/token", params=query) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "INVALID_MESSAGE"
