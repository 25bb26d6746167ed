"""Check host, origin and path prefix of every request.

Promises that nothing behind it sees a request that is not for this server, or a path that is not its own.
"""

from collections.abc import Collection
from typing import Final

from aiohttp import hdrs, web
from yarl import URL

from marketstream.transports.address import AddressReader
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.refusal import HOST, ORIGIN, Refusals
from marketstream.wire.origin import host_of, is_loopback

PREFIX: Final = web.RequestKey("prefix", str)
"""Key of the path below which a request's client sees the server; missing where it sees the root."""


class Gate:
    """See the module.

    Args:
        origins: Which pages may use the server.
        addresses: What proxies say of a request.
        refusals: Where those who may not are noted.
        root_path: Path below which clients see the server, without a slash at its end; empty for none.
        own: First segments of the server's own paths: they are never taken for something in front of them.
        loopback: Whether the server is to be called by names of this machine only. A page of elsewhere that
            gives its own name this machine's address (DNS rebinding) is of the same origin to the browser.
    """

    def __init__(
        self,
        *,
        origins: OriginPolicy,
        addresses: AddressReader,
        refusals: Refusals,
        root_path: str = "",
        own: Collection[str] = (),
        loopback: bool = False,
    ) -> None:
        self._origins = origins
        self._addresses = addresses
        self._refusals = refusals
        self._root_path = root_path
        self._own = frozenset(own)
        self._loopback = loopback

    def enter(self, request: web.Request) -> web.Request:
        """Return the request as the routes are to see it.

        Raises:
            web.HTTPForbidden: It calls the server by a name that it must not have.
            web.HTTPPermanentRedirect: It asks for the root of the server without its slash.
        """
        if self._loopback:
            self._require_loopback(request)
        if hdrs.ORIGIN in request.headers and not self._origins.allows(request):
            self._refusals.note(ORIGIN, origin=request.headers[hdrs.ORIGIN], path=request.path)
        prefix = self._addresses.prefix(request) or self._root_path
        return self._below(request, prefix) if prefix else request

    def _require_loopback(self, request: web.Request) -> None:
        named = [
            *request.headers.getall(hdrs.HOST, [""]),
            *request.headers.getall("X-Forwarded-Host", []),
            self._addresses.host(request),
        ]
        for name in named:
            if not is_loopback(host_of(name)):
                self._refusals.note(HOST, host=name, path=request.path)
                raise web.HTTPForbidden(
                    text="in development mode the server answers only to names of this machine"
                )

    def _below(self, request: web.Request, prefix: str) -> web.Request:
        path = request.rel_url.raw_path
        passed_on = prefix.split("/", 2)[1] not in self._own
        if passed_on and path == prefix:
            query = request.rel_url.raw_query_string
            raise web.HTTPPermanentRedirect(f"{prefix}/" + (f"?{query}" if query else ""))
        if passed_on and path.startswith(f"{prefix}/"):
            query = request.rel_url.raw_query_string
            own = URL.build(path=path.removeprefix(prefix), query_string=query, encoded=True)
            request = request.clone(rel_url=own)
        request[PREFIX] = prefix
        return request
