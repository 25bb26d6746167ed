"""A user's subscriptions to events by HTTP, for clients whose stream only brings."""

from http import HTTPStatus
from urllib.parse import quote

from marketstream_sdk.event_filter import EventFilter
from marketstream_sdk.event_reconcile import EventCall
from marketstream_sdk.event_wire import parse_subscriptions
from marketstream_sdk.transports.http import Http, read_answer

SUBSCRIPTIONS = "/api/v1/events/subscriptions"


async def event_subscriptions(http: Http, token: str) -> dict[str, EventFilter | None]:
    """See `Connection.event_subscriptions`."""
    return parse_subscriptions(await read_answer(await http.get(SUBSCRIPTIONS, token)))


async def change_events(http: Http, token: str, call: EventCall) -> None:
    """See `Connection.change_events`."""
    path = f"{SUBSCRIPTIONS}/{quote(call.name, safe='')}"
    if call.filter is not None:
        await read_answer(await http.send("PUT", path, token, body=call.filter.payload))
        return
    response = await http.send("DELETE", path, token)
    if response.status == HTTPStatus.NOT_FOUND:
        response.release()
        return
    await read_answer(response)
