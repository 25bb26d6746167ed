"""Callbacks and streams of a client that stays connected."""

import asyncio
import gc
import logging
from typing import Any

import pytest

from marketstream_sdk import (
    ChannelUpdate,
    InvalidSymbolError,
    Lagged,
    NotConnectedError,
    Quote,
    RequestError,
    SubscriptionError,
    SymbolStatus,
)
from marketstream_sdk.consumer import EVERY_DEPTH
from marketstream_sdk.reconcile import Terms
from marketstream_sdk.wire import Fault, Refused
from rehearsal.cases import quote
from rehearsal.stage import scene, turns


async def test_a_callback_gets_each_quote_once_in_order() -> None:
    got: list[Quote] = []
    async with scene() as play:
        assert await play.client.subscribe(["a", "B"], got.append) == ("A", "B")
        for number in (1, 2, 2, 1, 3):
            play.stage.price(quote("A", number))
            await turns()
    assert got == [quote("A", 1), quote("A", 2), quote("A", 3)]


async def test_a_callback_may_be_asynchronous_and_is_awaited_before_its_next_call() -> None:
    """Meanwhile others get theirs, and the newest value waits."""
    slow: list[Quote] = []
    quick: list[Quote] = []
    door = asyncio.Event()

    async def wait(each: Quote) -> None:
        await door.wait()
        slow.append(each)

    async with scene() as play:
        await play.client.subscribe("A", wait)
        await play.client.subscribe("A", quick.append)
        for number in range(1, 6):
            play.stage.price(quote("A", number))
            await turns()
        assert (slow, quick) == ([], [quote("A", number) for number in range(1, 6)])
        door.set()
        await turns()
        assert slow == [quote("A", 1), quote("A", 5)]


async def test_a_callback_that_raises_is_logged_and_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    got: list[Quote] = []
    calls: list[Quote] = []

    def bad(each: Quote) -> None:
        calls.append(each)
        raise ZeroDivisionError("mine")

    async with scene() as play:
        await play.client.subscribe("A", bad)
        await play.client.subscribe("A", got.append)
        with caplog.at_level(logging.ERROR, "marketstream_sdk"):
            for number in (1, 2):
                play.stage.price(quote("A", number))
                await turns()
    assert got == calls == [quote("A", 1), quote("A", 2)]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 2


async def test_subscribing_the_same_callback_again_adds_symbols_and_doubles_nothing() -> None:
    got: list[Quote] = []
    async with scene() as play:
        await play.client.subscribe("A", got.append)
        await play.client.subscribe(["A", "B"], got.append)
        play.stage.price(quote("A", 1), quote("B", 1))
        await turns()
        assert got == [quote("A", 1), quote("B", 1)]
        assert play.client.get_stream_status().active_callbacks == 1


async def test_a_second_consumer_sends_nothing_and_begins_with_the_last_known_quote() -> None:
    got: list[Quote] = []
    async with scene() as play:
        await play.client.subscribe("A", lambda _each: None)
        play.stage.price(quote("A", 1), quote("A", 2))
        await turns()
        await play.client.subscribe("A", got.append)
        await turns()
        assert got == [quote("A", 2)]
        assert play.stage.calls == [("subscribe", ("A",))]


async def test_the_last_consumer_to_leave_unsubscribes_and_the_others_silence_nobody() -> None:
    got: list[Quote] = []
    async with scene() as play:
        first = play.client.stream_quotes("A")
        await play.client.subscribe(["A", "B"], got.append)
        await first.aclose()
        await turns()
        play.stage.price(quote("A", 1))
        await turns()
        assert got == [quote("A", 1)]
        await play.client.unsubscribe("A")
        assert play.stage.calls[-1] == ("unsubscribe", ("A",))
        assert play.client.get_stream_status().subscribed_symbols == ("B",)


async def test_unsubscribing_one_callback_leaves_the_others_alone() -> None:
    one: list[Quote] = []
    other: list[Quote] = []
    async with scene() as play:
        await play.client.subscribe("A", one.append)
        await play.client.subscribe("A", other.append)
        await play.client.unsubscribe("A", one.append)
        play.stage.price(quote("A", 1))
        await turns()
        assert (one, other) == ([], [quote("A", 1)])


async def test_a_removed_callback_is_not_called_again_even_from_within_itself() -> None:
    got: list[Quote] = []
    async with scene() as play:

        def once(each: Quote) -> None:
            got.append(each)
            assert play.client.remove_callback(once)

        await play.client.subscribe(["A", "B"], once)
        play.stage.price(quote("A", 1), quote("B", 1))
        await turns()
        play.stage.price(quote("A", 2))
        await turns()
        assert got == [quote("A", 1)]
        assert not play.client.remove_callback(once)
        assert play.client.get_stream_status().wanted_symbols == ()


async def test_changes_of_one_turn_are_told_together() -> None:
    async with scene() as play:
        streams = [play.client.stream_quotes(symbol) for symbol in "ABC"]
        streams[1].symbols  # noqa: B018 - it is still there
        await turns()
        assert play.stage.calls == [("subscribe", ("A", "B", "C"))]


