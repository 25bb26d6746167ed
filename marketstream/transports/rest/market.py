"""`POST /api/v1/market/publish`: quotes and prices of back ends come in by HTTP."""

from aiohttp import web

from marketstream.ports import Intake
from marketstream.transports.rest.guard import Guard

PUBLISH = "/api/v1/market/publish"
SCOPE = "market:publish"


class Publishing:
    """Takes publications.

    Args:
        guard: Checks callers.
        intake: Judges what they say.
    """

    def __init__(self, *, guard: Guard, intake: Intake) -> None:
        self._guard = guard
        self._intake = intake

    def attach(self, app: web.Application) -> None:
        """Adds the route."""
        app.router.add_post(PUBLISH, self.publish)

    async def publish(self, request: web.Request) -> web.Response:
        """Answers {accepted, rejected: [{index, error}]}; a bad item harms no other."""
        await self._guard.require(request, SCOPE)
        taken = await self._intake.submit(await request.read())
        return web.Response(body=taken, content_type="application/json")
