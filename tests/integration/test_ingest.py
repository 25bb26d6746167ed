"""Best prices from a Redis stream: each arrives, whatever happens to its reader; a bad one harms no other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from redis import Redis
from structlog.testing import capture_logs

from marketstream.bus.ingest import ABANDONED_MS, MAX_DELIVERIES, Source, StreamConsumer
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus, build_clients
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import BestPrice
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.market.ahead import Ahead
from marketstream.engine.market.publisher import Publisher
from marketstream.engine.market.stream_entries import PriceEntries
from marketstream.engine.stats import Stats
from marketstream.observability.clock import SystemClock
from tests.conformance.market import BASE_MS, new_symbol, numbers, price
from tests.conformance.raw import raw_socket
from tests.support.eventually import eventually, scaled
from tests.support.gateways import gateways, next_price, subscribe
from tests.support.server import running_server
from tests.support.stream import GROUP, STREAM, add, add_raw, dead, fields, progress
from tests.support.valkey import Valkey, running_valkey


@pytest.fixture
def mortal() -> Iterator[Valkey]:
    """A Valkey of the test's own."""
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    """A producer's client."""
    with valkey.client() as client:
        yield client


class Reader:
    """A bus with a reader of the stream in this process, and what was published.

    Attributes:
        bus: The bus.
        ingest: The reader.
        stats: Its counters.
        published: What it published, in order, with the tenant.
        take: What is done with a price; the test may put something else here.
    """

    def __init__(self, valkey: Valkey, consumer: str) -> None:
        clock = SystemClock()
        bus = build_bus(valkey.url, clock=clock)
        assert isinstance(bus, RedisBus)
        self.bus = bus
        self.stats = Stats()
        self.published: list[tuple[BestPrice, str | None]] = []
        publisher = Publisher(bus=bus, stats=self.stats)
        self.take: Callable[[BestPrice, str | None], None] = publisher.publish_one
        client, reader = build_clients(valkey.url)
        self.ingest = StreamConsumer(
            client=client,
            reader=reader,
            source=Source(STREAM, GROUP, consumer),
            take=PriceEntries(
                publish=self._publish,
                registry=SymbolRegistry("open"),
                clock=clock,
                ahead=Ahead(clock=clock, stats=self.stats),
            ).take,
            flushed=bus.flushed,
            clock=clock,
            stats=self.stats,
        )

    def _publish(self, best: BestPrice, tenant: str | None) -> None:
        self.take(best, tenant)
        self.published.append((best, tenant))

    @property
    def numbers(self) -> list[int]:
        """The numbers that the published prices were made with."""
        return [best.at_ms - BASE_MS for best, _ in self.published]


@asynccontextmanager
async def running(*parts: Any) -> AsyncIterator[None]:
    """Things with a `run` that run inside the block."""
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def reading(valkey: Valkey, consumer: str = "here") -> AsyncIterator[Reader]:
    """A reader that is at work inside the block."""
    reader = Reader(valkey, consumer)
    async with running(reader.bus, reader.ingest):
        yield reader


async def done(client: Redis, limit: float = 5) -> None:
    """Returns when every entry was read and acknowledged."""
    await eventually(lambda: _progress(client) == (0, 0), limit, "an empty list of pending entries")


def _progress(client: Redis) -> tuple[int, int] | None:
    return progress(client) if client.exists(STREAM) and client.xinfo_groups(STREAM) else None


async def test_entries_from_before_the_start_and_after_it_are_published_in_order(
    valkey: Valkey, redis: Redis
) -> None:
    symbol = new_symbol("ING")
    add(redis, *(price(symbol, number) for number in range(1, 1_201)))
    async with reading(valkey) as reader:
        await done(redis)
        add(redis, price(symbol, 1_201))
        await eventually(lambda: len(reader.published) == 1_201, what="the entry after the start")
        await done(redis)
    assert reader.numbers == list(range(1, 1_202))
    assert reader.stats.ingested == {"accepted": 1_201}
    assert reader.stats.claimed == 0


