"""Serve `/dev/token` and `/dev/symbols` in development mode."""

from collections.abc import Callable

from aiohttp import web

from marketstream.errors import InvalidMessageError
from marketstream.transports.answer import json

PLAN = "pro"
SCOPES = ("market:read", "market:publish", "events:work", "admin")
TTL = 3_600
LONGEST = 64


class Development:
    """Gives what production must never give.

    Args:
        sign: Makes a token of tenant, user, plan, scopes and lifetime in seconds.
        plans: Names of the plans there are.
        symbols: Symbols that have had a price.
    """

    def __init__(
        self,
        *,
        sign: Callable[[str, str, str, tuple[str, ...], int], str],
        plans: frozenset[str],
        symbols: Callable[[], list[str]],
    ) -> None:
        self._sign = sign
        self._plans = plans
        self._symbols = symbols

    def attach(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/dev/token", self.token)
        app.router.add_get("/dev/symbols", self.symbols)

    async def token(self, request: web.Request) -> web.Response:
        """{token}: plan pro and all scopes, unless the query says otherwise."""
        tenant, user = (self._name(request, field) for field in ("tenant", "user"))
        plan = request.query.get("plan", PLAN)
        if plan not in self._plans:
            raise InvalidMessageError(f"plan must be one of {', '.join(sorted(self._plans))}", path="plan")
        token = self._sign(tenant, user, plan, SCOPES, TTL)
        response = json({"token": token})
        response.headers["Cache-Control"] = "no-store"
        return response

    async def symbols(self, request: web.Request) -> web.Response:  # noqa: ARG002  # aiohttp's signature
        """{symbols}: in the order of their first price."""
        return json({"symbols": self._symbols()})

    @staticmethod
    def _name(request: web.Request, field: str) -> str:
        name = request.query.get(field, "dev")
        if not 0 < len(name) <= LONGEST:
            raise InvalidMessageError(f"{field} must have 1 to {LONGEST} characters", path=field)
        return name
