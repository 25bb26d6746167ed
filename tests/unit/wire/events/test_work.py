"""The work of groups: each event is done by one member, whoever leaves, dies, or hands it out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from marketstream.bus.memory import MemoryEventChannel, MemoryEventStore
from marketstream.core.delivery.closing import CLIENT_LEFT
from marketstream.core.delivery.commands import (
    AckEvent,
    Authenticated,
    EventAcknowledged,
    GroupJoined,
    GroupLeft,
    JoinGroup,
    LeaveGroup,
)
from marketstream.core.delivery.entitlements import Plan, Principal
from marketstream.core.events.filter import Filter
from marketstream.core.events.rule import Rule
from marketstream.engine.events import coordinator
from marketstream.engine.events.ports import Backplane
from marketstream.engine.events.streams import EventStreams
from marketstream.errors import BusError, InvalidMessageError, NotEntitledError, SubscriptionLimitError
from marketstream.wire.events import work as wire
from marketstream.wire.events.between_processes import parse_message, render_message
from marketstream.wire.json import dumps
from tests.support.builders import Bench, Client, principal
from tests.support.event_bench import ids
from tests.support.eventually import eventually

WORK = Rule("work", Filter(types=frozenset({"work"})), "load_balanced", group="crew", enrich=True)


def worker_token(**who: Any) -> Principal:
    """Somebody who may work."""
    return principal(**{"scopes": ["events:work"], **who})


class Channel:
    """A channel that many processes hear; a test can break it.

    Attributes:
        broken: Whether what is said is lost.
        said: Everything that was said.
    """

    def __init__(self) -> None:
        self.broken = False
        self.said: list[bytes] = []
        self._handlers: list[Any] = []

    def send(self, message: bytes) -> None:
        """Tells all."""
        self.said.append(message)
        for handle in [] if self.broken else self._handlers:
            handle(message)

    def listen(self, receive: Any) -> None:
        """One more who hears."""
        self._handlers.append(receive)


class Cluster:
    """Processes that meet in memory; any of them may hand out the work.

    Attributes:
        benches: Their engines.
        streams: Their event streams.
        dead: Names of processes that have died.
        once: Names of processes that seem so at the next look.
        reports: What is said to whoever hands out work.
        orders: What whoever does says.
    """

    def __init__(self, count: int, rules: Sequence[Rule] = (WORK,), per_tenant: int = 100) -> None:
        self._rules, self._per_tenant = rules, per_tenant
        self.benches = [Bench() for _ in range(count)]
        self.reports, self.orders, self.events = Channel(), Channel(), Channel()
        self.dead: set[str] = set()
        self.once: set[str] = set()
        self.asked = 0
        self.streams = [self._join(number, bench) for number, bench in enumerate(self.benches)]
        self._number = 0

    def _join(self, number: int, bench: Bench) -> EventStreams:
        # The clock of the first is everybody's.
        bench.clock = bench.node.clock = bench.bus.clock = self.benches[0].clock
        channels = Backplane(
            _EventChannel(self.events, bench),
            self.reports,
            self.orders,
            None,
            f"node{number}",
            self._find_dead,
        )
        streams = EventStreams(
            node=bench.node,
            bus=bench.bus,
            channels=channels,
            store=MemoryEventStore(),
            rules=self._rules,
            window=0.1,
            workers_per_tenant=self._per_tenant,
        )
        bench.attach(streams)
        return streams

    async def _find_dead(self, nodes: Sequence[str]) -> Sequence[str]:
        self.asked += 1
        if "nobody knows" in self.dead:
            raise BusError("nobody can say")
        seeming, self.once = self.once, set()
        return [node for node in nodes if node in self.dead | seeming]

    async def publish(self, *names: str, **fields: Any) -> None:
        """Publishes events of these ids; the last process does."""
        listed = [{"id": name, "type": "work", "name": "w", **fields} for name in names]
        await self.streams[-1].publisher.take(dumps(listed))
        self.flush()

    def flush(self) -> None:
        """Everybody writes."""
        for bench in self.benches:
            bench.flush()

    def worker(self, number: int = 0, **who: Any) -> Client:
        """A member of the crew at one of the processes."""
        client = self.benches[number].client(worker_token(**who))
        assert client.ask(JoinGroup("crew")) == GroupJoined("crew")
        return client

    @asynccontextmanager
    async def led_by(self, number: int) -> AsyncIterator[None]:
        """One of the processes hands out work inside the block."""
        task = asyncio.create_task(self.streams[number].coordinator.run())
        await eventually(lambda: self.streams[number].coordinator._active, what="the roll")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def close(self) -> None:
        """Forgets what is scheduled."""
        await eventually(lambda: not any(streams.unread for streams in self.streams), what="all read")
        for streams, bench in zip(self.streams, self.benches, strict=True):
            streams.broadcaster.stop()
            bench.node.flusher.stop()


class _EventChannel(MemoryEventChannel):
    """Carries events to all processes of a cluster."""

    def __init__(self, channel: Channel, bench: Bench) -> None:
        super().__init__(clock=bench.clock)
        super().listen(lambda message: channel.send(render_message(message)))
        self._channel = channel

    def listen(self, receive: Any) -> None:
        self._channel.listen(lambda data: receive(parse_message(data)))


@pytest.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Two processes."""
    monkeypatch.setattr(coordinator, "LOOK", 0.01)
    made = Cluster(2)
    yield made
    await made.close()


