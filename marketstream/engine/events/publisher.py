"""Take events in: parse them, drop repeated ones, send them to every process.

A bad event of a list harms no other. An id that came within the last five minutes is accepted and sent no
second time, so a back end that is not sure may simply send again.
"""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise

from marketstream.core.events.event import Event
from marketstream.core.events.router import Router
from marketstream.engine.events.ports import EventChannel
from marketstream.engine.events.stats import EventStats
from marketstream.errors import BusError, InvalidMessageError, UnavailableError
from marketstream.ports import Clock
from marketstream.wire.events import codec as wire
from marketstream.wire.events.between_processes import Market, Message
from marketstream.wire.json import dumps, loads

MAX_EVENTS = 1_000
"""Events that one publication may hold."""

TURN = 100
"""Events that are sent together: what they take is bounded, and others get their turn in between."""

Look = Callable[[Event], Awaitable[Market]]
"""Finds how the symbol of an event stands."""


new_id = partial(secrets.token_hex, 12)
"""Make an id for an event that came without one."""


class EventPublisher:
    """See the module.

    Args:
        clock: Time.
        channel: Carries events to every process, this one too.
        router: Knows which events are sent with how the market stands.
        look: Says how it stands.
        stats: Counters to keep.
    """

    def __init__(
        self, *, clock: Clock, channel: EventChannel, router: Router, look: Look, stats: EventStats
    ) -> None:
        self._clock = clock
        self._channel = channel
        self._router = router
        self._look = look
        self._stats = stats

    async def take(self, body: bytes) -> bytes:
        """Take a publication.

        Args:
            body: JSON of an event, of a list of events, or of {events: [...]}.

        Returns:
            JSON {accepted, repeated, rejected: [{index, error}], ids: [...]}; `ids` has an entry for each
            event, a null for a rejected one.

        Raises:
            InvalidMessageError: It is none of these, or it is too long.
            UnavailableError: Events cannot travel now; some may have been sent. Those that had an id may be
                sent again.
        """
        values = _listed(body)
        at_ms = self._clock.wall_ms()
        events: list[tuple[int, Event]] = []
        rejected = []
        for index, value in enumerate(values):
            try:
                events.append((index, wire.parse_event(value, at_ms, new_id)))
            except InvalidMessageError as error:
                rejected.append({"index": index, "error": str(error)})
        self._stats.taken["refused"] += len(rejected)
        count = len(values)
        # What may have to wait takes no more room than it needs.
        del values
        accepted = 0
        for start, end in pairwise([*range(0, len(events), TURN), len(events)]):
            accepted += await self._send([event for _, event in events[start:end]], at_ms)
        ids: list[str | None] = [None] * count
        for index, event in events:
            ids[index] = event.id
        repeated = len(events) - accepted
        return dumps({"accepted": accepted, "repeated": repeated, "rejected": rejected, "ids": ids})

    async def take_entry(self, data: bytes, entry_id: bytes) -> str:
        """Take what an entry of a stream holds: one event.

        Args:
            data: The event's JSON.
            entry_id: Id of the entry: that of the event too, if it has none of its own, so that an entry
                which is read a second time is no second event.

        Returns:
            What became of it: accepted or repeated.

        Raises:
            RequestError: It is a bad one.
            BusError: It may have been sent or not; it may be taken again.
        """
        at_ms = self._clock.wall_ms()
        event = wire.parse_event(loads(data), at_ms, lambda: f"entry-{entry_id.decode()}")
        (is_first,) = await self._channel.send([await self._message(event, at_ms)])
        outcome = "accepted" if is_first else "repeated"
        self._stats.taken[outcome] += 1
        return outcome

    async def _send(self, events: list[Event], at_ms: int) -> int:
        messages = [await self._message(event, at_ms) for event in events]
        try:
            sent = await self._channel.send(messages)
        except BusError as error:
            raise UnavailableError("events cannot travel now; send them again") from error
        self._stats.taken["accepted"] += sum(sent)
        self._stats.taken["repeated"] += len(sent) - sum(sent)
        return sum(sent)

    async def _message(self, event: Event, at_ms: int) -> Message:
        """Encode an event for clients, here and nowhere else; add how the market stands if its rule asks."""
        rule = self._router.rule_of(event)
        market = await self._look(event) if rule.enrich and event.symbol is not None else None
        return Message(event, wire.render_event(event), at_ms, market, rule)


def _listed(body: bytes) -> list[object]:
    value = loads(body)
    if isinstance(value, dict) and "events" in value:
        value = value["events"]
        if not isinstance(value, list):
            raise InvalidMessageError("events must be a list", path="events")
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise InvalidMessageError("the body must be an event, or a list of events")
    if len(value) > MAX_EVENTS:
        raise InvalidMessageError(f"at most {MAX_EVENTS} events can be published at a time")
    return value
