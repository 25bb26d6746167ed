"""What a Python team would write first for event streams: aiohttp-sse, with uvloop and orjson.

Started as `aiohttp_event_streams.py PORT SYMBOLS RATE burst|spread`: publishes SYM0 to SYM(SYMBOLS-1), each
RATE times a second, all together or one after the other. Each client has a queue, as the manual has it.
"""

import asyncio
import sys
import time
from collections import defaultdict
from typing import Any

import orjson
import uvloop
from aiohttp import web
from aiohttp_sse import sse_response


class Market:
    """Queues by symbol and a publisher.

    Args:
        symbols: How many there are.
        rate: Updates a second of each.
        together: Whether all symbols are published at the same moments.
    """

    def __init__(self, symbols: int, rate: float, *, together: bool) -> None:
        self._symbols = symbols
        self._together = together
        self._step = 1 / rate if together else 1 / (rate * symbols)
        self._rooms: defaultdict[str, set[asyncio.Queue[dict[str, Any]]]] = defaultdict(set)
        self._publishing: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        """The server, which publishes once it runs."""
        app = web.Application()
        app.router.add_get("/market-data/stream", self._stream)
        app.on_startup.append(self._start)
        return app

    async def _start(self, _app: web.Application) -> None:
        self._publishing = asyncio.create_task(self._publish())

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        prices: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        rooms = [self._rooms[symbol] for symbol in request.query["symbols"].split(",")]
        async with sse_response(request) as response:
            for room in rooms:
                room.add(prices)
            try:
                while response.is_connected():
                    price = await prices.get()
                    ident = f"{price['symbol']}-{price['timestamp']}"
                    await response.send(orjson.dumps(price).decode(), event="price", id=ident)
            finally:
                for room in rooms:
                    room.discard(prices)
        return response

    async def _publish(self) -> None:
        due = time.monotonic()
        for step in range(sys.maxsize):
            due += self._step
            for index in range(self._symbols) if self._together else (step % self._symbols,):
                price = _price(index, step)
                for prices in self._rooms[price["symbol"]]:
                    prices.put_nowait(price)
            wait = due - time.monotonic()
            if wait < -1:
                due = time.monotonic()  # what was missed is skipped
            await asyncio.sleep(max(0.0, wait))


def _price(index: int, step: int) -> dict[str, Any]:
    middle = 150.26 + step % 1000 / 100
    return {
        "symbol": f"SYM{index}",
        "bestBid": {"price": middle - 0.01, "size": 100, "source": "synthetic"},
        "bestAsk": {"price": middle + 0.01, "size": 200, "source": "synthetic"},
        "midPrice": middle,
        "spread": 0.02,
        "spreadBps": 1.331,
        "timestamp": time.time_ns() // 1_000_000,
    }


def main() -> None:
    """Serves until it is ended."""
    port, symbols, rate, shape = sys.argv[1:]
    market = Market(int(symbols), float(rate), together=shape == "burst")
    web.run_app(
        market.application(),
        host="127.0.0.1",
        port=int(port),
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
