"""Serve `ws/stats` and `cache/stats`."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from marketstream.core.delivery.entitlements import Principal
from marketstream.engine.delivery.node import Node
from marketstream.engine.stats import ReadStats
from marketstream.ports import Cache
from marketstream.transports.rest import schema
from marketstream.transports.rest.endpoint import Answered, Endpoint
from marketstream.transports.rest.openapi import Operation
from marketstream.transports.rest.stream import Look, StateStreams

SCOPE = "admin"
PREFIX = "/api/v1/admin"

PERIOD = 1.0
"""Seconds between two states of the operators' stream."""


class StatsAnswer(schema.Shape):
    """Connections, subscriptions and delivery of this process."""

    connections: Annotated[dict[str, int], Field(description="right now, by transport")]
    connections_total: int
    subscriptions: Annotated[int, Field(description="symbols subscribed right now")]
    tenants: int
    rooms: int
    messages_per_second: Annotated[float, Field(description="written in the last second")]
    delivered: int
    conflated: int
    published: int
    broadcasts: int
    closed: Annotated[dict[str, int], Field(description="by reason")]
    refused: Annotated[dict[str, int], Field(description="handshakes, by code")]


class StreamAdmin:
    """Tells operators who is connected.

    Args:
        endpoint: Lets callers in.
        node: The engine.
        streams: Opens the operators' streams.
    """

    def __init__(self, *, endpoint: Endpoint, node: Node, streams: StateStreams) -> None:
        self._endpoint = endpoint
        self._node = node
        self._streams = streams

    def operations(self) -> list[Operation]:
        """Return the endpoints."""
        handle = self._endpoint.wrap(self.stats, SCOPE)
        summary = "Who is connected to this process, and what they get."
        return [
            Operation("GET", "/ws/stats", summary, SCOPE, StatsAnswer, handle),
            Operation(
                "GET",
                "/stream",
                "The same as it changes, an event `stats` at most once a second.",
                SCOPE,
                StatsAnswer,
                self._streams.wrap(self.follow, SCOPE, event="stats", period=PERIOD),
                streams=True,
                prefix=PREFIX,
                called="get_admin_stream",
            ),
        ]

    async def stats(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as of every endpoint
        """Answer with connections, subscriptions and delivery."""
        return self._figures(), 0

    def follow(self, request: web.Request) -> Look:  # noqa: ARG002  # as of every stream
        """Return the same as it changes."""
        return lambda: (self._figures(), False)

    def _figures(self) -> StatsAnswer:
        node, stats = self._node, self._node.stats
        sessions = [c.session for c in node.connections.values() if c.session is not None]
        return StatsAnswer(
            connections={name: count for name, count in stats.connections.items() if count},
            connections_total=stats.opened.total(),
            subscriptions=sum(len(session.subscriptions) for session in sessions),
            tenants=len({session.principal.tenant for session in sessions}),
            rooms=len(node.hub),
            messages_per_second=stats.rate,
            delivered=stats.delivered,
            conflated=node.conflated(),
            published=stats.published,
            broadcasts=stats.broadcasts,
            closed=dict(stats.closed),
            refused=dict(stats.refused),
        )


class CacheAdmin:
    """Tells operators how well answers are remembered.

    Args:
        endpoint: Lets callers in.
        cache: The cache.
        stats: Its counters.
    """

    def __init__(self, *, endpoint: Endpoint, cache: Cache, stats: ReadStats) -> None:
        self._endpoint = endpoint
        self._cache = cache
        self._stats = stats

    def operations(self) -> list[Operation]:
        """Return the endpoint."""
        handle = self._endpoint.wrap(self.stats, SCOPE)
        summary = "How well answers are remembered."
        return [Operation("GET", "/cache/stats", summary, SCOPE, schema.CacheAnswer, handle)]

    async def stats(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as of every endpoint
        """Return the backend and its counters."""
        looks = self._stats.cache
        answer = schema.CacheAnswer(
            backend="redis" if self._cache.name == "redis" else "memory",
            connected=self._cache.connected,
            entries=self._cache.size,
            hits=looks["hit"],
            misses=looks["miss"],
            fallbacks=looks["fallback"],
            hit_ratio=round(self._stats.hit_ratio, 4),
        )
        return answer, 0
