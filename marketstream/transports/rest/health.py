"""Serve `/healthz`, `/readyz` and `/metrics`."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from marketstream.core.backlog import Backlog
from marketstream.engine.delivery.node import Node
from marketstream.engine.market.supervisor import Supervisor
from marketstream.ports import Bus, StreamStatus
from marketstream.transports.answer import json


class Health:
    """Answers without a token: these paths show figures and states, never a client's data.

    Args:
        node: The engine.
        bus: How frames travel.
        supervisor: Knows the feeds.
        backlog: What the bus does with frames.
        figures: What `/metrics` shows.
    """

    def __init__(
        self,
        *,
        node: Node,
        bus: Bus,
        supervisor: Supervisor,
        backlog: Callable[[], Backlog],
        figures: CollectorRegistry,
    ) -> None:
        self._node = node
        self._bus = bus
        self._supervisor = supervisor
        self._backlog = backlog
        self._figures = figures

    def attach(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/healthz", self.alive)
        app.router.add_get("/readyz", self.ready)
        app.router.add_get("/metrics", self.metrics)

    async def alive(self, request: web.Request) -> web.Response:  # noqa: ARG002  # aiohttp's signature
        """200 while the process answers at all."""
        return json({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:  # noqa: ARG002  # aiohttp's signature
        """200 when clients should be sent here; 503 with the reasons when not."""
        reasons = [reason for check in self._checks() if (reason := check())]
        known = self._supervisor.feeds.items()
        feeds = {name: health.state for name, health in known}
        streams = {name: _stream(health.status()) for name, health in known if health.status is not None}
        status = "ready" if not reasons else "unready"
        body = {"status": status, "reasons": reasons, "feeds": feeds, "streams": streams}
        return json(body, 503 if reasons else 200)

    async def metrics(self, request: web.Request) -> web.Response:  # noqa: ARG002  # aiohttp's signature
        """Figures for Prometheus."""
        return web.Response(
            body=generate_latest(self._figures), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    def _checks(self) -> tuple[Callable[[], str | None], ...]:
        return self._drained, self._cut_off, self._refused, self._not_fed, self._feeds

    def _drained(self) -> str | None:
        return "the server is going down" if self._node.draining else None

    def _cut_off(self) -> str | None:
        return None if self._bus.connected else "the bus is not reachable"

    def _refused(self) -> str | None:
        return "the bus takes no prices" if self._backlog().refused else None

    def _not_fed(self) -> str | None:
        return "nobody feeds the market" if self._backlog().silent else None

    def _feeds(self) -> str | None:
        broken = [
            f"feed {name} is {health.state}: {health.detail}"
            for name, health in self._supervisor.feeds.items()
            if health.state in ("failed", "retrying")
        ]
        return "; ".join(broken) or None


def _stream(status: StreamStatus) -> dict[str, object]:
    return {
        "connected": status.connected,
        "symbols": status.symbols,
        "leftOut": status.left_out,
        "attempts": status.attempts,
        "lastMessage": status.last_ms,
        "skipped": status.skipped,
        "ahead": status.ahead,
        "clockOffset": status.offset_ms,
    }
