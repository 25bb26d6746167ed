"""Redis dies, freezes, forgets or goes deaf: clients stay, are told once, and end on the newest price."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import pytest

from marketstream.bus.redis import RedisBus
from marketstream.bus.subscriber import Subscriber
from marketstream.bus.url import build_bus
from marketstream.core.delivery.frame import Frame
from marketstream.observability.clock import SystemClock
from marketstream.wire import messages
from marketstream.wire.keys import frames_channel, shard_of
from tests.conformance.market import new_symbol, numbers, price
from tests.conformance.raw import RawSocket, raw_socket
from tests.support.builders import best_price
from tests.support.eventually import eventually, scaled, wait_until
from tests.support.gateways import gateways, is_ready, next_event, next_price, readiness, subscribe
from tests.support.server import Server, running_server
from tests.support.valkey import Valkey, running_valkey


@pytest.fixture
def mortal() -> Iterator[Valkey]:
    """A Valkey of the test's own."""
    with running_valkey() as valkey:
        yield valkey


def prices(socket: RawSocket) -> list[float]:
    """Middles of all prices that came, in order."""
    return [data["midPrice"] for name, data in socket.events if name == "price"]


def states(socket: RawSocket) -> list[str]:
    """States that came, in order."""
    return [data["state"] for name, data in socket.events if name == "status"]


def said_once(server: Server) -> None:
    """The log says what happened once."""
    wait_until(lambda: server.events("bus_reconnected"), what="the return of the bus in the log")
    assert len(server.events("bus_disconnected")) == 1
    assert len(server.events("bus_reconnected")) == 1


async def test_clients_outlive_a_redis_that_is_killed_and_comes_back_empty(mortal: Valkey) -> None:
    symbol, quiet, fresh = (new_symbol("LOSS") for _ in range(3))
    async with (
        gateways(mortal.url) as (first, second),
        raw_socket(first.url, token=first.token()) as here,
        raw_socket(second.url, token=second.token()) as there,
    ):
        for socket in (here, there):
            await subscribe(socket, symbol, quiet)
        await first.publish(prices=[price(quiet, 1), price(symbol, 1)])
        for socket in (here, there):
            await next_price(socket, 1)
            await next_price(socket, 1)
        mortal.kill()
        for socket in (here, there):
            await next_event(socket, "status")
            await next_event(socket, "status")
        assert (await readiness(first))["code"] == 503
        assert (await readiness(first))["reasons"] == ["the bus is not reachable"]
        for number in range(2, 6):
            await first.publish(prices=[price(symbol, number)])
        async with raw_socket(second.url, token=second.token()) as late:
            # What this gateway was told before is all it knows, and it says so.
            assert numbers(await subscribe(late, symbol, fresh)) == [1]
            assert (await next_event(late, "status"))["state"] == "stale"
            mortal.start()
            await next_price(late, 5)
        for socket in (here, there):
            await next_price(socket, 5)
            while states(socket) != ["stale", "stale", "live", "live"]:
                # The quiet one too: the processes gave Redis back what it had forgotten.
                await next_event(socket, "status")
        await second.publish(prices=[price(quiet, 2)])
        for socket in (here, there):
            await next_price(socket, 2)
            await socket.fence()
            assert states(socket) == ["stale", "stale", "live", "live"]
            assert prices(socket) == [1.0, *sorted(set(prices(socket)[:-1])), 2.0]
        async with raw_socket(first.url, token=first.token()) as new:
            assert numbers(await subscribe(new, symbol, quiet)) == [5, 2]
        for server in (first, second):
            await eventually(lambda server=server: is_ready(server), 10, "readiness")  # type: ignore[misc]  # bound early
            said_once(server)
            assert not server.events("websocket_connection_closed")[1:]


async def test_a_broken_subscription_is_mended_before_anybody_has_to_be_told(mortal: Valkey) -> None:
    symbol = new_symbol("KILL")
    async with (
        gateways(mortal.url) as (first, second),
        raw_socket(second.url, token=second.token()) as there,
    ):
        await subscribe(there, symbol)
        for number in range(1, 4):
            assert mortal.kill_listeners() == 2
            # Published while nobody listens, as likely as not.
            await first.publish(prices=[price(symbol, number)])
            await next_price(there, number)
            await eventually(lambda: len(second.events("bus_reconnected")) == number, 10, "reconnection")  # noqa: B023
        await there.fence()
        assert states(there) == []
        assert prices(there) == [1.0, 2.0, 3.0]