def work(client: Client) -> list[dict[str, Any]]:
    """The events that a worker was given."""
    return [event for batch in client.sink.named("events") for event in batch["events"]]


async def test_each_event_goes_to_exactly_one_member_and_says_of_which_group(cluster: Cluster) -> None:
    one, two = cluster.worker(0), cluster.worker(1)
    idle = cluster.benches[0].client()
    async with cluster.led_by(0):
        await cluster.publish("a", "b", "c", "d")
    assert sorted(ids(one) + ids(two)) == ["a", "b", "c", "d"]
    assert len(ids(one)) == len(ids(two)) == 2
    assert {event["group"] for event in work(one)} == {"crew"}
    assert all("again" not in event for event in work(one) + work(two))
    assert ids(idle) == []


async def test_what_is_done_makes_room_and_is_not_given_again(cluster: Cluster) -> None:
    one = cluster.worker()
    async with cluster.led_by(0):
        await cluster.publish("a", "b")
        assert one.ask(AckEvent("a")) == EventAcknowledged("a")
        two = cluster.worker(1)
        cluster.benches[0].node.leave(one.connection, CLIENT_LEFT)
        cluster.flush()
        assert [(event["id"], event["again"]) for event in work(two)] == [("b", True)]
        assert cluster.streams[0].coordinator.pending == 1
        assert two.ask(AckEvent("b")) == EventAcknowledged("b")
        assert two.ask(AckEvent("b")) == EventAcknowledged("b")
        assert cluster.streams[0].coordinator.pending == 0
    done = [streams.stats.work["done"] for streams in cluster.streams]
    assert done == [1, 1]


async def test_who_leaves_the_group_gets_nothing_more_and_others_get_what_it_had(cluster: Cluster) -> None:
    one, two = cluster.worker(0), cluster.worker(1)
    async with cluster.led_by(1):
        await cluster.publish("a", "b")
        assert one.ask(LeaveGroup("crew")) == GroupLeft("crew")
        assert one.ask(LeaveGroup("crew")) == GroupLeft("crew")
        await cluster.publish("c")
    assert len(ids(one)) == 1
    assert sorted(ids(two)) == ["a", "b", "c"]


async def test_without_a_member_events_wait_for_one(cluster: Cluster) -> None:
    async with cluster.led_by(0):
        await cluster.publish("a", "b")
        assert cluster.streams[0].coordinator.waiting == 2
        one = cluster.worker(1)
        cluster.flush()
    assert ids(one) == ["a", "b"]


async def test_a_worker_does_what_is_for_its_own_tenant_or_for_all(cluster: Cluster) -> None:
    theirs = cluster.worker(0, tenant="rival")
    async with cluster.led_by(0):
        await cluster.publish("ours", tenantId="acme")
        await cluster.publish("all")
        ours = cluster.worker(1)
        cluster.flush()
    assert (ids(theirs), ids(ours)) == (["all"], ["ours"])


async def test_the_next_who_hands_out_work_knows_what_everybody_has_in_hand(cluster: Cluster) -> None:
    one, two = cluster.worker(0), cluster.worker(1)
    async with cluster.led_by(0):
        await cluster.publish("a", "b", "c", "d")
        before = ids(one), ids(two)
    one.ask(AckEvent(before[0][0]))
    async with cluster.led_by(1):
        assert cluster.streams[1].coordinator.pending == 3
        cluster.flush()
        assert (ids(one), ids(two)) == before
        cluster.benches[0].node.leave(one.connection, CLIENT_LEFT)
        cluster.flush()
    assert ids(two) == [*before[1], before[0][1]]
    assert work(two)[-1]["again"]


