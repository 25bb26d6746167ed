"""The Alpaca feed against a server that speaks its protocol, and that server against Alpaca's own client."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType
from structlog.testing import capture_logs

from marketstream.core.market.model import Quote
from marketstream.engine.market.supervisor import Supervisor
from marketstream.errors import FeedError, FeedLostError
from marketstream.feeds import alpaca as module
from marketstream.feeds.alpaca import BUSY_WAIT, PATIENCE, SILENCE, Access, AlpacaFeed
from marketstream.observability.clock import SystemClock
from tests.conformance.stream import streaming
from tests.support.alpaca import KEY, SECRET, FakeAlpaca, Line, error, quote, serving_alpaca, trade
from tests.support.builders import Bench
from tests.support.clock import PatientClock
from tests.support.eventually import eventually, scaled
from tests.support.server import running_server
from tests.support.sink import RecordingSink

HOUR_MS = 3_600_000
TURNS_TO_END = 20


@pytest.fixture
async def vendor() -> AsyncIterator[FakeAlpaca]:
    """The vendor."""
    async with serving_alpaca() as fake:
        yield fake


class Harness:
    """A feed, its sink and its clock, run by hand: one `run` at a time, as the supervisor does it."""

    def __init__(self, vendor: FakeAlpaca, **options: Any) -> None:
        self.clock = PatientClock()
        self.sink = RecordingSink()
        access = Access(vendor.url, KEY, options.pop("secret", SECRET), options.pop("by_headers", False))
        self.feed = AlpacaFeed(
            access=access, source="alpaca-iex", clock=self.clock, sleep=self.clock.sleep, **options
        )

    @property
    def at_ms(self) -> int:
        """Now, for what the vendor sends."""
        return self.clock.wall_ms()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """The feed runs inside the block."""
        task = asyncio.create_task(self.feed.run(self.sink))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def end(self, task: asyncio.Task[None]) -> str:
        """Waits until the connection is lost; says why."""
        async with asyncio.timeout(scaled(5)):
            with pytest.raises(FeedLostError) as caught:
                await task
        return str(caught.value)

    async def pass_time(self, seconds: float, line: Line | None = None) -> None:
        """Lets time pass a second at a time; whoever sleeps that long has his turn each time."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        for _ in range(TURNS_TO_END):
            await asyncio.sleep(0)
        assert line is None or not line.ended


@pytest.fixture
async def harness(vendor: FakeAlpaca) -> Harness:
    """A feed that has not been started."""
    return Harness(vendor)


async def heard(line: Line, action: str) -> None:
    """Waits until a request of a kind was read."""
    await eventually(lambda: any(each.get("action") == action for each in line.requests), what=action)


@pytest.mark.parametrize("by_headers", [False, True])
async def test_the_keys_go_by_message_or_by_headers(vendor: FakeAlpaca, by_headers: bool) -> None:  # noqa: FBT001  # a parameter of the test
    harness = Harness(vendor, by_headers=by_headers)
    async with harness.running():
        line = await vendor.line()
        await eventually(lambda: harness.feed.status().connected)
        assert [each.get("action") for each in line.requests] == ([] if by_headers else ["auth"])
        assert ("APCA-API-SECRET-KEY" in line.headers) is by_headers
    assert harness.sink.signs == 1, "it is alive before anybody watches anything"
    assert not harness.feed.status().connected


