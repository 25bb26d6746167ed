"""Turn an error into an HTTP response."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import hdrs, web

from marketstream.errors import (
    AllProvidersFailedError,
    InvalidMessageError,
    MarketstreamError,
    RateLimitedError,
    ShareSpentError,
)
from marketstream.transports import body
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.stream import SERVER
from marketstream.wire.json import dumps

log = structlog.get_logger(__name__)

Handler = Callable[[Any], Awaitable[web.StreamResponse]]
"""Answers a `web.Request`; aiohttp's own type of it says less."""

Enter = Callable[[web.Request], web.Request]

_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "PAYLOAD_TOO_LARGE", 414: "URI_TOO_LONG"}
_TELLING = ("Accept-Encoding", "Allow", "Location", "Sec-WebSocket-Version", "Upgrade")
"""Headers of refusals that say what would be taken."""


def _unchanged(request: web.Request) -> web.Request:
    return request


def json(value: object, status: int = 200) -> web.Response:
    """Return a JSON response."""
    return web.Response(body=dumps(value), status=status, content_type="application/json")


def takes_gzip(request: web.Request) -> bool:
    """Return whether the client takes bodies that are compressed by gzip."""
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
    if isinstance(error, RateLimitedError | ShareSpentError):
        response.headers["Retry-After"] = str(max(1, -(-error.retry_after_ms // 1000)))
    elif error.retryable:
        response.headers["Retry-After"] = "5"
    if error.status == web.HTTPUnauthorized.status_code:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


class Answers:
    """What is around every handler: errors become responses, web pages of allowed origins may read them.

    Not a middleware: the first one that aiohttp has costs a tenth of what a small answer costs.

    Args:
        origins: Which pages those are.
        enter: Gives each request as the handler is to see it, or raises what is to be answered instead.
        refused: Counts requests that no handler took, by status.
        body_timeout: Seconds from its head until a request is complete.
    """

    def __init__(
        self,
        origins: OriginPolicy,
        *,
        enter: Enter = _unchanged,
        refused: Counter[str] | None = None,
        body_timeout: float = 30,
    ) -> None:
        self._origins = origins
        self._enter = enter
        self._refused = Counter() if refused is None else refused
        self._body_timeout = body_timeout

    def attach(self, runner: web.AppRunner) -> web.Server:
        """Answer the errors of an application that is set up and listens to nobody yet.

        Returns:
            What hands its requests out.
        """
        server = runner.server
        assert server is not None  # noqa: S101  # as said
        server.request_handler = self.surround(server.request_handler)
        return server

    def surround(self, handler: Handler) -> Handler:
        """Return a handler that raises nothing."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.content.is_eof():
                response = await self._respond(handler, request)
                self._add_headers(request, response)
                return response
            timer = body.limit_time(request, self._body_timeout)
            try:
                response = await self._respond(handler, request)
            finally:
                timer.cancel()
            self._add_headers(request, response)
            # Without a transport the connection has become a stream, and so has what is left of the request.
            if request.transport is not None and not request.content.is_eof():
                await body.settle(request, response)
            return response

        return answer

    def refuse(self, request: web.Request, error: web.HTTPException) -> web.StreamResponse:
        """Return the answer to what never became a request of the application.

        The connection ends with it.
        """
        response = self._translate(error)
        self._add_headers(request, response)
        response.force_close()
        return response

    async def _respond(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        try:
            request = self._enter(request)
            if request.body_exists:
                body.refuse(request)
            if request.method == hdrs.METH_OPTIONS and "Access-Control-Request-Method" in request.headers:
                return self._origins.preflight(request)
            return await handler(request)
        except MarketstreamError as error:
            if not error.public:
                log.warning("request_failed", path=request.path, error=repr(error))
            return failure(error)
        except web.HTTPException as refusal:
            return self._translate(refusal)
        except Exception as error:
            if not (isinstance(error, ConnectionError) and _is_gone(request)):
                log.exception("request_crashed", path=request.path)
            return failure(MarketstreamError())

    def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if response.prepared:
            return
        response.headers[hdrs.SERVER] = SERVER
        for name, value in self._origins.headers(request):
            before = response.headers.get(name, value)
            # Some handlers have said it already; `Vary` names everything that matters, once.
            if before == value:
                response.headers[name] = value
            elif value not in before.split(", "):
                response.headers[name] = f"{before}, {value}"

    def _translate(self, refusal: web.HTTPException) -> web.Response:
        if (status := str(refusal.status)) not in self._refused:
            # Once: whoever reaches the port could fill the log with the others.
            log.info("request_refused", status=refusal.status, reason=refusal.text)
        self._refused[status] += 1
        code = _CODES.get(refusal.status, refusal.reason.upper().replace(" ", "_"))
        response = json({"error": {"code": code, "message": refusal.text or refusal.reason}}, refusal.status)
        for name in _TELLING:
            if name in refusal.headers:
                response.headers[name] = refusal.headers[name]
        return response


def _is_gone(request: web.Request) -> bool:
    """Return whether the client left in the middle of its request, which is nobody's fault here."""
    return request.transport is None or request.transport.is_closing()
