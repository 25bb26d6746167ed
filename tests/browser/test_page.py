"""The live page, in the browser that people would open it with, on a real server."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.node import Node
from tests.support.server import Server, running_server

FLAGS = ("--dev",)

Facts = dict[str, Any]
Scene = Callable[[str], Awaitable[Facts]]

PICTURES = Path(__file__).parents[1] / "artifacts"
TRANSPARENT = "rgba(0, 0, 0, 0)"


@pytest.fixture
def watch(node: Node, chromium: str, server: Server) -> Scene:
    """Plays one scene of `page.mjs` on a server in development mode and returns what the browser saw."""

    async def play(scene: str) -> Facts:
        return await _play(node, chromium, scene, server)

    return play


async def _play(node: Node, chromium: str, scene: str, server: Server, token: str = "") -> Facts:
    facts = (await node.run(*_scene(scene, server), env=_environment(chromium, server, token), timeout=60))[
        -1
    ]
    assert isinstance(facts, dict)
    return facts


def _scene(name: str, server: Server) -> tuple[str, str, str]:
    return "../browser/page.mjs", name, server.url


def _environment(chromium: str, server: Server, token: str = "") -> dict[str, str]:
    publisher = server.token(user="publisher", scopes=("market:publish",))
    return {"CHROMIUM": chromium, "TOKEN": token, "PUBLISHER": publisher}


async def test_a_price_moves_on_the_page(watch: Scene) -> None:
    """Best bid and ask with their sources, mid, spread, direction and change follow; nothing moves."""
    facts = await watch("move")
    assert facts["shifts"] == []
    assert facts["first"] == "1.10010"
    assert facts["texts"] == ["1.1003", "gamma", "1.5M", "1.1005", "beta", "1.10040", "0.00020", "1.82"]
    assert facts["arrow"] == "▲"


async def test_a_healthy_page_is_silent_and_talks_to_its_own_server_only(
    watch: Scene, server: Server
) -> None:
    facts = await watch("names")
    assert facts["noise"] == []
    assert facts["hosts"] == [server.url]
    assert facts["states"][-1] == "Live"
    assert facts["events"] == ["connecting", "connected"]


async def test_the_page_shows_the_moving_prices_of_a_real_server(node: Node, chromium: str) -> None:
    """What `serve --dev` gives to somebody who opens it, by day, by night and on a phone; nothing jumps."""
    feed = "synthetic?symbols=EUR/USD,AAPL,BTC/USD&rate=10"
    async with running_server("--dev", feeds=(feed,)) as server:
        seen = await _play(node, chromium, "real", server)
        for facts in seen.values():
            assert facts["first"] != facts["then"]
            assert facts["noise"] == []
            assert facts["hosts"] == [server.url]
            assert facts["shifts"] == []
    assert seen["desktop-light"]["ground"] != seen["desktop-dark"]["ground"]
    assert {f"page-{name}.png" for name in seen} <= {path.name for path in PICTURES.iterdir()}


async def test_nothing_jumps_while_the_document_arrives(watch: Scene) -> None:
    """A browser paints what it has, wherever the bytes were cut."""
    assert (await watch("trickle"))["shifts"] == []


async def test_the_page_comes_back_by_itself_when_the_server_does(node: Node, chromium: str) -> None:
    """Killed, and started again on the same port with another secret: a new token is fetched."""
    async with running_server("--dev") as server:
        environment = _environment(chromium, server)
        script = node.start(*_scene("restart", server), env=environment)
        async with script as running:
            await eventually(lambda: running.messages or not running.running, 30, "a page that is live")
            server.kill()
            async with running_server("--dev", port=server.port) as again:
                price = {"price": 2.5, "size": None, "source": "alpha"}
                ask = price | {"price": 2.5002}
                both = {"symbol": "BACK", "bestBid": price, "bestAsk": ask, "midPrice": 2.5001}
                await again.publish(
                    prices=[both | {"spread": 0.0002, "spreadBps": 0.8, "timestamp": int(time.time() * 1000)}]
                )
                facts = (await running.finished(60))[-1]
    assert any(state.startswith("Reconnecting") for state in facts["states"])
    assert any(event.startswith("reconnecting") for event in facts["events"])


async def test_what_came_while_nobody_looked_waits_for_the_next_look(watch: Scene) -> None:
    """A hidden tab writes and draws nothing, and shows the newest when it is looked at again."""
    facts = await watch("background")
    assert facts["hidden"] == ["1.10010", 0]
    assert facts["shown"] == "7.00010"
    assert facts["drawn"] > 0
    assert facts["noise"] == []


async def test_stale_prices_are_marked(node: Node, chromium: str) -> None:
    """The server's word for it, beside the age, until the symbol is alive again."""
    async with running_server("--dev", env={"MARKETSTREAM_FEEDS__STALE_AFTER": "1"}) as server:
        facts = await _play(node, chromium, "quiet", server)
    assert "stale" not in facts["fresh"]
    assert facts["old"].startswith("stale ")
    assert facts["events"][-2:] == ["QUIET: stale", "QUIET: live"]


