"""Callbacks and streams of events, and what the server is told for them."""

import asyncio
import gc
import logging
from typing import Any

import pytest

from marketstream_sdk import (
    AuthenticationError,
    ConnectionFailedError,
    ConnectionLostError,
    EventFilter,
    EventSubscriptionError,
    MarketEvent,
    NotConnectedError,
    RateLimitedError,
    RequestError,
)
from marketstream_sdk.consumer import EVERY_DEPTH
from rehearsal.cases import quote
from rehearsal.stage import Scene, scene, turns

ASKED = ("event_subscriptions", "")


def event(number: int, *matched: str) -> MarketEvent:
    return MarketEvent(str(number), "pattern", "flag", "MEDIUM", number, matched=matched)


def calls(play: Scene) -> list[tuple[str, str]]:
    """What the newest connection was told of events."""
    return play.stage.connections[-1].event_calls


def subscribed(*names: str) -> list[tuple[str, str]]:
    return [("subscribe_events", name) for name in names]


async def test_a_callback_gets_the_events_of_its_name_in_order() -> None:
    got: list[MarketEvent] = []
    async with scene() as play:
        await play.client.subscribe_events("mine", got.append, types="pattern", symbols=["aapl"])
        assert play.stage.held == {"mine": EventFilter("pattern", symbols="AAPL")}
        play.stage.tell(event(2, "mine"), event(1, "mine", "theirs"), event(3, "theirs"))
        await turns()
        assert got == [event(2, "mine"), event(1, "mine", "theirs")]
        assert play.client.get_stream_status().wanted_events == ("mine",)
        assert play.client.get_stream_status().active_callbacks == 1


async def test_an_event_comes_once_to_each_callback_however_often_it_was_sent_and_matched() -> None:
    one: list[MarketEvent] = []
    two: list[MarketEvent] = []
    async with scene() as play:
        await play.client.subscribe_events("a", one.append)
        await play.client.subscribe_events("b", one.append, types="pattern")
        await play.client.subscribe_events("b", two.append, types=["pattern"])
        both = event(1, "a", "b")
        play.stage.tell(both, both)
        play.stage.tell(both)
        await turns()
        assert (one, two) == ([both], [both])


async def test_what_goes_to_everybody_comes_once_to_each_callback_and_stream_and_to_listeners() -> None:
    got: list[MarketEvent] = []
    received: list[MarketEvent] = []
    async with scene() as play:
        play.client.on_event(received.append)
        await play.client.subscribe_events("a", got.append)
        await play.client.subscribe_events("b", got.append)
        stream = play.client.stream_events("c")
        await turns()
        play.stage.tell(event(1), event(1), event(2, "a"))
        await turns()
        assert got == [event(1), event(2, "a")]
        assert received == [event(1)]
        assert await anext(stream) == event(1)
        await stream.aclose()


async def test_who_only_listens_for_what_goes_to_everybody_subscribes_to_nothing() -> None:
    async with scene() as play:
        await turns()
        assert not play.stage.connections[0].expects_events
        remove = play.client.on_event(lambda _event: None)
        await turns()
        assert play.stage.connections[0].expects_events
        remove()
        await turns()
        assert not play.stage.connections[0].expects_events
        assert calls(play) == []


async def test_a_callback_that_raises_is_logged_and_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    got: list[MarketEvent] = []

    def bad(_event: MarketEvent) -> None:
        raise ZeroDivisionError

    async with scene() as play:
        await play.client.subscribe_events("a", bad)
        await play.client.subscribe_events("a", got.append)
        with caplog.at_level(logging.ERROR, "marketstream_sdk"):
            play.stage.tell(event(1, "a"))
            await turns()
        assert got == [event(1, "a")]
        assert "callback" in caplog.text


async def test_consumers_of_a_name_share_it_and_the_last_one_to_leave_ends_it() -> None:
    got: list[MarketEvent] = []
    async with scene() as play:
        await play.client.subscribe_events("a", got.append, types="pattern")
        async with play.client.stream_events("a", types="pattern") as stream:
            await turns()
            assert calls(play) == [ASKED, *subscribed("a")]
            await play.client.unsubscribe_events("a", got.append)
            play.stage.tell(event(1, "a"))
            assert await anext(stream) == event(1, "a")
            assert play.stage.held == {"a": EventFilter("pattern")}
        assert play.stage.held == {}
        assert got == []
        assert calls(play)[-1] == ("unsubscribe_events", "a")