async def test_who_leaves_and_comes_back_within_a_turn_is_not_told_to_the_server() -> None:
    """It begins with the last known quote, since the server will not repeat it."""
    got: list[Quote] = []
    async with scene() as play:
        await play.client.subscribe("A", lambda _each: None)
        play.stage.price(quote("A", 1))
        await turns()
        leaving = asyncio.create_task(play.client.unsubscribe("A"))
        coming = asyncio.create_task(play.client.subscribe("A", got.append))
        await asyncio.gather(leaving, coming)
        await turns()
        assert play.stage.calls == [("subscribe", ("A",))]
        assert got == [quote("A", 1)]


async def test_who_comes_back_later_begins_with_the_current_value() -> None:
    """Not with the one from before, which nobody has kept up to date."""
    got: list[Quote] = []
    async with scene() as play:
        await play.client.subscribe("A", lambda _each: None)
        play.stage.price(quote("A", 1))
        await play.client.unsubscribe("A")
        await play.client.subscribe("A", got.append)
        await turns()
        assert got == []
        play.stage.price(quote("A", 1))
        await turns()
        assert got == [quote("A", 1)]


async def test_the_strongest_mode_and_the_highest_rate_count() -> None:
    async with scene() as play:
        one = play.client.stream_quotes("A", max_rate=2)
        await turns()
        two = play.client.stream_quotes("A", mode="every", max_rate=5)
        await turns()
        assert play.stage.connections[0].terms == {"A": Terms("every", 5)}
        await two.aclose()
        await turns()
        assert play.stage.connections[0].terms == {"A": Terms("latest", 2)}
        await one.aclose()


async def test_a_stream_that_is_too_slow_sees_the_newest_values_and_grows_no_queue() -> None:
    async with scene() as play, play.client.stream_quotes(["A", "B"]) as stream:
        await turns()
        for number in range(1, 1001):
            play.stage.price(quote("A", number), quote("B", number))
        assert [await anext(stream), await anext(stream)] == [quote("A", 1000), quote("B", 1000)]


async def test_mode_every_keeps_all_in_order_up_to_a_bound_and_says_what_was_lost() -> None:
    lagged: list[Lagged] = []
    async with scene() as play, play.client.stream_quotes("A", mode="every") as stream:
        play.client.on_lagged(lagged.append)
        await turns()
        for number in range(1, EVERY_DEPTH + 4):
            play.stage.price(quote("A", number))
        assert lagged == [Lagged("A", 1)] * 3
        assert [(await anext(stream)).mid_price for _ in range(EVERY_DEPTH)] == list(
            range(4, EVERY_DEPTH + 4)
        )


async def test_a_stream_calls_its_callback_before_the_loop_gets_the_quote() -> None:
    seen: list[tuple[str, Quote]] = []

    async def note(each: Quote) -> None:
        await asyncio.sleep(0)
        seen.append(("callback", each))

    async with scene() as play, play.client.stream_quotes("A", note) as stream:
        await turns()
        play.stage.price(quote("A", 1))
        seen.append(("loop", await anext(stream)))
    assert seen == [("callback", quote("A", 1)), ("loop", quote("A", 1))]


async def test_a_stream_whose_callback_raises_goes_on() -> None:
    def bad(_each: Quote) -> None:
        raise ZeroDivisionError

    async with scene() as play, play.client.stream_quotes("A", bad) as stream:
        await turns()
        play.stage.price(quote("A", 1))
        assert await anext(stream) == quote("A", 1)


async def test_leaving_the_loop_cleans_up() -> None:
    """Nobody holds the iterator after a `break`, so it leaves by itself."""
    async with scene() as play:
        playing = asyncio.create_task(_play(play.stage))
        async for each in play.client.stream_quotes("A"):
            assert each == quote("A", 1)
            break
        await playing
        gc.collect()
        await turns()
        assert play.client.get_stream_status().active_streams == 0
        assert play.stage.calls[-1] == ("unsubscribe", ("A",))


async def _play(stage: Any) -> None:
    await turns()
    stage.price(quote("A", 1))


async def test_streams_are_on_their_own() -> None:
    async with scene() as play:
        one, two = (play.client.stream_quotes(symbols) for symbols in (["A", "B"], ["B"]))
        await turns()
        play.stage.price(quote("B", 1), quote("A", 1))
        assert [await anext(one), await anext(one)] == [quote("B", 1), quote("A", 1)]
        assert await anext(two) == quote("B", 1)
        assert play.client.get_stream_status().active_streams == 2


async def test_a_symbol_that_is_refused_is_told_and_the_others_go_on() -> None:
    async with scene() as play:
        play.stage.refuses["X"] = "not entitled"
        assert await play.client.subscribe(["A", "X"], print) == ("A",)
        [error] = play.errors
        assert isinstance(error, SubscriptionError)
        assert (error.symbol, error.reason) == ("X", "not entitled")
        assert play.client.get_stream_status().wanted_symbols == ("A",)


