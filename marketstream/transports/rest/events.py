"""Serve `/api/v1/events`."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import ConfigDict, Field

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.events.event import Tier
from marketstream.core.events.filter import Filter
from marketstream.engine.events.health import Health
from marketstream.engine.events.publisher import MAX_EVENTS
from marketstream.engine.events.streams import EventStreams
from marketstream.errors import NotFoundError
from marketstream.transports import body
from marketstream.transports.rest.endpoint import Answer, Answered, Endpoint, read_object
from marketstream.transports.rest.guard import Guard
from marketstream.transports.rest.market import COPIES
from marketstream.transports.rest.openapi import Operation
from marketstream.transports.rest.schema import Shape
from marketstream.wire.events import codec as wire

PREFIX = "/api/v1/events"
PUBLISH = "market:publish"
READ = ("market:read", "admin")
ADMIN = "admin"

PriorityName = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
Confidence = Annotated[float | None, Field(ge=0, le=1)]
Named = Annotated[str, Field(min_length=1, max_length=64)]
Values = Annotated[list[str] | None, Field(min_length=1, max_length=200)]


class EventItem(Shape):
    """Something that happened."""

    id: Annotated[
        str | None, Field(description="made, if left out; the same one within 5 min is sent once")
    ] = None
    type: Named
    name: Named
    symbol: str | None = None
    tier: Tier | None = None
    confidence: Confidence = None
    priority: PriorityName = "MEDIUM"
    timestamp: Annotated[int | None, Field(ge=1, description="epoch milliseconds; now, if left out")] = None
    expires_at: Annotated[int | None, Field(ge=1, description="epoch milliseconds; never, if left out")] = (
        None
    )
    tenant_id: Annotated[
        str | None, Field(description="the only tenant that hears of it; all, if left out")
    ] = None
    data: Annotated[dict[str, Any] | None, Field(description="up to 16 KB of JSON")] = None


class EventsBody(Shape):
    """Events; a single one, or a list of them, is taken too."""

    events: Annotated[list[EventItem], Field(max_length=MAX_EVENTS)]


class RejectedEvent(Shape):
    """An event that was not taken."""

    index: Annotated[int, Field(ge=0)]
    error: str


class EventsAnswer(Shape):
    """What became of events."""

    accepted: int
    repeated: Annotated[int, Field(description="sent before under the same id, and not again")]
    rejected: list[RejectedEvent]
    ids: Annotated[list[str | None], Field(description="of each event; null of a rejected one")]


class FilterBody(Shape):
    """Which events; what is left out may be anything."""

    model_config = ConfigDict(extra="forbid")

    types: Values = None
    names: Values = None
    symbols: Values = None
    tiers: Annotated[list[Tier] | None, Field(min_length=1)] = None
    min_confidence: Confidence = None
    min_priority: PriorityName | None = None


class SubscriptionBody(Shape):
    """One subscription of the caller's user."""

    name: Named
    filter: dict[str, Any]


class SubscriptionsAnswer(Shape):
    """All of them."""

    subscriptions: list[SubscriptionBody]


class RemovedAnswer(Shape):
    """A subscription that is no more."""

    unsubscribed: Named


class HealthAnswer(Shape):
    """How the layers are, in this process."""

    status: Literal["healthy", "degraded"]
    reasons: list[str]
    subscriptions: dict[str, int | float]
    router: dict[str, int | float]
    broadcaster: dict[str, int | float]


class Events:
    """Answers.

    Args:
        endpoint: Lets callers in.
        guard: Checks publishers.
        streams: The event streams.
    """

    def __init__(self, *, endpoint: Endpoint, guard: Guard, streams: EventStreams) -> None:
        self._endpoint = endpoint
        self._guard = guard
        self._streams = streams
        self._health = Health(streams)

    def operations(self) -> list[Operation]:
        """Return the endpoints: of back ends, of users, of operators."""
        publish = Operation(
            "POST",
            "",
            "Sends events to whoever wants them.",
            PUBLISH,
            EventsAnswer,
            self.publish,
            body=EventsBody,
            metered=False,
            prefix=PREFIX,
            called="post_events",
        )
        health = Operation(
            "GET",
            "/health",
            "How the layers of event streams are.",
            ADMIN,
            HealthAnswer,
            self._endpoint.wrap(self.health, ADMIN),
            prefix=PREFIX,
            called="get_event_health",
        )
        return [publish, *self._subscriptions(), health]

    def _subscriptions(self) -> list[Operation]:
        def one(
            method: str,
            summary: str,
            answer: type[Shape],
            handle: Answer,
            path: str = "/subscriptions/{subscription}",
            body: type[Shape] | None = None,
        ) -> Operation:
            # Names of operations are a promise to those who generate clients of them.
            called = f"{method.lower()}_event_{'subscription' if '{' in path else 'subscriptions'}"
            wrapped = self._endpoint.wrap(handle, *READ)
            return Operation(
                method, path, summary, READ[0], answer, wrapped, body=body, prefix=PREFIX, called=called
            )

        return [
            one(
                "GET",
                "What the caller's user hears of.",
                SubscriptionsAnswer,
                self.list,
                "/subscriptions",
            ),
            one("GET", "One of these subscriptions.", SubscriptionBody, self.get),
            one(
                "PUT",
                "Makes one, in place of one of the same name.",
                SubscriptionBody,
                self.put,
                body=FilterBody,
            ),
            one("DELETE", "Ends one.", RemovedAnswer, self.delete),
        ]

    async def publish(self, request: web.Request) -> web.Response:
        """Take events; a bad one harms no other."""
        await self._guard.require(request, PUBLISH)
        given = await body.read(request)
        with self._guard.waiting.hold(COPIES * len(given)):
            taken = await self._streams.publisher.take(given)
        return web.Response(body=taken, content_type="application/json")

    async def list(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as of every endpoint
        """Return all subscriptions of a user."""
        held = await self._streams.subscriptions(who)
        return SubscriptionsAnswer(subscriptions=[_body(*each) for each in held.items()]), 0

    async def get(self, request: web.Request, who: Principal) -> Answered:
        """Return one of them."""
        name = _name(request)
        held = await self._streams.subscriptions(who)
        if name not in held:
            raise NotFoundError(f"there is no subscription {name}")
        return _body(name, held[name]), 0

    async def put(self, request: web.Request, who: Principal) -> Answered:
        """Make one."""
        name = _name(request)
        filter_ = wire.parse_filter(await read_object(request))
        await self._streams.subscribe(who, name, filter_)
        return _body(name, filter_), 0

    async def delete(self, request: web.Request, who: Principal) -> Answered:
        """End one."""
        name = _name(request)
        if not await self._streams.unsubscribe(who, name):
            raise NotFoundError(f"there is no subscription {name}")
        return RemovedAnswer(unsubscribed=name), 0

    async def health(self, request: web.Request, who: Principal) -> Answered:  # noqa: ARG002  # as of every endpoint
        """Return the figures of each layer, and whether they are as they should be."""
        found = self._health.look()
        return HealthAnswer(
            status="degraded" if found.reasons else "healthy",
            reasons=list(found.reasons),
            subscriptions=dict(found.subscriptions),
            router=dict(found.router),
            broadcaster=dict(found.broadcaster),
        ), 0


def _name(request: web.Request) -> str:
    return wire.parse_subscription_name(request.match_info["subscription"])


def _body(name: str, filter_: Filter) -> SubscriptionBody:
    return SubscriptionBody(name=name, filter=wire.render_filter(filter_))