async def test_nothing_is_acknowledged_before_it_was_sent(valkey: Valkey, redis: Redis) -> None:
    symbol = new_symbol("ACK")
    add(redis, *(price(symbol, number) for number in range(1, 4)))
    reader = Reader(valkey, "here")
    async with running(reader.ingest):
        await eventually(lambda: len(reader.published) == 3, what="three prices on their way")
        # The bus does not run: nothing was sent, and nothing more is read.
        add(redis, price(symbol, 4))
        assert progress(redis)[0] == 3
        assert reader.stats.ingested == {}
        async with running(reader.bus):
            await done(redis)
    assert reader.numbers == [1, 2, 3, 4]


async def test_at_most_five_hundred_entries_are_in_hand(valkey: Valkey, redis: Redis) -> None:
    add(redis, *(price(new_symbol("HAND"), 1) for _ in range(1_100)))
    reader = Reader(valkey, "here")
    async with running(reader.ingest):
        await eventually(lambda: len(reader.published) == 500, what="a batch")
        assert progress(redis) == (500, 600)
        async with running(reader.bus):
            await done(redis)
    assert len(reader.published) == 1_100


async def test_what_was_in_hand_when_it_was_stopped_is_taken_first_when_it_runs_again(
    valkey: Valkey, redis: Redis
) -> None:
    """At once: nobody needs to wait for entries of one's own."""
    symbol = new_symbol("OWN")
    add(redis, price(symbol, 1), price(symbol, 2))
    reader = Reader(valkey, "here")
    async with running(reader.ingest):
        await eventually(lambda: len(reader.published) == 2, what="two prices on their way")
    add(redis, price(symbol, 3))
    assert progress(redis) == (2, 1)
    async with running(reader.bus, reader.ingest):
        await done(redis, ABANDONED_MS / 2000)
    assert reader.numbers in ([1, 2, 1, 2, 3], [1, 2, 2, 3])
    assert reader.stats.claimed == 2


async def test_entries_of_a_dead_consumer_are_taken_over_once_they_have_waited(
    valkey: Valkey, redis: Redis
) -> None:
    symbol, fresh = new_symbol("DEAD"), new_symbol("DEAD")
    add(redis, price(symbol, 1))
    redis.xgroup_create(STREAM, GROUP, id="0")
    redis.xreadgroup(GROUP, "dead", {STREAM: ">"})
    add(redis, price(fresh, 2))
    async with reading(valkey) as reader:
        await eventually(lambda: reader.numbers == [2], what="the entry that nobody had")
        await done(redis, 12)
    assert reader.numbers == [2, 1]
    assert (reader.stats.ingested["accepted"], reader.stats.claimed) == (2, 1)


async def test_a_late_price_is_counted_and_acknowledged_and_no_dead_letter(
    valkey: Valkey, redis: Redis
) -> None:
    symbol = new_symbol("LATE")
    add(redis, price(symbol, 5), price(symbol, 4), price(symbol, 6))
    async with reading(valkey) as reader:
        await done(redis)
    assert reader.numbers == [5, 6]
    assert reader.stats.ingested == {"accepted": 2, "late": 1}
    assert dead(redis) == []


async def test_bad_entries_are_kept_with_their_reasons_and_harm_no_other(
    valkey: Valkey, redis: Redis
) -> None:
    symbol = new_symbol("BAD")
    bad: list[dict[str, str | bytes]] = [
        {"event": b"\xff"},
        {"price": "1"},
        {"event": "{}"},
        dict(fields(price("no symbol", 1))),
        dict(fields(price(symbol, 1, bestBid={"price": "x"}))),
    ]
    [first] = add(redis, price(symbol, 1))
    ids = add_raw(redis, bad)
    add(redis, price(symbol, 2))
    async with reading(valkey) as reader:
        await done(redis)
    assert reader.numbers == [1, 2]
    assert reader.stats.ingested == {"accepted": 2, "bad": 5}
    letters = dead(redis)
    assert [letter[b"id"] for letter in letters] == ids
    assert first not in ids
    assert [letter[b"event"] for letter in letters] == [
        event if isinstance(event := entry.get("event", b""), bytes) else event.encode() for entry in bad
    ]
    reasons = [letter[b"reason"].decode() for letter in letters]
    assert all(reason.startswith("not JSON") for reason in reasons[:2])
    assert reasons[2].startswith("eventType: ")
    assert reasons[3].startswith("payload.symbol: ")
    assert reasons[4].startswith("payload.bestBid.price: ")