async def test_what_is_watched_is_subscribed_and_its_prices_are_offered(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    await harness.sink.want("AAPL", "EUR/USD")
    async with harness.running():
        line = await vendor.subscribed({"AAPL"})
        assert line.streams["quotes"] == line.streams["trades"] == {"AAPL"}
        await line.send(quote("AAPL", 1, 2, harness.at_ms), trade("AAPL", 1.5, harness.at_ms + 1))
        await harness.sink.until(2)
        assert len(harness.sink.offers) == 1, "a frame is one offer"
        first = Quote("AAPL", "alpaca-iex", 1, 1, 2, 1, harness.at_ms)
        second = Quote("AAPL", "alpaca-iex", 1, 1, 2, 1, harness.at_ms + 1, last=1.5)
        assert harness.sink.quotes == [first, second]
        status = harness.feed.status()
    assert (status.connected, status.symbols, status.left_out, status.attempts) == (True, 1, 0, 1)
    assert status.last_ms == harness.at_ms
    assert status.skipped == 0


async def test_subscriptions_follow_what_is_watched(vendor: FakeAlpaca, harness: Harness) -> None:
    await harness.sink.want("AAPL")
    async with harness.running():
        await vendor.subscribed({"AAPL"})
        await harness.sink.want("MSFT", "SPY")
        await vendor.subscribed({"AAPL", "MSFT", "SPY"})
        await harness.sink.unwant("AAPL", "SPY")
        await vendor.subscribed({"MSFT"})
        await harness.sink.unwant("MSFT")
        line = await vendor.subscribed(set())
        await eventually(lambda: harness.feed.status().symbols == 0)
        assert harness.feed.status().connected, "an account is let in once, not for each symbol"
        assert not line.ended


async def test_what_comes_after_a_symbol_was_given_up_is_left_out(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    await harness.sink.want("AAPL", "MSFT")
    async with harness.running():
        line = await vendor.subscribed({"AAPL", "MSFT"})
        vendor.answering.clear()
        await harness.sink.unwant("AAPL")
        await heard(line, "unsubscribe")
        await line.send(quote("AAPL", 1, 2, harness.at_ms), quote("MSFT", 3, 4, harness.at_ms))
        await harness.sink.until(1)
        vendor.answering.set()
        await vendor.subscribed({"MSFT"})
        await line.send(quote("AAPL", 1, 2, harness.at_ms), quote("MSFT", 5, 6, harness.at_ms))
        await harness.sink.until(2)
    assert [each.symbol for each in harness.sink.quotes] == ["MSFT", "MSFT"]


async def test_sides_from_before_a_symbol_was_given_up_do_not_come_back_with_it(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    await harness.sink.want("AAPL", "MSFT")
    async with harness.running():
        line = await vendor.subscribed({"AAPL", "MSFT"})
        await line.send(quote("AAPL", 1, 2, harness.at_ms))
        await harness.sink.until(1)
        await harness.sink.unwant("AAPL")
        await vendor.subscribed({"MSFT"})
        await harness.sink.want("AAPL")
        await vendor.subscribed({"AAPL", "MSFT"})
        await line.send(trade("AAPL", 5, harness.at_ms + 1), quote("MSFT", 3, 4, harness.at_ms))
        await harness.sink.until(2)
    assert [each.symbol for each in harness.sink.quotes] == ["AAPL", "MSFT"]


async def test_interest_that_changes_while_an_answer_is_awaited_is_honoured_after_it(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    vendor.answering.clear()
    await harness.sink.want("AAPL")
    async with harness.running():
        line = await vendor.line()
        await heard(line, "subscribe")
        await harness.sink.want("MSFT")
        await harness.sink.unwant("AAPL")
        await harness.sink.want("SPY")
        vendor.answering.set()
        await vendor.subscribed({"MSFT", "SPY"})


async def test_interest_that_changes_while_disconnected_is_honoured_after_it(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    await harness.sink.want("AAPL", "MSFT")
    async with harness.running() as task:
        line = await vendor.subscribed({"AAPL", "MSFT"})
        await eventually(lambda: harness.feed.status().symbols == 2)
        line.abort()
        await harness.end(task)
    assert (harness.feed.status().connected, harness.feed.status().symbols) == (False, 0)
    await harness.sink.unwant("AAPL")
    await harness.sink.want("SPY")
    async with harness.running():
        again = await vendor.subscribed({"MSFT", "SPY"}, number=2)
    assert [each.get("action") for each in again.requests] == ["auth", "subscribe"], "one request says it all"
    assert harness.feed.status().attempts == 2


async def test_sides_from_before_a_gap_do_not_look_new_after_it(vendor: FakeAlpaca, harness: Harness) -> None:
    await harness.sink.want("AAPL")
    async with harness.running() as task:
        line = await vendor.subscribed({"AAPL"})
        await line.send(quote("AAPL", 1, 2, harness.at_ms))
        await harness.sink.until(1)
        line.abort()
        await harness.end(task)
    async with harness.running():
        line = await vendor.subscribed({"AAPL"}, number=2)
        await line.send(trade("AAPL", 5, harness.at_ms + 1))
        await line.send(quote("AAPL", 4, 6, harness.at_ms + 2))
        await harness.sink.until(2)
    assert harness.sink.quotes[1] == Quote("AAPL", "alpaca-iex", 4, 1, 6, 1, harness.at_ms + 2, last=5)


@pytest.mark.parametrize("way", ["goodbye", "abort"])
async def test_a_connection_that_ends_is_one_to_be_made_again(
    vendor: FakeAlpaca, harness: Harness, way: str
) -> None:
    async with harness.running() as task:
        await eventually(lambda: harness.feed.status().connected)
        line = await vendor.line()
        if way == "goodbye":
            await line.close()
        else:
            line.abort()
        assert "the connection was closed" in await harness.end(task)
    assert not harness.feed.status().connected


async def test_what_was_said_before_the_end_is_heard(vendor: FakeAlpaca, harness: Harness) -> None:
    await harness.sink.want("AAPL")
    async with harness.running() as task:
        line = await vendor.subscribed({"AAPL"})
        await eventually(lambda: harness.feed.status().symbols)
        for number in range(20):
            await line.send(quote("AAPL", 1 + number, 30, harness.at_ms))
        await line.close()
        await harness.end(task)
    assert len(harness.sink.quotes) == 20


async def test_a_server_that_is_not_there_is_one_to_be_tried_again(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    vendor.url = vendor.url.replace("/v2/iex", "/v2/nowhere")
    lost = Harness(vendor)
    async with lost.running() as task:
        assert "404" in await lost.end(task)
    assert harness.feed.status().attempts == 0


async def errors_after(harness: Harness, vendor: FakeAlpaca, code: int) -> BaseException:
    """What the feed makes of an error in the middle of everything."""
    await harness.sink.want("AAPL")
    async with harness.running() as task:
        line = await vendor.subscribed({"AAPL"})
        await eventually(lambda: harness.feed.status().symbols)
        await line.send({"T": "error", "code": code, "msg": "so it is"})
        async with asyncio.timeout(scaled(5)):
            await asyncio.wait([task])
        error = task.exception()
    assert error is not None
    assert str(error) == f"alpaca-iex: error {code}: so it is"
    return error


@pytest.mark.parametrize("code", [402, 409, 411])
async def test_errors_that_will_be_the_same_next_time_are_final(
    vendor: FakeAlpaca, harness: Harness, code: int
) -> None:
    assert isinstance(await errors_after(harness, vendor, code), FeedError)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 407, 408, 410, 500, 499])
async def test_other_errors_are_worth_another_connection(
    vendor: FakeAlpaca, harness: Harness, code: int
) -> None:
    error = await errors_after(harness, vendor, code)
    assert isinstance(error, FeedLostError)
    assert error.wait == 0


async def test_keys_that_are_not_known_are_final_and_do_not_show(vendor: FakeAlpaca) -> None:
    harness = Harness(vendor, secret="wrong-secret")
    with capture_logs() as logs:
        async with harness.running() as task:
            await asyncio.wait([task], timeout=scaled(5))
            error = task.exception()
    assert isinstance(error, FeedError)
    assert "402" in str(error)
    assert "wrong-secret" not in f"{error!r} {logs} {harness.feed.access!r}"


async def test_a_second_connection_of_an_account_waits_longer(vendor: FakeAlpaca, harness: Harness) -> None:
    """The first one may be another process of ours that is on its way out."""
    first = Harness(vendor)
    async with first.running():
        await eventually(lambda: first.feed.status().connected)
        async with harness.running() as task:
            assert "406" in await harness.end(task)
            error = task.exception()
            assert isinstance(error, FeedLostError)
            assert error.wait == BUSY_WAIT
        assert first.feed.status().connected
    async with harness.running():
        await eventually(lambda: harness.feed.status().connected)


async def test_no_more_than_the_cap_is_asked_for_and_who_had_a_place_keeps_it(vendor: FakeAlpaca) -> None:
    """30 streams on two channels are 15 symbols."""
    harness = Harness(vendor)
    symbols = [f"S{number:02}" for number in range(20)]
    await harness.sink.want(*symbols[5:])
    async with harness.running() as task:
        line = await vendor.subscribed(set(symbols[5:]))
        await harness.sink.want(*symbols)
        await eventually(lambda: harness.feed.status().left_out == 5)
        assert line.symbols == set(symbols[5:])
        await harness.sink.unwant("S05", "S06")
        await vendor.subscribed({"S00", "S01", *symbols[7:]})
        line.abort()
        await harness.end(task)
    async with harness.running():
        await vendor.subscribed({"S00", "S01", *symbols[7:]}, number=2)
        assert harness.feed.status().left_out == 3


async def test_a_cap_that_is_lower_than_configured_is_found(vendor: FakeAlpaca) -> None:
    """What is refused changes nothing: the prior subscriptions stay."""
    vendor.cap = 10
    harness = Harness(vendor, cap=None)
    await harness.sink.want("ZZZ")
    async with harness.running():
        line = await vendor.subscribed({"ZZZ"})
        await harness.sink.want(*(f"S{number}" for number in range(8)))
        await eventually(lambda: harness.feed.status().symbols == 5)
        assert line.symbols == {"ZZZ", "S0", "S1", "S2", "S3"}
        await line.send(quote("ZZZ", 1, 2, harness.at_ms), quote("S3", 1, 2, harness.at_ms))
        await harness.sink.until(2)
        assert harness.feed.status().left_out == 4
        assert harness.feed.status().connected


async def test_who_does_not_fit_is_said_to_be_lacking_whenever_that_changes(vendor: FakeAlpaca) -> None:
    harness = Harness(vendor, cap=2)
    await harness.sink.want("A")
    async with harness.running():
        await vendor.subscribed({"A"})
        await harness.sink.want("B")
        await eventually(lambda: harness.sink.lacking == {"B"})
        await harness.sink.unwant("A")
        await vendor.subscribed({"B"})
        assert not harness.sink.lacking


async def test_who_does_not_fit_into_an_account_without_room_is_lacking(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    vendor.cap = 1
    await harness.sink.want("A")
    async with harness.running():
        await eventually(lambda: harness.sink.lacking == {"A"})


async def test_a_refused_request_is_no_answer_that_is_still_awaited(vendor: FakeAlpaca) -> None:
    vendor.cap = 2
    harness = Harness(vendor)
    await harness.sink.want("ZZZ")
    async with harness.running():
        line = await vendor.subscribed({"ZZZ"})
        await harness.sink.want("AAPL")
        await eventually(lambda: harness.feed.status().left_out == 1)
        await harness.pass_time(PATIENCE + 1, line)
        assert harness.feed.status().connected
        assert line.symbols == {"ZZZ"}


async def test_a_slow_client_comes_back_with_half_and_with_all_after_a_healthy_minute(
    vendor: FakeAlpaca,
) -> None:
    harness = Harness(vendor, cap=None)
    symbols = {f"S{number}" for number in range(8)}
    await harness.sink.want(*symbols)
    async with harness.running() as task:
        line = await vendor.subscribed(symbols)
        await eventually(lambda: harness.feed.status().symbols == 8)
        await line.send({"T": "error", "code": 407, "msg": "slow client"})
        assert "407" in await harness.end(task)
    async with harness.running() as task:
        line = await vendor.subscribed({"S0", "S1", "S2", "S3"}, number=2)
        await eventually(lambda: harness.feed.status().left_out == 4)
        for _ in range(6):
            await line.send(quote("S0", 1, 2, harness.at_ms))
            await harness.sink.until(len(harness.sink.quotes) + 1)
            await harness.pass_time(10, line)
        line.abort()
        await harness.end(task)
    async with harness.running():
        await vendor.subscribed(symbols, number=3)


async def test_a_peer_that_does_not_answer_is_given_up(vendor: FakeAlpaca, harness: Harness) -> None:
    vendor.listening.clear()
    async with harness.running() as task:
        line = await vendor.line()
        await harness.pass_time(PATIENCE - 1, line)
        assert not task.done()
        await harness.pass_time(1)
        assert "no answer for 10 s" in await harness.end(task)


async def test_a_request_that_is_not_answered_ends_the_connection(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    async with harness.running() as task:
        await eventually(lambda: harness.feed.status().connected)
        await harness.pass_time(PATIENCE + 1, await vendor.line())
        assert harness.feed.status().connected, "nothing was asked"
        vendor.answering.clear()
        await harness.sink.want("AAPL")
        await heard(await vendor.line(), "subscribe")
        await harness.pass_time(PATIENCE + 1)
        assert "no answer" in await harness.end(task)


async def test_a_silent_market_is_no_lost_connection(vendor: FakeAlpaca, harness: Harness) -> None:
    """At night nothing comes for hours; the answers to pings tell a quiet vendor from a lost one."""
    await harness.sink.want("AAPL")
    async with harness.running():
        line = await vendor.subscribed({"AAPL"})
        await eventually(lambda: harness.feed.status().symbols)
        session = harness.feed._session
        assert session is not None
        for _ in range(10):
            await harness.pass_time(SILENCE / 2 + 1, line)
            await eventually(lambda: session._received_at == harness.clock.now(), what="the answer to a ping")
        assert harness.feed.status().connected


async def test_a_deaf_connection_is_given_up(vendor: FakeAlpaca, harness: Harness) -> None:
    await harness.sink.want("AAPL")
    async with harness.running() as task:
        line = await vendor.subscribed({"AAPL"})
        await eventually(lambda: harness.feed.status().symbols)
        line.deaf = True
        await harness.pass_time(SILENCE - 1, line)
        assert harness.feed.status().connected
        await harness.pass_time(1)
        assert "not a byte for 30 s" in await harness.end(task)


async def test_a_silent_stream_is_given_up_where_that_was_asked_for(vendor: FakeAlpaca) -> None:
    harness = Harness(vendor, mute_after=20.0)
    async with harness.running() as task:
        await eventually(lambda: harness.feed.status().connected)
        await harness.pass_time(25, await vendor.line())
        assert harness.feed.status().connected, "nothing is subscribed"
        await harness.sink.want("AAPL")
        line = await vendor.subscribed({"AAPL"})
        await eventually(lambda: harness.feed.status().symbols)
        await harness.pass_time(13, line)
        await line.send(quote("AAPL", 1, 2, harness.at_ms))
        await harness.sink.until(1)
        await harness.pass_time(13, line)
        await line.send({"T": "success", "msg": "not a price"})
        await eventually(lambda: harness.feed.status().last_ms == harness.at_ms)
        assert harness.feed.status().connected
        await harness.pass_time(7)
        assert "no price for 20 s" in await harness.end(task)


async def test_garbage_is_counted_and_costs_nothing_else(vendor: FakeAlpaca, harness: Harness) -> None:
    await harness.sink.want("AAPL")
    with capture_logs() as logs:
        async with harness.running():
            line = await vendor.subscribed({"AAPL"})
            await eventually(lambda: harness.feed.status().symbols)
            for frame in (b"\xff\x00", b"{}", b"", json.dumps([{"T": "q"}, 7]).encode()):
                await line.send_raw(frame)
            bad = quote("AAPL", 1, 2, harness.at_ms) | {"bp": "1"}
            await line.send(bad, quote("AAPL", 1, 2, harness.at_ms))
            await harness.sink.until(1)
            assert harness.feed.status().skipped == 6
            assert harness.feed.status().connected
    assert [each["event"] for each in logs].count("feed_message_skipped") == 1


async def test_what_is_given_back_and_kept_by_the_vendor_ends_the_connection(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    vendor.clinging = True
    await harness.sink.want("AAPL")
    async with harness.running() as task:
        await vendor.subscribed({"AAPL"})
        await harness.sink.unwant("AAPL")
        assert "still there" in await harness.end(task)


async def test_a_symbol_that_the_vendor_does_not_have_costs_the_others_nothing(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    vendor.ignored = {"NOPE"}
    await harness.sink.want("AAPL", "NOPE")
    async with harness.running():
        line = await vendor.subscribed({"AAPL"})
        await harness.sink.want("MSFT")
        await vendor.subscribed({"AAPL", "MSFT"})
        assert len(line.requests) == 3


async def test_a_backlog_that_grows_too_long_ends_the_connection(
    vendor: FakeAlpaca, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits that long is old, and what is left out may be an answer: to start anew is better."""
    await harness.sink.want("AAPL")
    async with harness.running() as task:
        line = await vendor.subscribed({"AAPL"})
        await eventually(lambda: harness.feed.status().symbols)
        monkeypatch.setattr(module, "BACKLOG", 1000)
        for number in range(20):
            await line.send(quote("AAPL", 1, 2, harness.at_ms))
            await harness.sink.until(number + 1)
        await line.send(*(quote("AAPL", 1, 2, harness.at_ms) for _ in range(10)))
        assert "faster than they can be parsed" in await harness.end(task)
    assert len(harness.sink.quotes) == 20, "what was taken in time was offered, and nothing of what was not"


async def test_a_clock_an_hour_behind_ours_changes_nothing(vendor: FakeAlpaca, harness: Harness) -> None:
    """Times only order the prices of one source; how old a source is counts from when it was heard."""
    await harness.sink.want("AAPL")
    async with harness.running():
        line = await vendor.subscribed({"AAPL"})
        with capture_logs() as logs:
            await line.send(quote("AAPL", 1, 2, harness.at_ms - HOUR_MS))
            await harness.sink.until(1)
        assert harness.sink.quotes[0].at_ms == harness.at_ms - HOUR_MS
        status = harness.feed.status()
        assert (status.skipped, status.ahead, status.offset_ms) == (0, 0, -HOUR_MS)
        assert [(each["event"], each["seconds"]) for each in logs] == [("feed_clock_off", -3600)]


async def test_a_clock_an_hour_ahead_of_ours_costs_its_prices_until_it_is_right(
    vendor: FakeAlpaca, harness: Harness
) -> None:
    """One of them, once taken, would make everything late for an hour after the clock was put right."""
    await harness.sink.want("AAPL")
    async with harness.running():
        line = await vendor.subscribed({"AAPL"})
        await line.send(quote("AAPL", 1, 2, harness.at_ms + HOUR_MS))
        await eventually(lambda: harness.feed.status().ahead == 1)
        assert (harness.feed.status().skipped, harness.feed.status().offset_ms) == (1, HOUR_MS)
        await line.send(quote("AAPL", 3, 4, harness.at_ms))
        await harness.sink.until(1)
        assert harness.sink.quotes[0].bid == 3


@pytest.mark.parametrize("moment", ["connecting", "connected", "subscribed"])
async def test_it_ends_promptly_when_cancelled(vendor: FakeAlpaca, harness: Harness, moment: str) -> None:
    if moment == "connecting":
        vendor.listening.clear()
    await harness.sink.want(*(["AAPL"] if moment == "subscribed" else []))
    async with harness.running() as task:
        await vendor.line()
        if moment == "connected":
            await eventually(lambda: harness.feed.status().connected)
        if moment == "subscribed":
            await vendor.subscribed({"AAPL"})
        task.cancel()
        async with asyncio.timeout(scaled(2)):
            with pytest.raises(asyncio.CancelledError):
                await task


class Care:
    """A supervised feed, in an engine with clients; waits between two tries are the test's to end."""

    def __init__(self, vendor: FakeAlpaca, secret: str = SECRET) -> None:
        self.bench = Bench()
        self.slept: list[float] = []
        self.supervisor = Supervisor(
            aggregator=self.bench.aggregator,
            interest=self.bench.node.interest,
            caught_up=self.bench.node.caught_up,
            clock=self.bench.clock,
            sleep=self._sleep,
        )
        self._clock = PatientClock()
        self.feed = AlpacaFeed(
            access=Access(vendor.url, KEY, secret),
            source="alpaca-iex",
            clock=self._clock,
            sleep=self._clock.sleep,
        )
        self.name = self.supervisor.register(self.feed)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.bench.clock.sleep(seconds)

    def is_in(self, state: str) -> Callable[[], bool]:
        """Asks whether the feed is in a state."""
        return lambda: self.supervisor.feeds[self.name].state == state

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Supervised inside the block."""
        task = asyncio.create_task(self.supervisor.run(self.feed, self.name))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_the_state_of_the_feed_is_known_and_its_prices_reach_clients(vendor: FakeAlpaca) -> None:
    care = Care(vendor)
    client = care.bench.client()
    async with care.running():
        await eventually(care.is_in("live"), what="to be live without a price")
        client.subscribe("AAPL")
        line = await vendor.subscribed({"AAPL"})
        at_ms = care.bench.clock.wall_ms()
        await line.send(quote("AAPL", 1, 2, at_ms), trade("AAPL", 1.5, at_ms))
        await eventually(lambda: care.bench.stats.quotes[care.name] == 2)
        care.bench.flush()
        assert client.sink.named("price")[-1]["bestBid"]["source"] == "alpaca-iex"
        health = care.supervisor.feeds[care.name]
        assert health.status is not None
        assert health.status().symbols == 1
        line.abort()
        await vendor.subscribed({"AAPL"}, number=2)
        await eventually(care.is_in("live"), what="to be live again without a price")
        assert (health.restarts, health.status().attempts) == (1, 2)
        assert 2 <= care.slept[0] <= 2.2
    care.supervisor.stand_by()
    assert care.supervisor.feeds[care.name].status is None


async def test_a_feed_without_good_keys_has_failed_for_good(vendor: FakeAlpaca) -> None:
    care = Care(vendor, secret="wrong")
    async with care.running():
        await eventually(care.is_in("failed"))
    assert care.supervisor.feeds[care.name].detail == "alpaca-iex: error 402: auth failed"
    assert len(vendor.lines) == 1


async def test_an_account_in_use_elsewhere_is_tried_once_a_minute(vendor: FakeAlpaca) -> None:
    vendor.connections = 0
    care = Care(vendor)
    async with care.running():
        await vendor.line(3)
        await eventually(lambda: len(care.slept) >= 3)
        assert care.slept[:3] == [BUSY_WAIT] * 3
        vendor.connections = 1
        await eventually(care.is_in("live"))


async def test_the_server_of_these_tests_keeps_the_rules_of_the_handshake(vendor: FakeAlpaca) -> None:
    """Who does not present itself is sent away, and who asks for anything before that is told so."""
    vendor.auth_timeout = 0.1
    async with ClientSession() as http, http.ws_connect(vendor.url) as socket:
        assert await socket.receive_json() == [{"T": "success", "msg": "connected"}]
        await socket.send_json({"action": "subscribe", "quotes": ["AAPL"]})
        assert await socket.receive_json() == [error(401)]
        assert await socket.receive_json() == [error(404)]
        assert (await socket.receive()).type is WSMsgType.CLOSE
    assert (await vendor.line()).symbols == set()


async def test_a_running_server_has_prices_of_the_vendor(vendor: FakeAlpaca) -> None:
    """The whole way: a flag and two variables in, a price on a client's stream out."""
    env = {"ALPACA_API_KEY": KEY, "ALPACA_API_SECRET": SECRET}
    feed = f"alpaca?url={vendor.url}&channels=quotes,trades,dailyBars&auth=headers"
    async with running_server(feeds=[feed], env=env) as server, streaming(server, "AAPL") as reader:
        line = await vendor.subscribed({"AAPL"})
        at_ms = SystemClock().wall_ms()
        await line.send(quote("AAPL", 1, 2, at_ms))
        assert (await reader.event()).data["bestAsk"] == {"price": 2, "size": 1, "source": "alpaca-iex"}
        async with ClientSession(server.url) as http:
            async with http.get("/readyz") as answer:
                ready = await answer.json()
            async with http.get("/metrics") as answer:
                figures = await answer.text()
    assert ready["feeds"] == {"alpaca": "live"}
    stream = ready["streams"]["alpaca"]
    assert at_ms <= stream.pop("lastMessage") <= SystemClock().wall_ms()
    assert -60_000 < stream.pop("clockOffset") <= 0
    counts = {"symbols": 1, "leftOut": 0, "attempts": 1, "skipped": 0, "ahead": 0}
    assert stream == {"connected": True} | counts
    assert 'upstream_connected{feed="alpaca"} 1.0' in figures
    assert SECRET not in "".join(server.log)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_server_of_these_tests_gets_along_with_the_vendors_own_client(
    vendor: FakeAlpaca, caplog: pytest.LogCaptureFixture
) -> None:
    """Else the feed might get along with nothing but this server."""
    # Here and not above, as importing it already warns of something.
    from alpaca.data.live import StockDataStream  # noqa: PLC0415  # as said

    caplog.set_level(logging.CRITICAL, "alpaca")
    got: list[Any] = []

    async def keep(item: Any) -> None:
        got.append(item)

    client = StockDataStream(KEY, SECRET, url_override=vendor.url)
    client.subscribe_quotes(keep, "AAPL", "MSFT")
    client.subscribe_trades(keep, "AAPL")
    # Its subscribe calls deadlock in its own loop: it has a thread and a loop to itself.
    running = asyncio.create_task(asyncio.to_thread(client.run))
    line = await vendor.subscribed({"AAPL", "MSFT"})
    at_ms = 1_709_564_645_678
    await line.send(quote("AAPL", 1, 2, at_ms, size=3), trade("AAPL", 1.5, at_ms))
    await eventually(lambda: len(got) == 2)
    assert (got[0].symbol, got[0].bid_price, got[0].ask_price, got[0].bid_size) == ("AAPL", 1, 2, 3)
    assert (got[1].price, got[1].timestamp.timestamp()) == (1.5, pytest.approx(at_ms / 1000, abs=0.001))
    await asyncio.to_thread(client.unsubscribe_quotes, "MSFT")
    await eventually(lambda: line.streams["quotes"] == {"AAPL"})
    await asyncio.to_thread(client.stop)
    # It looks whether it shall stop when something comes, or it has stopped by now.
    with suppress(ConnectionError):
        await line.send(quote("AAPL", 1, 2, at_ms))
    await running
