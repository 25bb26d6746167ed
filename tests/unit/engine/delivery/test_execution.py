"""A call gets its answer also when the server fails at it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from marketstream.bus.memory import MemoryBus
from marketstream.core.delivery import closing
from marketstream.core.delivery.commands import (
    EventCommand,
    EventReply,
    JoinGroup,
    ListEventSubscriptions,
    Reply,
    Subscribe,
    Subscribed,
    WorkCommand,
    WorkReply,
)
from marketstream.core.delivery.entitlements import Principal
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.execution import Execution
from marketstream.engine.eager import start
from marketstream.errors import MarketstreamError
from tests.support.builders import Bench
from tests.support.clock import FakeClock


async def fail_later(_who: Principal, _command: EventCommand) -> EventReply:
    """Fails as nobody expects."""
    raise RecursionError("too deep")


def fail(_connection: Connection, _command: WorkCommand) -> WorkReply:
    """The same, at once."""
    raise RecursionError("too deep")


@pytest.mark.parametrize("command", [JoinGroup("g"), ListEventSubscriptions()])
async def test_a_fault_of_the_server_is_an_answer_and_harms_nobody(
    command: JoinGroup | ListEventSubscriptions,
) -> None:
    bench = Bench()
    bench.execution = Execution(
        node=bench.node, bus=bench.bus, on_event_command=fail_later, on_work_command=fail
    )
    client = bench.client()
    answers: list[Reply | MarketstreamError] = []
    await bench.execution.execute(client.connection, command, answers.append)
    (answer,) = answers
    assert isinstance(answer, MarketstreamError)
    assert (answer.code, answer.public) == ("INTERNAL", False)
    assert bench.stats.commands["INTERNAL"] == 1
    assert isinstance(client.subscribe("A"), Subscribed)
    bench.node.flusher.stop()


class SlowBus(MemoryBus):
    """A bus whose last values must be waited for, and that notes what is watched."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.asked = asyncio.Event()
        self.calls: list[str] = []

    def watch(self, name: str) -> None:
        """See `Bus.watch`."""
        self.calls.append(f"watch {name}")

    def unwatch(self, name: str) -> None:
        """See `Bus.unwatch`."""
        self.calls.append(f"unwatch {name}")

    def last(self, wanted: Sequence[str], tenant: str) -> Any:
        """See `Bus.last`."""
        return self._later(wanted, tenant)

    async def _later(self, wanted: Sequence[str], tenant: str) -> Any:
        await self.asked.wait()
        return super().last(wanted, tenant)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A node on such a bus."""
    clock = FakeClock()
    made = Bench(bus=SlowBus(clock), clock=clock)
    yield made
    made.node.flusher.stop()


def bus_of(bench: Bench) -> SlowBus:
    """The bus of the bench above."""
    assert isinstance(bench.bus, SlowBus)
    return bench.bus


async def test_a_symbol_is_watched_once_for_all_who_subscribe(bench: Bench) -> None:
    """It is watched before its last value is asked for, and until the last one has left."""
    bus, clients = bus_of(bench), [bench.client() for _ in range(2)]
    waiting = [
        start(bench.execution.execute(client.connection, Subscribe(("A",)), lambda _: None))
        for client in clients
    ]
    assert bus.calls == ["watch A"]
    bus.asked.set()
    for each in waiting:
        assert each is not None
        await each
    assert bus.calls == ["watch A"]
    for client in clients:
        bench.node.leave(client.connection, closing.CLIENT_LEFT)
    assert bus.calls == ["watch A", "unwatch A"]


async def test_who_leaves_while_last_values_are_read_leaves_nothing_watched(bench: Bench) -> None:
    bus, client = bus_of(bench), bench.client()
    waiting = start(
        bench.execution.execute(client.connection, Subscribe(("A",), channels=("indices",)), lambda _: None)
    )
    assert bus.calls == ["watch A", "watch indices"]
    bench.node.leave(client.connection, closing.CLIENT_LEFT)
    bus.asked.set()
    assert waiting is not None
    await waiting
    assert bus.calls == ["watch A", "watch indices", "unwatch A", "unwatch indices"]
    assert len(bench.node.hub) == 0


async def test_the_answer_is_written_before_last_values_are_waited_for(bench: Bench) -> None:
    answers: list[Reply | MarketstreamError] = []
    client = bench.client()
    waiting = start(bench.execution.execute(client.connection, Subscribe(("A",)), answers.append))
    assert isinstance(answers[0], Subscribed)
    bus_of(bench).asked.set()
    assert waiting is not None
    await waiting
    bench.flush()
    assert client.snapshots() == [[]]
