"""Serve one shipped file.

Promises an ETag that changes exactly when the bytes do, and the same strict policy on every answer: a browser
loads nothing from elsewhere, runs no inline script, and talks to no other host.
"""

import gzip
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from aiohttp import hdrs, web

from marketstream.transports.answer import takes_gzip

# 'self' covers WebSockets of the own host and port.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-cache",
    hdrs.VARY: "Accept-Encoding",
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file.

    Attributes:
        plain: Its bytes, UTF-8.
        packed: The same, compressed by gzip.
        content_type: Media type without the charset.
        etag: Digest of the bytes.
        status: Of an answer that carries them.
    """

    plain: bytes
    packed: bytes
    content_type: str
    etag: str
    status: int

    @classmethod
    def of(cls, body: bytes, content_type: str, status: int = 200) -> Self:
        """Return the file with these bytes."""
        etag = sha256(body).hexdigest()[:16]
        return cls(body, gzip.compress(body, mtime=0), content_type, etag, status)

    async def answer(self, request: web.Request) -> web.Response:
        """Return the file, or 304 when the browser holds these very bytes."""
        packed = takes_gzip(request)
        etag = f"{self.etag}-gzip" if packed else self.etag
        known = {tag.value for tag in request.if_none_match or ()}
        if known & {etag, "*"}:
            response = web.Response(status=304, headers=_HEADERS)
        else:
            body = self.packed if packed else self.plain
            response = web.Response(
                body=body,
                status=self.status,
                content_type=self.content_type,
                charset="utf-8",
                headers=_HEADERS,
            )
            if packed:
                response.headers[hdrs.CONTENT_ENCODING] = "gzip"
        response.etag = etag
        return response
