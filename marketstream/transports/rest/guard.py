"""Check who may call an HTTP endpoint."""

from aiohttp import web

from marketstream.core.delivery.entitlements import Principal
from marketstream.engine.delivery.waiting import Waiting
from marketstream.errors import NotEntitledError
from marketstream.ports import Verifier
from marketstream.transports.credentials import Credentials
from marketstream.transports.verification import verify


class Guard:
    """Checks the token of a request.

    Args:
        verifier: Checks tokens.
        credentials: Finds them.
        waiting: What their requests are counted in while they wait.

    Attributes:
        waiting: The same.
    """

    def __init__(self, *, verifier: Verifier, credentials: Credentials, waiting: Waiting) -> None:
        self.waiting = waiting
        self._verifier = verifier
        self._credentials = credentials

    async def require(self, request: web.Request, scope: str, *others: str) -> Principal:
        """Return the caller, who holds a scope, or one of some others that include it.

        Raises:
            AuthError: There is no good token, or it lacks the scope.
        """
        principal = await verify(request, self._credentials, self._verifier, self.waiting)
        if principal.scopes.isdisjoint((scope, *others)):
            raise NotEntitledError(f"scope {scope} is required")
        return principal
