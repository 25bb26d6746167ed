"""Count and time the layers of event streams."""

from collections import Counter
from dataclasses import dataclass, field

from marketstream.core.events.queue import Tally
from marketstream.engine.stats import Histogram

FINE_MS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 50, 100, 125, 250, 500, 1_000)
"""Bounds for what takes microseconds when it is well."""


def _times() -> Histogram:
    return Histogram(FINE_MS, [0] * (len(FINE_MS) + 1))


@dataclass(slots=True)
class EventStats:
    """See the module.

    Attributes:
        taken: Publications of events by outcome: accepted, repeated, refused.
        received: Events that reached this process.
        routed: The same by the rule that they fell under.
        delivered: Events handed to connections.
        batches: Messages that carried them, urgent ones not counted.
        tally: Events that found no room, and events that waited because of the limit, by priority.
        expired: Events that were of no use any more when their turn came.
        abandoned: Events that waited for a connection when it ended.
        work: Events of worker groups by outcome: given, again, done, dropped, expired.
        match: Milliseconds until the recipients of an event were known, where nothing was known of its like.
        route: The same for every event.
        queue: Milliseconds that events waited here for a connection, those that are CRITICAL left out.
        delivery: Milliseconds from taking an event, at whatever process, to handing it to a connection.
    """

    taken: Counter[str] = field(default_factory=Counter)
    received: int = 0
    routed: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    batches: int = 0
    tally: Tally = field(default_factory=Tally)
    expired: int = 0
    abandoned: int = 0
    work: Counter[str] = field(default_factory=Counter)
    match: Histogram = field(default_factory=_times)
    route: Histogram = field(default_factory=_times)
    queue: Histogram = field(default_factory=_times)
    delivery: Histogram = field(default_factory=_times)

    @property
    def dropped(self) -> int:
        """Events for which a connection had no room."""
        return sum(self.tally.dropped)

    @property
    def limited(self) -> int:
        """Events that waited because of the limit."""
        return sum(self.tally.limited)
