"""Who may publish, and what older values and faults come to, looked at closely over a real Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.coordination import leader_forwarder as module
from marketstream.coordination.leader_forwarder import RedisLeaderForwarder
from marketstream.coordination.lease import RedisLease
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.market.ahead import Ahead
from marketstream.engine.market.publication_handler import PublicationHandler
from marketstream.errors import InvalidMessageError, UnavailableError
from marketstream.observability.clock import SystemClock
from marketstream.ports import Lease
from marketstream.wire import keys, messages
from tests.support.builders import Bench, best_price
from tests.support.eventually import eventually, scaled
from tests.support.proxy import proxy
from tests.support.valkey import Valkey, running_valkey

LATER = 4_000_000_000_000_000


@asynccontextmanager
async def running_bus(
    valkey: Valkey, *watched: str, stale_after: float = 30
) -> AsyncIterator[tuple[RedisBus, list[Frame]]]:
    """A bus that is connected, and what its receiver got."""
    bus = build_bus(valkey.url, clock=SystemClock(), stale_after=stale_after)
    assert isinstance(bus, RedisBus)
    got: list[Frame] = []
    bus.attach(got.extend)
    async with running(bus.run):
        await eventually(lambda: bus.connected, what="a connection to Valkey")
        for name in watched:
            bus.watch(name)
        await bodies(bus, *watched)
        yield bus, got


@asynccontextmanager
async def running(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Something that is done inside the block."""
    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def frame(symbol: str, bid: float, at_ms: int = 5) -> Frame:
    return messages.price(best_price(symbol, bid, at_ms))


async def bodies(bus: RedisBus, *symbols: str) -> list[bytes]:
    """Last values as somebody is told who watches none of them."""
    found = bus.last(symbols, "acme")
    known: Sequence[Frame] = await found if not isinstance(found, list) else found  # type: ignore[misc]
    return [each.body for each in known]


# Older values


async def test_a_price_older_than_what_redis_has_reaches_nobody(valkey: Valkey) -> None:
    """Whoever publishes it; one of the same time does."""
    async with running_bus(valkey, "A", "B") as (bus, got), running_bus(valkey) as (other, _):
        bus.publish([frame("A", 1, 50)])
        await bus.flushed()
        other.publish([frame("A", 2, 49), frame("B", 3, 1)])
        other.publish([frame("A", 4, 50)])
        await eventually(lambda: len(got) == 3, what="three prices")
        await other.flushed()
        expected = {frame("A", 1, 50).body, frame("B", 3, 1).body, frame("A", 4, 50).body}
        assert {each.body for each in got} == expected
        assert (bus.sender.late, other.sender.late) == (0, 1)
        assert await bodies(other, "A") == [frame("A", 4, 50).body]


async def test_what_is_left_out_costs_no_cursor(valkey: Valkey) -> None:
    """The receivers' count of each shard goes on without a gap."""
    async with running_bus(valkey, "A") as (bus, got):
        bus.publish([frame("A", 1, 50), frame("A", 2, 60)])
        await bus.flushed()
        bus.publish([frame("A", 3, 55)])
        await bus.flushed()
        bus.publish([frame("A", 4, 70)])
        await eventually(lambda: len(got) == 3, what="three prices")
        await bus.flushed()
        assert bus.sender.newest == got[-1].cursor
        assert not bus._gaps


async def test_the_newer_of_what_was_said_and_what_is_watched_is_given_back(valkey: Valkey) -> None:
    """Somebody else's newer price is not replaced by one's own older one when Redis forgets both."""
    async with running_bus(valkey, "A") as (bus, got):
        bus.publish([frame("A", 1)])
        async with running_bus(valkey) as (other, _):
            await eventually(lambda: len(got) == 1, what="its own price")
            other.publish([frame("A", 2)])
            await eventually(lambda: len(got) == 2, what="the other's price")
        valkey.flush()
        assert await bus.sender.restore(bus._last_values.frames()) == 1
        async with running_bus(valkey) as (late, _):
            assert await bodies(late, "A") == [frame("A", 2).body]


