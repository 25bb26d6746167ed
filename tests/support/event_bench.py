"""A bench with event streams on it, alone in its process, whose timers a test may ring itself."""

import json
from collections.abc import Sequence
from typing import Any

from marketstream.bus.memory import MemoryChannel, MemoryEventChannel, MemoryEventStore
from marketstream.core.delivery.commands import SubscribeEvents
from marketstream.core.events.rule import Rule
from marketstream.engine.events.ports import Backplane, EventStore
from marketstream.engine.events.streams import EventStreams
from marketstream.wire.events import codec as wire
from tests.support.builders import Bench, Client
from tests.support.eventually import eventually

WINDOW = 0.1


class EventBench(Bench):
    """See the module.

    Args:
        rules: Rules of routing.
        store: Where subscriptions are kept.
        window: Seconds in which events for one connection are collected.
    """

    def __init__(
        self,
        *,
        rules: Sequence[Rule] = (),
        store: EventStore | None = None,
        window: float = WINDOW,
    ) -> None:
        super().__init__()
        self.store = store or MemoryEventStore()
        self.news = MemoryChannel()
        self.streams = EventStreams(
            node=self.node,
            bus=self.bus,
            channels=Backplane(
                MemoryEventChannel(clock=self.clock), MemoryChannel(), MemoryChannel(), self.news
            ),
            store=self.store,
            rules=rules,
            window=window,
        )
        self.attach(self.streams)

    async def take(self, *events: dict[str, Any]) -> dict[str, Any]:
        """Publishes events, of the type `alert` where they do not say it, and returns the answer."""
        listed = [{"type": "alert", "name": "news", **event} for event in events]
        answer: dict[str, Any] = json.loads(await self.streams.publisher.take(json.dumps(listed).encode()))
        return answer

    async def subscribe(self, client: Client, name: str = "all", **filter_: Any) -> None:
        """Keeps a subscription of a client's user, and returns when it counts."""
        session = client.connection.session
        assert session is not None
        command = SubscribeEvents(name, wire.parse_filter(filter_))
        await self.streams.execute(session.principal, command)
        await self.until_read()

    async def until_read(self) -> None:
        """Returns when all subscriptions have been read."""
        await eventually(lambda: not self.streams.unread, what="every subscription read")

    def ring(self, seconds: float = WINDOW) -> None:
        """Lets time pass, and does what is due then."""
        self.clock.advance(seconds)
        self.streams.broadcaster.deliver()
        self.flush()

    def close(self) -> None:
        """Forgets what is scheduled."""
        self.streams.broadcaster.stop()
        self.node.flusher.stop()


def batches(client: Client) -> list[dict[str, Any]]:
    """Every `events` that a client got."""
    return client.sink.named("events")


def ids(client: Client) -> list[str]:
    """The ids of the events that a client got, in order."""
    return [event["id"] for batch in batches(client) for event in batch["events"]]
