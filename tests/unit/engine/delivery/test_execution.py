"""A call gets its answer also when the server fails at it."""

import pytest

from marketstream.core.delivery.commands import (
    EventCommand,
    EventReply,
    JoinGroup,
    ListEventSubscriptions,
    Reply,
    Subscribed,
    WorkCommand,
    WorkReply,
)
from marketstream.core.delivery.entitlements import Principal
from marketstream.engine.delivery.connection import Connection
from marketstream.errors import MarketstreamError
from tests.support.builders import Bench


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
    bench.node.on_event_command = fail_later
    bench.node.on_work_command = fail
    client = bench.client()
    answers: list[Reply | MarketstreamError] = []
    waiting = bench.node.execute(client.connection, command, answers.append)
    if waiting is not None:
        await waiting
    (answer,) = answers
    assert isinstance(answer, MarketstreamError)
    assert (answer.code, answer.public) == ("INTERNAL", False)
    assert bench.stats.commands["INTERNAL"] == 1
    assert isinstance(client.subscribe("A"), Subscribed)
    bench.node.flusher.stop()
