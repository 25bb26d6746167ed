"""The live page, in the browser that people would open it with."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.support.fake_stream import playing
from tests.support.node import Node
from tests.support.server import running_server

Facts = dict[str, Any]
Scene = Callable[[str], Awaitable[Facts]]

LAST_ID = "EUR/USD-1700000000000@1700000000000000"
TRANSPARENT = "rgba(0, 0, 0, 0)"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The shipped page, on a server that does what the scene tells it."""
    async with playing() as address:
        yield address


@pytest.fixture
def watch(node: Node, chromium: str, url: str) -> Scene:
    """Plays one scene of `page.mjs` against the stand-in and returns what the browser saw."""

    async def play(scene: str) -> Facts:
        return await _play(node, chromium, scene, url)

    return play


async def _play(node: Node, chromium: str, scene: str, url: str) -> Facts:
    env = {"CHROMIUM": chromium}
    [facts] = await node.run("../browser/page.mjs", scene, url, env=env, timeout=60)
    assert isinstance(facts, dict)
    return facts


async def test_a_price_moves_on_the_page(watch: Scene) -> None:
    """Best bid and ask with their sources, mid, spread and direction follow the stream."""
    facts = await watch("move")
    assert facts["first"] == "1.10010"
    assert facts["texts"] == ["1.1003", "gamma", "1.5M", "1.1005", "beta", "1.10040", "0.00020", "1.82"]
    assert facts["arrow"] == "▲"


async def test_a_healthy_page_is_silent_and_talks_to_its_own_server_only(watch: Scene, url: str) -> None:
    facts = await watch("move")
    assert facts["noise"] == []
    assert facts["hosts"] == [url]
    assert facts["states"][-1] == "live"


async def test_the_page_shows_the_moving_prices_of_a_real_server(node: Node, chromium: str) -> None:
    """What `serve --dev` gives to somebody who opens it."""
    feed = "synthetic?symbols=EUR/USD,AAPL&rate=10"
    async with running_server("--dev", feeds=(feed,)) as server:
        facts = await _play(node, chromium, "real", server.url)
    assert facts["first"] != facts["then"]
    assert facts["noise"] == []
    assert facts["hosts"] == [server.url]


async def test_after_a_cut_the_page_comes_back_from_where_it_was(watch: Scene) -> None:
    """The browser repairs a cut stream, and only what changed is asked for again."""
    facts = await watch("cut")
    assert any(state.startswith("reconnecting") for state in facts["states"])
    assert [request["header"] for request in facts["requests"]] == ["", LAST_ID]


async def test_a_refused_token_is_replaced_and_the_reason_is_shown(watch: Scene) -> None:
    """A 401 ends an EventSource for good, so the page asks why, fetches a token and opens another."""
    facts = await watch("rotate")
    assert any("401 AUTH_FAILED: the signature is not ours" in state for state in facts["states"])
    last = facts["requests"][-1]
    assert last["token"].endswith(".1")
    assert last["last_event_id"] == LAST_ID


async def test_a_refusal_for_good_closes_until_the_user_asks_again(watch: Scene) -> None:
    facts = await watch("refuse")
    assert facts["reason"] == "403 NOT_ENTITLED: not in your plan"
    assert facts["paused"] == "paused by you"


async def test_stale_prices_are_marked_and_a_silent_stream_is_given_up(watch: Scene) -> None:
    """The server's word, a newer price, half a minute without news; silence only counts after a heartbeat."""
    facts = await watch("quiet")
    assert "stale" not in facts["fresh"]
    assert facts["old"].startswith("stale 4")
    assert (facts["patient"], len(facts["requests"])) == (1, 2)


async def test_fifty_prices_between_two_frames_are_one_write(watch: Scene) -> None:
    """Drawing follows the screen, not the market, and ends on the newest."""
    facts = await watch("frame")
    assert (facts["before"], facts["after"]) == (0, 1)
    assert facts["mid"] == "52.00010"


async def test_a_phone_scrolls_in_one_direction_only_and_cuts_no_price(watch: Scene) -> None:
    facts = await watch("phone")
    assert facts["widths"] == [375, 375]
    assert facts["cut"] == 0


async def test_nothing_flashes_for_those_who_ask_for_less_motion(watch: Scene) -> None:
    facts = await watch("motion")
    assert facts["reduce"] == [TRANSPARENT, "0s"]
    assert facts["no-preference"][0] != TRANSPARENT


async def test_symbols_are_filtered_added_shared_by_address_and_removed(watch: Scene) -> None:
    facts = await watch("ask")
    assert facts["filtered"] == ["EUR/USD"]
    assert facts["wrong"] == ["true", "NO$UCH: a symbol is 1 to 32 of A-Z 0-9 . - _ / = ^ :"]
    assert (facts["shared"], facts["left"]) == ("#VOD.L", "")
    assert "AAPL,EUR/USD,VOD.L" in facts["asked"]
    assert facts["asked"][-1] == "AAPL,EUR/USD"


async def test_what_the_server_sends_or_the_address_holds_is_never_markup(watch: Scene) -> None:
    facts = await watch("markup")
    assert facts["source"] == "<img src=x onerror=alert(1)>"
    assert facts["images"] == 0
    assert facts["kept"] == "#VOD.L"
    assert facts["noise"] == []


async def test_a_screen_reader_is_given_a_table_and_hears_the_connection_only(watch: Scene, url: str) -> None:
    facts = await watch("names")
    assert (facts["columns"], facts["cells"]) == (9, 8)
    assert facts["live"] == 1
    assert facts["unnamed"] == 0
    assert all(url in example and "EUR/USD" in example for example in facts["examples"])


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/assets/app.js", "text/javascript; charset=utf-8"),
        ("/assets/board.js", "text/javascript; charset=utf-8"),
        ("/assets/stream.js", "text/javascript; charset=utf-8"),
        ("/assets/style.css", "text/css; charset=utf-8"),
        ("/assets/favicon.svg", "image/svg+xml; charset=utf-8"),
    ],
)
async def test_every_file_comes_once_and_under_a_strict_policy(
    url: str, path: str, content_type: str
) -> None:
    """A browser that holds the very bytes is told so, and nothing but the own host may be used."""
    async with aiohttp.ClientSession() as session:
        first = await session.get(url + path)
        again = await session.get(url + path, headers={"If-None-Match": first.headers["ETag"]})
        other = await session.get(url + path, headers={"If-None-Match": '"0"'})
    assert (first.status, again.status, other.status) == (200, 304, 200)
    for response in (first, again):
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
    assert first.headers["Content-Type"] == content_type


@pytest.mark.parametrize("name", ["__init__.py", "index.html.bak", "..%2f__init__.py", "%2fetc%2fpasswd"])
async def test_only_the_listed_files_are_served(url: str, name: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/assets/{name}") as response:
        assert response.status == 404