async def test_fifty_prices_between_two_frames_are_one_write(watch: Scene) -> None:
    """Drawing follows the screen, not the market, and ends on the newest."""
    facts = await watch("frame")
    assert (facts["before"], facts["after"]) == (0, 1)
    assert facts["mid"] == "52.00010"


async def test_outside_development_the_user_gives_a_token(node: Node, chromium: str) -> None:
    """It is kept for the tab alone, never in the address, and forgotten when asked or refused."""
    async with running_server() as server:
        token = server.token()
        facts = await _play(node, chromium, "token", server, token)
    assert facts["before"] == ["Waiting", "password"]
    assert facts["refused"]["kept"][0] == []
    assert facts["refused"]["state"] == "Waiting"
    assert facts["refused"]["told"].startswith("The server refused this token: ")
    assert facts["connected"]["field"] == ""
    session, local, address, cookie = facts["connected"]["kept"]
    assert (session, local, cookie) == ([token], [], "")
    assert address == f"{server.url}/#KEY/ONE"
    assert facts["after"][0] == []
    assert not any(path.startswith("/dev/") for path in facts["paths"])
    assert facts["noise"] == []


async def test_a_symbol_beyond_the_token_is_refused_beside_the_form(node: Node, chromium: str) -> None:
    async with running_server() as server:
        facts = await _play(node, chromium, "refused", server, server.token(symbols=("EUR/*",)))
    assert facts["note"] == "AAPL: not entitled"
    assert (facts["rows"], facts["kept"]) == (["EUR/USD"], "#EUR/USD")
    assert "AAPL: not entitled" in facts["events"]


async def test_the_connection_rests_while_the_user_wants_it_to(watch: Scene) -> None:
    facts = await watch("pause")
    assert facts["states"][-1] == "Live"
    assert facts["events"] == ["connecting", "connected", "closed", "connecting", "connected"]


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
    assert facts["filtered"] == ["ASK/TWO"]
    assert facts["wrong"] == ["true", '"no$uch" is not a symbol: 1 to 32 of A-Z 0-9 . - _ / = ^ : &']
    assert (facts["shared"], facts["left"]) == ("#ASK/ONE,ASK/TWO,VOD.L", "#ASK/ONE,ASK/TWO")


async def test_the_keyboard_reaches_everything(watch: Scene) -> None:
    """`/` to the field, arrows through the rows, Delete removes and stays close by, Escape clears."""
    facts = await watch("keyboard")
    assert facts["path"][:7] == ["query", "KEY/A", "KEY/B", "KEY/C", "KEY/A", "KEY/B", "KEY/C"]
    assert facts["left"] == ["KEY/A", "KEY/C"]
    assert (facts["filtered"], facts["back"]) == (0, 2)
    assert facts["named"] == "Remove KEY/A"
    assert facts["path"][7:] == ["query", "KEY/A", "query"]
    assert facts["empty"]


async def test_what_the_server_sends_or_the_address_holds_is_never_markup(watch: Scene) -> None:
    facts = await watch("markup")
    assert facts["source"] == "<img src=x onerror=alert(1)>"
    assert (facts["images"], facts["rows"]) == (0, 1)
    assert facts["noise"] == []


async def test_a_screen_reader_is_given_a_table_and_receives_the_connection_only(
    watch: Scene, server: Server
) -> None:
    facts = await watch("names")
    assert (facts["columns"], facts["cells"]) == (11, 10)
    assert facts["live"] == 1
    assert facts["unnamed"] == 0
    assert len(facts["examples"]) == 3
    assert all(server.url in example and "NAMES" in example for example in facts["examples"])
    for part in ('table "Best prices"', "status: Live", 'button "Remove NAMES"', 'button "Clear the events"'):
        assert part in facts["tree"], facts["tree"]