async def test_what_members_of_a_dead_process_had_in_hand_goes_to_others(cluster: Cluster) -> None:
    one, two = cluster.worker(0), cluster.worker(1)
    async with cluster.led_by(1):
        await cluster.publish("a", "b")
        lost = ids(one)
        cluster.dead.add("nobody knows")
        asked = cluster.asked
        await eventually(lambda: cluster.asked > asked + 2, what="further looks")
        assert len(ids(two)) == 1
        cluster.dead = {"node0"}
        await eventually(lambda: cluster.streams[1].coordinator.pending == 2, what="a new owner")
        await eventually(lambda: cluster.streams[1].stats.work["again"], what="a new owner")
        cluster.flush()
    assert ids(two)[1:] == lost


async def test_a_process_that_seems_dead_for_a_moment_keeps_its_work(cluster: Cluster) -> None:
    one, two = cluster.worker(0), cluster.worker(1)
    async with cluster.led_by(1):
        await cluster.publish("a", "b")
        cluster.once = {"node0"}
        asked = cluster.asked
        await eventually(lambda: cluster.asked > asked + 3, what="further looks")
        cluster.flush()
    assert (len(ids(one)), len(ids(two))) == (1, 1)


async def test_what_was_said_while_nobody_could_be_heard_is_made_good_by_a_resync(cluster: Cluster) -> None:
    one, two = cluster.worker(0), cluster.worker(1)
    async with cluster.led_by(1):
        await cluster.publish("a", "b")
        cluster.reports.broken = True
        one.ask(AckEvent(ids(one)[0]))
        cluster.benches[1].node.leave(two.connection, CLIENT_LEFT)
        three = cluster.worker(0)
        cluster.reports.broken = False
        cluster.streams[0].look_again()
        cluster.flush()
        # Of the first it is not known whether it was done: it was acknowledged, but nobody heard.
        given = sorted(ids(one)[1:] + ids(three))
        assert given == ["a", "b"]
        assert cluster.streams[1].coordinator.pending == 2


async def test_what_a_member_was_given_and_never_got_is_given_again(cluster: Cluster) -> None:
    one = cluster.worker(0)
    async with cluster.led_by(1):
        cluster.benches[0].clock.advance(coordinator.RESYNC)
        cluster.orders.broken = True
        await cluster.publish("a")
        cluster.orders.broken = False
        assert ids(one) == []
        cluster.streams[0].look_again()
        cluster.flush()
    assert ids(one) == ["a"]


async def test_a_member_who_is_gone_when_its_event_comes_is_reported(cluster: Cluster) -> None:
    one = cluster.worker(0)
    async with cluster.led_by(1):
        cluster.reports.broken = True
        cluster.benches[0].node.leave(one.connection, CLIENT_LEFT)
        cluster.reports.broken = False
        await cluster.publish("a")
        assert cluster.streams[1].coordinator.waiting == 1
        two = cluster.worker(1)
        cluster.flush()
    assert ids(two) == ["a"]


async def test_only_a_client_that_may_work_and_see_everything_may_join(cluster: Cluster) -> None:
    for who in (
        worker_token(symbols=["EUR/*"]),
        worker_token(plan=Plan("some", symbols=("EUR/*",))),
        principal(scopes=["market:read", "market:publish", "admin"]),
    ):
        assert isinstance(cluster.benches[0].client(who).ask(JoinGroup("crew")), NotEntitledError)
    one = cluster.worker(0)
    cluster.benches[0].tokens.known["narrow"] = worker_token(symbols=["EUR/*"])
    answer = await one.authenticate("narrow")
    assert isinstance(answer, Authenticated)
    assert answer.ended == ("crew: not entitled",)
    async with cluster.led_by(0):
        await cluster.publish("a")
    assert ids(one) == []


@pytest.mark.parametrize("command", [JoinGroup("crew"), LeaveGroup("crew"), AckEvent("a")])
async def test_a_reader_has_no_say_in_the_work(cluster: Cluster, command: Any) -> None:
    reader = principal(scopes=["market:read", "admin"])
    assert isinstance(cluster.benches[0].client(reader).ask(command), NotEntitledError)


