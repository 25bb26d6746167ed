"""A tape through the whole line: what stock clients end up with is what the tape says, by other arithmetic.

The tape starts when somebody subscribes and is played as fast as the line takes it, so nothing is missed and
nothing is a matter of timing. A folder of recorded tapes may be named by MARKETSTREAM_TAPES.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conformance.stream import streaming
from tests.conformance.watcher import Watcher, watching
from tests.support.eventually import eventually, scaled
from tests.support.node import Node
from tests.support.server import Server, running_server
from tests.support.tape import HEADER, best_prices, write_tape

RECORDED = "fx_sample_nfp_10min.csv.gz"
FOLDER = os.environ.get("MARKETSTREAM_TAPES")
ROWS = 4_000
PATIENCE = 40.0
SCRIPT = Path(__file__).with_name("replay.mjs")

Sequences = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module", params=["generated", "recorded"] if FOLDER else ["generated"])
def tape(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tape of two currencies."""
    if request.param == "recorded":
        return Path(FOLDER or "") / RECORDED
    path = tmp_path_factory.mktemp("tapes") / "generated.csv.gz"
    write_tape(path, ROWS)
    return path


@pytest.fixture(scope="module")
def expected(tape: Path) -> Sequences:
    """Every best price the tape leads to, by symbol."""
    return best_prices(tape)


@asynccontextmanager
async def playing(tape: Path) -> AsyncIterator[Server]:
    """A server that plays a tape once somebody subscribes."""
    async with running_server(feeds=(f"replay:{tape}?speed=0&wait=1",)) as server:
        yield server


def received(watcher: Watcher) -> Sequences:
    """Every price that reached a client, by symbol, in order."""
    found: Sequences = {}
    for name, data in watcher.seen:
        for price in data["prices"] if name == "snapshot" else [data] if name == "price" else []:
            found.setdefault(price["symbol"], []).append(price)
    return found


def last_of(sequences: Sequences) -> dict[str, dict[str, Any]]:
    return {symbol: prices[-1] for symbol, prices in sequences.items()}


async def watch_to_the_end(server: Server, watcher: Watcher, expected: Sequences, mode: str) -> Sequences:
    """Subscribes to all symbols in one call and returns what had come when the tape was over."""
    answer = await watcher.call("subscribe", {"symbols": list(expected), "mode": mode})
    assert answer == {"subscribed": list(expected)}
    await eventually(lambda: ended(server), PATIENCE, "the end of the tape")
    await watcher.fence()
    return received(watcher)


def ended(server: Server) -> bool:
    """Whether the tape is over; a feed ends only when what it offered was handed on."""
    return any(entry["state"] == "ended" for entry in server.events("feed_state_changed"))


async def test_the_newest_price_of_each_symbol_is_the_last_on_the_tape(
    tape: Path, expected: Sequences
) -> None:
    """Mode latest may skip values; what it brings is on the tape, in its order, and the last one always."""
    async with playing(tape) as server, watching(server) as watcher:
        prices = await watch_to_the_end(server, watcher, expected, "latest")
    assert last_of(prices) == last_of(expected)
    for symbol, of_symbol in prices.items():
        on_tape = iter(expected[symbol])
        assert all(price in on_tape for price in of_symbol), f"{symbol} holds what is not on the tape"


@pytest.mark.parametrize("way", ["websocket", "polling"])
async def test_mode_every_brings_the_whole_tape_in_order(tape: Path, expected: Sequences, way: str) -> None:
    async with playing(tape) as server, watching(server, way=way) as watcher:
        await watch_to_the_end(server, watcher, expected, "every")
        # The answer to a call overtakes values that wait in line: the fence is not behind them.
        total = sum(map(len, expected.values()))
        await eventually(lambda: len(watcher.named("price")) >= total, PATIENCE, f"{total} prices")
        await watcher.fence()
        prices = received(watcher)
    assert watcher.named("lagged") == []
    assert {symbol: len(of_symbol) for symbol, of_symbol in prices.items()} == {
        symbol: len(of_symbol) for symbol, of_symbol in expected.items()
    }
    assert prices == expected


async def test_an_event_stream_ends_on_the_last_price_of_each_symbol(tape: Path, expected: Sequences) -> None:
    last = last_of(expected)
    seen: dict[str, dict[str, Any]] = {}
    async with playing(tape) as server, streaming(server, *expected) as reader:
        async with asyncio.timeout(scaled(PATIENCE)):
            while seen != last:
                price = (await reader.event()).data
                seen[price["symbol"]] = price
        await eventually(lambda: ended(server), 5, "the end of the tape")
        assert seen == last


@pytest.mark.parametrize("way", ["websocket", "polling", "upgrade"])
async def test_the_javascript_client_sees_the_whole_tape(
    node: Node, tape: Path, expected: Sequences, way: str
) -> None:
    """socket.io-client, both modes side by side; JSON numbers come out of JavaScript as they went in."""
    counts = [f"{symbol}={len(of_symbol)}" for symbol, of_symbol in expected.items()]
    async with playing(tape) as server:
        env = {"MARKET_URL": server.url, "MARKET_TOKEN": server.token()}
        latest, every = await node.run(str(SCRIPT), way, *counts, env=env, timeout=PATIENCE)
    assert every["lagged"] == latest["lagged"] == 0
    assert every["prices"] == expected
    assert last_of(latest["prices"]) == last_of(expected)


async def test_a_bad_tape_is_named_with_its_line_and_makes_the_server_unready(tmp_path: Path) -> None:
    """What stands before the bad line is published; the process goes on."""
    tape = tmp_path / "bad.csv"
    good = "1398902400000,EUR/USD,oanda,1.1,1,1.2,1"
    tape.write_text("\n".join([",".join(HEADER), good, good.replace("1.1", "cheap"), good, ""]))
    async with running_server(feeds=(f"replay:{tape}?speed=0",)) as server:
        failed = await eventually(
            lambda: [e for e in server.events("feed_state_changed") if e["state"] == "failed"],
            5,
            "the failure",
        )
        assert failed[0]["feed"] == "replay"
        assert f"{tape}, line 3: bid is 'cheap'" in failed[0]["detail"]
        async with aiohttp.ClientSession(server.url) as session:
            async with session.get("/readyz") as answer:
                assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
                body = await answer.json()
            async with session.get("/healthz") as answer:
                assert answer.status == HTTPStatus.OK
        assert body["status"] == "unready"
        assert any("line 3" in reason and "replay is failed" in reason for reason in body["reasons"])
        async with watching(server) as watcher:
            await watcher.call("subscribe", {"symbols": ["EUR/USD"]})
            [snapshot] = await watcher.until("snapshot")
            assert snapshot["prices"][0]["bestBid"]["price"] == 1.1
