"""Answers that a client may keep: ETag, Cache-Control, gzip.

An ETag is weak and covers everything but how old the answer is and how hard it was to get, so that a value
which has not changed is not sent again. Bodies above 1 KB are compressed for clients that take gzip.
"""

from hashlib import sha256
from typing import Any

from aiohttp import hdrs, web

from marketstream.transports.answer import takes_gzip
from marketstream.transports.rest.schema import Origin, Shape
from marketstream.wire.json import dumps

COMPRESS_ABOVE = 1_024
"""Bytes."""

_VOLATILE = frozenset({"age_seconds", "retry_attempts"})
_NO_COMPRESSION = "0"


def written(answer: Shape) -> dict[str, Any]:
    """An answer by its names on the wire; without a warning when there is nothing to warn of."""
    given = answer.model_dump(by_alias=True)
    if isinstance(answer, Origin) and answer.warning is None:
        del given["warning"]
    return given


def reply(request: web.Request, answer: Shape, max_age: int, status: int = 200) -> web.Response:
    """The response: the body, or 304 when the client holds it already.

    Args:
        request: The request.
        answer: The body.
        max_age: Seconds for which the client need not ask again; 0: it should.
        status: Of a response with a body.
    """
    given = written(answer)
    lasting = {name: value for name, value in given.items() if name not in _VOLATILE}
    etag = sha256(dumps(lasting)).hexdigest()[:24]
    headers = {
        hdrs.CACHE_CONTROL: f"private, max-age={max_age}" if max_age > 0 else "private, no-cache",
        hdrs.VARY: "Authorization, Accept-Encoding",
        hdrs.ETAG: f'W/"{etag}"',
    }
    known = {tag.value for tag in request.if_none_match or ()}
    if request.method in ("GET", "HEAD") and known & {etag, "*"}:
        return web.Response(status=304, headers=headers)
    response = web.Response(
        body=dumps(given), status=status, content_type="application/json", headers=headers
    )
    compress(request, response)
    return response


def compress(request: web.Request, response: web.Response) -> None:
    """Has a large body sent compressed to a client that takes gzip."""
    body = response.body
    if isinstance(body, bytes) and len(body) > COMPRESS_ABOVE and takes_gzip(request):
        response.enable_compression(web.ContentCoding.gzip)