async def test_what_arrived_without_a_word_about_it_is_not_published_again(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost between the script and its answer; what is newer meanwhile still goes out."""
    async with running_bus(valkey, "A", "B") as (bus, got):
        evaluate = bus.client.evaluate

        async def lose_the_answer(script: Any, calls: Any) -> list[Any]:
            await evaluate(script, calls)
            monkeypatch.undo()
            bus.publish([frame("B", 7, 9)])
            raise ConnectionError("lost")

        monkeypatch.setattr(bus.client, "evaluate", lose_the_answer)
        bus.publish([frame("A", 1), frame("B", 2)])
        await bus.flushed()
        bus.publish([frame("A", 3, 9)])
        bodies_of = [frame("A", 1).body, frame("B", 2).body, frame("B", 7, 9).body, frame("A", 3, 9).body]
        await eventually(lambda: len(prices_of(got)) >= len(bodies_of), what="the prices")
        assert prices_of(got) == bodies_of


def prices_of(got: list[Frame]) -> list[bytes]:
    """Without what the bus says of itself."""
    return [each.body for each in got if each.event == messages.PRICE]


# Terms


async def test_of_two_only_one_leads_and_the_other_one_comes_next(valkey: Valkey) -> None:
    """It is given what was published, and what it publishes goes out in its name."""
    served: list[tuple[str, list[bytes]]] = []

    def term(name: str) -> Callable[[Sequence[Frame]], Awaitable[None]]:
        async def serve(last_values: Sequence[Frame]) -> None:
            served.append((name, [each.body for each in last_values]))
            await asyncio.Event().wait()

        return serve

    async with (
        running_bus(valkey) as (first, _),
        running_bus(valkey) as (second, _),
        AsyncExitStack() as stack,
    ):
        mine, theirs = RedisLease(first), RedisLease(second)
        async with running(lambda: mine.hold(term("first"))):
            await eventually(lambda: mine.held, what="the lease")
            await stack.enter_async_context(running(lambda: theirs.hold(term("second"))))
            first.publish([frame("A", 1)])
            await first.flushed()
            assert (mine.held, theirs.held) == (True, False)
        await eventually(lambda: theirs.held, 10, "the lease at the other one")
        assert not mine.held
        assert served == [("first", []), ("second", [frame("A", 1).body])]


async def test_a_holder_whose_batch_is_refused_holds_nothing_any_more(valkey: Valkey) -> None:
    """From that batch on, not only when it asks for its lease again; and it arrives nowhere."""
    async with running_bus(valkey, "A") as (bus, got):
        lease = RedisLease(bus)
        async with running(lambda: lease.hold(idle)):
            await eventually(lambda: lease.held, what="the lease")
            supersede(valkey)
            bus.publish([frame("A", 1)])
            await eventually(lambda: bus.sender.fenced, what="the refusal")
            assert not lease.held
            assert (got, await bodies(bus, "A")) == ([], [])


async def test_who_cannot_publish_gives_no_sign_of_life_though_the_lease_is_renewed(valkey: Valkey) -> None:
    bus = build_bus(valkey.url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    lease = RedisLease(bus)
    signs = [keys.pulse(shard) for shard in range(keys.SHARDS)]
    with valkey.client() as client:
        async with running(lambda: lease.hold(idle)):
            await eventually(lambda: lease.held, what="the lease")
            for _ in range(2):
                # It is renewed again and again.
                client.pexpire(keys.LEASE, 1_000)
                await eventually(lambda: client.pttl(keys.LEASE) > 1_000, what="a renewal")
            assert client.exists(*signs) == 0
            async with running(bus.run):
                await eventually(lambda: client.exists(*signs) == len(signs), what="signs of life")
    await bus.client.aclose()


async def test_that_nothing_can_be_read_at_the_start_of_a_term_is_said_once(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it lasts; the term begins when it is over."""
    async with running_bus(valkey) as (bus, _):
        ask, failures = bus.client.ask, iter(range(3))

        async def fail_thrice(questions: Any) -> list[Any]:
            if questions[0][0] == "HSCAN" and next(failures, None) is not None:
                raise ConnectionError("no descriptor is left")
            return await ask(questions)

        monkeypatch.setattr(bus.client, "ask", fail_thrice)
        lease = RedisLease(bus)
        with capture_logs() as said:
            async with running(lambda: lease.hold(idle)):
                await eventually(lambda: lease.held, 10, what="the lease")
        assert next(failures, None) is None
        assert [each["event"] for each in said].count("bus_read_failed") == 1


async def idle(_last_values: Sequence[Frame]) -> None:
    await asyncio.Event().wait()


def supersede(valkey: Valkey) -> None:
    """Makes Redis know of a later term, as if another process had begun."""
    with valkey.client() as client:
        for shard in range(keys.SHARDS):
            client.set(keys.fence(shard), LATER)


async def test_that_writes_are_refused_is_over_when_they_are_taken_though_nothing_waits() -> None:
    """Be it that the lease was lost meanwhile and what waited was let go, or that it was a note."""
    with running_valkey() as mortal, mortal.client() as client:
        async with running_bus(mortal) as (bus, _):
            client.config_set("maxmemory", "1")
            bus.publish([frame("A", 1)])
            await eventually(lambda: bus.sender.refused, what="a refusal")
            bus.sender.end_term()
            client.config_set("maxmemory", "0")
            await eventually(lambda: not bus.sender.refused, what="a word that it is over")
            client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
            bus.send(b"a note")
            await eventually(lambda: bus.sender.refused, 15, "a refusal of a note")
            client.execute_command("CLIENT", "UNPAUSE")
            await eventually(lambda: not bus.sender.refused, 15, "a word that it is over")


async def test_a_redis_that_is_silent_for_too_long_is_told_before_its_connection_is_given_up(
    valkey: Valkey,
) -> None:
    """And that it speaks again is told on the same connection."""
    async with running_bus(valkey, stale_after=1) as (feed, _), proxy(valkey.port) as door:
        bus = build_bus(f"redis://127.0.0.1:{door.port}", clock=SystemClock(), stale_after=1)
        assert isinstance(bus, RedisBus)
        got: list[Frame] = []
        bus.attach(got.extend)
        lease = RedisLease(feed)
        async with running(lambda: lease.hold(idle)), running(bus.run):
            bus.watch("A")
            await eventually(lambda: bus.connected and lease.held, 10, "all of it")
            await eventually(lambda: not feed.pulse.silent | bus.pulse.silent, 10, "signs of life")
            feed.publish([frame("A", 1)])
            await eventually(lambda: prices_of(got), 10, "the price")
            door.hold()
            await eventually(lambda: got[-1].event == messages.STATUS, what="a word")
            assert bus.connected
            bus.watch("B")
            (newcomers,) = await bodies(bus, messages.status_key("B"))
            door.resume()
            await eventually(lambda: messages.is_live(got[-1]), what="a word that it is over")
            assert b"bus_lost" in got[-2].body
            assert b"bus_lost" in newcomers


async def test_what_only_one_knows_is_given_back_though_others_have_published_since() -> None:
    """Redis was started anew, and who comes back last finds it full of newer values."""
    with running_valkey() as mortal:
        async with running_bus(mortal) as (first, _), proxy(mortal.port) as door:
            second = build_bus(f"redis://127.0.0.1:{door.port}", clock=SystemClock())
            assert isinstance(second, RedisBus)
            async with running(second.run):
                second.publish([frame("B", 1)])
                await second.flushed()
                door.refuse()
                door.cut()
                await asyncio.to_thread(mortal.kill)
                await asyncio.to_thread(mortal.start)
                first.publish([frame("A", 1)])
                await first.flushed()
                assert await bodies(first, "A", "B") == [frame("A", 1).body]
                door.resume()
                await eventually(lambda: second.connected, 15, "the other one")
                assert await bodies(first, "A", "B") == [frame("A", 1).body, frame("B", 1).body]


# Publications


class Held:
    """A lease that is held, or is not. See `ports.Lease`."""

    def __init__(self, *, held: bool) -> None:
        self.held = held

    async def hold(self, term: Callable[[Sequence[Frame]], Awaitable[None]]) -> None:
        """Serve the term."""
        await term([])


_: type[Lease] = Held


class Clumsy(PublicationHandler):
    """Stumbles over what says so, publishes anything else, and keeps what it was given."""

    def __init__(self, bus: RedisBus) -> None:
        bench = Bench()
        super().__init__(
            registry=SymbolRegistry("open"),
            aggregator=bench.aggregator,
            publisher=bench.publisher,
            clock=bench.clock,
            ahead=Ahead(clock=bench.clock, stats=bench.stats),
            stats=bench.stats,
        )
        self.given: list[bytes] = []
        self._bus = bus

    async def take(self, body: bytes) -> bytes:
        """See `PublicationHandler.take`."""
        self.given.append(body)
        if body == b"stumble":
            raise KeyError("a fault")
        if body == b"bad":
            raise InvalidMessageError("it is bad", path="prices")
        self._bus.publish([frame("A", len(self.given), len(self.given))])
        return b"taken " + body


@asynccontextmanager
async def court(valkey: Valkey) -> AsyncIterator[tuple[RedisLeaderForwarder, Clumsy, RedisBus]]:
    """Who asks, the handler of who judges, and the bus of that one."""
    async with running_bus(valkey) as (judge, _), running_bus(valkey) as (asker, _):
        handler = Clumsy(judge)
        with valkey.client() as client:
            client.set(keys.LEASE, judge.node)
        judging = RedisLeaderForwarder(bus=judge, lease=Held(held=True), handler=handler)
        asking = RedisLeaderForwarder(bus=asker, lease=Held(held=False), handler=Clumsy(asker))
        async with running(judging.judge):
            await heard(asking)
            yield asking, handler, judge


async def heard(asking: RedisLeaderForwarder) -> None:
    """Waits until a question is answered: both listen."""

    async def answered() -> Any:
        with suppress(UnavailableError):
            return await asking.submit(b"hello")

    await eventually(answered, 15, "an answer")


async def test_a_fault_at_one_publication_is_answered_and_the_next_one_is_judged(valkey: Valkey) -> None:
    async with court(valkey) as (asking, handler, _):
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(asking.submit(b"stumble"), scaled(2))
        with pytest.raises(InvalidMessageError) as refused:
            await asking.submit(b"bad")
        assert (str(refused.value), refused.value.path) == ("it is bad", "prices")
        assert await asking.submit(b"good") == b"taken good"
        assert handler.given[-3:] == [b"stumble", b"bad", b"good"]


async def test_nobody_is_told_that_something_was_taken_which_redis_refused(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    async with court(valkey) as (asking, handler, judge):
        judge.sender.start_term("1")
        supersede(valkey)
        with pytest.raises(UnavailableError):
            await asking.submit(b"late")
        assert handler.given[-1] == b"late"
        judge.sender.start_term(str(LATER))
        assert await asking.submit(b"again") == b"taken again"


async def test_what_comes_before_the_holder_listens_is_judged_when_it_does(valkey: Valkey) -> None:
    """By another process, and by that one itself."""
    async with running_bus(valkey) as (judge, _), running_bus(valkey) as (asker, _):
        handler = Clumsy(judge)
        with valkey.client() as client:
            client.set(keys.LEASE, judge.node)
        lease = Held(held=False)
        judging = RedisLeaderForwarder(bus=judge, lease=lease, handler=handler)
        asking = RedisLeaderForwarder(bus=asker, lease=Held(held=False), handler=Clumsy(asker))
        early = [asyncio.ensure_future(forwarder.submit(b"early")) for forwarder in (judging, asking)]
        done, _ = await asyncio.wait(early, timeout=0.2)
        assert not done
        lease.held = True
        async with running(judging.judge):
            assert await asyncio.gather(*early) == [b"taken early"] * 2
        assert handler.given == [b"early"] * 2
