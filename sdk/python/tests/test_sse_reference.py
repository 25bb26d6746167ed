"""The reader of event streams against a server that is not ours: aiohttp-sse, in every way it can write."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp_sse import EventSourceResponse

from marketstream_sdk import ConnectionLostError
from marketstream_sdk.address import Address
from marketstream_sdk.reconcile import Terms
from marketstream_sdk.transports.base import Connection, Goal
from marketstream_sdk.transports.event_stream import STREAM
from marketstream_sdk.transports.sse import SseTransport
from marketstream_sdk.wire import Message, Prices
from rehearsal.web_server import serving


def price(number: int) -> dict[str, object]:
    side = {"price": 1.0, "size": None, "source": "ünïcode \u2028"}
    return {
        "symbol": "EUR/USD",
        "bestBid": side,
        "bestAsk": None,
        "midPrice": None,
        "spread": None,
        "spreadBps": None,
        "timestamp": number,
    }


class Reference:
    """Sends what it is told, on one stream at a time.

    Args:
        sep: What its lines end with.
        ping_interval: Seconds between its comments, each followed by a blank line.

    Attributes:
        resumed: `Last-Event-ID` of each request.
        outgoing: Data and id of what is sent; None ends the stream.
    """

    def __init__(self, sep: str, ping_interval: float = 15) -> None:
        self.resumed: list[str | None] = []
        self.outgoing: asyncio.Queue[tuple[str, str] | None] = asyncio.Queue()
        self._sep = sep
        self._ping_interval = ping_interval

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answers one request."""
        response = EventSourceResponse(sep=self._sep, ping_interval=self._ping_interval)
        await response.prepare(request)
        self.resumed.append(response.last_event_id)
        async with response:
            while (item := await self.outgoing.get()) is not None:
                data, ident = item
                await response.send(data, event="price", id=ident, retry=1_000)
        return response


@asynccontextmanager
async def reading(server: Reference) -> AsyncIterator[tuple[SseTransport, Connection, list[Message]]]:
    """A transport to it, a connection that reads, and what it got."""
    got: list[Message] = []
    wanted = Goal({"EUR/USD": Terms()})
    app = web.Application()
    app.router.add_get(STREAM, server.stream)
    async with serving(app) as url:
        transport = SseTransport(Address.parse(url), ssl=None, call_timeout=2, idle_timeout=5)
        connection = await transport.connect("t", lambda: wanted, got.append)
        try:
            yield transport, connection, got
        finally:
            await connection.close()


async def numbers(got: list[Message], count: int) -> list[int]:
    """Timestamps of the prices that came, once they are that many."""

    def found() -> list[int]:
        return [each.timestamp for message in got if isinstance(message, Prices) for each in message.quotes]

    async with asyncio.timeout(10):
        while len(found()) < count:  # noqa: ASYNC110 - the far side has no event to wait for
            await asyncio.sleep(0.005)
    return found()


@pytest.mark.parametrize("sep", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("indent", [None, 1], ids=["one line", "many lines"])
async def test_events_are_read_whatever_their_lines_end_with(sep: str, indent: int | None) -> None:
    """And whether their data stands on one line or, as the standard allows, on several."""
    server = Reference(sep)
    async with reading(server) as (_, _, got):
        for number in range(1, 4):
            text = json.dumps(price(number), indent=indent, ensure_ascii=False)
            server.outgoing.put_nowait((text, f"EUR/USD-{number}@{number}"))
        assert await numbers(got, 3) == [1, 2, 3]


async def test_comments_and_the_blank_lines_behind_them_are_no_events() -> None:
    server = Reference("\r\n", ping_interval=0.01)
    async with reading(server) as (_, _, got):
        await asyncio.sleep(0.1)
        server.outgoing.put_nowait((json.dumps(price(1)), "EUR/USD-1@1"))
        assert await numbers(got, 1) == [1]
        assert len(got) == 1


async def test_the_id_that_was_read_last_is_what_is_asked_for_next() -> None:
    server = Reference("\r\n")
    async with reading(server) as (transport, connection, got):
        server.outgoing.put_nowait((json.dumps(price(7)), "EUR/USD-7@700"))
        await numbers(got, 1)
        server.outgoing.put_nowait(None)
        assert isinstance(await connection.lost, ConnectionLostError)
        again = await transport.connect("t", lambda: Goal({"EUR/USD": Terms()}), got.append)
        await again.close()
        assert server.resumed == [None, "EUR/USD-7@700"]