async def test_a_frozen_redis_is_noticed_and_nothing_is_lost_when_it_goes_on(mortal: Valkey) -> None:
    symbol = new_symbol("FROZEN")
    async with (
        gateways(mortal.url) as (first, second),
        raw_socket(second.url, token=second.token()) as there,
    ):
        await subscribe(there, symbol)
        await first.publish(prices=[price(symbol, 1)])
        await next_price(there, 1)
        mortal.pause()
        for number in range(2, 50):
            await first.publish(prices=[price(symbol, number)])
        assert (await asyncio.wait_for(next_event(there, "status"), scaled(15)))["state"] == "stale"
        assert not await is_ready(second)
        mortal.go_on()
        await next_price(there, 49)
        await there.fence()
        assert states(there) == ["stale", "live"]
        assert prices(there) == sorted(prices(there))
        for server in (first, second):
            await eventually(lambda server=server: is_ready(server), 15, "readiness")  # type: ignore[misc]  # bound early
            said_once(server)


async def test_a_server_starts_without_its_redis_and_finds_it_later(mortal: Valkey) -> None:
    symbol = new_symbol("EARLY")
    mortal.kill()
    async with running_server("--bus", mortal.url) as server:
        assert (await readiness(server))["code"] == 503
        async with raw_socket(server.url, token=server.token()) as socket:
            assert await subscribe(socket, symbol) == []
            assert (await next_event(socket, "status"))["state"] == "stale"
            with pytest.raises(AssertionError, match="503"):
                await server.publish(prices=[price(symbol, 4)])
            mortal.start()
            await eventually(lambda: server.events("lease_taken"), 10, "the lease")
            await server.publish(prices=[price(symbol, 4)])
            await next_price(socket, 4)
        await eventually(lambda: is_ready(server), 10, "readiness")
        said_once(server)


# One bus in this process, looked at more closely


