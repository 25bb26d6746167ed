"""Wrap every reading endpoint: token, rate, symbol, errors."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import hdrs, web
from pydantic import ValidationError

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.market.symbols import SymbolRegistry, normalise
from marketstream.errors import InvalidMessageError, MarketstreamError, NotEntitledError, UnknownSymbolError
from marketstream.transports.answer import failure
from marketstream.transports.body import read
from marketstream.transports.rest.guard import Guard
from marketstream.transports.rest.rate_limiter import UserRateLimiter
from marketstream.transports.rest.reply import Body, reply, write
from marketstream.transports.rest.schema import Shape
from marketstream.wire.json import loads

S = TypeVar("S", bound=Shape)

Answered = tuple[Shape | Body, int]
"""An answer, written already or not, and the seconds for which the client need not ask again."""

Answer = Callable[[web.Request, Principal], Awaitable[Answered]]

MOST_BYTES = 256 * 1024
"""Bytes of a reader's body: a search, or a filter with every value it may have. Only publishers send more."""

SHOWN = 64
"""Characters of a bad symbol that are repeated."""


class Endpoint:
    """Wraps what answers a verified caller into what answers a request.

    Args:
        guard: Checks callers.
        limiter: Counts their calls.
        registry: Symbols of this server.
    """

    def __init__(self, *, guard: Guard, limiter: UserRateLimiter, registry: SymbolRegistry) -> None:
        self._guard = guard
        self._limiter = limiter
        self._registry = registry

    def wrap(
        self, answer: Answer, *scopes: str, status: int = 200
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return a handler that lets in who holds one of the scopes; `status` is that of a new answer."""

        async def handle(request: web.Request) -> web.StreamResponse:
            who = await self._guard.require(request, *scopes)
            headers, refusal = self._limiter.spend(who)
            try:
                if refusal is not None:
                    raise refusal
                # aiohttp keeps the body of a request until it is answered.
                size = (request.content_length or request.client_max_size) if request.can_read_body else 0
                with self._guard.waiting.hold(size):
                    given, max_age = await answer(request, who)
                body = given if isinstance(given, Body) else write(given)
                response = reply(request, body, max_age, status)
            except MarketstreamError as error:
                response = failure(error)
                response.headers[hdrs.CACHE_CONTROL] = "no-store"
            response.headers.update(headers)
            return response

        return handle

    async def admit(self, request: web.Request, *scopes: str) -> Principal:
        """Return a caller who holds one of the scopes, for an answer that `wrap` cannot make.

        Raises:
            AuthError: There is no good token, or it lacks the scopes.
            RateLimitedError: The user has called too often.
        """
        who = await self._guard.require(request, *scopes)
        _, refusal = self._limiter.spend(who)
        if refusal is not None:
            raise refusal
        return who

    def symbol(self, request: web.Request, who: Principal) -> str:
        """Return the symbol in the path, which the caller may see.

        Raises:
            InvalidMessageError: It is not one.
            UnknownSymbolError: It is not one of this server's.
            NotEntitledError: The plan or the token does not cover it.
        """
        raw = request.match_info["symbol"]
        symbol = normalise(raw)
        if symbol is None:
            raise InvalidMessageError(f"{raw[:SHOWN]}: invalid symbol", path="symbol")
        if not self._registry.accepts(symbol):
            raise UnknownSymbolError(f"{symbol}: not one of this server's symbols")
        if not who.allows_symbol(symbol):
            raise NotEntitledError(f"{symbol}: not entitled")
        return symbol


def read_query(request: web.Request, shape: type[S]) -> S:
    """Return the query of a request.

    Raises:
        InvalidMessageError: A parameter is impossible; its path is the parameter's name.
    """
    return _checked(
        shape, {name: request.query[name] for name in shape.model_fields if name in request.query}
    )


async def read_body(request: web.Request, shape: type[S]) -> S:
    """Return the JSON body of a request.

    Raises:
        InvalidMessageError: It is not of that shape; its path names the field.
        PayloadTooLargeError: It is larger than a reader's body may be.
    """
    return _checked(shape, await read_object(request))


async def read_object(request: web.Request) -> dict[str, Any]:
    """Return the JSON object in the body of a reader's request.

    Raises:
        InvalidMessageError: It holds none.
        PayloadTooLargeError: It is larger than a reader's body may be.
    """
    given = loads(await read(request, min(MOST_BYTES, request.client_max_size)))
    if not isinstance(given, dict):
        raise InvalidMessageError("the body must be an object")
    return given


def _checked(shape: type[S], given: object) -> S:
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(map(str, fault["loc"]))
        text = fault["msg"][0].lower() + fault["msg"][1:]
        raise InvalidMessageError(f"{path}: {text}", path=path) from error
