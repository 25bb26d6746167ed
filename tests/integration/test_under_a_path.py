"""A server that a real nginx shows below a path: pages, both SDKs and the OpenAPI document."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest
from pytest_aiohttp import AiohttpClient

from marketstream.errors import ConfigurationError
from marketstream_sdk import MarketDataClient
from marketstream_sdk.transports import Way
from tests.support.door import WAYS, door
from tests.support.eventually import scaled
from tests.support.in_process import serve
from tests.support.node import Node
from tests.support.server import Server, running_server

FEED = "synthetic?symbols=EUR/USD&rate=10"
TRANSPORTS: tuple[Way, ...] = ("socketio", "sse")
TOLD = [way for way in WAYS if way != "strips and is silent"]

every_way = pytest.mark.parametrize("way", WAYS)


@asynccontextmanager
async def below(way: str, folder: Path, *feeds: str) -> AsyncIterator[tuple[Server, str]]:
    """A server in development mode, and its address behind nginx."""
    env = {"MARKETSTREAM_SERVER__ROOT_PATH": "/md/"} if way == "passes on and is silent" else {}
    async with (
        running_server("--dev", env=env, feeds=feeds or ("none",)) as server,
        door(server.port, way, folder) as url,
    ):
        yield server, url


async def _dom(chromium: str, url: str, folder: Path) -> str:
    """What a page is made of after a while."""
    browser = await asyncio.create_subprocess_exec(
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'chromium'}"),
        *("--virtual-time-budget=10000", "--dump-dom", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(scaled(60)):
        out, _ = await browser.communicate()
    return out.decode()


@every_way
async def test_the_live_page_works_below_a_path(node: Node, chromium: str, tmp_path: Path, way: str) -> None:
    """It finds its files, a token, the symbols and the prices."""
    async with below(way, tmp_path) as (server, url):
        publisher = server.token(user="publisher", scopes=("market:publish",))
        env = {"CHROMIUM": chromium, "TOKEN": "", "PUBLISHER": publisher}
        facts = (await node.run("../browser/page.mjs", "move", url, env=env, timeout=60))[-1]
    assert facts["texts"][:2] == ["1.1003", "gamma"]
    assert facts["noise"] == []


@every_way
async def test_the_reference_works_below_a_path(chromium: str, tmp_path: Path, way: str) -> None:
    async with below(way, tmp_path) as (_, url):
        page = await _dom(chromium, f"{url}/api/docs", tmp_path)
    assert page.count("<details>") > 12


@every_way
async def test_the_openapi_document_leads_to_the_server(tmp_path: Path, way: str) -> None:
    """Where the server knows that it is below a path; each client gets that of its own."""
    async with below(way, tmp_path, FEED) as (server, url), aiohttp.ClientSession() as session:
        async with session.get(f"{url}/api/v1/openapi.json") as answer:
            behind, tag = await answer.json(), answer.headers["ETag"]
            assert "X-Forwarded-Prefix" in answer.headers["Vary"]
        async with session.get(f"{server.url}/api/v1/openapi.json") as answer:
            assert (tag != answer.headers["ETag"]) is (way in TOLD and way != "passes on and is silent")
            assert "/api/v1/market/quote/{symbol}" in (await answer.json())["paths"]
        assert behind.get("servers") == ([{"url": "/md"}] if way in TOLD else None)
        if way in TOLD:
            token = {"Authorization": f"Bearer {server.token()}"}
            base = urljoin(url, behind["servers"][0]["url"])
            async with session.get(f"{base}/api/v1/market/quote/EUR%2FUSD", headers=token) as answer:
                assert answer.status == HTTPStatus.OK


@every_way
async def test_the_python_sdk_works_below_a_path(tmp_path: Path, way: str) -> None:
    async with below(way, tmp_path, FEED) as (server, url):
        for transport in TRANSPORTS:
            client = MarketDataClient(f"{url}/", token=server.token(), transport=transport)
            async with client, asyncio.timeout(scaled(15)):
                async for price in client.stream_quotes(["EUR/USD"]):
                    assert price.symbol == "EUR/USD"
                    break
                assert (await client.get_quote("EUR/USD")).symbol == "EUR/USD"


@every_way
async def test_the_typescript_sdk_works_below_a_path(node: Node, sdk: Path, tmp_path: Path, way: str) -> None:
    async with below(way, tmp_path, FEED) as (server, url):
        env = {"SDK": str(sdk), "TOKEN": server.token()}
        told = await node.run("below.mjs", f"{url}/", env=env)
    assert told == [
        {"transport": transport, "price": "EUR/USD", "quote": "EUR/USD"}
        for transport in ("websocket", "polling", "sse")
    ]


async def test_the_root_without_its_slash_leads_to_the_root(aiohttp_client: AiohttpClient) -> None:
    """Otherwise the page would look for its files beside its own folder."""
    client = await serve(aiohttp_client, SERVER__ROOT_PATH="/md")
    async with client.get("/md?x=1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (308, "/md/?x=1")
    for path in ("/md/", "/", "/md/healthz", "/healthz"):
        assert (await client.get(path)).status == HTTPStatus.OK
    for path in ("/mdx/healthz", "/md/md/healthz", "/md//healthz"):
        assert (await client.get(path)).status == HTTPStatus.NOT_FOUND


async def test_a_prefix_that_looks_like_a_path_of_ours_is_not_taken_off(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await serve(aiohttp_client, SERVER__TRUSTED_PROXIES="127.0.0.1")
    async with client.get("/api/v1/openapi.json", headers={"X-Forwarded-Prefix": "/api"}) as answer:
        assert answer.status == HTTPStatus.OK
        assert (await answer.json())["servers"] == [{"url": "/api"}]


async def test_a_root_path_that_looks_like_a_path_of_ours_stops_the_start(
    aiohttp_client: AiohttpClient,
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await serve(aiohttp_client, SERVER__ROOT_PATH="/api")
    assert refused.value.path == "server.root_path"
