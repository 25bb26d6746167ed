"""Who may call an HTTP endpoint."""

from aiohttp import web

from marketstream.core.entitlements import Principal
from marketstream.errors import NotEntitledError
from marketstream.ports import Verifier
from marketstream.transports.credentials import Credentials


class Guard:
    """Checks the token of a request.

    Args:
        verifier: Checks tokens.
        credentials: Finds them.
    """

    def __init__(self, *, verifier: Verifier, credentials: Credentials) -> None:
        self._verifier = verifier
        self._credentials = credentials

    async def require(self, request: web.Request, scope: str, *others: str) -> Principal:
        """The caller, who holds a scope, or one of some others that include it.

        Raises:
            AuthError: There is no good token, or it lacks the scope.
        """
        found = self._verifier.verify(self._credentials.find(request))
        principal = found if isinstance(found, Principal) else await found
        if principal.scopes.isdisjoint((scope, *others)):
            raise NotEntitledError(f"scope {scope} is required")
        return principal