async def test_another_filter_for_a_name_in_use_is_refused_here() -> None:
    async with scene() as play:
        await play.client.subscribe_events("a", print, types="pattern")
        with pytest.raises(EventSubscriptionError, match="in use with another filter") as caught:
            await play.client.subscribe_events("a", print, types="halt")
        assert (caught.value.code, caught.value.name) == ("CONFLICT", "a")
        with pytest.raises(EventSubscriptionError):
            play.client.stream_events("a")
        await play.client.unsubscribe_events("a")
        await play.client.subscribe_events("a", print, types="halt")
        assert play.stage.held == {"a": EventFilter("halt")}


async def test_an_impossible_condition_is_refused_before_anything_is_sent() -> None:
    async with scene() as play:
        with pytest.raises(ValueError, match="tiers"):
            await play.client.subscribe_events("a", print, tiers=[])
        with pytest.raises(ValueError, match="min_confidence"):
            play.client.stream_events("a", min_confidence=2)
        await turns()
        assert calls(play) == []


async def test_a_server_that_refuses_is_heard_by_who_asked() -> None:
    async with scene() as play:
        await play.client.subscribe_events("fits", print)
        play.stage.faults.append(RequestError("there are 50", code="SUBSCRIPTION_LIMIT"))
        with pytest.raises(EventSubscriptionError, match="more: there are 50") as caught:
            await play.client.subscribe_events("more", print)
        assert caught.value.code == "SUBSCRIPTION_LIMIT"
        play.stage.faults.append(RequestError("there are 50", code="SUBSCRIPTION_LIMIT"))
        with pytest.raises(EventSubscriptionError):
            await anext(play.client.stream_events("more"))
        assert play.client.get_stream_status().wanted_events == ("fits",)
        assert [type(error) for error in play.errors] == [EventSubscriptionError] * 2
        await play.client.subscribe_events("more", print)
        assert "more" in play.stage.held


async def test_a_refusal_is_heard_by_nobody_else() -> None:
    async with scene() as play:
        await play.client.subscribe_events("fits", print)
        play.stage.faults.append(RequestError("no", code="INVALID_MESSAGE"))
        bad, good = await asyncio.gather(
            play.client.subscribe_events("bad", print),
            play.client.subscribe_events("good", print),
            return_exceptions=True,
        )
        assert isinstance(bad, EventSubscriptionError)
        assert good is None


async def test_a_server_without_event_streams_refuses_whatever_is_asked() -> None:
    async with scene() as play:
        play.stage.faults.append(RequestError("unknown event", code="UNKNOWN_EVENT"))
        with pytest.raises(EventSubscriptionError) as caught:
            await play.client.subscribe_events("a", print)
        assert caught.value.code == "UNKNOWN_EVENT"
        assert play.client.state == "connected"


async def test_a_call_that_comes_too_early_is_made_again_after_the_time_that_the_server_names() -> None:
    async with scene() as play:
        play.stage.faults += [RateLimitedError(7), RateLimitedError(3)]
        await play.client.subscribe_events("a", print)
        assert play.naps.taken == [7, 3]
        assert "a" in play.stage.held


async def test_what_the_server_cannot_do_now_is_tried_again_and_told_once() -> None:
    got: list[MarketEvent] = []
    async with scene() as play:
        play.naps.patient = True
        play.stage.faults += [RequestError("later", code="UNAVAILABLE") for _ in range(2)]
        await play.client.subscribe_events("a", got.append)
        assert play.stage.held == {}
        for wait in ([2], [2, 4]):
            await turns()
            assert play.naps.taken == wait
            play.naps.wake()
            await turns()
        assert play.stage.held == {"a": EventFilter()}
        assert [error.code for error in play.errors] == ["UNAVAILABLE"]
        assert play.states == ["connecting", "connected"]
        play.stage.faults.append(RequestError("later", code="UNAVAILABLE"))
        await play.client.subscribe_events("b", got.append)
        await turns()
        assert play.naps.taken == [2, 4, 2]
        play.naps.wake()
        await turns()
        # Whether a call that failed was carried out nobody knows, so it is asked.
        assert calls(play)[-3:] == [*subscribed("b"), ASKED, *subscribed("b")]


