"""Event streams as a whole: a crowd with random filters over two gateways, one of which is killed."""

import asyncio
import random
import secrets
import time
from collections.abc import Sequence

import pytest

from marketstream.core.events.event import Event, Priority
from marketstream.core.events.filter import Filter
from tests.support.event_api import ask, health
from tests.support.event_crowd import Listener, listening, random_event, random_filter, said
from tests.support.eventually import eventually
from tests.support.gateways import gateways
from tests.support.server import Server
from tests.support.valkey import running_valkey

RATE = 200
"""Events a second."""

STEP = 0.05
"""Seconds between two publications."""

ENV = {"MARKETSTREAM_JWT_SECRET": secrets.token_hex(32)}
"""One secret, so that a token counts wherever its user comes back."""

GREEDY = 5
"""Clients that want everything, which is more than anybody may be sent."""


def crowd(size: int, servers: Sequence[Server], chance: random.Random) -> list[Listener]:
    """Listeners with one to three random filters; a few want everything."""
    found = []
    for number in range(size):
        count = 1 if number < GREEDY else chance.randint(1, 3)
        filters = {f"n{each}": random_filter(chance) for each in range(count)}
        found.append(Listener(number, servers, {"all": Filter()} if number < GREEDY else filters))
    return found


async def counts(server: Server, listeners: Sequence[Listener]) -> bool:
    """Whether a server knows all of them, and everything that they want."""
    found = (await health(server))["subscriptions"]
    held = sum(len(each.filters) for each in listeners)
    return (found["users"], found["held"], found["unread"]) == (len(listeners), held, 0)


async def publish(server: Server, events: Sequence[Event]) -> None:
    """Publishes events; all must be taken."""
    listed = [said(event) for event in events]
    status, answer = await ask(server, "POST", body=listed, user="publisher", scopes=("market:publish",))
    assert (status, answer.get("accepted")) == (200, len(events)), answer


async def published(server: Server, seconds: float, first: int, chance: random.Random) -> list[Event]:
    """Publishes at the rate for a while, and returns what was published."""
    events: list[Event] = []
    began = time.monotonic()
    for step in range(round(seconds / STEP)):
        batch = [random_event(first + len(events) + n, chance) for n in range(round(RATE * STEP))]
        await publish(server, batch)
        events += batch
        await asyncio.sleep(max(0.0, began + (step + 1) * STEP - time.monotonic()))
    return events


def check(listener: Listener, events: Sequence[Event], certain: range) -> None:
    """What a listener got is what the oracle says, apart from what it was told was dropped.

    Args:
        listener: It.
        events: All events.
        certain: Numbers of those that it was there for without a break.
    """
    wanted = {event.id: names for event in events if (names := listener.wants(event))}
    assert len(listener.got) == len(set(listener.got)), "an event came twice"
    assert set(listener.got) <= wanted.keys(), "somebody else's event came"
    assert all(listener.matched[each] == wanted[each] for each in listener.got)
    missing = [each for each in wanted if each not in set(listener.got) and int(each) in certain]
    assert len(missing) == listener.dropped, (len(missing), listener.dropped, listener.filters)
    for priority in Priority:
        numbers = [int(each) for each in listener.got if events[int(each)].priority is priority]
        assert numbers == sorted(numbers), "one priority was reordered"


def arrived(listeners: Sequence[Listener], events: Sequence[Event]) -> bool:
    """Whether everybody has got, or was told of, everything that was published."""
    wanted = (sum(bool(each.wants(event)) for event in events) for each in listeners)
    return all(len(each.got) + each.dropped >= count for each, count in zip(listeners, wanted, strict=True))


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(200, 5.0), pytest.param(1_000, 30.0, marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
)
async def test_everybody_gets_exactly_the_events_that_they_asked_for(size: int, seconds: float) -> None:
    """Apart from what they were told was dropped."""
    chance = random.Random(6)
    with running_valkey() as valkey:
        async with gateways(valkey.url, env=ENV) as servers:
            listeners = crowd(size, servers, chance)
            async with listening(listeners):
                for at, server in enumerate(servers):
                    mine = listeners[at::2]
                    await eventually(lambda server=server, mine=mine: counts(server, mine), 10, "all read")  # type: ignore[misc]
                events = await published(servers[0], seconds, 0, chance)
                await eventually(lambda: arrived(listeners, events), 30, "everything")
                for listener in listeners:
                    check(listener, events, range(len(events)))
                if size == 1_000:
                    # Twice what may be sent, for longer than a queue takes it.
                    assert all(listener.dropped for listener in listeners[:GREEDY])
                assert all(listener.stays == 1 for listener in listeners)


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(200, 2.0), pytest.param(1_000, 10.0, marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
)
async def test_subscriptions_are_back_after_a_gateway_was_killed_without_a_word_from_anybody(
    size: int, seconds: float
) -> None:
    """Events go on meanwhile; from when everybody is back nothing is missing."""
    chance = random.Random(7)
    with running_valkey() as valkey:
        async with gateways(valkey.url, env=ENV) as servers:
            rest, victim = servers
            listeners = crowd(size, servers, chance)[GREEDY:]
            async with listening(listeners):
                events = await published(rest, seconds, 0, chance)
                victim.kill()
                going_on = asyncio.create_task(published(rest, seconds, len(events), chance))
                await eventually(lambda: counts(rest, listeners), 60, "everybody at the other one")
                events += await going_on
                first = len(events)
                events += await published(rest, seconds, first, chance)
                mine = listeners[0::2], listeners[1::2]
                stayed, moved = mine if listeners[0].stays == 1 else mine[::-1]
                assert all(each.stays == 1 for each in stayed)
                assert all(each.stays >= 2 for each in moved)
                await eventually(lambda: arrived(stayed, events), 20, "everything")
                await eventually(
                    lambda: all(
                        {event.id for event in events[first:] if each.wants(event)} <= set(each.got)
                        for each in moved
                    ),
                    20,
                    "everything from when they were back",
                )
                for listener in stayed:
                    check(listener, events, range(len(events)))
                for listener in moved:
                    check(listener, events, range(first, len(events)))
