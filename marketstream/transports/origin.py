"""Decide which web pages may use the server (CORS)."""

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final

from aiohttp import hdrs, web

from marketstream.transports.address import AddressReader
from marketstream.wire.origin import ANY, host_of, is_loopback, normalise_origin, normalise_pattern

ALLOWED_METHODS = "GET, POST, PUT, DELETE, OPTIONS"
ALLOWED_HEADERS: Final = (
    *("Authorization", "Content-Type", "Last-Event-ID", "If-None-Match", "Cache-Control", "X-Requested-With"),
    # What tracing adds to every request of a page.
    *("traceparent", "tracestate", "baggage", "sentry-trace"),
)
EXPOSED_HEADERS = "ETag, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After"
MAX_AGE = "600"
PREFLIGHT_VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


class OriginPolicy:
    """Decides about `Origin` headers.

    Args:
        allowed: Origins such as `http://localhost:3000`; `https://*.example.com` allows every subdomain, `*`
            every page.
        addresses: Knows what clients call the server: its own pages may always.
        loopback: Whether every page of this machine may.
        credentials: Whether pages may send cookies and the like, for proxies that ask for them.
        request_headers: What pages may send beyond the usual.

    Raises:
        ValueError: One of the origins is none.
    """

    def __init__(
        self,
        allowed: Iterable[str],
        *,
        addresses: AddressReader | None = None,
        loopback: bool = False,
        credentials: bool = False,
        request_headers: Collection[str] = (),
    ) -> None:
        patterns = frozenset(map(normalise_pattern, allowed))
        self._any = ANY in patterns
        self._allowed = frozenset(pattern for pattern in patterns if "*" not in pattern)
        # Scheme, and what the rest must end in.
        self._below = [
            (scheme, rest[1:]) for scheme, _, rest in map(_parted, patterns - self._allowed) if rest
        ]
        self._addresses = addresses or AddressReader([])
        self._loopback = loopback
        self._credentials = credentials
        self._request_headers = ", ".join((*ALLOWED_HEADERS, *request_headers))

    def allows(self, request: web.Request) -> bool:
        """Return whether the page behind a request may use the server; no page at all may."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or self._any or origin in self._allowed:
            return True
        scheme, _, rest = _parted(origin)
        if self._loopback and is_loopback(host_of(rest)):
            return True
        if any(scheme == known and rest.endswith(end) for known, end in self._below):
            return _is_origin(origin)
        return _is_origin(origin) and origin == _named(scheme, self._addresses.host(request))

    def headers(self, request: web.Request) -> list[tuple[str, str]]:
        """Headers that let the page read the answer, where it may, and keep caches from mixing answers up."""
        vary = ("Vary", "Origin")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not self.allows(request):
            return [vary]
        headers = [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", EXPOSED_HEADERS),
            vary,
        ]
        if self._credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        return headers

    def preflight(self, request: web.Request) -> web.Response:
        """Return the answer to an OPTIONS request."""
        headers = dict(self.headers(request))
        if "Access-Control-Allow-Origin" in headers:
            headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
            headers["Access-Control-Allow-Headers"] = self._request_headers
            headers["Access-Control-Max-Age"] = MAX_AGE
        headers["Vary"] = PREFLIGHT_VARY
        return web.Response(status=204, headers=headers)


def _parted(origin: str) -> tuple[str, str, str]:
    return origin.partition("://")


@lru_cache(maxsize=1024)
def _is_origin(text: str) -> bool:
    """Return whether a text is an origin as a browser writes it."""
    return text != "" and _normal(text) == text


@lru_cache(maxsize=1024)
def _named(scheme: str, host: str) -> str:
    """Return the origin of a server that is called by this name; empty for nonsense."""
    return _normal(f"{scheme}://{host}")


def _normal(text: str) -> str:
    try:
        return normalise_origin(text)
    except ValueError:
        return ""