async def test_a_change_is_told_at_once_though_an_earlier_one_waits_to_be_tried_again() -> None:
    async with scene() as play:
        play.naps.patient = True
        play.stage.faults.append(RequestError("later", code="HTTP_502"))
        await play.client.subscribe_events("a", print)
        await play.client.subscribe_events("b", print)
        assert set(play.stage.held) == {"a", "b"}


async def test_prices_do_not_wait_for_events() -> None:
    got: list[Any] = []
    async with scene() as play:
        play.naps.patient = True
        play.stage.faults.append(RequestError("later", code="BUS_UNAVAILABLE"))
        await play.client.subscribe_events("a", print)
        await play.client.subscribe("A", got.append)
        play.stage.price(quote("A", 1))
        await turns()
        assert got == [quote("A", 1)]


async def test_after_a_reconnect_nothing_is_told_to_a_server_that_remembers() -> None:
    got: list[MarketEvent] = []
    async with scene() as play:
        await play.client.subscribe_events("a", got.append)
        play.stage.drop()
        await turns()
        assert calls(play) == [ASKED]
        play.stage.tell(event(1, "a"))
        await turns()
        assert got == [event(1, "a")]


async def test_after_a_reconnect_a_server_that_has_forgotten_is_told_again() -> None:
    """Also one that holds something else; what another program of the user holds is left alone."""
    async with scene() as play:
        await play.client.subscribe_events("a", print, types="pattern")
        await play.client.subscribe_events("b", print)
        play.stage.held = {"a": EventFilter("halt"), "theirs": None}
        play.stage.drop()
        await turns()
        assert calls(play) == [ASKED, *subscribed("a", "b")]
        assert play.stage.held == {"a": EventFilter("pattern"), "theirs": None, "b": EventFilter()}


async def test_an_event_that_came_before_a_reconnect_does_not_come_again() -> None:
    got: list[MarketEvent] = []
    async with scene() as play:
        await play.client.subscribe_events("a", got.append)
        play.stage.tell(event(1, "a"))
        play.stage.drop()
        await turns()
        play.stage.tell(event(1, "a"), event(2, "a"))
        await turns()
        assert got == [event(1, "a"), event(2, "a")]


async def test_what_changes_without_a_connection_is_told_with_the_next_one() -> None:
    async with scene(connected=False) as play:
        await play.client.subscribe_events("a", print)
        await play.client.connect()
        await turns()
        assert play.stage.held == {"a": EventFilter()}
        play.naps.patient = True
        play.stage.drop()
        await turns()
        await play.client.unsubscribe_events("a")
        await play.client.subscribe_events("b", print)
        play.naps.wake()
        await turns()
        assert play.stage.held == {"b": EventFilter()}
        assert calls(play) == [ASKED, ("unsubscribe_events", "a"), *subscribed("b")]


async def test_what_is_given_up_and_wanted_again_within_a_turn_is_not_told() -> None:
    async with scene() as play:
        await play.client.subscribe_events("a", print)
        stream = play.client.stream_events("a")
        async with asyncio.TaskGroup() as group:
            group.create_task(play.client.unsubscribe_events("a", print))
            group.create_task(stream.aclose())
            group.create_task(play.client.subscribe_events("a", print))
        assert calls(play) == [ASKED, *subscribed("a")]


async def test_what_was_given_up_can_be_wanted_again() -> None:
    async with scene() as play:
        for _ in range(2):
            await play.client.subscribe_events("a", print)
            await play.client.unsubscribe_events("a")
        await play.client.subscribe_events("a", print)
        assert play.stage.held == {"a": EventFilter()}


async def test_what_was_given_up_before_the_client_is_closed_is_told_when_it_connects_again() -> None:
    async with scene() as play:
        for name in ("a", "b"):
            await play.client.subscribe_events(name, print)
        play.naps.patient = True
        play.stage.drop()
        await turns()
        await play.client.unsubscribe_events("a")
        await play.client.close()
        await play.client.connect()
        await turns()
        assert play.stage.held == {"b": EventFilter()}


async def test_what_was_given_up_and_is_wanted_again_stays_when_the_client_gives_up() -> None:
    async with scene(reconnect_attempts=1) as play:
        await play.client.subscribe_events("a", print)
        play.naps.patient = True
        play.stage.drop()
        await turns()
        await play.client.unsubscribe_events("a")
        stream = play.client.stream_events("a")
        play.stage.obstacles.append(ConnectionLostError("gone"))
        play.naps.wake()
        with pytest.raises(ConnectionFailedError):
            await anext(stream)
        await play.client.connect()
        await turns()
        assert play.stage.held == {"a": EventFilter()}


