"""Single questions by HTTP, those about a user's subscriptions to events too, and what refusals mean.

Errors are JSON {error: {code, message}}; an answer that is not, as from a proxy in between, has the code
`HTTP_` and its status.
"""

import asyncio
import logging
import ssl as tls
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

import aiohttp

from marketstream_sdk.address import Address
from marketstream_sdk.errors import (
    ConnectionLostError,
    InvalidMessageError,
    MarketDataError,
    RateLimitedError,
    RequestError,
)
from marketstream_sdk.event_model import EventFilter
from marketstream_sdk.reconcile import EventCall
from marketstream_sdk.wire import REFUSALS, parse_subscriptions, patience, refusal, unreachable

ACCEPT = {"Accept": "text/event-stream, application/json"}
"""Headers of who asks for a stream."""

NOT_TO_BE_HAD = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    }
)
"""Statuses that say that the same question would get the same answer again."""


class Http:
    """Asks one server.

    Args:
        address: Where it is.
        ssl: TLS settings; None for the usual ones.
        call_timeout: Seconds that the head of an answer may take.
        idle_timeout: Seconds of silence that the body of one may have.
    """

    def __init__(
        self, address: Address, ssl: tls.SSLContext | None, call_timeout: float, idle_timeout: float
    ) -> None:
        self._address = address
        self._call_timeout = call_timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=ssl or True),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=idle_timeout),
        )

    async def get(
        self, path: str, token: str, headers: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        """Return the head of an answer to `GET`; see `send`."""
        return await self.send("GET", path, token, headers)

    async def send(
        self,
        method: str,
        path: str,
        token: str,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> aiohttp.ClientResponse:
        """Return the head of an answer; its body can be read from it.

        Args:
            method: Such as `PUT`.
            path: Path and query, quoted.
            token: Who asks.
            headers: More headers.
            body: What is sent as JSON; None for nothing.

        Raises:
            ConnectionLostError: No answer came.
        """
        all_headers = {"Authorization": f"Bearer {token}"} | dict(headers or {})
        try:
            async with asyncio.timeout(self._call_timeout):
                return await self._session.request(
                    method, self._address.url(path), headers=all_headers, json=body
                )
        except TimeoutError as error:
            text = f"no answer from {self._address.root} within {self._call_timeout:g} s"
            raise ConnectionLostError(text) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ConnectionLostError(f"cannot connect to {self._address.root}: {error}") from error

    async def close(self) -> None:
        """End it."""
        await self._session.close()


async def read_body(response: aiohttp.ClientResponse) -> object:
    """Return the JSON of an answer; None when it is not there, or is no JSON."""
    try:
        body: object = await response.json(content_type=None)
    except (aiohttp.ClientError, OSError, ValueError):
        return None
    return body


def read_error(response: aiohttp.ClientResponse, body: object) -> tuple[str, str]:
    """Return the code and text of an answer that is an error."""
    match body:
        case {"error": {"code": str(code), "message": str(text)}}:
            return code, text
        case _:
            return f"HTTP_{response.status}", f"the server answered with status {response.status}"


async def read_answer(response: aiohttp.ClientResponse) -> object:
    """Return the JSON of an answer, which is read to its end.

    Raises:
        RequestError: The server does not do what it was asked.
        AuthenticationError: It does not accept the token.
    """
    async with response:
        body = await read_body(response)
        if response.status == HTTPStatus.OK:
            return body
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise RateLimitedError(patience(retry_after(response)))
        raise refusal(*read_error(response, body))


async def read_obstacle(response: aiohttp.ClientResponse) -> MarketDataError:
    """Return why there is no connection, by an answer; it is read to its end."""
    async with response:
        code, text = read_error(response, await read_body(response))
        if response.status == HTTPStatus.UNAUTHORIZED and code not in REFUSALS:
            code = "AUTH_FAILED"
        return unreachable(code, text, retry_after(response))


def retry_after(response: aiohttp.ClientResponse) -> float:
    """Return seconds that an answer asks to wait; 0 when it does not."""
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdecimal() else 0.0


SUBSCRIPTIONS = "/api/v1/events/subscriptions"
EVENTS = "/api/v1/events/stream"

_NO_EVENTS = NOT_TO_BE_HAD | {HTTPStatus.NOT_FOUND}

_log = logging.getLogger("marketstream_sdk")


async def open_events(http: Http, token: str) -> aiohttp.ClientResponse | None:
    """Return the response whose body is the stream of a user's events; None where there is none.

    Raises:
        MarketDataError: There is none now, or no connection.
    """
    response = await http.get(EVENTS, token, ACCEPT)
    if response.status == HTTPStatus.OK:
        return response
    if response.status not in _NO_EVENTS:
        raise await read_obstacle(response)
    # Why, is told to who makes a subscription.
    _log.warning("there is no stream of events: the server answered with status %d", response.status)
    response.release()
    return None


async def event_subscriptions(http: Http, token: str) -> dict[str, EventFilter | None]:
    """See `Connection.event_subscriptions`."""
    return parse_subscriptions(await read_answer(await http.get(SUBSCRIPTIONS, token)))


async def change_events(http: Http, token: str, call: EventCall) -> None:
    """See `Connection.change_events`."""
    try:
        path = f"{SUBSCRIPTIONS}/{quote(call.name, safe='')}"
    except UnicodeEncodeError as error:
        raise RequestError("it is no text", code=InvalidMessageError.code) from error
    if call.filter is not None:
        await read_answer(await http.send("PUT", path, token, body=call.filter.payload))
        return
    response = await http.send("DELETE", path, token)
    if response.status == HTTPStatus.NOT_FOUND:
        response.release()
        return
    await read_answer(response)
