"""What becomes of a client when its connection does not last, in time that the tests own."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from marketstream_sdk import (
    AuthenticationError,
    ConnectionFailedError,
    ConnectionLostError,
    MarketDataError,
    NotConnectedError,
    Quote,
    link,
)
from marketstream_sdk.wire import TokenExpiring
from rehearsal.cases import quote
from rehearsal.stage import LOST, scene, turns

REFUSED = AuthenticationError("no", code="AUTH_FAILED")
EXPIRED = AuthenticationError("over", code="TOKEN_EXPIRED")


class Tokens:
    """Gives a new token each time it is asked, as a user's function would."""

    def __init__(self) -> None:
        self._numbers: Iterator[int] = count(1)
        self.fails = False

    async def __call__(self) -> str:
        """The next one."""
        await asyncio.sleep(0)
        if self.fails:
            raise OSError("the bank is closed")
        return f"token {next(self._numbers)}"


async def test_after_a_loss_all_is_as_before_without_anybody_noticing() -> None:
    """All symbols in one call, nothing older, nothing twice."""
    got: list[Quote] = []
    async with scene() as play, play.client.stream_quotes("C") as stream:
        await play.client.subscribe(["A", "B"], got.append)
        play.stage.price(quote("A", 5), quote("B", 5), quote("C", 5))
        await turns()
        play.stage.drop()
        await turns()
        assert play.naps.taken == [2]
        assert play.stage.calls == [("subscribe", ("C", "A", "B"))]
        play.stage.price(quote("A", 4), quote("B", 5), quote("A", 6), quote("C", 6))
        await turns()
        assert got == [quote("A", 5), quote("B", 5), quote("A", 6)]
        assert await anext(stream) == quote("C", 6)
        assert play.states == ["connecting", "connected", "reconnecting", "connected"]
        assert play.stage.connections[0].closed


async def test_the_status_is_right_at_every_step() -> None:
    async with scene(connected=False) as play:
        assert play.client.get_stream_status().state == "idle"
        await play.client.connect()
        await play.client.subscribe("A", print)
        status = play.client.get_stream_status()
        assert (status.connected, status.subscribed_symbols, status.error) == (True, ("A",), None)

        play.naps.patient = True
        play.stage.obstacles.append(LOST)
        play.stage.drop()
        await turns()
        status = play.client.get_stream_status()
        assert (status.state, status.connected, status.reconnect_attempts) == ("reconnecting", False, 1)
        assert (status.subscribed_symbols, status.wanted_symbols) == ((), ("A",))
        assert status.error is LOST
        play.naps.wake()
        await turns()
        assert play.client.get_stream_status().reconnect_attempts == 2
        play.naps.wake()
        await turns()
        status = play.client.get_stream_status()
        assert (status.state, status.reconnect_attempts, status.error) == ("connected", 0, None)
        await play.client.close()
        status = play.client.get_stream_status()
        assert (status.state, status.wanted_symbols, status.active_callbacks) == ("closed", (), 0)


async def test_an_unreachable_server_is_given_up_after_the_documented_attempts() -> None:
    async with scene(connected=False) as play:
        play.stage.obstacles.extend([LOST] * 6)
        with pytest.raises(ConnectionFailedError) as caught:
            await play.client.connect()
        assert play.naps.taken == [2, 4, 8, 16, 32]
        assert (caught.value.attempts, caught.value.last) == (5, LOST)
        assert play.states == ["connecting", "failed"]
        assert play.errors == [caught.value]
        assert play.client.get_stream_status().error is caught.value


async def test_giving_up_is_told_to_everyone_who_waits() -> None:
    async with scene() as play:
        streams = [play.client.stream_quotes("A") for _ in range(3)]
        waiting = [asyncio.create_task(_next(stream)) for stream in streams]
        await turns()
        play.stage.obstacles.extend([LOST] * 5)
        play.stage.drop()
        results = await asyncio.gather(*waiting, play.client.connect(), return_exceptions=True)
        assert [type(result) for result in results[:3]] == [ConnectionFailedError] * 3
        assert play.states[-2:] == ["reconnecting", "failed"]
        for late in (streams[0], play.client.stream_quotes("A")):
            with pytest.raises(ConnectionFailedError):
                await anext(late)
        with pytest.raises(NotConnectedError):
            await play.client.get_quote("A")


async def _next(stream: object) -> Quote:
    return await anext(stream)  # type: ignore[call-overload,no-any-return]


