"""What is turned away: other names of the server in development, pages that may not, old clients."""

import json
from collections.abc import Iterator, Mapping

import aiohttp
import pytest

from tests.support.figures import metric
from tests.support.raw_socket import ENGINE, UPGRADE, head, wire
from tests.support.server import Server, running_server, serving

PAGE = "https://shop.example.com"
ENV = {
    "MARKETSTREAM_SERVER__CORS_ORIGINS": "https://*.example.com",
    "MARKETSTREAM_SERVER__CORS_CREDENTIALS": "true",
    "MARKETSTREAM_SERVER__CORS_HEADERS": "X-Shop",
}
POLLING = "/socket.io/?EIO=4&transport=polling"
STREAM = "/market-data/stream?symbols=AAPL"
QUOTE = "/api/v1/market/quote/AAPL"
PATHS = (
    *("/", "/dev/token", "/dev/symbols", "/api/docs", "/api/v1/openapi.json", "/assets/app.js", "/healthz"),
    *("/readyz", "/metrics", "/no/such/path", POLLING, ENGINE, STREAM, "/ws", QUOTE),
)
HEADERS: list[Mapping[str, str]] = [{}, UPGRADE]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that has pages of its own."""
    with serving(env=ENV) as running:
        yield running


@pytest.fixture(scope="module")
def dev() -> Iterator[Server]:
    """One in development mode."""
    with serving("--dev") as running:
        yield running


async def _answers(server: Server, host: str, **headers: str) -> dict[str, str]:
    """The status of every path, asked for under this name of the server."""
    found = {}
    for path in PATHS:
        for more in HEADERS:
            async with wire(server.port) as way:
                sent = dict(more) | {name.replace("_", "-"): value for name, value in headers.items()}
                await way.send(head(path, sent).replace(b"Host: test", f"Host: {host}".encode()))
                status = (await way.read_head()).split(b" ", 2)[1].decode()
                found[f"{path} {sorted(more)[:1]}"] = status
    return found


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example:{port}", ""])
async def test_in_development_no_other_name_of_the_server_is_answered(dev: Server, host: str) -> None:
    """A page of elsewhere that gives its name this machine's address would be of the same origin."""
    answers = await _answers(dev, host.format(port=dev.port))
    assert set(answers.values()) == {"403"}, answers


async def test_a_proxy_in_front_of_development_does_not_open_it(dev: Server) -> None:
    for headers in ({"X_Forwarded_Host": "evil.example"}, {"Forwarded": "host=evil.example"}):
        assert set((await _answers(dev, "localhost", **headers)).values()) == {"403"}
    assert set((await _answers(dev, "evil.example", X_Forwarded_Host="localhost")).values()) == {"403"}


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:{port}", "[::1]:99", "app.localhost"]
)
async def test_in_development_every_name_of_this_machine_is_answered(dev: Server, host: str) -> None:
    answers = await _answers(dev, host.format(port=dev.port))
    assert "403" not in answers.values(), answers
    assert answers[f"{ENGINE} ['Connection']"] == "101"


async def test_in_development_every_page_of_this_machine_may(dev: Server) -> None:
    for origin in ("http://localhost:5173", "http://127.0.0.1:1", "http://[::1]:3000"):
        headers = {"Origin": origin}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(f"{dev.url}/dev/token") as answer:
                assert answer.headers["Access-Control-Allow-Origin"] == origin
            async with session.ws_connect(dev.url + ENGINE):
                pass


async def test_outside_of_development_the_server_has_any_name(server: Server) -> None:
    assert "403" not in (await _answers(server, "prices.example")).values()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [None, PAGE, "https://evil.example"])
async def test_no_cache_mixes_up_the_answers_to_different_pages(
    server: Server, path: str, origin: str | None
) -> None:
    """`Vary: Origin` on every answer, whoever asks and whatever comes of it."""
    headers = {} if origin is None else {"Origin": origin}
    headers |= {"Authorization": f"Bearer {server.token()}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(server.url + path) as answer:
        assert "origin" in answer.headers["Vary"].lower()
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if origin == PAGE else None)
        allowed = answer.headers.get("Access-Control-Allow-Credentials")
        assert allowed == ("true" if origin == PAGE else None)


@pytest.mark.parametrize("path", [QUOTE, POLLING, STREAM, "/api/v1/market/publish"])
async def test_a_preflight_is_answered_on_every_path(server: Server, path: str) -> None:
    headers = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,traceparent,x-shop",
    }
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.options(server.url + path) as answer,
    ):
        assert answer.status == 204
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert {"authorization", "traceparent", "x-shop"} <= set(allowed)
        assert "Access-Control-Request-Headers" in answer.headers["Vary"]


async def test_pages_and_clients_that_are_refused_are_counted_and_sometimes_logged() -> None:
    """An operator must see why a page does not work; an outsider must not fill the disk."""
    async with running_server() as server, aiohttp.ClientSession() as session:
        for number in range(50):
            headers = {"Origin": f"https://evil{number}.example"}
            async with session.get(server.url + POLLING, headers=headers) as answer:
                assert answer.status == 403
            async with session.get(server.url + POLLING.replace("EIO=4", "EIO=3")) as answer:
                assert (answer.status, (await answer.json())["code"]) == (400, 5)
        for code in ("ORIGIN_NOT_ALLOWED", "UNSUPPORTED_PROTOCOL_VERSION"):
            assert await metric(server, f'ws_handshakes_refused_total{{code="{code}"}}') == 50
        origins = await server.logged("origin_refused")
        versions = await server.logged("protocol_version_refused")
    assert 1 <= len(origins) < 10
    assert 1 <= len(versions) < 10
    assert origins[0]["origin"] == "https://evil0.example"
    assert versions[0]["version"] == "3"
    assert json.dumps(origins).count("token") == 0