async def test_an_entry_that_was_delivered_too_often_becomes_a_dead_letter(
    valkey: Valkey, redis: Redis
) -> None:
    symbol = new_symbol("POISON")
    [poison, other] = add(redis, price(symbol, 1), price(symbol, 2))
    redis.xgroup_create(STREAM, GROUP, id="0")
    redis.xreadgroup(GROUP, "here", {STREAM: ">"})
    redis.xclaim(STREAM, GROUP, "here", 0, [poison], retrycount=MAX_DELIVERIES)
    redis.xclaim(STREAM, GROUP, "here", 0, [other], retrycount=MAX_DELIVERIES - 1)
    async with reading(valkey) as reader:
        await done(redis)
    assert reader.numbers == [2]
    [letter] = dead(redis)
    assert (letter[b"id"], letter[b"event"]) == (poison, fields(price(symbol, 1))["event"].encode())
    assert letter[b"reason"] == b"delivered 5 times and never acknowledged"
    assert reader.stats.ingested == {"accepted": 1, "bad": 1}


async def test_a_fault_at_one_entry_holds_up_no_other_and_is_tried_again(
    valkey: Valkey, redis: Redis
) -> None:
    faulty, good = new_symbol("FAULT"), new_symbol("FAULT")
    add(redis, price(faulty, 1), price(good, 2))
    reader = Reader(valkey, "here")
    take, faults = reader.take, [faulty]

    def stumble(best: BestPrice, tenant: str | None) -> None:
        if best.symbol in faults:
            faults.clear()
            raise ValueError("a fault")
        take(best, tenant)

    reader.take = stumble
    with capture_logs() as logs:
        async with running(reader.bus, reader.ingest):
            await eventually(lambda: reader.numbers == [2], what="the other entry")
            await done(redis, 12)
    assert reader.numbers == [2, 1]
    assert [entry["error"] for entry in logs if entry["event"] == "ingest_entry_failed"] == [
        "ValueError('a fault')"
    ]


async def test_what_was_trimmed_before_it_was_published_is_told_and_not_waited_for(
    valkey: Valkey, redis: Redis
) -> None:
    [gone, kept] = add(redis, price(new_symbol("TRIM"), 1), price(new_symbol("TRIM"), 2))
    redis.xgroup_create(STREAM, GROUP, id="0")
    redis.xreadgroup(GROUP, "here", {STREAM: ">"})
    redis.xdel(STREAM, gone)
    with capture_logs() as logs:
        async with reading(valkey) as reader:
            await eventually(lambda: progress(redis)[0] == 0, what="no pending entry")
            await eventually(lambda: reader.stats.ingested["accepted"] == 1, what="the other one")
    assert reader.numbers == [2]
    assert kept
    assert reader.stats.ingested == {"accepted": 1, "trimmed": 1}
    assert [entry["count"] for entry in logs if entry["event"] == "ingest_entries_trimmed"] == [1]


async def test_a_group_that_vanished_is_made_again_and_said_once(mortal: Valkey) -> None:
    symbol = new_symbol("NOGROUP")
    with mortal.client() as client, capture_logs() as logs:
        async with reading(mortal) as reader:
            add(client, price(symbol, 1))
            await eventually(lambda: reader.numbers == [1], what="the first entry")
            await done(client)
            client.flushall()
            add(client, price(symbol, 2))
            await eventually(lambda: reader.numbers == [1, 2], what="the entry after the loss")
            await done(client)
        said = [entry["event"] for entry in logs if entry["event"].startswith("ingest_")]
        assert said == ["ingest_interrupted", "ingest_resumed"]


