"""`GET /api/v1/market/ws/stats` (scope admin): what this process's connections are doing."""

from aiohttp import web

from marketstream.engine.node import Node
from marketstream.transports.answer import json
from marketstream.transports.rest.guard import Guard

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
