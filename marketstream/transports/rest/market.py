"""Serve `POST /api/v1/market/publish`.

The shapes here are for the reference. What comes in is judged by `wire.publication`, item by item, so that a
bad one harms no other.
"""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from marketstream.ports import LeaderForwarder
from marketstream.transports import body
from marketstream.transports.rest.guard import Guard
from marketstream.transports.rest.openapi import Operation
from marketstream.transports.rest.schema import Shape
from marketstream.wire.publication import MAX_ITEMS, MAX_NAME

SCOPE = "market:publish"

COPIES = 3
"""How often a body is in memory on its way to another process: as it came, as a message, and as written."""

Source = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Size = Annotated[float | None, Field(ge=0)]
Time = Annotated[int | None, Field(ge=1, description="epoch milliseconds; when it arrives, if left out")]


class QuoteItem(Shape):
    """What one source asks and offers; at least one of bid, ask and last."""

    symbol: str
    source: Source
    bid: float | None = None
    bid_size: Size = None
    ask: float | None = None
    ask_size: Size = None
    last: Annotated[float | None, Field(description="price of the last trade")] = None
    volume: Annotated[float | None, Field(ge=0, description="traded today")] = None
    timestamp: Time = None


class SideItem(Shape):
    """One side of a best price."""

    price: float
    size: Size = None
    source: Source


class PriceItem(Shape):
    """A best price, published as it is."""

    symbol: str
    best_bid: SideItem | None = None
    best_ask: SideItem | None = None
    mid_price: float | None = None
    spread: float | None = None
    spread_bps: float | None = None
    timestamp: Time = None


class PublishBody(Shape):
    """Prices, quotes or both."""

    prices: Annotated[list[PriceItem] | None, Field(max_length=MAX_ITEMS)] = None
    quotes: Annotated[list[QuoteItem] | None, Field(max_length=MAX_ITEMS)] = None
    tenant_id: Annotated[
        str | None, Field(min_length=1, description="the only tenant that may see them; all, if left out")
    ] = None


class RejectedItem(Shape):
    """An item that was not taken."""

    index: Annotated[int, Field(ge=0, description="counts within prices, then quotes")]
    error: str


class PublishAnswer(Shape):
    """What became of a publication."""

    accepted: int
    rejected: list[RejectedItem]


class Publishing:
    """Takes publications.

    Args:
        guard: Checks callers.
        forwarder: Judges what they say.
    """

    def __init__(self, *, guard: Guard, forwarder: LeaderForwarder) -> None:
        self._guard = guard
        self._forwarder = forwarder

    def operations(self) -> list[Operation]:
        """Return the endpoint."""
        return [
            Operation(
                "POST",
                "/publish",
                "Publishes quotes and best prices.",
                SCOPE,
                PublishAnswer,
                self.publish,
                body=PublishBody,
                metered=False,
            )
        ]

    async def publish(self, request: web.Request) -> web.Response:
        """Answer {accepted, rejected: [{index, error}]}; a bad item harms no other."""
        await self._guard.require(request, SCOPE)
        given = await body.read(request)
        with self._guard.waiting.hold(COPIES * len(given)):
            taken = await self._forwarder.submit(given)
        return web.Response(body=taken, content_type="application/json")
