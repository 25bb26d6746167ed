"""How the live page and its files are served."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pytest_aiohttp import AiohttpClient
from structlog.testing import capture_logs

from marketstream.transports.web import add_page
from tests.support.in_process import serve

FILES = {
    "/": "text/html; charset=utf-8",
    "/assets/app.js": "text/javascript; charset=utf-8",
    "/assets/app.css": "text/css; charset=utf-8",
    "/assets/licences.txt": "text/plain; charset=utf-8",
    "/assets/favicon.svg": "image/svg+xml; charset=utf-8",
}


@asynccontextmanager
async def page(
    *, dev: bool = False, path: str = "/socket.io/", built: Path | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """The page alone, and a client that takes what comes as it comes."""
    app = web.Application()
    if built is None:
        add_page(app, dev=dev, path=path)
    else:
        add_page(app, dev=dev, path=path, built=built)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(
            server.make_url("/"), auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
        ) as session,
    ):
        yield session


@pytest.mark.parametrize(("path", "content_type"), FILES.items())
@pytest.mark.parametrize("coding", ["gzip", "identity"])
async def test_every_file_comes_once_and_under_a_strict_policy(
    path: str, content_type: str, coding: str
) -> None:
    """A browser that holds the very bytes is told so, and nothing but the own host may be used."""
    async with page() as session:
        accept = {"Accept-Encoding": coding}
        first = await session.get(path, headers=accept)
        again = await session.get(path, headers=accept | {"If-None-Match": first.headers["ETag"]})
        other = await session.get(path, headers=accept | {"If-None-Match": '"0"'})
        assert (first.status, again.status, other.status) == (200, 304, 200)
        for response in (first, again):
            policy = response.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
            assert "unsafe" not in policy
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.headers["Vary"] == "Accept-Encoding"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"
        assert first.headers["Content-Type"] == content_type


@pytest.mark.parametrize("path", FILES)
async def test_a_browser_that_takes_gzip_is_sent_less(path: str) -> None:
    """Two bodies, two ETags; without being asked nothing is compressed."""
    async with page() as session:
        plain = await session.get(path)
        packed = await session.get(path, headers={"Accept-Encoding": "br, gzip"})
        assert "Content-Encoding" not in plain.headers
        assert packed.headers["Content-Encoding"] == "gzip"
        assert plain.headers["ETag"] != packed.headers["ETag"]
        assert len(await packed.read()) < len(await plain.read())


@pytest.mark.parametrize(
    "name", ["__init__.py", "index.html", "app.js.bak", "..%2f__init__.py", "%2fetc%2fpasswd"]
)
async def test_only_the_listed_files_are_served(name: str) -> None:
    async with page() as session, session.get(f"/assets/{name}") as response:
        assert response.status == 404


async def test_the_page_is_told_its_mode_and_where_to_connect() -> None:
    """Whatever the path holds, it is text."""
    async with page(dev=True, path='/a"b/') as session, session.get("/") as response:
        told = await response.text()
    assert '<html lang="en" data-mode="dev" data-path="/a&quot;b/">' in told
    async with page() as session, session.get("/") as response:
        assert '<html lang="en" data-mode="token" data-path="/socket.io/">' in await response.text()


async def test_without_the_built_files_one_sentence_says_how_to_make_them(
    tmp_path: Path,
) -> None:
    """Everything else of the server does not depend on them."""
    with capture_logs() as logged:
        async with page(built=tmp_path) as session:
            root = await session.get("/")
            assert root.status == 503
            assert "<code>make page</code>" in await root.text()
            assert (await session.get("/assets/favicon.svg")).status == 200
            assert (await session.get("/assets/app.js")).status == 404
    assert [(entry["event"], entry["log_level"]) for entry in logged] == [("page_not_built", "warning")]


async def test_the_page_can_be_switched_off(aiohttp_client: AiohttpClient) -> None:
    client = await serve(aiohttp_client, SERVER__PAGE="false")
    for path, status in (("/", 404), ("/assets/app.js", 404), ("/api/docs", 200)):
        assert (await client.get(path)).status == status


async def test_outside_development_there_is_a_page_and_no_token_for_the_asking(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await serve(aiohttp_client)
    async with client.get("/") as response:
        assert response.status == 200
        assert 'data-mode="token"' in await response.text()
    for path in ("/dev/token", "/dev/symbols"):
        assert (await client.get(path)).status == 404