async def test_a_redis_that_is_restarted_empty_is_read_again(mortal: Valkey) -> None:
    symbol = new_symbol("EMPTY")
    with capture_logs() as logs:
        async with reading(mortal) as reader:
            with mortal.client() as client:
                add(client, price(symbol, 1))
                await eventually(lambda: reader.numbers == [1], what="the first entry")
                # With an entry in hand it would wait for the bus, and not speak to Redis itself.
                await done(client)
            mortal.kill()
            await eventually(
                lambda: [e for e in logs if e["event"] == "ingest_interrupted"], what="the loss in the log"
            )
            mortal.start()
            with mortal.client() as client:
                add(client, price(symbol, 2))
                await eventually(lambda: reader.numbers == [1, 2], 15, "the entry after the restart")
                await done(client, 15)
    said = [entry["event"] for entry in logs if entry["event"].startswith("ingest_")]
    assert said == ["ingest_interrupted", "ingest_resumed"]


async def test_a_frozen_redis_is_noticed_and_read_again_when_it_goes_on(mortal: Valkey) -> None:
    symbol = new_symbol("FROZEN")
    with mortal.client() as client, capture_logs() as logs:
        async with reading(mortal) as reader:
            add(client, price(symbol, 1))
            await eventually(lambda: reader.numbers == [1], what="the first entry")
            await done(client)
            mortal.pause()
            await eventually(
                lambda: [e for e in logs if e["event"] == "ingest_interrupted"], 12, "the loss in the log"
            )
            mortal.go_on()
            add(client, price(symbol, 2))
            await eventually(lambda: reader.numbers == [1, 2], 15, "the entry after the freeze")
            await done(client, 15)


async def test_reading_ends_promptly_when_it_is_cancelled_while_nothing_comes(
    valkey: Valkey, redis: Redis
) -> None:
    reader = Reader(valkey, "here")
    async with running(reader.bus):
        reads = asyncio.create_task(reader.ingest.run())
        await eventually(lambda: _progress(redis) == (0, 0), what="a group")
        await eventually(lambda: redis.info("clients")["blocked_clients"] == 1, what="a read that waits")
        reads.cancel()
        done_, _ = await asyncio.wait([reads], timeout=scaled(1))
        assert done_ == {reads}


async def test_consumers_that_are_long_gone_are_struck_off_unless_they_have_something(
    valkey: Valkey, redis: Redis
) -> None:
    add(redis, price(new_symbol("GONE"), 1))
    redis.xgroup_create(STREAM, GROUP, id="0")
    redis.xreadgroup(GROUP, "holds one", {STREAM: ">"})
    redis.xgroup_createconsumer(STREAM, GROUP, "gone")
    reader = Reader(valkey, "here")
    await reader.ingest._remove_idle(3_600_000)
    assert {each["name"] for each in redis.xinfo_consumers(STREAM, GROUP)} == {b"gone", b"holds one"}
    await reader.ingest._remove_idle(0)
    assert [each["name"] for each in redis.xinfo_consumers(STREAM, GROUP)] == [b"holds one"]
    await reader.ingest._client.aclose()


async def test_a_flush_ends_when_what_was_published_before_it_is_in_redis(valkey: Valkey) -> None:
    """And does not wait for what others publish all the time."""
    reader = Reader(valkey, "here")
    symbol = new_symbol("FLUSH")
    got: list[Frame] = []
    reader.bus.attach(got.extend)
    async with running(reader.bus):
        await eventually(lambda: reader.bus.connected, what="a connection")
        await asyncio.wait_for(reader.bus.flushed(), scaled(5))

        async def babble() -> None:
            number = 1_000
            while True:
                number += 1
                reader.take(_best(new_symbol("NOISE"), number), None)
                await asyncio.sleep(0)

        noise = asyncio.create_task(babble())
        reader.take(_best(symbol, 1), None)
        await asyncio.wait_for(reader.bus.flushed(), scaled(5))
        [last] = await reader.bus.last([symbol], "acme")  # type: ignore[misc]  # asked of Redis
        assert last.at_ms == 1
        noise.cancel()
        with suppress(asyncio.CancelledError):
            await noise


