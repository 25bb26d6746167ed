"""`GET /api/v1/market/ws/stats` and `cache/stats` (scope admin): what this process is doing."""

from aiohttp import web

from marketstream.core.entitlements import Principal
from marketstream.engine.node import Node
from marketstream.engine.stats import ReadStats
from marketstream.ports import Cache
from marketstream.transports.answer import json
from marketstream.transports.rest import schema
from marketstream.transports.rest.endpoint import Answered, Endpoint
from marketstream.transports.rest.guard import Guard
from marketstream.transports.rest.openapi import Operation

STATS = "/api/v1/market/ws/stats"
SCOPE = "admin"


class Admin:
    """Answers operators.

    Args:
        guard: Checks callers.
        node: The engine.
    """

    def __init__(self, *, guard: Guard, node: Node) -> None:
        self._guard = guard
        self._node = node

    def attach(self, app: web.Application) -> None:
        """Adds the route."""
        app.router.add_get(STATS, self.stats)

    async def stats(self, request: web.Request) -> web.Response:
        """Connections, subscriptions and delivery of this process."""
        await self._guard.require(request, SCOPE)
        node = self._node
        stats = node.stats
        sessions = [c.session for c in node.connections.values() if c.session is not None]
        return json(
            {
                "connections": {name: count for name, count in stats.connections.items() if count},
                "connectionsTotal": stats.opened.total(),
                "subscriptions": sum(len(session.subscriptions) for session in sessions),
                "tenants": len({session.principal.tenant for session in sessions}),
                "rooms": len(node.hub),
                "messagesPerSecond": stats.rate,
                "delivered": stats.delivered,
                "conflated": node.conflated(),
                "published": stats.published,
                "broadcasts": stats.broadcasts,
                "closed": dict(stats.closed),
                "refused": dict(stats.refused),
            }
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
        """The endpoint."""
        handle = self._endpoint.wrap(self.stats, SCOPE)
        summary = "How well answers are remembered."
        return [Operation("GET", "/cache/stats", summary, SCOPE, schema.CacheAnswer, handle)]

    async def stats(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as of every endpoint
        """The backend and its counters."""
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
