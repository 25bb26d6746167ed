"""How an HTTP edge says that something went wrong: one mapping from the error tree to a response."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import hdrs, web

from marketstream.errors import (
    AllProvidersFailedError,
    InvalidMessageError,
    MarketstreamError,
    RateLimitedError,
)
from marketstream.transports.origin import OriginPolicy
from marketstream.wire.json import dumps

log = structlog.get_logger(__name__)

Handler = Callable[[Any], Awaitable[web.StreamResponse]]
"""Answers a `web.Request`; aiohttp's own type of it says less."""

Enter = Callable[[web.Request], web.Request]

_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "PAYLOAD_TOO_LARGE"}


def _unchanged(request: web.Request) -> web.Request:
    return request


def json(value: object, status: int = 200) -> web.Response:
    """A JSON response."""
    return web.Response(body=dumps(value), status=status, content_type="application/json")


def takes_gzip(request: web.Request) -> bool:
    """Whether the client takes bodies that are compressed by gzip."""
    for part in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower().split(","):
        coding, _, quality = part.partition(";")
        if coding.strip() in ("gzip", "*"):
            return quality.replace(" ", "").removeprefix("q=").rstrip("0.") != "" or not quality
    return False


def failure(error: MarketstreamError) -> web.Response:
    """{error: {code, message, details?}} with the error's status."""
    body: dict[str, object] = {
        "code": error.code,
        "message": str(error) if error.public else "internal error",
    }
    if isinstance(error, InvalidMessageError) and error.path:
        body["details"] = {"path": error.path}
    if isinstance(error, AllProvidersFailedError):
        body["details"] = {
            "attempts": [{"provider": provider, "error": code} for provider, code in error.attempts]
        }
    response = json({"error": body}, error.status)
    if isinstance(error, RateLimitedError):
        response.headers["Retry-After"] = str(max(1, -(-error.retry_after_ms // 1000)))
    elif error.retryable:
        response.headers["Retry-After"] = "5"
    if error.status == web.HTTPUnauthorized.status_code:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def attach(runner: web.AppRunner, origins: OriginPolicy, enter: Enter = _unchanged) -> None:
    """Has an application answered for, as of `surround`.

    Not by a middleware: the first one that aiohttp has costs a tenth of what a small answer costs.

    Args:
        runner: Of the application; it has been set up, and listens to nobody yet.
        origins: As of `surround`.
        enter: As of `surround`.
    """
    server = runner.server
    assert server is not None  # noqa: S101  # as said
    server.request_handler = surround(server.request_handler, origins, enter)


def surround(handler: Handler, origins: OriginPolicy, enter: Enter = _unchanged) -> Handler:
    """What turns a handler's errors into responses, and lets allowed web pages read the answers.

    Args:
        handler: Answers requests.
        origins: Which pages those are.
        enter: Gives each request as the handler is to see it, or raises what is to be answered instead.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            request = enter(request)
            if request.method == hdrs.METH_OPTIONS and "Access-Control-Request-Method" in request.headers:
                return origins.preflight(request)
            response = await handler(request)
        except MarketstreamError as error:
            if not error.public:
                log.warning("request_failed", path=request.path, error=repr(error))
            response = failure(error)
        except web.HTTPException as refusal:
            response = _translate(refusal)
        except Exception as error:
            if not (isinstance(error, ConnectionError) and _is_gone(request)):
                log.exception("request_crashed", path=request.path)
            response = failure(MarketstreamError())
        if not response.prepared:
            for name, value in origins.headers(request):
                before = response.headers.get(name, value)
                # Some handlers have said it already; `Vary` names everything that matters.
                response.headers[name] = value if before == value else f"{before}, {value}"
        return response

    return answer


def _is_gone(request: web.Request) -> bool:
    """Whether the client left in the middle of its request, which is nobody's fault here."""
    return request.transport is None or request.transport.is_closing()


def _translate(refusal: web.HTTPException) -> web.Response:
    code = _CODES.get(refusal.status, refusal.reason.upper().replace(" ", "_"))
    response = json({"error": {"code": code, "message": refusal.text or refusal.reason}}, refusal.status)
    for name in ("Allow", "Location", "Sec-WebSocket-Version", "Upgrade"):
        if name in refusal.headers:
            response.headers[name] = refusal.headers[name]
    return response