async def test_an_event_for_all_is_done_once_by_each_tenants_group(cluster: Cluster) -> None:
    """Whoever may work for one tenant takes nothing away from another."""
    ours, more = cluster.worker(0), cluster.worker(1)
    theirs = cluster.worker(0, tenant="rival")
    cluster.benches[1].publish("AAPL", 150.0)
    async with cluster.led_by(0):
        await cluster.publish("a", "b", symbol="AAPL")
        assert sorted(ids(ours) + ids(more)) == ["a", "b"]
        assert sorted(ids(theirs)) == ["a", "b"]
        theirs.ask(AckEvent("a"))
        theirs.ask(AckEvent("b"))
        cluster.benches[0].node.leave(ours.connection, CLIENT_LEFT)
        cluster.flush()
    assert sorted(ids(more)) == ["a", "b"]
    assert all(event["market"]["price"] for event in work(more))


async def test_workers_of_all_tenants_share_a_group_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "LOOK", 0.01)
    cluster = Cluster(1, [replace(WORK, shared=True)])
    ours, theirs = cluster.worker(), cluster.worker(tenant="rival")
    async with cluster.led_by(0):
        await cluster.publish("a", "b")
        await cluster.publish("c", tenantId="acme")
    assert len(ids(theirs)) == 1
    assert sorted(ids(ours) + ids(theirs)) == ["a", "b", "c"]
    assert "c" not in ids(theirs)
    await cluster.close()


async def test_a_tenant_that_has_all_its_slots_leaves_the_others_theirs() -> None:
    cluster = Cluster(1, per_tenant=2)
    mine = [cluster.worker() for _ in range(2)]
    one_more = cluster.benches[0].client(worker_token())
    assert isinstance(one_more.ask(JoinGroup("crew")), SubscriptionLimitError)
    cluster.worker(tenant="rival")
    mine[0].ask(LeaveGroup("crew"))
    assert one_more.ask(JoinGroup("crew")) == GroupJoined("crew")
    await cluster.close()


@pytest.mark.parametrize("command", [JoinGroup("nobody"), LeaveGroup("nobody")])
async def test_a_group_that_no_rule_has_is_refused(cluster: Cluster, command: Any) -> None:
    assert isinstance(cluster.benches[0].client(worker_token()).ask(command), InvalidMessageError)


async def test_work_is_sent_with_the_price_of_its_symbol_also_the_second_time(cluster: Cluster) -> None:
    one, two = cluster.worker(0), cluster.worker(0)
    cluster.benches[1].publish("AAPL", 150.0)
    async with cluster.led_by(0):
        await cluster.publish("a", symbol="AAPL")
        first, second = (one, two) if ids(one) else (two, one)
        cluster.benches[0].node.leave(first.connection, CLIENT_LEFT)
        cluster.flush()
    (again,) = work(second)
    assert again["market"]["price"]["bestBid"]["price"] == 150.0
    assert again["again"]


async def test_a_member_has_a_bounded_number_in_hand_and_so_much_waits(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator, "WAITING", 5)
    one = cluster.worker()
    async with cluster.led_by(0):
        await cluster.publish(*(f"{number}" for number in range(coordinator.IN_HAND + 8)))
        assert len(ids(one)) == coordinator.IN_HAND
        assert cluster.streams[0].coordinator.waiting == 5
        assert cluster.streams[0].stats.work["dropped"] == 3
        one.ask(AckEvent("0"))
        cluster.flush()
        assert len(ids(one)) == coordinator.IN_HAND + 1


async def test_nonsense_is_passed_over(cluster: Cluster) -> None:
    async with cluster.led_by(0):
        for message in (
            b"",
            b"[]",
            b'["join"]',
            b'["join",1,2,3,4]',
            b'["here","n","crew","t","c",1]\n{',
            b'["x"]',
        ):
            cluster.reports.send(message)
            cluster.orders.send(message)
        cluster.reports.send(wire.render_report(wire.Join(wire.Address("n", "nobody", "t", "c"))))
        cluster.orders.send(
            wire.render_order(wire.Give(wire.Address("node0", "crew", "t", "c"), False, b"?"))
        )
        await cluster.publish("a")
        assert cluster.streams[0].coordinator.waiting == 1


async def test_what_a_member_had_in_hand_when_it_left_unnoticed_goes_to_another(cluster: Cluster) -> None:
    """Nobody hands out work for some seconds when whoever did so has died."""
    one = cluster.worker(0, user="one")
    async with cluster.led_by(1):
        await cluster.publish("1", "2")
        assert ids(one) == ["1", "2"]
    assert one.ask(LeaveGroup("crew")) == GroupLeft("crew")
    two = cluster.worker(0, user="two")
    async with cluster.led_by(1):

        def arrived() -> bool:
            cluster.flush()
            return ids(two) == ["1", "2"]

        await eventually(arrived, what="both events")