@asynccontextmanager
async def running_bus(valkey: Valkey) -> AsyncIterator[tuple[RedisBus, list[Frame]]]:
    """A bus and what its receiver got."""
    bus = build_bus(valkey.url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    got: list[Frame] = []
    bus.attach(got.extend)
    running = asyncio.create_task(bus.run())
    try:
        await eventually(lambda: bus.connected, what="a connection to Valkey")
        yield bus, got
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def frame(symbol: str, bid: float) -> Frame:
    return messages.price(best_price(symbol, bid, 5))


async def test_after_a_loss_only_what_changed_is_delivered(mortal: Valkey) -> None:
    async with running_bus(mortal) as (bus, got), running_bus(mortal) as (other, _):
        for name in "ABC":
            bus.watch(name)
        await bus.last("ABC", "acme")  # type: ignore[misc]  # asked of Redis
        bus.publish([frame("A", 1), frame("B", 1), frame("C", 1)])
        await eventually(lambda: len(got) == 3, what="three prices")
        got.clear()
        link = bus._link
        assert isinstance(link, Subscriber)
        await link._connection.send_command("UNSUBSCRIBE")
        other.publish([frame("B", 2)])
        await eventually(lambda: not bus.connected, 10, "a canary that noticed")
        await eventually(lambda: bus.connected, 10, "a new subscription")
        assert [received.body for received in got] == [frame("B", 2).body]
        other.publish([frame("C", 3)])
        await eventually(lambda: len(got) == 2, what="a price on the new subscription")


async def test_a_message_that_was_missed_is_noticed_by_the_next_one(mortal: Valkey) -> None:
    async with running_bus(mortal) as (bus, got):
        first, second = _of_one_shard()
        for name in (first, second):
            bus.watch(name)
        await bus.last([first, second], "acme")  # type: ignore[misc]  # asked of Redis
        bus.publish([frame(first, 1)])
        await eventually(lambda: len(got) == 1, what="a price")
        link, missed = bus._link, list[str]()
        assert isinstance(link, Subscriber)
        receive, link._receive = link._receive, lambda channel, _: missed.append(channel)
        bus.publish([frame(first, 2)])
        await eventually(lambda: frames_channel(shard_of(first)) in missed, what="the message to miss")
        link._receive = receive
        bus.publish([frame(second, 1)])
        await eventually(lambda: len(got) == 3, what="both prices")
        assert {received.body for received in got} == {
            frame(first, 1).body,
            frame(first, 2).body,
            frame(second, 1).body,
        }


def _of_one_shard() -> tuple[str, str]:
    first = "S0"
    return first, next(f"S{n}" for n in range(1, 500) if shard_of(f"S{n}") == shard_of(first))


async def test_cursors_go_on_rising_when_redis_forgets_them(mortal: Valkey) -> None:
    """Also when its clock is behind: here the bus has seen a cursor of the future."""
    async with running_bus(mortal) as (bus, got):
        bus.watch("A")
        await bus.last(["A"], "acme")  # type: ignore[misc]  # asked of Redis
        future = 4_000_000_000_000_000
        bus.sender.seen(future)
        bus.publish([frame("A", 1)])
        await eventually(lambda: len(got) == 1, what="a price")
        mortal.flush()
        bus.publish([frame("A", 2)])
        await eventually(lambda: len(got) == 2, what="another")
        assert future < got[0].cursor < got[1].cursor


async def test_what_waits_while_redis_is_away_is_bounded_and_ends_on_the_newest(mortal: Valkey) -> None:
    async with running_bus(mortal) as (bus, got):
        bus.watch("A")
        await bus.last(["A"], "acme")  # type: ignore[misc]  # asked of Redis
        mortal.kill()
        for number in range(20_000):
            bus.publish([frame("A", number)])
        assert len(bus.sender) <= 4_000
        mortal.start()
        await eventually(lambda: got and got[-1].body == frame("A", 19_999).body, 15, "the newest price")
        bids = [received.body for received in got if received.event == "price"]
        assert len(bids) == len(set(bids))


async def test_a_fault_of_the_receiver_ends_a_stay_with_redis_and_not_the_process(mortal: Valkey) -> None:
    async with running_bus(mortal) as (bus, got):
        bus.watch("A")
        await bus.last(["A"], "acme")  # type: ignore[misc]  # asked of Redis
        bus.attach(_stumble)
        bus.publish([frame("A", 1)])
        await eventually(lambda: not bus.connected, what="the end of the stay")
        bus.attach(got.extend)
        await eventually(lambda: bus.connected, what="the next one")
        bus.publish([frame("A", 2)])
        await eventually(lambda: frame("A", 2).body in [received.body for received in got], what="a price")


def _stumble(_frames: object) -> None:
    raise ValueError("a fault")


async def test_what_was_said_here_and_is_watched_nowhere_is_given_back_too(mortal: Valkey) -> None:
    async with running_bus(mortal) as (bus, _):
        bus.publish([frame(name, 1) for name in "ABC"])
        await eventually(lambda: bus.sender.newest and not len(bus.sender), what="an empty queue")
        mortal.kill()
        await eventually(lambda: not bus.connected, what="the loss")
        mortal.start()
        await eventually(lambda: bus.connected, 10, "the return")
        async with running_bus(mortal) as (other, _):
            found = await other.last("ABC", "acme")  # type: ignore[misc]  # asked of Redis
            assert [known.body for known in found] == [frame(name, 1).body for name in "ABC"]


async def test_a_value_that_redis_kept_is_not_replaced_by_an_older_one(mortal: Valkey) -> None:
    async with running_bus(mortal) as (bus, _):
        bus.publish([frame("A", 1)])
        await eventually(lambda: bus.sender.newest and not len(bus.sender), what="an empty queue")
        async with running_bus(mortal) as (other, _):
            other.publish([frame("A", 2)])
            await eventually(lambda: other.sender.newest, what="a newer value")
        assert await bus.sender.restore([]) == 0
        (known,) = await bus.last("A", "acme")  # type: ignore[misc]  # asked of Redis
        assert known.body == frame("A", 2).body
