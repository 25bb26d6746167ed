"""What a Python team would write first: stock python-socketio on aiohttp, with uvloop and orjson.

Started as `python_socketio.py PORT SYMBOLS RATE burst|spread`: publishes SYM0 to SYM(SYMBOLS-1), each RATE
times a second, all together or one after the other. It leaves python-socketio as its manual shows it.
"""

import asyncio
import sys
import time
from typing import Any

import orjson
import socketio
import uvloop
from aiohttp import web

NAMESPACE = "/market-data"


class Json:
    """The fastest JSON there is, in the shape python-socketio asks for."""

    loads = staticmethod(orjson.loads)

    @staticmethod
    def dumps(value: Any, **_options: Any) -> str:
        """JSON as text."""
        return orjson.dumps(value).decode()


class Market:
    """Rooms by symbol and a publisher.

    Args:
        symbols: How many there are.
        rate: Updates a second of each.
        together: Whether all symbols are published at the same moments.
    """

    def __init__(self, symbols: int, rate: float, *, together: bool) -> None:
        self._symbols = symbols
        self._together = together
        self._step = 1 / rate if together else 1 / (rate * symbols)
        self._sio = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*", json=Json)
        self._sio.on("connect", self._connect, namespace=NAMESPACE)
        self._sio.on("subscribe", self._subscribe, namespace=NAMESPACE)
        self._publishing: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        """The server, which publishes once it runs."""
        app = web.Application()
        self._sio.attach(app)
        app.on_startup.append(self._start)
        return app

    async def _start(self, _app: web.Application) -> None:
        self._publishing = asyncio.create_task(self._publish())

    async def _connect(self, _sid: str, _environ: dict[str, Any], _auth: Any = None) -> None:
        """Lets everybody in."""

    async def _subscribe(self, sid: str, wish: dict[str, Any]) -> dict[str, Any]:
        for symbol in wish["symbols"]:
            await self._sio.enter_room(sid, f"symbol:{symbol}", namespace=NAMESPACE)
        return {"subscribed": wish["symbols"]}

    async def _publish(self) -> None:
        due = time.monotonic()
        for step in range(sys.maxsize):
            due += self._step
            for index in range(self._symbols) if self._together else (step % self._symbols,):
                room = f"symbol:SYM{index}"
                await self._sio.emit("price", _price(index, step), room=room, namespace=NAMESPACE)
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
