"""Publications are judged a few items at a time."""

import asyncio
import json

from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.market.ahead import Ahead
from marketstream.engine.market.publication_handler import SLICE, PublicationHandler
from tests.support.builders import Bench


async def test_a_large_publication_holds_nobody_up() -> None:
    """Ten thousand items at once would be a fifth of a second in which nobody gets a price."""
    bench = Bench()
    handler = PublicationHandler(
        registry=SymbolRegistry("open"),
        aggregator=bench.aggregator,
        publisher=bench.publisher,
        clock=bench.clock,
        ahead=Ahead(clock=bench.clock, stats=bench.stats),
        stats=bench.stats,
    )
    prices = [{"symbol": f"S{index}", "bestBid": {"price": 1, "source": "x"}} for index in range(SLICE * 10)]
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    answer = json.loads(await handler.take(json.dumps({"prices": prices}).encode()))
    counting.cancel()
    assert answer == {"accepted": SLICE * 10, "rejected": []}
    assert turns >= 10
