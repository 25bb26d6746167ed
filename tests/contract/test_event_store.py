"""What event streams ask of the outside: subscriptions are kept, and each event is carried once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from marketstream.bus.events import RedisEventChannel, RedisEventStore
from marketstream.bus.memory import MemoryEventChannel, MemoryEventStore
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.engine.events.ports import EventChannel, EventStore
from marketstream.errors import BusError
from marketstream.observability.clock import SystemClock
from marketstream.wire import keys
from marketstream.wire.events.between_processes import Message
from marketstream.wire.events.codec import render_event
from tests.support.cluster import Cluster
from tests.support.events import AT_MS, event
from tests.support.eventually import eventually
from tests.support.valkey import Valkey

LIMIT = 3
U1, U2 = ("acme", "u1"), ("acme", "u2")


@dataclass
class Outside:
    """One process' part of it.

    Attributes:
        store: Keeps subscriptions.
        channel: Carries events.
        ordered: Whether events arrive in order; each node of a cluster has a pace of its own.
        heard: Messages that arrived, in order.
    """

    store: EventStore
    channel: EventChannel
    ordered: bool = True
    heard: list[Message] = field(default_factory=list)


def message(id_: str, tenant: str | None = None) -> Message:
    """An event on its way."""
    said = event(id_, tenant=tenant)
    return Message(said, render_event(said), AT_MS)


Open = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[list[Outside]]]


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest) -> AsyncIterator[list[Outside]]:
    """A process that is alone."""
    one = Outside(MemoryEventStore(), MemoryEventChannel(clock=SystemClock()))
    one.channel.listen(one.heard.append)
    yield [one]


@asynccontextmanager
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[list[Outside]]:
    """Two processes over a real Valkey."""
    valkey: Valkey = request.getfixturevalue("valkey")
    async with meeting(valkey.url) as outside:
        yield outside


@asynccontextmanager
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[list[Outside]]:
    """Two processes over a cluster of them."""
    valkeys: Cluster = request.getfixturevalue("cluster")
    async with meeting(valkeys.url) as outside:
        yield outside


@asynccontextmanager
async def meeting(url: str) -> AsyncIterator[list[Outside]]:
    """Two processes that are connected."""
    buses = [build_bus(url, clock=SystemClock()) for _ in range(2)]
    found = []
    for bus in buses:
        assert isinstance(bus, RedisBus)
        one = Outside(RedisEventStore(bus), RedisEventChannel(bus), not bus.client.sharded)
        one.channel.listen(one.heard.append)
        found.append(one)
    running = [asyncio.create_task(bus.run()) for bus in buses]
    try:
        for bus in buses:
            await eventually(lambda bus=bus: bus.connected, 10, "a connection")  # type: ignore[misc]
        yield found
    finally:
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture(params=[memory, redis, cluster], ids=lambda each: each.__name__)
async def outside(request: pytest.FixtureRequest) -> AsyncIterator[list[Outside]]:
    """Each kind in turn: its processes."""
    open_all: Open = request.param
    async with open_all(request) as found:
        yield found


async def test_what_was_kept_is_found_by_every_process(outside: list[Outside]) -> None:
    one, other = outside[0].store, outside[-1].store
    assert await one.put(U1, "mine", b"{}", LIMIT)
    assert await other.put(U1, "ünï \x20 /%", b'{"types":["a"]}', LIMIT)
    assert await one.load([U2, U1]) == [{}, {"mine": b"{}", "ünï \x20 /%": b'{"types":["a"]}'}]


async def test_a_name_is_replaced_and_let_go(outside: list[Outside]) -> None:
    one, other = outside[0].store, outside[-1].store
    for body in (b"1", b"2"):
        assert await one.put(U1, "mine", body, LIMIT)
    assert await other.load([U1]) == [{"mine": b"2"}]
    assert [await one.remove(U1, "mine"), await other.remove(U1, "mine")] == [True, False]
    assert await one.load([U1]) == [{}]


async def test_there_is_room_for_so_many_names_and_always_for_one_that_is_there(
    outside: list[Outside],
) -> None:
    """Also when all of them come at once."""
    stores = [each.store for each in outside]
    puts = [stores[n % len(stores)].put(U1, f"n{n}", b"{}", LIMIT) for n in range(10)]
    assert sum(await asyncio.gather(*puts)) == LIMIT
    (held,) = await stores[0].load([U1])
    assert all([await stores[-1].put(U1, name, b"again", LIMIT) for name in held])
    assert await stores[0].put(U2, "other", b"{}", LIMIT)


async def test_users_of_every_tenant_are_kept_apart(outside: list[Outside]) -> None:
    users = [("acme", "u"), ("rival", "u"), ("acme u", ""), ("", "acme u"), ("\ud800", "\x1f")]
    for number, user in enumerate(users):
        await outside[0].store.put(user, "n", b"%d" % number, LIMIT)
    assert await outside[-1].store.load(users) == [{"n": b"%d" % number} for number in range(len(users))]


async def test_many_users_are_read_in_one_go(outside: list[Outside]) -> None:
    users = [("acme", f"u{number}") for number in range(250)]
    for user in users[::50]:
        await outside[0].store.put(user, "n", user[1].encode(), LIMIT)
    found = await outside[-1].store.load(users)
    assert [kept.get("n", b"").decode() for kept in found[::50]] == [user[1] for user in users[::50]]
    assert sum(map(bool, found)) == 5


async def test_an_event_reaches_every_process_once_and_in_order(outside: list[Outside]) -> None:
    messages = [message(f"e{number:03}") for number in range(250)]
    assert await outside[0].channel.send(messages) == [True] * 250
    await eventually(lambda: all(len(each.heard) == len(messages) for each in outside), what="all")
    assert all(sorted(each.heard, key=lambda one: one.event.id) == messages for each in outside)
    assert all(each.heard == messages for each in outside if each.ordered)
    assert await outside[-1].channel.send(messages) == [False] * 250
    last = message("last")
    assert await outside[-1].channel.send([last]) == [True]
    await eventually(lambda: all(last in each.heard for each in outside), what="the last event")
    assert [len(each.heard) for each in outside] == [251] * len(outside)


async def test_an_id_is_one_of_its_tenant(outside: list[Outside]) -> None:
    messages = [message("1", tenant) for tenant in ("acme", "rival", None, "acme")]
    assert await outside[0].channel.send(messages) == [True, True, True, False]


async def test_of_many_who_send_the_same_at_once_one_does(outside: list[Outside]) -> None:
    sent = await asyncio.gather(*(outside[n % len(outside)].channel.send([message("x")]) for n in range(20)))
    assert sum(first for (first,) in sent) == 1


async def test_nothing_to_do_is_done(outside: list[Outside]) -> None:
    assert await outside[0].channel.send([]) == []
    assert await outside[0].store.load([]) == []


async def test_while_valkey_is_away_everything_is_refused(valkey: Valkey) -> None:
    """And nothing is noted: what is sent again then arrives."""
    async with meeting(valkey.url) as (one, other):
        valkey.pause()
        try:
            for asked in (
                one.store.load([U1]),
                one.store.put(U1, "n", b"{}", LIMIT),
                one.store.remove(U1, "n"),
                one.channel.send([message("1")]),
            ):
                with pytest.raises(BusError):
                    await asked
        finally:
            valkey.go_on()
        await eventually(lambda: one.heard == other.heard, what="the same at both")


async def test_what_is_no_message_is_passed_over(valkey: Valkey) -> None:
    nonsense = (b"", b"[]", b"[1,2,3,4]\n", b'[1,2,false,null]\n{"', b'[1,2,true,null]\n{}{"price')
    async with meeting(valkey.url) as (one, other):
        async with Redis.from_url(valkey.url) as client:
            for data in nonsense:
                await client.publish(keys.EVENTS, data)
        assert await one.channel.send([message("1")]) == [True]
        await eventually(lambda: bool(other.heard), what="the event")
        assert one.heard == other.heard == [message("1")]
