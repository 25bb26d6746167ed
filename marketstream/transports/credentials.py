"""Find the token in a request."""

from aiohttp import hdrs, web

from marketstream.errors import UnauthorizedError


class Credentials:
    """Finds tokens.

    Args:
        allow_query_token: Whether `?token=` counts; browsers' EventSource cannot send a header.
    """

    def __init__(self, *, allow_query_token: bool = True) -> None:
        self._allow_query_token = allow_query_token

    def find(self, request: web.Request, given: object = None) -> str:
        """Return the first token there is: given by the protocol, `Authorization: Bearer`, query `token`.

        Args:
            request: The request that opened the connection.
            given: What the client sent within the protocol, such as Socket.IO's `auth.token`.

        Raises:
            UnauthorizedError: There is none.
        """
        return self.first(given, self.in_request(request))

    @staticmethod
    def first(*given: object) -> str:
        """Return the first of some values that is a token.

        Raises:
            UnauthorizedError: None is.
        """
        for token in given:
            if isinstance(token, str) and token:
                return token
        raise UnauthorizedError("a token is required")

    def in_request(self, request: web.Request) -> str | None:
        """Return the token in the HTTP request itself; None when there is none."""
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        if self._allow_query_token:
            return request.query.get("token") or None
        return None
