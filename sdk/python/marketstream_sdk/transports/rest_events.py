"""A user's subscriptions to events by HTTP, for clients whose stream only brings."""

import logging
from http import HTTPStatus
from urllib.parse import quote

import aiohttp

from marketstream_sdk.errors import InvalidMessageError, RequestError
from marketstream_sdk.event_filter import EventFilter
from marketstream_sdk.event_reconcile import EventCall
from marketstream_sdk.event_wire import parse_subscriptions
from marketstream_sdk.transports.http import ACCEPT, NOT_TO_BE_HAD, Http, read_answer, read_obstacle

SUBSCRIPTIONS = "/api/v1/events/subscriptions"
EVENTS = "/api/v1/events/stream"

_NO_EVENTS = NOT_TO_BE_HAD | {HTTPStatus.NOT_FOUND}

_log = logging.getLogger("marketstream_sdk")


async def open_events(http: Http, token: str) -> aiohttp.ClientResponse | None:
    """The response whose body is the stream of a user's events; None where there is none for this user.

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