async def test_when_all_symbols_are_refused_who_asked_for_them_receives_it() -> None:
    async with scene() as play:
        play.stage.refuses |= {"X": "not entitled", "Y": "invalid symbol"}
        with pytest.raises(SubscriptionError, match="X: not entitled"):
            await play.client.subscribe(["X", "Y"], print)
        stream = play.client.stream_quotes("Y")
        with pytest.raises(SubscriptionError, match="Y: invalid symbol"):
            await anext(stream)
        status = play.client.get_stream_status()
        assert (status.active_callbacks, status.active_streams, status.wanted_symbols) == (0, 0, ())


async def test_a_symbol_that_is_taken_away_later_is_left_and_told() -> None:
    async with scene() as play:
        await play.client.subscribe(["A", "B"], print)
        play.stage.say(Refused((SubscriptionError("A", "not entitled"),)))
        await turns()
        assert play.stage.calls[-1] == ("unsubscribe", ("A",))
        assert [str(error) for error in play.errors] == ["A: not entitled"]


async def test_closing_the_client_ends_streams_as_if_there_were_no_more_quotes() -> None:
    async with scene() as play:
        stream = play.client.stream_quotes("A")
        reading = asyncio.create_task(_read(stream))
        await turns()
        await play.client.disconnect_stream()
        assert play.stage.connections[0].closed
        assert await reading == []
        assert play.client.state == "closed"
        with pytest.raises(NotConnectedError):
            await anext(play.client.stream_quotes("A"))


async def _read(stream: Any) -> list[Quote]:
    return [each async for each in stream]


async def test_a_callback_may_close_its_client() -> None:
    closed = asyncio.Event()
    async with scene() as play:

        async def close(_each: Quote) -> None:
            await play.client.close()
            closed.set()

        await play.client.subscribe("A", close)
        play.stage.price(quote("A", 1))
        async with asyncio.timeout(5):
            await closed.wait()
        assert play.client.state == "closed"


async def test_closing_cancels_a_callback_that_does_not_end() -> None:
    async with scene() as play:
        started = asyncio.Event()

        async def hang(_each: Quote) -> None:
            started.set()
            await asyncio.Event().wait()

        await play.client.subscribe("A", hang)
        play.stage.price(quote("A", 1))
        await started.wait()


@pytest.mark.parametrize("bad", [[], "A B", ["A", ""]])
async def test_what_is_no_symbol_is_refused_before_anything_is_sent(bad: Any) -> None:
    async with scene() as play:
        with pytest.raises(InvalidSymbolError):
            await play.client.subscribe(bad, print)
        with pytest.raises(InvalidSymbolError):
            await play.client.unsubscribe(bad)
        with pytest.raises(InvalidSymbolError):
            play.client.stream_quotes(bad)
        with pytest.raises(InvalidSymbolError):
            await play.client.get_quote(bad if isinstance(bad, str) else "")
        await turns()
        assert play.stage.calls == []


async def test_channels_are_heard_like_symbols() -> None:
    got: list[ChannelUpdate] = []
    update = ChannelUpdate("movers", {"gainers": []}, 1)
    async with scene() as play:
        play.stage.refuses["indices"] = "not entitled"
        assert await play.client.subscribe_channels(["movers", "indices"], got.append) == ("movers",)
        play.stage.say(update)
        await turns()
        assert got == [update]
        assert play.client.get_stream_status().active_callbacks == 1
        await play.client.unsubscribe_channels("movers")
        assert play.stage.calls[-1] == ("channels", ())
        with pytest.raises(ValueError, match="channel"):
            await play.client.subscribe_channels([], got.append)


async def test_listeners_receive_what_concerns_them_until_they_are_taken_away() -> None:
    states: list[SymbolStatus] = []
    stale = SymbolStatus("A", "stale", None, 1)
    async with scene() as play:
        remove = play.client.on_status(states.append)
        play.stage.say(stale)
        remove()
        remove()
        play.stage.say(stale)
        play.stage.say(Fault("INTERNAL", "oh"))
    assert states == [stale]
    [error] = play.errors
    assert isinstance(error, RequestError)
    assert error.code == "INTERNAL"


async def test_a_listener_that_raises_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    states: list[SymbolStatus] = []

    def bad(_status: SymbolStatus) -> None:
        raise ZeroDivisionError

    async with scene() as play:
        play.client.on_status(bad)
        play.client.on_status(states.append)
        play.stage.say(SymbolStatus("A", "live", "x", 1))
    assert len(states) == 1
    assert "listener" in caplog.text


async def test_a_listener_that_would_have_to_be_awaited_is_refused_at_once() -> None:
    async def late(_status: SymbolStatus) -> None: ...

    async with scene(connected=False) as play:
        with pytest.raises(TypeError, match="plain function"):
            play.client.on_status(late)


async def test_a_quote_of_a_symbol_that_nobody_wants_any_more_is_dropped() -> None:
    async with scene() as play:
        play.stage.price(quote("A", 5))
        got: list[Quote] = []
        await play.client.subscribe("A", got.append)
        await turns()
        assert got == []
