"""Which web pages may use the server from a browser (CORS), the same on every edge."""

from collections.abc import Iterable

from aiohttp import hdrs, web

ALLOWED_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
ALLOWED_HEADERS = "Authorization, Content-Type, Last-Event-ID"
EXPOSED_HEADERS = "ETag, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After"
MAX_AGE = "600"


class OriginPolicy:
    """Decides about `Origin` headers.

    Args:
        allowed: Origins such as `http://localhost:3000`; `*` allows every page.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(origin.rstrip("/") for origin in allowed)

    def allows(self, request: web.Request) -> bool:
        """Whether the page behind a request may use the server; no page at all may."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or "*" in self._allowed or origin in self._allowed:
            return True
        return origin.partition("://")[2] == request.host

    def headers(self, request: web.Request) -> list[tuple[str, str]]:
        """Headers that let the page read the answer; none when it may not, or is not another's."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not self.allows(request):
            return []
        return [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
            ("Vary", "Origin"),
        ]

    def preflight(self, request: web.Request) -> web.Response:
        """The answer to an OPTIONS request."""
        headers = dict(self.headers(request))
        if headers:
            headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
            headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            headers["Access-Control-Max-Age"] = MAX_AGE
        return web.Response(status=204, headers=headers)
