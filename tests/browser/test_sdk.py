"""The TypeScript SDK and its React hooks in a browser, on a page that is built as people build theirs."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.eventually import eventually
from tests.support.node import Node, Script
from tests.support.pages import bundle, serving_folder
from tests.support.server import free_port, running_server

PAGE = Path(__file__).parent / "sdk" / "page.tsx"
ARTIFACTS = Path(__file__).parents[1] / "artifacts"
FEED = "synthetic?symbols=EUR/USD,AAPL,BTC/USD&rate=20"
# What the browser itself says of a server that is not there.
ABSENT = re.compile(r"net::ERR_|WebSocket connection to .* failed")


@pytest.fixture(scope="module")
def page(sdk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the built page."""
    folder = tmp_path_factory.mktemp("page")
    bundle(sdk, PAGE, folder)
    with serving_folder(folder) as origin:
        yield origin


async def _told(script: Script, message: Any) -> None:
    """Waits until the script says a word; one that has failed says why."""
    await eventually(lambda: message in script.messages or not script.running, 60, f"the word {message}")
    if message not in script.messages:
        await script.finished()


@pytest.mark.parametrize("transport", ["socketio", "sse"])
async def test_prices_move_come_and_go_and_survive_a_crash(
    node: Node, chromium: str, page: str, transport: str
) -> None:
    """A table by `useMarketData`, under StrictMode, while its server is killed and started again."""
    port = free_port()
    env = {"MARKETSTREAM_SERVER__CORS_ORIGINS": page}
    shots = ARTIFACTS / f"sdk-{transport}"
    shots.mkdir(parents=True, exist_ok=True)
    async with running_server("--dev", env=env, feeds=(FEED,), port=port) as server:
        query = urlencode({"server": server.url, "transport": transport, "symbols": "EUR/USD,AAPL"})
        started = node.start(
            "../browser/sdk/page.mjs", f"{page}/?{query}", str(shots), env={"CHROMIUM": chromium}
        )
        async with started as script:
            await _told(script, "kill")
            await asyncio.to_thread(server.kill)
            await _told(script, "start")
            async with running_server("--dev", env=env, feeds=(FEED,), port=port):
                *_, facts = await script.finished(60)
    assert facts["added"] == ["EUR/USD", "AAPL", "BTC/USD"]
    assert facts["kept"] == ["EUR/USD", "BTC/USD"]
    assert facts["background"]["prices"] > 20
    assert facts["background"]["renders"] <= 2
    assert facts["frozen"] == 2
    assert facts["states"] == ["connecting", "connected", "reconnecting", "connected"]
    assert (facts["backwards"], facts["errors"]) == ([], [])
    assert [line for line in facts["noise"] if not ABSENT.search(line)] == []
    assert sorted(shot.stem for shot in shots.glob("*.png")) == ["back", "edited", "moving", "reconnecting"]
