"""What to say to the server when the events that are wanted and the subscriptions that it holds differ.

Pure, like `reconcile`. Subscriptions belong to the user and outlive connections, so what is held is mostly
what is wanted already; what is held and not wanted here may be another program's, and is left alone.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from marketstream_sdk.event_filter import EventFilter


@dataclass(frozen=True, slots=True)
class EventCall:
    """A call to make.

    Attributes:
        event: Its name.
        name: The subscription that it is about.
        filter: What that asks for; None for `unsubscribe_events`.
    """

    event: Literal["subscribe_events", "unsubscribe_events"]
    name: str
    filter: EventFilter | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """What is sent with it."""
        named: dict[str, Any] = {"name": self.name}
        return named if self.filter is None else named | {"filter": self.filter.payload}


def reconcile_events(
    wanted: Mapping[str, EventFilter],
    held: Mapping[str, EventFilter | None],
    left: Collection[str] = (),
) -> list[EventCall]:
    """The calls that make the server hold what is wanted, in order; leaving first, so that there is room.

    Args:
        wanted: Subscriptions by name, in the order in which they came to be wanted.
        held: What the server holds as far as is known; None stands for a filter that makes no sense here.
        left: Names that were given up here and not told yet, whoever made them.
    """
    leaving = [EventCall("unsubscribe_events", name) for name in left if name not in wanted]
    joining = [
        EventCall("subscribe_events", name, filter_)
        for name, filter_ in wanted.items()
        if held.get(name) != filter_
    ]
    return leaving + joining
