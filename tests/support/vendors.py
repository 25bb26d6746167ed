"""A real HTTP server that plays the vendors: their addresses, their keys, their answers, and their bad days.

It answers with the payloads of `tests/recorded`. A mood makes one vendor do something else to every question;
what was asked is kept, so that a test can see that nothing was.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from yarl import URL

RECORDED = Path(__file__).parents[1] / "recorded"
KEY = "THEKEY123"
NOWHERE = "NOPE"

Mood = Literal["well", "slow", "broken", "garbage", "huge", "spent", "busy", "forbidden", "moved", "cut off"]

_CHARTS = ("1min", "5min", "15min", "30min", "1hour")
_SYMBOLS = {"AAPL", "IBM", "EURUSD", "EURUSD=X"}
_FUNCTIONS = {
    "GLOBAL_QUOTE": "quote",
    "TIME_SERIES_DAILY": "daily",
    "TIME_SERIES_WEEKLY": "weekly",
    "TIME_SERIES_MONTHLY": "weekly",
    "TIME_SERIES_INTRADAY": "chart",
    "OVERVIEW": "profile",
    "SYMBOL_SEARCH": "search",
    "NEWS_SENTIMENT": "news",
}
_UNKNOWN = {
    "GLOBAL_QUOTE": "unknown",
    "OVERVIEW": "unknown_profile",
    "NEWS_SENTIMENT": "unknown_news",
}


def recorded(vendor: str, name: str) -> bytes:
    """A payload."""
    return (RECORDED / vendor / f"{name}.json").read_bytes()


class Vendors:
    """All vendors on one port.

    Attributes:
        url: Where it is; the base URL of a vendor is behind it.
        asked: Vendor, path and query of each question, oldest first.
        retry_after: Header of answers of those who are `busy`; None for none.
        known: Symbols that FMP knows beside those that were recorded; it says of them what it says of AAPL.
        pause: Seconds that the next answer of a vendor takes.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.retry_after: str | None = "7"
        self.known: set[str] = set()
        self.pause: Callable[[], float] = lambda: 0.0
        self._moods: dict[str, Mood] = {}
        self._awake = asyncio.Event()
        self.app = web.Application(middlewares=[self._moody])
        self.app.router.add_get("/fmp/stable/{path:.+}", self._fmp)
        self.app.router.add_get("/alpha_vantage/query", self._alpha_vantage)
        self.app.router.add_get("/tiingo/{path:.+}", self._tiingo)
        self.app.router.add_get("/yahoo/{path:.*}", self._yahoo)

    def mood(self, vendor: str, mood: Mood) -> None:
        """Makes a vendor answer everything like this from now on."""
        self._moods[vendor] = mood

    def wake(self) -> None:
        """Lets the slow go on."""
        self._awake.set()

    def base_url(self, vendor: str) -> str:
        """What a provider must be told."""
        return f"{self.url}/{vendor}" + ("/stable" if vendor == "fmp" else "")

    @web.middleware
    async def _moody(self, request: web.Request, handler: Handler) -> web.StreamResponse:  # noqa: PLR0911  # a table
        vendor = request.path.split("/")[1]
        self.asked.append((vendor, request.path.removeprefix(f"/{vendor}"), dict(request.query)))
        await asyncio.sleep(self.pause())
        match self._moods.get(vendor, "well"):
            case "slow":
                await self._awake.wait()
            case "broken":
                return web.Response(status=500, text=f"it broke, {KEY}")
            case "garbage":
                return web.Response(body=b"<html>" + KEY.encode())
            case "huge":
                return web.Response(body=b"[" + b" " * (17 * 1024 * 1024) + b"]")
            case "spent":
                return _json(recorded(vendor, "quota"))
            case "busy":
                headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
                return web.Response(status=429, headers=headers, text=KEY)
            case "forbidden":
                return web.Response(status=403, text=KEY)
            case "moved":
                raise web.HTTPFound(str(URL(self.url) / "elsewhere" % request.query))
            case "cut off":
                assert request.transport is not None
                request.transport.abort()
        return await handler(request)

    async def _fmp(self, request: web.Request) -> web.Response:
        if request.query.get("apikey") != KEY:
            return _json(recorded("fmp", "bad_key"), 401)
        path = request.match_info["path"]
        if path in ("search-symbol", "search-name"):
            return _json(recorded("fmp", "search"))
        symbol = request.query.get("symbol") or request.query.get("symbols", "")
        if symbol not in _SYMBOLS | self.known:
            return _json(recorded("fmp", "unknown"))
        names = {
            "quote": "quote_pair" if symbol == "EURUSD" else "quote",
            "historical-price-eod/full": "daily",
            **dict.fromkeys((f"historical-chart/{each}" for each in _CHARTS), "chart"),
            "profile": "profile",
            "news/stock": "news",
        }
        if path not in names:
            return web.Response(status=404)
        body = recorded("fmp", names[path])
        return _json(body if symbol in _SYMBOLS else body.replace(b'"AAPL"', f'"{symbol}"'.encode()))

    async def _alpha_vantage(self, request: web.Request) -> web.Response:
        if request.query.get("apikey") != KEY:
            return _json(recorded("alpha_vantage", "bad_key"))
        function = request.query["function"]
        if {request.query.get("symbol"), request.query.get("tickers")} & {NOWHERE}:
            return _json(recorded("alpha_vantage", _UNKNOWN.get(function, "unknown_series")))
        return _json(recorded("alpha_vantage", _FUNCTIONS[function]))

    async def _tiingo(self, request: web.Request) -> web.Response:  # noqa: PLR0911  # a table
        if request.headers.get("Authorization") != f"Token {KEY}":
            return _json(recorded("tiingo", "bad_key"), 401)
        match request.match_info["path"].split("/"):
            case ["iex", symbol]:
                return _json(recorded("tiingo", "quote" if symbol in _SYMBOLS else "unknown"))
            case ["iex", _, "prices"]:
                return _json(recorded("tiingo", "chart"))
            case ["tiingo", "utilities", "search"]:
                return _json(recorded("tiingo", "search"))
            case ["tiingo", "news"]:
                return _json(recorded("tiingo", "news"))
            case ["tiingo", "daily", symbol, *rest] if symbol in _SYMBOLS:
                return _json(recorded("tiingo", "daily" if rest else "profile"))
        return _json(recorded("tiingo", "not_found"), 404)

    async def _yahoo(self, request: web.Request) -> web.Response:  # noqa: PLR0911  # a table
        path = request.match_info["path"]
        if path == "v1/test/getcrumb":
            return web.Response(text="crumb")
        if not path.startswith("v"):
            response = web.Response(status=404, text="a cookie and nothing else")
            response.set_cookie("A3", "cookie")
            return response
        if request.query.get("crumb") != "crumb":
            return _json(json.dumps({"finance": {"error": {"code": "Unauthorized"}}}).encode(), 401)
        match path.split("/"):
            case ["v7", "finance", "quote"]:
                known = request.query["symbols"] in _SYMBOLS
                return _json(recorded("yahoo", "quote" if known else "unknown"))
            case ["v8", "finance", "chart", symbol]:
                known = symbol in _SYMBOLS
                return _json(recorded("yahoo", "chart" if known else "unknown_chart"), 200 if known else 404)
            case ["v10", "finance", "quoteSummary", _]:
                return _json(recorded("yahoo", "profile"))
        return _json(recorded("yahoo", "search"))


@asynccontextmanager
async def running_vendors() -> AsyncIterator[Vendors]:
    """Vendors that can be asked inside the block."""
    vendors = Vendors()
    server = TestServer(vendors.app)
    await server.start_server()
    vendors.url = str(server.make_url("")).rstrip("/")
    try:
        yield vendors
    finally:
        vendors.wake()
        await server.close()


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