async def test_who_waits_for_connect_while_it_fails_receives_why() -> None:
    async with scene(connected=False) as play:
        play.stage.obstacles.extend([LOST] * 6)
        results = await asyncio.gather(*(play.client.connect() for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionFailedError] * 3
        assert len(play.stage.tokens) == 6


async def test_a_client_that_failed_can_be_connected_again_with_its_callbacks() -> None:
    got: list[Quote] = []
    async with scene() as play:
        await play.client.subscribe("A", got.append)
        play.stage.obstacles.extend([LOST] * 5)
        play.stage.drop()
        await turns()
        assert play.client.state == "failed"
        await play.client.connect()
        await turns()
        play.stage.price(quote("A", 1))
        await turns()
        assert got == [quote("A", 1)]


async def test_a_client_without_a_limit_never_gives_up() -> None:
    async with scene(connected=False, reconnect_attempts=0) as play:
        play.stage.obstacles.extend([LOST] * 40)
        await play.client.connect()
        assert play.naps.taken == [2, 4, 8, 16] + [32] * 36


async def test_a_server_that_drops_everybody_at_once_is_not_hammered() -> None:
    """The count starts anew only when the subscriptions were confirmed."""
    async with scene() as play:
        await play.client.subscribe("A", print)
        play.stage.gate.clear()
        for _ in range(5):
            play.stage.drop()
            await turns()
        assert play.naps.taken == [2, 4, 8, 16, 32]
        play.stage.gate.set()
        await turns()
        play.stage.drop()
        await turns()
        assert play.naps.taken[-1] == 2


async def test_a_refused_token_without_a_function_ends_it_at_once() -> None:
    async with scene(connected=False) as play:
        play.stage.obstacles.append(REFUSED)
        with pytest.raises(AuthenticationError) as caught:
            await play.client.connect()
        assert (caught.value, play.naps.taken, play.client.state) == (REFUSED, [], "failed")


async def test_a_function_is_asked_for_each_connection_and_once_more_after_a_refusal() -> None:
    async with scene(connected=False, token=Tokens()) as play:
        play.stage.obstacles.append(REFUSED)
        await play.client.connect()
        assert play.naps.taken == [0]
        play.stage.drop()
        await turns()
        assert play.stage.tokens == ["token 1", "token 2", "token 3"]


async def test_a_second_refusal_in_a_row_ends_it() -> None:
    async with scene(connected=False, token=Tokens()) as play:
        play.stage.obstacles.extend([REFUSED, REFUSED])
        with pytest.raises(AuthenticationError):
            await play.client.connect()
        assert play.stage.tokens == ["token 1", "token 2"]


async def test_a_token_that_ended_is_replaced_at_once_where_that_is_possible() -> None:
    async with scene(token=Tokens()) as play:
        play.stage.drop(EXPIRED)
        await turns()
        assert (play.client.state, play.naps.taken) == ("connected", [0])
        assert play.stage.tokens == ["token 1", "token 2"]


async def test_a_token_that_ended_and_cannot_be_replaced_ends_it() -> None:
    async with scene() as play:
        stream = play.client.stream_quotes("A")
        play.stage.drop(EXPIRED)
        with pytest.raises(AuthenticationError) as caught:
            await anext(stream)
        assert caught.value.code == "TOKEN_EXPIRED"
        assert play.states == ["connecting", "connected", "failed"]


async def test_a_function_that_fails_is_a_failed_attempt_and_its_words_stay_inside() -> None:
    tokens = Tokens()
    tokens.fails = True
    async with scene(connected=False, token=tokens, reconnect_attempts=1) as play:
        with pytest.raises(ConnectionFailedError) as caught:
            await play.client.connect()
        assert caught.value.last.code == "TOKEN_FUNCTION"
        assert "bank" not in str(caught.value)
        assert play.stage.tokens == []


async def test_a_function_need_not_be_asynchronous() -> None:
    async with scene(token=lambda: "plain") as play:
        assert play.stage.tokens == ["plain"]


async def test_a_token_that_ends_soon_is_replaced_on_the_same_connection() -> None:
    async with scene(token=Tokens()) as play:
        play.stage.say(TokenExpiring(1))
        await turns()
        assert play.stage.connections[0].renewed == ["token 2"]
        assert len(play.stage.connections) == 1


async def test_what_the_server_left_with_the_new_token_is_asked_for_again() -> None:
    async with scene(token=Tokens()) as play:
        await play.client.subscribe(["A", "B"], print)
        play.stage.leaves = {"B"}
        play.stage.say(TokenExpiring(1))
        await turns()
        assert play.stage.calls[-1] == ("subscribe", ("B",))


async def test_replacing_a_token_is_tried_again_until_it_is_done() -> None:
    async with scene(token=Tokens()) as play:
        play.stage.connections[0].refuses_renewal.extend([MarketDataError("not now")] * 2)
        play.stage.say(TokenExpiring(1))
        await turns()
        assert play.naps.taken == [2, 4]
        assert play.stage.connections[0].renewed == ["token 4"]


async def test_a_connection_that_does_not_come_about_in_time_is_a_failed_attempt() -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    async with scene(connected=False, token=never, connect_timeout=0.01, reconnect_attempts=1) as play:
        with pytest.raises(ConnectionFailedError, match=r"no connection within 0\.01 s"):
            await play.client.connect()


async def test_a_subscription_made_while_there_is_no_connection_is_made_good_later() -> None:
    got: list[Quote] = []
    async with scene(connected=False) as play:
        assert await play.client.subscribe("A", got.append) == ("A",)
        await play.client.connect()
        await turns()
        play.stage.price(quote("A", 1))
        await turns()
        assert got == [quote("A", 1)]


async def test_who_waits_for_an_answer_when_the_connection_breaks_waits_no_more() -> None:
    async with scene() as play:
        play.naps.patient = True
        play.stage.gate.clear()
        subscribing = asyncio.create_task(play.client.subscribe("A", print))
        await turns()
        assert not subscribing.done()
        play.stage.drop()
        async with asyncio.timeout(5):
            assert await subscribing == ("A",)


async def test_closing_while_connecting_ends_the_wait() -> None:
    async with scene(connected=False) as play:
        play.naps.patient = True
        play.stage.obstacles.append(LOST)
        connecting = asyncio.create_task(play.client.connect())
        await turns()
        await play.client.close()
        with pytest.raises(NotConnectedError):
            await connecting


async def test_a_block_that_is_cancelled_while_it_connects_leaves_nothing_behind() -> None:
    async with scene(connected=False) as play:
        play.naps.patient = True
        play.stage.obstacles.append(LOST)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), play.client:
                pass
        assert play.client.state == "closed"


