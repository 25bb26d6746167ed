"""Users who listen to events, each with filters, and come back by themselves; an oracle of what is theirs."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from marketstream.core.events.event import Event, Priority, Tier
from marketstream.core.events.filter import Filter
from marketstream.wire.events.codec import render_filter
from tests.conformance.raw import event_of, say
from tests.support.eventually import eventually
from tests.support.raw_socket import Wire, wire
from tests.support.server import Server

TENANTS = ("acme", "rival")
TYPES = tuple(f"type{number}" for number in range(8))
NAMES = tuple(f"name{number}" for number in range(8))
SYMBOLS = tuple(f"SYM{number}" for number in range(20))
TIERS: tuple[Tier, ...] = ("daily", "intraday", "combo")
PRIORITIES = (*[Priority.LOW] * 40, *[Priority.MEDIUM] * 38, *[Priority.HIGH] * 20, *[Priority.CRITICAL] * 2)


def random_filter(chance: random.Random) -> Filter:
    """One that wants a few percent of all events."""

    def some(values: Sequence[str], most: int) -> frozenset[str]:
        return frozenset(chance.sample(values, chance.randint(1, most)))

    return Filter(
        types=some(TYPES, 3),
        names=some(NAMES, 4) if chance.random() < 0.3 else None,
        symbols=some(SYMBOLS, 6) if chance.random() < 0.8 else None,
        tiers=cast("frozenset[Tier]", some(TIERS, 2)) if chance.random() < 0.4 else None,
        min_confidence=chance.random() if chance.random() < 0.3 else None,
        min_priority=chance.choice(list(Priority)) if chance.random() < 0.3 else None,
    )


def random_event(number: int, chance: random.Random) -> Event:
    """One of the kinds that filters tell apart; its number is its id."""
    return Event(
        id=str(number),
        type=chance.choice(TYPES),
        name=chance.choice(NAMES),
        priority=chance.choice(PRIORITIES),
        at_ms=0,
        symbol=chance.choice((None, *SYMBOLS)),
        tier=chance.choice((None, *TIERS)),
        confidence=chance.choice((None, round(chance.random(), 3))),
        tenant=chance.choice((None, None, None, *TENANTS)),
    )


def said(event: Event) -> dict[str, Any]:
    """An event as a back end publishes it."""
    fields = {
        "id": event.id,
        "type": event.type,
        "name": event.name,
        "priority": event.priority.name,
        "symbol": event.symbol,
        "tier": event.tier,
        "confidence": event.confidence,
        "tenantId": event.tenant,
    }
    return {name: value for name, value in fields.items() if value is not None}


class Listener:
    """One user on one websocket, who speaks of subscriptions once and never again.

    Args:
        number: Which one.
        servers: Where it may connect; when one is gone it goes to the next.
        filters: Its subscriptions by name.

    Attributes:
        tenant: Its tenant.
        filters: Its subscriptions by name.
        got: Ids of the events that came, in order.
        matched: The subscriptions by which each of them came.
        dropped: How many it was told of that did not.
        stays: How often it was let in.
    """

    def __init__(self, number: int, servers: Sequence[Server], filters: dict[str, Filter]) -> None:
        self.tenant = TENANTS[number // 2 % len(TENANTS)]
        self.filters = filters
        self.got: list[str] = []
        self.matched: dict[str, list[str]] = {}
        self.dropped = 0
        self.stays = 0
        self._servers = servers
        self._at = number % len(servers)
        self._acks: Counter[str] = Counter()
        self._token = servers[0].token(user=f"user{number}", tenant=self.tenant)
        self._way: Wire | None = None

    def wants(self, event: Event) -> list[str]:
        """The oracle: names of the subscriptions that an event is for."""
        if event.tenant not in (None, self.tenant):
            return []
        return sorted(name for name, filter_ in self.filters.items() if filter_.matches(event))

    async def run(self) -> None:
        """Listens, and comes back, until cancelled."""
        while True:
            try:
                async with wire(self._servers[self._at].port) as way:
                    await way.enter(self._token)
                    self._way = way
                    self.stays += 1
                    await self._listen(way)
            except (OSError, AssertionError, TimeoutError):
                pass
            self._at = (self._at + 1) % len(self._servers)
            await asyncio.sleep(random.random() / 2)

    async def subscribe(self) -> None:
        """Says what it wants, and returns when that was acknowledged."""
        await eventually(lambda: self._way, 60, "a connection")
        assert self._way is not None
        for name, filter_ in self.filters.items():
            body = {"name": name, "filter": render_filter(filter_)}
            await self._way.say(say("subscribe_events", body, 1))
        await eventually(lambda: self._acks["ok"] == len(self.filters), 20, "its acknowledgements")

    async def _listen(self, way: Wire) -> None:
        while True:
            try:
                packet = await way.packet()
            except TimeoutError:
                # Nothing came for a while; it has not left.
                continue
            if packet is None:
                return
            self._take(packet)

    def _take(self, packet: str) -> None:
        if packet.startswith("43/"):
            answer = json.loads(packet[packet.index("[") :])[0]
            assert "subscribed" in answer, answer
            self._acks["ok"] += 1
        elif (found := event_of(packet)) is not None and found[0] == "events":
            self.dropped += found[1].get("dropped", 0)
            for event in found[1]["events"]:
                self.got.append(event["id"])
                self.matched[event["id"]] = event["matched"]


@asynccontextmanager
async def listening(listeners: Sequence[Listener]) -> AsyncIterator[None]:
    """All of them are connected and subscribed inside the block."""
    tasks = [asyncio.create_task(listener.run()) for listener in listeners]
    try:
        for start in range(0, len(listeners), 50):
            some = listeners[start : start + 50]
            await asyncio.gather(*(each.subscribe() for each in some))
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
