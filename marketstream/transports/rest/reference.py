"""Register the reading routes, the OpenAPI document and its page.

The document and the page need no token: they hold nothing but what every reader of the source knows.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

from aiohttp import hdrs, web

from marketstream.transports import web as page
from marketstream.transports.gate import PREFIX
from marketstream.transports.rest.openapi import Operation, document
from marketstream.transports.rest.reply import compress
from marketstream.wire.json import dumps

DOCUMENT = "/api/v1/openapi.json"
DOCS = "/api/docs"

_PREFIXES = 8
"""Paths of proxies for which the document is kept as it was written."""

_SYMBOL = r"{symbol:.+}"


def attach(app: web.Application, operations: Sequence[Operation]) -> None:
    """Add the routes.

    Args:
        app: Where to.
        operations: The endpoints; a symbol at the end of a path may hold a slash, encoded or not.
    """
    for operation in operations:
        path = operation.prefix + operation.path.replace("{symbol}", _SYMBOL)
        if operation.method == "GET":
            app.router.add_get(path, operation.handle)
        else:
            app.router.add_route(operation.method, path, operation.handle)
    described = document(operations)

    @lru_cache(maxsize=_PREFIXES)
    def written(prefix: str) -> tuple[bytes, str]:
        """Return the document for clients that see the server below a path, and its tag."""
        body = dumps(described | ({"servers": [{"url": prefix}]} if prefix else {}))
        return body, sha256(body).hexdigest()[:16]

    async def serve(request: web.Request) -> web.Response:
        body, etag = written(request.get(PREFIX, ""))
        vary = "Accept-Encoding, X-Forwarded-Prefix"
        headers = {hdrs.CACHE_CONTROL: "no-cache", hdrs.VARY: vary, hdrs.ETAG: f'W/"{etag}"'}
        if {tag.value for tag in request.if_none_match or ()} & {etag, "*"}:
            return web.Response(status=304, headers=headers)
        response = web.Response(body=body, content_type="application/json", headers=headers)
        compress(request, response)
        return response

    app.router.add_get(DOCUMENT, serve)
    page.add_docs(app, DOCS)
