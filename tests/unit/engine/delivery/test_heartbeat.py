import asyncio

import pytest

from marketstream.core.delivery import closing
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Status
from marketstream.engine.delivery.heartbeat import STEP
from tests.support.builders import AT_MS, Bench, Client, principal, quote
from tests.support.recording import RecordingTransport

PING = Frame("", b"2")


class Beats(Bench):
    """An engine whose heart beats when told."""

    def run(self, seconds: float) -> None:
        """Beats once a second for a while."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self.heartbeat.beat()
            self.flush()


@pytest.fixture
async def bench() -> Beats:
    """An engine without clients."""
    return Beats()


def talking(bench: Bench, client: Client) -> None:
    """The client says something."""
    client.connection.heard_at = bench.clock.now()


async def test_a_client_from_which_nothing_comes_is_closed_after_two_minutes(bench: Beats) -> None:
    silent, talks = bench.client(), bench.client()
    bench.run(119)
    talking(bench, talks)
    assert silent.sink.closed == []
    bench.run(1)
    assert (silent.sink.closed, talks.sink.closed) == ([closing.IDLE], [])


async def test_a_client_that_cannot_speak_is_not_closed_for_its_silence(bench: Beats) -> None:
    client = bench.client(sink=RecordingTransport(listens=False))
    bench.run(600)
    assert client.sink.closed == []


async def test_a_client_that_takes_nothing_for_half_a_minute_is_closed(bench: Beats) -> None:
    slow, fine = bench.client(), bench.client()
    slow.sink.full, slow.sink.held = True, 1_000
    bench.node.pause(slow.connection)
    bench.run(29)
    assert slow.sink.closed == []
    bench.run(1)
    assert (slow.sink.closed, fine.sink.closed) == ([closing.SLOW_CONSUMER], [])


async def test_a_beat_that_comes_late_still_calls_a_slow_client_slow(bench: Beats) -> None:
    """By then it has also said nothing for too long: the closer cause is told."""
    slow = bench.client()
    slow.sink.full, slow.sink.held = True, 1_000
    bench.node.pause(slow.connection)
    bench.clock.advance(bench.node.delivery.idle_timeout)
    bench.run(1)
    assert slow.sink.closed == [closing.SLOW_CONSUMER]


async def test_a_client_that_polls_and_reads_when_its_silence_is_over_stays(bench: Beats) -> None:
    """What it took since the last look counts before its silence does."""
    polls = bench.client(sink=RecordingTransport(keeps=True))
    polls.sink.full, polls.sink.held = True, 1_000
    bench.node.pause(polls.connection)
    bench.clock.advance(bench.node.delivery.idle_timeout)
    polls.sink.held -= 1
    bench.run(1)
    assert polls.sink.closed == []


async def test_a_client_that_takes_a_little_now_and_then_is_not_closed(bench: Beats) -> None:
    slow = bench.client()
    slow.sink.full, slow.sink.held = True, 1_000
    bench.node.pause(slow.connection)
    for _ in range(5):
        bench.run(20)
        slow.sink.held -= 1
        talking(bench, slow)
    bench.run(29)
    assert slow.sink.closed == []
    bench.run(2)
    assert slow.sink.closed == [closing.SLOW_CONSUMER]


async def test_a_client_that_took_everything_starts_afresh(bench: Beats) -> None:
    client = bench.client()
    bench.node.pause(client.connection)
    bench.run(20)
    bench.node.resume(client.connection)
    bench.run(5)
    bench.node.pause(client.connection)
    bench.run(29)
    assert client.sink.closed == []


async def test_a_connection_that_is_not_admitted_in_time_is_closed(bench: Beats) -> None:
    waiting = bench.open()
    bench.run(44)
    assert waiting.sink.closed == []
    bench.run(1)
    assert waiting.sink.closed == [closing.CONNECT_TIMEOUT]
    assert bench.node.connections == {}


async def test_a_client_is_warned_once_before_its_token_ends(bench: Beats) -> None:
    client = bench.client(principal(expires_at_ms=AT_MS + 100_000))
    bench.run(39)
    assert client.sink.named("token_expiring") == []
    bench.run(30)
    assert client.sink.named("token_expiring") == [{"expiresAt": AT_MS + 100_000}]


async def test_a_client_that_got_a_newer_token_is_warned_again_before_that_one_ends(bench: Beats) -> None:
    client = bench.client(principal(expires_at_ms=AT_MS + 10_000))
    bench.run(1)
    newer = AT_MS + 90_000
    bench.tokens.known["new"] = principal(expires_at_ms=newer)
    await client.authenticate("new")
    bench.run(28)
    assert len(client.sink.named("token_expiring")) == 1
    bench.run(2)
    assert client.sink.named("token_expiring")[1:] == [{"expiresAt": newer}]
    assert client.sink.closed == []


async def test_at_its_end_a_token_closes_the_connection_with_an_error(bench: Beats) -> None:
    client = bench.client(principal(expires_at_ms=AT_MS + 5_000))
    bench.run(4)
    assert client.sink.closed == []
    bench.run(1)
    assert client.sink.events[-1] == ("error", {"code": "TOKEN_EXPIRED", "message": "the token has expired"})
    assert client.sink.closed == [closing.TOKEN_EXPIRED]


async def test_a_token_ends_when_it_says_also_if_the_wall_clock_is_corrected(bench: Beats) -> None:
    client = bench.client(principal(expires_at_ms=AT_MS + 5_000))
    bench.clock.correct_wall(-3_600_000)
    bench.run(5)
    assert client.sink.closed == [closing.TOKEN_EXPIRED]


async def test_a_heartbeat_comes_every_thirty_seconds(bench: Beats) -> None:
    client = bench.client()
    bench.run(29)
    assert client.sink.named("heartbeat") == []
    bench.run(1)
    assert client.sink.named("heartbeat") == [{"timestamp": AT_MS + 30_000}]
    bench.run(60)
    assert len(client.sink.named("heartbeat")) == 3


async def test_a_slow_client_finds_one_heartbeat_not_a_heap_of_them(bench: Beats) -> None:
    client = bench.client()
    client.sink.full = True
    bench.run(100)
    assert len(client.connection.outbox.slots) == 1
    assert client.connection.outbox.control == []


async def test_a_slow_client_finds_one_ping_before_everything_else(bench: Beats) -> None:
    slow = bench.client(sink=RecordingTransport(keepalive=PING, keepalive_interval=5))
    slow.sink.full = True
    bench.node.send(slow.connection, Frame("", b"3answer"))
    bench.run(20)
    slow.sink.full = False
    bench.node.resume(slow.connection)
    bench.flush()
    assert slow.sink.packets[:2] == ["2", "3answer"]
    assert slow.sink.packets.count("2") == 1


async def test_a_transport_gets_its_keepalive_in_its_own_rhythm_admitted_or_not(bench: Beats) -> None:
    sinks = [RecordingTransport(keepalive=PING, keepalive_interval=interval) for interval in (10, 25)]
    bench.client(sink=sinks[0])
    bench.open(sinks[1])
    bench.run(26)
    assert [sink.packets.count("2") for sink in sinks] == [2, 1]


async def test_a_transport_without_a_keepalive_gets_none(bench: Beats) -> None:
    client = bench.client(sink=RecordingTransport(keepalive=None, keepalive_interval=1))
    bench.run(10)
    assert client.sink.writes == []


async def test_silent_sources_leave_with_the_beat(bench: Beats) -> None:
    client = bench.client()
    client.subscribe("A")
    bench.aggregator.offer([quote("A")], "feed")
    bench.run(30)
    states = [payload["state"] for payload in client.sink.named("status")]
    assert states == ["live", "stale"]


async def test_the_rate_is_what_was_delivered_since_the_last_beat(bench: Beats) -> None:
    bench.client().subscribe("A")
    bench.flush()
    bench.run(1)
    for number in range(5):
        bench.publish("A", number)
        bench.flush()
    bench.run(1)
    assert bench.stats.rate == 5
    bench.run(1)
    assert bench.stats.rate == 0


async def test_the_heart_beats_until_it_is_cancelled(bench: Beats) -> None:
    assert STEP == 1.0
    task = asyncio.create_task(bench.heartbeat.run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_client_that_is_closed_does_not_keep_the_others_from_their_beat(bench: Beats) -> None:
    bench.publisher.announce([Status("A", "live", None, 5)])
    dying = bench.client(principal(expires_at_ms=AT_MS + 30_000))
    fine = bench.client()
    bench.run(30)
    assert (len(dying.sink.closed), len(fine.sink.named("heartbeat"))) == (1, 1)
