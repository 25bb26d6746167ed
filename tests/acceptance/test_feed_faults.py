"""What befalls a vendor's stream, from end to end: what the operator is shown, and what the client is told.

One process of the server, its vendor on a bad day, and a client that subscribes at the start and then only
listens. Waits between connections are those of production.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conformance.watcher import Watcher, watching
from tests.support.alpaca import SECRET, FakeAlpaca, error
from tests.support.eventually import eventually
from tests.support.figures import metric
from tests.support.gateways import readiness
from tests.support.server import Server, running_server
from tests.support.upstream import NONSENSE, Alpaca, Upstream, upstream, wall_ms

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
PATIENCE = 15.0
SYMBOLS = [f"S{number:02}" for number in range(20)]

both = pytest.mark.parametrize("name", ["alpaca", "yahoo"])


@dataclass
class Scene:
    """A vendor, the server, and a client.

    Attributes:
        name: Name of the feed.
        vendor: Where its prices come from.
        server: The server.
        client: Who watches.
    """

    name: str
    vendor: Upstream
    server: Server
    client: Watcher

    @property
    def fake(self) -> FakeAlpaca:
        """The vendor, where it is Alpaca."""
        assert isinstance(self.vendor, Alpaca)
        return self.vendor.fake

    async def watch(self, *symbols: str) -> None:
        """The client subscribes."""
        assert (await self.client.call("subscribe", {"symbols": symbols}))["subscribed"] == list(symbols)

    async def price(self, symbol: str, bid: float, at_ms: int | None = None) -> dict[str, Any]:
        """The vendor sends a price; what the client gets of it."""
        await self.vendor.quote(symbol, bid, at_ms)
        await eventually(lambda: bid in self.bids(symbol), what=f"{symbol} at {bid}")
        found: dict[str, Any] = self.client.named("price")[-1]
        assert found["bestBid"]["source"] == self.vendor.source
        return found

    def bids(self, symbol: str) -> list[float]:
        """Bids of a symbol that reached the client, in order."""
        return [best["bestBid"]["price"] for best in self.client.named("price") if best["symbol"] == symbol]

    def told(self, symbol: str) -> list[dict[str, Any]]:
        """The states of a symbol that reached the client, in order."""
        return [status for status in self.client.named("status") if status["symbol"] == symbol]

    def states(self, symbol: str) -> list[str]:
        """The same, each as one word."""
        return [status["state"] for status in self.told(symbol)]

    async def until_told(self, symbol: str, *states: str) -> None:
        """Waits until these are the states that reached the client of a symbol, all in their order."""
        await eventually(
            lambda: len(self.states(symbol)) >= len(states), PATIENCE, f"{symbol} to be {states}"
        )
        assert self.states(symbol) == list(states)

    def logged(self) -> list[str]:
        """The states of the feed in the log."""
        changes = self.server.events("feed_state_changed")
        assert {change["feed"] for change in changes} <= {self.name}
        return [change["state"] for change in changes]

    async def said(self, event: str) -> list[dict[str, Any]]:
        """The entries of an event in the log, once there is one."""
        return await eventually(lambda: self.server.events(event), what=f"{event} in the log")

    async def figure(self, series: str) -> float:
        """A figure of this feed."""
        return await metric(self.server, f'upstream_{series}{{feed="{self.name}"}}')

    async def stream(self) -> dict[str, Any]:
        """How `/readyz` shows the connection."""
        found: dict[str, Any] = (await readiness(self.server))["streams"][self.name]
        return found

    async def until(self, state: str, reason: str = "") -> None:
        """Waits until the feed is in a state, by all that an operator can ask.

        Args:
            state: The state.
            reason: Why, as far as it must be said; empty for a server that is ready.
        """
        await eventually(lambda: self.logged()[-1:] == [state], PATIENCE, f"the feed to be {state}")
        told = await readiness(self.server)
        assert told["feeds"] == {self.name: state}
        if reason:
            assert (told["code"], told["status"]) == (503, "unready")
            [why] = told["reasons"]
            assert why.startswith(f"feed {self.name} is {state}: ")
            assert reason in why
            assert not told["streams"][self.name]["connected"]
        else:
            assert (told["code"], told["status"], told["reasons"]) == (200, "ready", [])
        assert await metric(self.server, f'upstream_state{{feed="{self.name}",state="{state}"}}') == 1
        assert reason in self.server.events("feed_state_changed")[-1]["detail"]


@asynccontextmanager
async def staged(
    name: str, vendor: Upstream, *, stale_after: float = 1, **parameters: object
) -> AsyncIterator[Scene]:
    """A server that is fed by a vendor inside the block, and a client that stays connected all the time."""
    feed = vendor.feed(stale_after=stale_after, **parameters)
    env = vendor.env | {"MARKETSTREAM_DELIVERY__HEARTBEAT_INTERVAL": "1"}
    async with running_server(feeds=[feed], env=env) as server, watching(server) as client:
        yield Scene(name, vendor, server, client)
        assert client.names.count("connect") == 1
        assert "disconnect" not in client.names
        assert SECRET not in "".join(server.log)


@asynccontextmanager
async def scene(name: str, *, stale_after: float = 1, **parameters: object) -> AsyncIterator[Scene]:
    """The same with a vendor that is well at the start."""
    async with (
        upstream(name) as vendor,
        staged(name, vendor, stale_after=stale_after, **parameters) as play,
    ):
        yield play


async def side_by_side(act: Callable[[str], Coroutine[None, None, None]]) -> None:
    """Has the same befall both vendors at the same time, where it is mostly waiting."""
    async with asyncio.TaskGroup() as tasks:
        for name in ("alpaca", "yahoo"):
            tasks.create_task(act(name))


@both
async def test_a_connection_that_is_closed_is_made_again_and_the_client_need_not_do_anything(
    name: str,
) -> None:
    async with scene(name) as play:
        await play.watch("AAA")
        await play.vendor.until_asked("AAA")
        await play.price("AAA", 1)
        await play.until("live")
        broke_ms = wall_ms()
        await play.vendor.close()
        await play.until("retrying", "connection")
        assert (await play.stream())["symbols"] == 0
        assert await play.figure("connected") == 0
        await play.until_told("AAA", "live", "stale")
        await play.until("live")
        await play.vendor.until_asked("AAA")
        last = await play.price("AAA", 2)
        await play.until_told("AAA", "live", "stale", "live")
        _, stale, live = play.told("AAA")
        assert broke_ms <= stale["since"] <= wall_ms()
        assert (stale["source"], live["source"]) == (play.vendor.source, play.vendor.source)
        assert live["since"] == last["timestamp"]
        assert play.logged() == ["starting", "live", "retrying", "live"]
        assert (await play.figure("reconnects_total"), await play.figure("attempts_total")) == (1, 2)
        assert play.bids("AAA") == [1, 2]


async def change_interest_meanwhile(name: str) -> None:
    """What is watched changes after an abort, while nobody can be asked; two attempts later it counts."""
    async with scene(name) as play:
        await play.watch("AAA", "BBB")
        await play.vendor.until_asked("AAA", "BBB")
        await play.price("AAA", 1)
        await play.price("BBB", 1)
        play.vendor.refuse(True)
        play.vendor.abort()
        await play.until("retrying", "connection")
        await play.watch("CCC")
        assert await play.client.call("unsubscribe", {"symbols": ["BBB"]}) == {"unsubscribed": ["BBB"]}
        await eventually(lambda: play.vendor.knocks == 2, PATIENCE, "a knock at a closed door")
        await eventually(lambda: len(play.logged()) == 4, what="the answer")
        play.vendor.refuse(False)
        await play.until("retrying", "503" if name == "alpaca" else "403")
        await play.until("live")
        await play.vendor.until_asked("AAA", "CCC")
        assert play.vendor.opening() == {"AAA", "CCC"}
        await play.price("AAA", 2)
        await play.until_told("AAA", "live", "stale", "live")
        await play.price("CCC", 2)
        await play.vendor.quote("BBB", 2)
        await play.price("AAA", 3)
        assert play.bids("BBB") == [1]
        assert play.logged() == ["starting", "live", "retrying", "retrying", "live"]
        assert await play.figure("reconnects_total") == 2


async def test_what_is_watched_after_an_outage_is_asked_for_and_nothing_else() -> None:
    """What somebody watched stays wanted for five seconds, so the outage takes longer than those."""
    await side_by_side(change_interest_meanwhile)


async def fall_silent(name: str) -> None:
    """A connection that answers pings brings no price any more."""
    async with scene(name, mute_after=1) as play:
        await play.watch("AAA")
        await play.vendor.until_asked("AAA")
        await play.price("AAA", 1)
        await play.until("retrying", "no price for 1 s" if name == "alpaca" else "nothing was heard for")
        await play.until_told("AAA", "live", "stale")
        await play.until("live")
        await play.vendor.until_asked("AAA")
        await play.price("AAA", 2)
        await play.until_told("AAA", "live", "stale", "live")
        assert play.logged() == ["starting", "live", "retrying", "live"]
        assert await play.figure("reconnects_total") == 1


async def test_a_stream_that_falls_silent_is_left_for_a_new_one() -> None:
    await side_by_side(fall_silent)


async def test_a_silent_market_is_stale_and_its_feed_is_live() -> None:
    """A connection that answers pings is not given up for a quiet night."""
    async with scene("alpaca") as play:
        await play.watch("AAA")
        await play.vendor.until_asked("AAA")
        await play.price("AAA", 1)
        await play.until_told("AAA", "live", "stale")
        await play.until("live")
        await play.price("AAA", 2)
        await play.until_told("AAA", "live", "stale", "live")
        assert play.logged() == ["starting", "live"]
        assert (await play.figure("reconnects_total"), play.vendor.knocks) == (0, 1)


@both
async def test_garbage_is_counted_and_the_prices_around_it_arrive(name: str) -> None:
    async with scene(name, stale_after=30) as play:
        await play.watch("AAA")
        await play.vendor.until_asked("AAA")
        await play.price("AAA", 1)
        for frame in NONSENSE:
            await play.vendor.send_raw(frame)
        await play.price("AAA", 2)
        await play.until("live")
        assert await play.figure("messages_skipped_total") == len(NONSENSE)
        assert (await play.stream())["skipped"] == len(NONSENSE)
        [shown] = await play.said("feed_message_skipped")
        assert (shown["source"], shown["level"]) == (play.vendor.source, "warning")
        assert play.states("AAA") == ["live"]
        assert play.logged() == ["starting", "live"]


@both
async def test_prices_from_a_clock_an_hour_ahead_are_refused_and_silence_nothing(name: str) -> None:
    """Taken, one of them would make everything late until that hour is over."""
    async with scene(name, stale_after=30) as play:
        await play.watch("AAA")
        await play.vendor.until_asked("AAA")
        await play.price("AAA", 1)
        await play.vendor.quote("AAA", 2, wall_ms() + HOUR_MS)
        await play.vendor.quote("AAA", 3, wall_ms() + HOUR_MS)
        best = await play.price("AAA", 4)
        assert best["timestamp"] <= wall_ms()
        await play.until("live")
        [said] = await play.said("feed_clock_off")
        assert said["source"] == play.vendor.source
        assert said["seconds"] == pytest.approx(3600, abs=60)
        assert (await play.figure("messages_ahead_total"), (await play.stream())["ahead"]) == (2, 2)
        assert await play.figure("messages_skipped_total") == 2
        assert play.bids("AAA") == [1, 4]
        assert play.states("AAA") == ["live"]
        await play.vendor.quote("AAA", 5, wall_ms() + HOUR_MS)
        await eventually(lambda: play.figure("clock_offset_seconds"), what="the offset")
        assert (await play.stream())["clockOffset"] == pytest.approx(HOUR_MS, abs=MINUTE_MS)


@both
async def test_a_clock_an_hour_behind_is_believed_until_it_was_right_once(name: str) -> None:
    """Times order the prices of one source. One that falls back is late until it has caught up."""
    async with scene(name) as play:
        await play.watch("AAA")
        await play.vendor.until_asked("AAA")
        behind_ms = wall_ms() - HOUR_MS
        assert (await play.price("AAA", 1, behind_ms))["timestamp"] == behind_ms
        assert await play.figure("clock_offset_seconds") == pytest.approx(-3600, abs=60)
        if name == "alpaca":
            assert [round(each["seconds"], -2) for each in await play.said("feed_clock_off")] == [-3600]
        else:
            assert play.server.events("feed_clock_off") == [], "the last price of a quiet market is as old"
        await play.price("AAA", 2)
        await play.vendor.quote("AAA", 3, behind_ms)
        await play.until_told("AAA", "live", "stale")
        assert await metric(play.server, 'rejected_total{reason="late_quote"}') == 1
        await play.until("live")
        await play.price("AAA", 4)
        await play.until_told("AAA", "live", "stale", "live")
        assert play.bids("AAA") == [1, 2, 4]


async def test_no_more_than_thirty_streams_are_asked_for_and_who_is_left_out_is_told() -> None:
    """A symbol on quotes and trades is two of them; that is the allowance of a free account."""
    async with scene("alpaca", stale_after=30) as play:
        await play.watch(*SYMBOLS)
        await play.vendor.until_asked(*SYMBOLS[:15])
        for symbol in SYMBOLS[15:]:
            await play.until_told(symbol, "stale")
            assert play.told(symbol)[0]["source"] is None
        await play.price(SYMBOLS[0], 1)
        await play.until("live")
        [line] = play.fake.lines
        asked = [each for each in line.requests if each["action"] == "subscribe"]
        assert sum(len(each["quotes"]) + len(each["trades"]) for each in asked) == 30
        assert await play.figure("symbols") == 15
        assert (await play.figure("symbols_left_out"), (await play.stream())["leftOut"]) == (5, 5)
        [logged] = await play.server.logged("feed_symbols_left_out")
        assert (logged["count"], logged["symbols"]) == (5, SYMBOLS[15:])
        assert play.states(SYMBOLS[0]) == ["live"]


async def test_an_account_that_may_have_less_than_configured_is_asked_for_half() -> None:
    """Error 405 costs neither the connection nor the symbols that fit."""
    async with scene("alpaca", stale_after=30) as play:
        play.fake.cap = 10
        await play.watch(*SYMBOLS[:10])
        await play.vendor.until_asked(*SYMBOLS[:5])
        await play.price(SYMBOLS[0], 1)
        await play.until_told(SYMBOLS[9], "stale")
        await play.until("live")
        assert await play.figure("symbols_left_out") == 5
        assert play.logged() == ["starting", "live"]
        assert len(play.fake.lines) == 1


async def test_an_account_that_is_in_use_is_tried_again_late() -> None:
    """Error 406: whoever has the connection keeps it, and is not fought for it every two seconds."""
    async with upstream("alpaca") as vendor:
        assert isinstance(vendor, Alpaca)
        vendor.fake.connections = 0
        async with staged("alpaca", vendor, busy_wait=3) as play:
            await play.watch("AAA")
            await play.until("retrying", "alpaca-iex: error 406: connection limit exceeded")
            vendor.fake.connections = 1
            await play.until("live")
            await play.vendor.until_asked("AAA")
            await play.price("AAA", 1)
            await play.until_told("AAA", "live")
            first, second = vendor.fake.knocks
            assert second - first >= 3, "the first wait after any other end is 2.2 s at most"
            assert play.logged() == ["starting", "retrying", "live"]


async def test_a_slow_client_comes_back_and_asks_for_half() -> None:
    """Error 407; the half that does not come any more is stale."""
    async with scene("alpaca") as play:
        await play.watch(*SYMBOLS[:10])
        await play.vendor.until_asked(*SYMBOLS[:10])
        for symbol in (SYMBOLS[0], SYMBOLS[9]):
            await play.price(symbol, 1)
        await play.fake.lines[0].send(error(407))
        await play.until("retrying", "alpaca-iex: error 407: slow client")
        await play.until("live")
        await play.vendor.until_asked(*SYMBOLS[:5])
        await play.price(SYMBOLS[0], 2)
        await play.until_told(SYMBOLS[0], "live", "stale", "live")
        await play.until_told(SYMBOLS[9], "live", "stale")
        assert (await play.figure("symbols"), await play.figure("symbols_left_out")) == (5, 5)


async def test_keys_that_are_refused_are_not_tried_again() -> None:
    """Error 402: hammering makes no key good; an operator is told, and what was live is stale."""
    async with scene("alpaca") as play:
        await play.watch("AAA")
        await play.vendor.until_asked("AAA")
        await play.price("AAA", 1)
        play.fake.revoked = True
        play.vendor.abort()
        await play.until("retrying", "connection")
        await play.until("failed", "alpaca-iex: error 402: auth failed")
        assert play.server.events("feed_state_changed")[-1]["level"] == "error"
        beats = len(play.client.named("heartbeat"))
        # One a second: more of them than the 4.4 s after which the next attempt would have been.
        await play.client.until("heartbeat", beats + 6)
        assert (play.vendor.knocks, await play.figure("attempts_total")) == (2, 2)
        assert await play.figure("reconnects_total") == 1
        assert play.states("AAA") == ["live", "stale"]
        assert play.logged() == ["starting", "live", "retrying", "failed"]
