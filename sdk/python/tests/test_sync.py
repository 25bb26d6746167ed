"""The client without `await`; the stage is played in the thread of its loop."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from marketstream_sdk import (
    AuthenticationError,
    EventFilter,
    MarketDataClient,
    MarketEvent,
    NotConnectedError,
    Quote,
    SubscriptionError,
    SyncMarketDataClient,
)
from rehearsal.cases import quote
from rehearsal.stage import Stage


@contextmanager
def script(stage: Stage) -> Iterator[SyncMarketDataClient]:
    before = set(threading.enumerate())
    with SyncMarketDataClient("http://stage", token="t", transport=stage) as client:
        yield client
    assert set(threading.enumerate()) == before


def say(client: SyncMarketDataClient, stage: Stage, *quotes: Quote) -> None:
    """Has the server say something, in the client's own time."""
    client._thread.call(lambda: stage.price(*quotes))


def test_a_for_loop_gets_quotes_and_ends_with_the_client() -> None:
    stage = Stage()
    with script(stage) as client, client.stream_quotes(["A"], timeout=5) as stream:
        client.subscribe("A", lambda _each: None)
        say(client, stage, quote("A", 1))
        assert next(stream) == quote("A", 1)
        client.disconnect_stream()
        assert list(stream) == []
        client.connect()
        assert client.is_connected


def test_waiting_for_a_quote_has_a_limit_and_the_stream_goes_on_after_it() -> None:
    stage = Stage()
    with script(stage) as client, client.stream_quotes("A", timeout=0.01) as stream:
        with pytest.raises(TimeoutError):
            next(stream)
        client.subscribe("A", lambda _each: None)
        say(client, stage, quote("A", 1))
        assert next(stream) == quote("A", 1)


async def test_it_works_where_a_loop_is_running_already() -> None:
    stage = Stage()
    with script(stage) as client:
        assert client.subscribe(["a"], print) == ("A",)
        assert client.get_stream_status().wanted_symbols == ("A",)
        client.unsubscribe("A")
        assert client.subscribe_channels("movers", print) == ("movers",)
        client.unsubscribe_channels("movers")
        assert not client.remove_callback(print)
        assert repr(client) == "<SyncMarketDataClient http://stage connected>"


def test_a_callback_may_change_subscriptions_and_must_not_wait() -> None:
    stage = Stage()
    faults: list[str] = []
    done = threading.Event()
    with script(stage) as client:

        def callback(each: Quote) -> None:
            try:
                client.get_quote(each.symbol)
            except RuntimeError as error:
                faults.append(str(error))
            assert client.remove_callback(callback)
            done.set()

        client.subscribe("A", callback)
        say(client, stage, quote("A", 1))
        assert done.wait(5)
        assert client.get_stream_status().active_callbacks == 0
    assert len(faults) == 1
    assert "callback" in faults[0]


def test_errors_are_those_of_the_client() -> None:
    stage = Stage()
    stage.refuses["X"] = "not entitled"
    with script(stage) as client, pytest.raises(SubscriptionError):
        client.subscribe("X", print)
    with pytest.raises(NotConnectedError):
        client.get_quote("A")
    assert client.state == "closed"
    client.close()


def test_a_client_that_cannot_be_made_or_connected_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="address"):
        SyncMarketDataClient("nowhere", token="t")
    stage = Stage()
    stage.obstacles.append(AuthenticationError("no"))
    with (
        pytest.raises(AuthenticationError),
        SyncMarketDataClient("http://stage", token="t", transport=stage),
    ):
        pass
    assert set(threading.enumerate()) == before


def test_listeners_are_told_until_they_are_taken_away() -> None:
    stage = Stage()
    states: list[str] = []
    with script(stage) as client:
        for listen in (client.on_error, client.on_status, client.on_lagged):
            listen(lambda _told: None)()
        remove = client.on_state(lambda state, _error: states.append(state))
        client.disconnect_stream()
        remove()
        client.connect()
    assert states == ["closed"]


def test_a_stream_needs_an_event_loop_and_says_so() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        MarketDataClient("http://stage", token="t").stream_quotes("A")


def test_events_come_to_callbacks_and_loops() -> None:
    stage = Stage()
    flag = MarketEvent("1", "pattern", "flag", "HIGH", 1, matched=("mine", "yours"))
    halt = MarketEvent("2", "halt", "all", "CRITICAL", 2)
    called: list[MarketEvent] = []
    received: list[MarketEvent] = []
    lost: list[int] = []
    with script(stage) as client:
        client.subscribe_events("mine", called.append, types="pattern", min_priority="LOW")
        removes = [client.on_event(received.append), client.on_events_dropped(lost.append)]
        with client.stream_events("yours", tiers="daily", timeout=5) as stream:
            client.get_stream_status()
            client._thread.call(lambda: stage.tell(flag, halt, dropped=3))
            assert [next(stream), next(stream)] == [flag, halt]
        assert stage.held == {"mine": EventFilter("pattern", min_priority="LOW")}
        client.unsubscribe_events("mine")
        assert stage.held == {}
        removes[0]()
        client._thread.call(lambda: stage.tell(halt))
    assert (called, received, lost) == ([flag, halt], [halt], [3])
    for remove in removes:
        remove()