async def test_a_bus_that_is_cancelled_while_it_sends_ends(valkey: Valkey) -> None:
    """Whatever the moment: redis-py can lose a cancellation that comes with the end of a write."""
    for turns in range(40):
        reader = Reader(valkey, "here")
        task = asyncio.create_task(reader.bus.run())
        await eventually(lambda reader=reader: reader.bus.connected, what="a connection")  # type: ignore[misc]  # bound early
        for number in range(1, turns):
            reader.take(_best("BUSY", number), None)
            await asyncio.sleep(0)
        task.cancel()
        ended, _ = await asyncio.wait([task], timeout=scaled(5))
        assert ended == {task}


def _best(symbol: str, number: int) -> BestPrice:
    return BestPrice(symbol, None, None, None, None, None, number)


# Real servers


@pytest.mark.slow
async def test_clients_of_a_server_get_what_back_ends_add_and_a_tenants_prices_stay_its_own(
    valkey: Valkey, redis: Redis
) -> None:
    symbol = new_symbol("SRV")
    add(redis, price(symbol, 1))
    async with (
        gateways(valkey.url, 1) as (server,),
        raw_socket(server.url, token=server.token()) as ours,
        raw_socket(server.url, token=server.token(tenant="globex")) as theirs,
    ):
        await done(redis)
        for socket in (ours, theirs):
            assert numbers(await subscribe(socket, symbol, mode="every")) == [1]
        add(redis, price(symbol, 2), price(symbol, 3))
        add(redis, price(symbol, 4), tenant="acme")
        add(redis, price(symbol, 5))
        for socket in (ours, theirs):
            await next_price(socket, 5)
        seen = [[d["midPrice"] for n, d in socket.events if n == "price"] for socket in (ours, theirs)]
        assert seen == [[2, 3, 4, 5], [2, 3, 5]]
        await done(redis)


@pytest.mark.slow
async def test_a_server_that_is_killed_in_the_middle_loses_no_entry(valkey: Valkey, redis: Redis) -> None:
    names = [new_symbol("CRASH") for _ in range(50)]
    add(redis, *(price(name, number) for number in range(1, 601) for name in names))
    async with running_server("--bus", valkey.url) as first:
        await eventually(lambda: _acknowledged(redis) > 0, 20, "the first acknowledgement")
        first.kill()
    pending, waiting = progress(redis)
    assert pending + waiting > 0
    async with gateways(valkey.url, 1) as (second,):
        await done(redis, 40)
        async with raw_socket(second.url, token=second.token()) as socket:
            assert numbers(await subscribe(socket, *names)) == [600] * 50
    assert dead(redis) == []


def _acknowledged(client: Redis) -> int:
    if _progress(client) is None:
        return 0
    [group] = client.xinfo_groups(STREAM)
    return int(group["entries-read"] or 0) - int(group["pending"])


@pytest.mark.slow
async def test_a_server_told_not_to_reads_no_stream(valkey: Valkey, redis: Redis) -> None:
    symbol = new_symbol("OFF")
    add(redis, price(symbol, 1))
    env = {"MARKETSTREAM_INGEST__ENABLED": "false"}
    async with (
        gateways(valkey.url, 1, env=env) as (server,),
        raw_socket(server.url, token=server.token()) as socket,
    ):
        assert await subscribe(socket, symbol) == []
        await server.publish(prices=[price(symbol, 2)])
        await next_price(socket, 2)
        assert redis.xinfo_groups(STREAM) == []