async def test_a_call_that_is_on_its_way_when_all_changes_again_ends_as_it_was_wanted_last() -> None:
    async with scene() as play:
        await play.client.subscribe_events("a", print)
        play.stage.gate.clear()
        leaving = asyncio.create_task(play.client.unsubscribe_events("a"))
        await turns()
        joining = asyncio.create_task(play.client.subscribe_events("a", print, types="halt"))
        await turns()
        play.stage.gate.set()
        await asyncio.gather(leaving, joining)
        assert play.stage.held == {"a": EventFilter("halt")}


async def test_a_subscription_of_another_program_can_be_ended_by_its_name() -> None:
    async with scene() as play:
        play.stage.held = {"old": EventFilter()}
        await play.client.unsubscribe_events("old")
        assert play.stage.held == {}
        await play.client.unsubscribe_events("never was")
        await play.client.unsubscribe_events("mine", print)
        assert calls(play) == [ASKED, ("unsubscribe_events", "old"), ("unsubscribe_events", "never was")]


async def test_an_end_that_the_server_refuses_is_heard_by_who_asked_and_not_asked_for_again() -> None:
    async with scene() as play:
        await play.client.subscribe_events("a", print)
        play.stage.faults.append(RequestError("not yours", code="NOT_ENTITLED"))
        with pytest.raises(EventSubscriptionError, match="not yours"):
            await play.client.unsubscribe_events("a")
        await turns()
        assert calls(play) == [ASKED, *subscribed("a"), ("unsubscribe_events", "a")]


async def test_closing_the_client_ends_streams_and_leaves_subscriptions_with_the_server() -> None:
    async with scene() as play:
        await play.client.subscribe_events("a", print)
        stream = play.client.stream_events("a")
        reading = asyncio.create_task(_read(stream))
        await turns()
        await play.client.close()
        assert await reading == []
        assert play.stage.held == {"a": EventFilter()}
        with pytest.raises(NotConnectedError):
            await anext(play.client.stream_events("a"))


async def _read(stream: Any) -> list[MarketEvent]:
    return [each async for each in stream]


async def test_giving_up_ends_streams_with_the_reason_and_keeps_callbacks() -> None:
    async with scene(reconnect_attempts=1) as play:
        await play.client.subscribe_events("a", print)
        stream = play.client.stream_events("b")
        await turns()
        play.stage.obstacles.append(ConnectionLostError("gone"))
        play.stage.drop()
        with pytest.raises(ConnectionFailedError):
            await anext(stream)
        play.stage.held.clear()
        await play.client.connect()
        await turns()
        assert play.stage.held == {"a": EventFilter()}


async def test_leaving_the_loop_ends_the_subscription() -> None:
    """Nobody holds the iterator after a `break`, so it leaves by itself."""
    async with scene() as play:
        stream = play.client.stream_events("a")
        await turns()
        play.stage.tell(event(1, "a"))
        async for each in stream:
            assert each == event(1, "a")
            break
        assert stream.name == "a"
        assert play.client.get_stream_status().active_streams == 1
        del stream
        gc.collect()
        await turns()
        assert play.stage.held == {}
        assert play.client.get_stream_status().active_streams == 0


async def test_what_waits_is_bounded_and_what_is_lost_is_told() -> None:
    lost: list[int] = []
    async with scene() as play, play.client.stream_events("a") as stream:
        await turns()
        remove = play.client.on_events_dropped(lost.append)
        play.stage.tell(*(event(number, "a") for number in range(EVERY_DEPTH + 3)), dropped=4)
        play.stage.tell(dropped=1)
        remove()
        play.stage.tell(dropped=1)
        assert lost == [7, 1]
        assert [(await anext(stream)).timestamp for _ in range(2)] == [3, 4]


async def test_a_token_that_is_refused_in_a_call_about_events_ends_the_connection() -> None:
    async with scene() as play:
        play.stage.faults.append(AuthenticationError("over", code="TOKEN_EXPIRED"))
        await play.client.subscribe_events("a", print)
        await turns()
        assert play.client.state == "failed"
        assert isinstance(play.errors[-1], AuthenticationError)
