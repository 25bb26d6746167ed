"""One client on any edge, as far as prices and states are concerned."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from tests.conformance.stream import request
from tests.conformance.watcher import watching
from tests.support.eventually import eventually
from tests.support.plain import LANGUAGES, plain, price_of, subscribe
from tests.support.server import Server

WAYS = ("websocket", "polling")
EVENTS = "events"
EDGES = (*WAYS, EVENTS, *LANGUAGES)

Said = tuple[str, dict[str, Any]]
"""`price` or `status`, and its data."""


class Onlooker:
    """See the module.

    Attributes:
        edge: How it is connected.
        usual: The state of a symbol that flows: `live`, or `delayed` for plans that show it late.
    """

    def __init__(self, edge: str, usual: str, seen: Callable[[], list[Said]]) -> None:
        self.edge = edge
        self.usual = usual
        self._seen = seen
        self._heard = 0

    def heard(self, kind: str, *symbols: str) -> list[dict[str, Any]]:
        """What came of some symbols since `told` was last called, in order."""
        later = self._seen()[self._heard :]
        return [data for found, data in later if found == kind and data["symbol"] in symbols]

    async def told(self, state: str, *symbols: str) -> list[dict[str, Any]]:
        """Waits until some symbols were said to be in a state, and nothing else was said of them.

        Returns:
            What was said, in order.
        """
        what = f"{state} on {self.edge}, which is {self.usual}"
        await eventually(
            lambda: {s["symbol"] for s in self.heard("status", *symbols)} == {*symbols}, 20, what
        )
        said = self.heard("status", *symbols)
        self._heard = len(self._seen())
        assert {status["state"] for status in said} == {state}, said
        return said


@asynccontextmanager
async def onlooking(server: Server, edge: str, *symbols: str, plan: str = "pro") -> AsyncIterator[Onlooker]:
    """A client that has asked for some symbols, inside the block.

    Args:
        server: Where.
        edge: One of `EDGES`.
        symbols: What it wants to see.
        plan: Its plan; `delayed` shows prices late.
    """
    token = server.token(plan=plan, user=f"{edge}-{plan}")
    usual = "delayed" if plan == "delayed" else "live"
    async with _connected(server, edge, token, symbols) as seen:
        yield Onlooker(edge, usual, seen)


def _connected(
    server: Server, edge: str, token: str, symbols: tuple[str, ...]
) -> AbstractAsyncContextManager[Callable[[], list[Said]]]:
    if edge in WAYS:
        return _socketio(server, edge, token, symbols)
    return (_events if edge == EVENTS else _plain)(server, edge, token, symbols)


@asynccontextmanager
async def _socketio(
    server: Server, way: str, token: str, symbols: tuple[str, ...]
) -> AsyncIterator[Callable[[], list[Said]]]:
    async with watching(server, token, way) as watcher:
        answer = await watcher.call("subscribe", {"symbols": list(symbols)})
        assert len(answer["subscribed"]) == len(symbols), answer
        yield lambda: [(name, data) for name, data in watcher.seen if name in ("price", "status")]


@asynccontextmanager
async def _events(
    server: Server, _edge: str, token: str, symbols: tuple[str, ...]
) -> AsyncIterator[Callable[[], list[Said]]]:
    seen: list[Said] = []

    async def read() -> None:
        name = ""
        async for raw in response.content:
            key, _, value = raw.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data" and name in ("price", "status"):
                seen.append((name, json.loads(value)))

    async with (
        request(server, {"symbols": ",".join(symbols)}, token=token) as response,
        _going_on(read()),
    ):
        yield lambda: seen


@asynccontextmanager
async def _plain(
    server: Server, language: str, token: str, symbols: tuple[str, ...]
) -> AsyncIterator[Callable[[], list[Said]]]:
    seen: list[Said] = []

    async def read() -> None:
        async for message in client.socket:
            said = json.loads(message.data)
            data = {**said, **(said.get("data") or {})}
            if said.get("type") == "status":
                seen.append(("status", data))
            elif price_of(said) is not None:
                seen.append(("price", data))

    async with plain(server.url, token) as client:
        await client.say(subscribe(language, *symbols))
        async with _going_on(read()):
            yield lambda: seen


@asynccontextmanager
async def _going_on(reading: Any) -> AsyncIterator[None]:
    """Reads inside the block; a failure of it comes out at the end."""
    task = asyncio.create_task(reading)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
