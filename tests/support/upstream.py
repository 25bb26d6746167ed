"""The two vendors' servers behind one face, for tests of what befalls any feed.

Prices are dated now unless a test says otherwise, and each names its bid; the ask is one above it.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from tests.support.alpaca import KEY, SECRET, FakeAlpaca, quote, serving_alpaca
from tests.support.yahoo import Streamer, frame

NONSENSE = ("", "no JSON", "[1", "7")
"""Frames that make no sense to anybody."""


def wall_ms() -> int:
    """Epoch milliseconds now."""
    return time.time_ns() // 1_000_000


class Upstream(Protocol):
    """A vendor, as far as all of them are alike."""

    @property
    def source(self) -> str:
        """Name that its prices carry."""
        ...

    @property
    def env(self) -> dict[str, str]:
        """What a server must know to be let in."""
        ...

    @property
    def knocks(self) -> int:
        """How often somebody came, let in or not."""
        ...

    def feed(self, **parameters: object) -> str:
        """The feed's specification."""
        ...

    def refuse(self, refused: bool) -> None:  # noqa: FBT001  # a switch
        """Turns everybody away from now on, or nobody."""
        ...

    async def until_asked(self, *symbols: str) -> None:
        """Waits until exactly these are asked for on the newest connection."""
        ...

    def opening(self) -> set[str]:
        """The symbols that the newest connection asked for first."""
        ...

    async def quote(self, symbol: str, bid: float, at_ms: int | None = None) -> None:
        """Sends a price."""
        ...

    async def send_raw(self, text: str) -> None:
        """Sends a frame of any text."""
        ...

    async def close(self) -> None:
        """Ends the newest connection in order."""
        ...

    def abort(self) -> None:
        """Ends it without a word."""
        ...


class Alpaca:
    """See `Upstream`."""

    source = "alpaca-iex"

    def __init__(self, fake: FakeAlpaca) -> None:
        self.fake = fake
        self.env = {"ALPACA_API_KEY": KEY, "ALPACA_API_SECRET": SECRET}

    @property
    def knocks(self) -> int:
        """See `Upstream.knocks`."""
        return len(self.fake.knocks)

    def feed(self, **parameters: object) -> str:
        """See `Upstream.feed`."""
        return _spec("alpaca", self.fake.url, parameters)

    def refuse(self, refused: bool) -> None:  # noqa: FBT001  # a switch
        """See `Upstream.refuse`."""
        self.fake.absent = refused

    async def until_asked(self, *symbols: str) -> None:
        """See `Upstream.until_asked`."""
        await self.fake.subscribed(set(symbols), max(1, len(self.fake.lines)))

    def opening(self) -> set[str]:
        """See `Upstream.opening`."""
        requests = self.fake.lines[-1].requests
        return set(next(each["quotes"] for each in requests if each["action"] == "subscribe"))

    async def quote(self, symbol: str, bid: float, at_ms: int | None = None) -> None:
        """See `Upstream.quote`."""
        await self.fake.lines[-1].send(quote(symbol, bid, bid + 1, at_ms or wall_ms()))

    async def send_raw(self, text: str) -> None:
        """See `Upstream.send_raw`."""
        await self.fake.lines[-1].send_raw(text.encode())

    async def close(self) -> None:
        """See `Upstream.close`."""
        await self.fake.lines[-1].close()

    def abort(self) -> None:
        """See `Upstream.abort`."""
        self.fake.lines[-1].abort()


class Yahoo:
    """See `Upstream`; what it quotes is a coin, whose market never closes."""

    source = "yahoo"

    def __init__(self, streamer: Streamer) -> None:
        self.env: dict[str, str] = {}
        self._streamer = streamer

    @property
    def knocks(self) -> int:
        """See `Upstream.knocks`."""
        return self._streamer.connections

    def feed(self, **parameters: object) -> str:
        """See `Upstream.feed`."""
        return _spec("yahoo", self._streamer.url, parameters)

    def refuse(self, refused: bool) -> None:  # noqa: FBT001  # a switch
        """See `Upstream.refuse`."""
        self._streamer.refuses = refused

    async def until_asked(self, *symbols: str) -> None:
        """See `Upstream.until_asked`."""
        await self._streamer.until_asked(*symbols)

    def opening(self) -> set[str]:
        """See `Upstream.opening`."""
        return set(self._streamer.opening)

    async def quote(self, symbol: str, bid: float, at_ms: int | None = None) -> None:
        """See `Upstream.quote`."""
        await self._streamer.push(frame(symbol, bid, bid=bid, ask=bid + 1, time=at_ms or wall_ms()))

    async def send_raw(self, text: str) -> None:
        """See `Upstream.send_raw`."""
        await self._streamer.push(text)

    async def close(self) -> None:
        """See `Upstream.close`."""
        await self._streamer.close()

    def abort(self) -> None:
        """See `Upstream.abort`."""
        self._streamer.abort()


@asynccontextmanager
async def upstream(name: str) -> AsyncIterator[Upstream]:
    """A vendor inside the block: `alpaca` or `yahoo`."""
    if name == "alpaca":
        async with serving_alpaca() as fake:
            yield Alpaca(fake)
    else:
        async with Streamer() as streamer:
            yield Yahoo(streamer)


def _spec(name: str, url: str, parameters: dict[str, object]) -> str:
    return f"{name}?url={url}" + "".join(f"&{key}={value}" for key, value in parameters.items())
