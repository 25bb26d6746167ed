"""Times that lie ahead never silence a symbol: publishers are told, feeds are dated back."""

import json
from typing import Any

import pytest
import structlog

from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.market.ahead import MAX_AHEAD, SAY_EVERY, Ahead
from marketstream.engine.market.publication_handler import PublicationHandler
from marketstream.engine.market.stream_entries import PriceEntries
from marketstream.errors import FutureTimeError
from tests.support.builders import AT_MS, Bench, quote

HOUR_MS = 3_600_000
EDGE_MS = round(MAX_AHEAD * 1000)


@pytest.fixture
async def bench() -> Bench:
    """An engine without clients."""
    return Bench()


def ahead_of(bench: Bench) -> Ahead:
    return Ahead(clock=bench.clock, stats=bench.stats)


def handler(bench: Bench) -> PublicationHandler:
    return PublicationHandler(
        registry=SymbolRegistry("open"),
        aggregator=bench.aggregator,
        publisher=bench.publisher,
        clock=bench.clock,
        ahead=ahead_of(bench),
        stats=bench.stats,
    )


def published(at_ms: int) -> dict[str, Any]:
    return {"symbol": "A", "bestBid": {"price": 1, "source": "x"}, "timestamp": at_ms}


@pytest.mark.parametrize("kind", ["quotes", "prices"])
@pytest.mark.parametrize("ahead_ms", [EDGE_MS + 1, 240_000, HOUR_MS])
async def test_a_publisher_is_told_that_its_clock_is_wrong_and_the_symbol_goes_on(
    bench: Bench, kind: str, ahead_ms: int
) -> None:
    taken = handler(bench)

    async def take(at_ms: int) -> dict[str, Any]:
        item = {**published(at_ms), "source": "x", "bid": 1}
        answer: dict[str, Any] = json.loads(await taken.take(json.dumps({kind: [item]}).encode()))
        return answer

    refused = await take(AT_MS + ahead_ms)
    assert refused["accepted"] == 0
    assert refused["rejected"][0]["error"].startswith("timestamp: lies ")
    assert bench.stats.rejected == {"ahead": 1}
    assert (await take(AT_MS))["accepted"] == 1
    assert (await take(AT_MS + EDGE_MS))["accepted"] == 1


async def test_an_entry_of_the_stream_that_lies_ahead_is_a_bad_one(bench: Bench) -> None:
    entries = PriceEntries(
        publish=bench.publisher.publish_one,
        registry=SymbolRegistry("open"),
        clock=bench.clock,
        ahead=ahead_of(bench),
    )

    def take(at_ms: int) -> str:
        body = {"eventType": "market-data.best-price", "payload": published(at_ms)}
        return entries.take(json.dumps(body).encode(), f"{AT_MS}-0".encode())

    for ahead_ms in (EDGE_MS + 1, HOUR_MS):
        with pytest.raises(FutureTimeError, match=r"timestamp: lies"):
            take(AT_MS + ahead_ms)
    assert bench.stats.rejected == {"ahead": 2}
    assert take(AT_MS) == "accepted"


async def test_what_a_feed_dates_ahead_is_of_now_and_the_right_time_goes_on_from_there(bench: Bench) -> None:
    client = bench.client()
    client.subscribe("A")
    for number in range(4):
        bench.aggregator.offer([quote("A", number + 1, AT_MS + HOUR_MS + number)], "tape")
        bench.flush()
        bench.clock.advance(1)
    bench.aggregator.offer([quote("A", 9, bench.clock.wall_ms())], "tape")
    bench.flush()
    assert client.prices() == [1, 2, 3, 4, 9]
    times = [price["timestamp"] for price in client.sink.named("price")]
    assert times == [AT_MS + 1000 * second for second in range(5)]
    assert bench.stats.rejected == {"ahead": 4}


async def test_a_wrong_clock_is_said_once_a_minute_for_each_way(bench: Bench) -> None:
    ahead = ahead_of(bench)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            ahead.note("http", AT_MS + HOUR_MS, "x")
            ahead.note("tape", AT_MS + HOUR_MS)
        bench.clock.advance(SAY_EVERY)
        ahead.note("http", AT_MS + HOUR_MS, "x")
    assert [(entry["way"], entry["seconds"]) for entry in logs] == [
        ("http", 3600),
        ("tape", 3600),
        ("http", 3540),
    ]
    assert bench.stats.rejected["ahead"] == 7
