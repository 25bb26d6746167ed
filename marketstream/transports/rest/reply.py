"""Add ETag, Cache-Control and gzip to an answer.

An ETag is weak and covers everything but how old the answer is and how hard it was to get, so that a value
which has not changed is not sent again. What it covers is one piece of JSON, written once for as long as
somebody keeps it. Bodies above 1 KB are compressed for clients that take gzip.
"""

from dataclasses import dataclass
from hashlib import sha256

from aiohttp import hdrs, web

from marketstream.transports.answer import takes_gzip
from marketstream.transports.rest.schema import Origin, Shape
from marketstream.wire.json import dumps, dumps_as_is, whole

COMPRESS_ABOVE = 1_024
"""Bytes."""

_JSON = "application/json"
_NOTHING = b"{}"
_VARY = "Authorization, Accept-Encoding"
_PASSING = ("age_seconds", "retry_attempts")


@dataclass(frozen=True, slots=True)
class Body:
    """An answer in JSON.

    Attributes:
        lasting: The object of what stays while the value does; never empty.
        etag: Its tag, without quotes.
        passing: The object of the rest.
    """

    lasting: bytes
    etag: str
    passing: bytes

    @property
    def whole(self) -> bytes:
        """All of it as one object."""
        return self.lasting if self.passing == _NOTHING else self.lasting[:-1] + b"," + self.passing[1:]


def write(answer: Shape) -> Body:
    """Return an answer by its names on the wire; without a warning when there is nothing to warn of."""
    given = answer.model_dump(by_alias=True)
    passing: dict[str, object] = {}
    if isinstance(answer, Origin):
        if answer.warning is None:
            del given["warning"]
        passing = {name: given.pop(name) for name in _PASSING}
    lasting = dumps(given)
    return Body(lasting, sha256(lasting).hexdigest()[:24], dumps(passing))


def aged(body: Body, age_seconds: float, retry_attempts: int) -> Body:
    """Return the same answer some time later."""
    passing = dumps_as_is({"age_seconds": whole(age_seconds), "retry_attempts": retry_attempts})
    return Body(body.lasting, body.etag, passing)


def reply(request: web.Request, body: Body, max_age: int, status: int = 200) -> web.Response:
    """Return the response: the body, or 304 when the client holds it already.

    Args:
        request: The request.
        body: The body.
        max_age: Seconds for which the client need not ask again; 0: it should.
        status: Of a response with a body.
    """
    headers = {
        hdrs.CACHE_CONTROL: f"private, max-age={max_age}" if max_age > 0 else "private, no-cache",
        hdrs.VARY: _VARY,
        hdrs.ETAG: f'W/"{body.etag}"',
    }
    if hdrs.IF_NONE_MATCH in request.headers and request.method in ("GET", "HEAD"):
        known = {tag.value for tag in request.if_none_match or ()}
        if known & {body.etag, "*"}:
            return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = _JSON
    response = web.Response(body=body.whole, status=status, headers=headers)
    compress(request, response)
    return response


def compress(request: web.Request, response: web.Response) -> None:
    """Have a large body sent compressed to a client that takes gzip."""
    body = response.body
    if isinstance(body, bytes) and len(body) > COMPRESS_ABOVE and takes_gzip(request):
        response.enable_compression(web.ContentCoding.gzip)
