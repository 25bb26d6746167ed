"""The reference at `/api/docs`, in a browser, on a real server."""

import asyncio
import re
from pathlib import Path

import aiohttp

from marketstream import __version__
from tests.support.eventually import scaled
from tests.support.server import running_server


async def test_the_page_shows_every_operation_of_the_document(chromium: str, tmp_path: Path) -> None:
    async with running_server("--dev") as server:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{server.url}/api/v1/openapi.json") as got,
        ):
            paths = (await got.json())["paths"]
        browser = await asyncio.create_subprocess_exec(
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"),
            *("--virtual-time-budget=10000", "--dump-dom", f"{server.url}/api/docs"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(scaled(60)):
            out, _ = await browser.communicate()
    page = out.decode()
    assert page.count("<details>") == sum(map(len, paths.values())) >= 12
    assert re.search(r"<code>/api/v1/market/quote/\{symbol\}</code>", page)
    assert "changePercent" in page
    assert f"Version {__version__}" in page