async def test_a_closed_client_can_be_connected_again_and_begins_anew() -> None:
    async with scene() as play:
        await play.client.subscribe("A", print)
        await play.client.close()
        await play.client.connect()
        await turns()
        assert play.stage.calls == []


async def test_who_connects_while_the_client_is_closing_is_connected() -> None:
    async with scene() as play:
        closing = asyncio.create_task(play.client.close())
        await asyncio.sleep(0)
        await play.client.connect()
        await closing
        await turns()
        assert (play.client.state, play.client.is_connected) == ("connected", True)
        assert play.client.get_stream_status().connected


async def test_a_warning_that_comes_with_the_welcome_is_heeded() -> None:
    """A short token is warned of at once, perhaps before the connection is looked after."""
    async with scene(connected=False, token=Tokens()) as play:
        play.client.on_state(
            lambda state, _error: play.stage.say(TokenExpiring(1)) if state == "connected" else None
        )
        await play.client.connect()
        await turns()
        assert play.stage.connections[0].renewed == ["token 2"]


async def test_a_fault_of_a_transport_is_told_and_not_waited_out() -> None:
    async with scene(connected=False) as play:
        play.stage.obstacles.append(ZeroDivisionError())  # type: ignore[arg-type]  # what it must not raise
        with pytest.raises(MarketDataError, match="failed") as caught:
            await play.client.connect()
        assert caught.value.code == "INTERNAL"


async def test_what_the_server_asks_for_is_waited() -> None:
    async with scene(connected=False) as play:
        play.stage.obstacles.append(ConnectionLostError("full", code="CONNECTION_LIMIT", retry_after=9))
        await play.client.connect()
        assert play.naps.taken == [9]


async def test_a_connection_that_lasts_counts_as_in_order_though_nothing_is_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten seconds, here scaled down."""
    monkeypatch.setattr(link, "MATURE", 0.0)
    async with scene(connected=False) as play:
        play.stage.obstacles.append(LOST)
        play.stage.gate.clear()
        await play.client.subscribe("A", print)
        await play.client.connect()
        await turns()
        status = play.client.get_stream_status()
        assert (status.reconnect_attempts, status.subscribed_symbols) == (0, ())
