"""python-socketio's own client, and everything that reached it, in order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio

from tests.support.eventually import eventually, scaled
from tests.support.server import Server

NAMESPACE = "/market-data"
WAYS = {"websocket": ["websocket"], "polling": ["polling"], "upgrade": ["polling", "websocket"]}


class Watcher:
    """One client.

    Attributes:
        seen: Every event, answer (`ack NAME`) and state (`connect`, `disconnect`) with its data.
        socket: The client of python-socketio.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.socket = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self.socket.on("*", self._event, namespace=NAMESPACE)
        for state in ("connect", "disconnect", "connect_error"):
            self.socket.on(state, self._state(state), namespace=NAMESPACE)

    @property
    def names(self) -> list[str]:
        """The names in `seen`."""
        return [name for name, _ in self.seen]

    def named(self, name: str) -> list[Any]:
        """The data of everything of one name, in order."""
        return [data for seen, data in self.seen if seen == name]

    def prices(self, symbol: str) -> list[int]:
        """The numbers of the prices of one symbol that came as `price`."""
        return [round(best["midPrice"]) for best in self.named("price") if best["symbol"] == symbol]

    async def until(self, name: str, count: int = 1, timeout: float = 10.0) -> list[Any]:  # noqa: ASYNC109  # scaled
        """Waits until there are so many of one name and returns their data."""
        what = f"{count} of {name}"
        try:
            await eventually(lambda: len(self.named(name)) >= count, timeout, what)
        except AssertionError as error:
            error.add_note(f"seen: {self.seen}")
            raise
        return self.named(name)

    async def call(self, name: str, payload: Any = None) -> Any:
        """Makes a call and returns its answer."""
        answers: list[Any] = []

        def answered(*data: Any) -> None:
            answers.append(data[0] if data else None)
            self.seen.append((f"ack {name}", answers[0]))

        await self.socket.emit(name, payload, namespace=NAMESPACE, callback=answered)
        await eventually(lambda: answers, 10, f"the answer to {name}")
        return answers[0]

    async def fence(self) -> None:
        """Returns when everything that the server had for this client before the call has arrived."""
        # Of what is written together an answer comes first: only behind the second is all that waited before.
        await self.call("ping")
        await self.call("ping")

    def _event(self, name: str, *data: Any) -> None:
        self.seen.append((name, data[0] if len(data) == 1 else data))

    def _state(self, state: str) -> Any:
        return lambda *data: self.seen.append((state, data[0] if data else None))


@asynccontextmanager
async def watching(
    server: Server, token: str | None = None, way: str = "websocket"
) -> AsyncIterator[Watcher]:
    """A client that is connected inside the block.

    Args:
        server: Where to.
        token: Its token; None for one of the default tenant and user.
        way: `websocket`, `polling` or `upgrade`.
    """
    watcher = Watcher()
    await watcher.socket.connect(
        server.url,
        auth={"token": token or server.token()},
        namespaces=[NAMESPACE],
        transports=WAYS[way],
        wait_timeout=scaled(10),
    )
    try:
        await watcher.until("connected")
        yield watcher
    finally:
        await watcher.socket.disconnect()
