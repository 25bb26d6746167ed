"""A Redis cluster under the bus: shards on several nodes, slots that move, and primaries that die."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise

import aiohttp
import pytest
import socketio
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError

from marketstream.bus.cluster import ClusterClient, ClusterSubscriber
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus
from marketstream.core.delivery.frame import Frame
from marketstream.errors import UnavailableError
from marketstream.observability.clock import SystemClock
from marketstream.publish.line import Line, parse_line
from marketstream.publish.relayed import RelayedChannel
from marketstream.wire import messages
from marketstream.wire.json import dumps
from marketstream.wire.keys import SHARDS, frames_channel, last_values, shard_of
from tests.conformance.market import new_symbol, numbers, price
from tests.conformance.raw import RawSocket, raw_socket
from tests.support.builders import best_price
from tests.support.cluster import Cluster, Node, running_cluster
from tests.support.eventually import eventually, scaled, wait_until
from tests.support.gateways import gateways, is_ready, next_event, next_price, subscribe
from tests.support.server import Server, free_port


@pytest.fixture
def mortal() -> Iterator[Cluster]:
    """A cluster of the test's own."""
    with running_cluster() as cluster:
        yield cluster


def one_of_each_shard() -> list[str]:
    """Symbols that nobody else uses, one in each shard, in order of the shards."""
    found: dict[int, str] = {}
    while len(found) < SHARDS:
        symbol = new_symbol("SHARD")
        found.setdefault(shard_of(symbol), symbol)
    return [found[shard] for shard in range(SHARDS)]


def newest(socket: RawSocket) -> dict[str, float]:
    """The middle of the newest price of each symbol that came as an event."""
    return {data["symbol"]: data["midPrice"] for name, data in socket.events if name == "price"}


async def until_newest(socket: RawSocket, symbols: list[str], number: float) -> None:
    """Reads until the newest price of each symbol is this one."""
    while any(newest(socket).get(symbol) != number for symbol in symbols):
        await socket.read_to('42/market-data,["price"')


# Two gateways


@pytest.mark.slow
async def test_symbols_of_all_shards_travel_between_gateways_and_are_known_to_both(cluster: Cluster) -> None:
    symbols = one_of_each_shard()
    assert len({cluster.owner(frames_channel(shard)).port for shard in range(SHARDS)}) > 1
    async with (
        gateways(cluster.url) as (first, second),
        raw_socket(second.url, token=second.token()) as there,
    ):
        await subscribe(there, *symbols)
        for number in range(1, 4):
            await first.publish(prices=[price(symbol, number) for symbol in symbols])
            await until_newest(there, symbols, number)
        async with raw_socket(second.url, token=second.token()) as late:
            assert numbers(await subscribe(late, *symbols)) == [3] * SHARDS
        async with raw_socket(first.url, token=first.token()) as late:
            assert numbers(await subscribe(late, *symbols)) == [3] * SHARDS


@pytest.mark.slow
async def test_a_stock_manager_at_any_node_reaches_the_clients_of_every_gateway(cluster: Cluster) -> None:
    async with gateways(cluster.url) as (first, second):
        for node in cluster.nodes:
            async with (
                raw_socket(first.url, token=first.token()) as here,
                raw_socket(second.url, token=second.token()) as there,
            ):
                manager = socketio.AsyncRedisManager(node.url, write_only=True)
                await manager.emit("notice", node.port, room="tenant:acme", namespace="/market-data")
                await manager.redis.aclose()
                for socket in (here, there):
                    assert await next_event(socket, "notice") == node.port


@pytest.mark.slow
async def test_an_event_stream_that_goes_on_misses_nothing_when_the_clocks_of_nodes_differ(
    cluster: Cluster,
) -> None:
    """What was published after the last one it has seen may carry a smaller cursor."""
    symbol = new_symbol("SSE")
    async with gateways(cluster.url, 1) as (only,):
        await only.publish(prices=[price(symbol, 1)])
        cursor = int((await _first_event(only, symbol, "")).rpartition("@")[2])
        assert await _first_event(only, symbol, f"OTHER-1@{cursor + 500_000}")


async def _first_event(server: Server, symbol: str, last: str) -> str:
    """The id of the first price of a stream."""
    headers = {"Authorization": f"Bearer {server.token()}", "Last-Event-ID": last}
    async with (
        aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(scaled(10))) as session,
        session.get(f"{server.url}/market-data/stream", params={"symbols": symbol}) as answer,
    ):
        async for raw in answer.content:
            if raw.startswith(b"id: "):
                return raw.decode().strip()
    raise AssertionError("the stream ended")


@pytest.mark.slow
async def test_a_killed_primary_costs_no_client_and_all_end_on_the_newest(mortal: Cluster) -> None:
    symbols = one_of_each_shard()
    async with (
        gateways(mortal.url) as (first, second),
        raw_socket(first.url, token=first.token()) as here,
        raw_socket(second.url, token=second.token()) as there,
    ):
        for socket in (here, there):
            await subscribe(socket, *symbols)
        await first.publish(prices=[price(symbol, 1) for symbol in symbols])
        for socket in (here, there):
            await until_newest(socket, symbols, 1)
        lost = mortal.nodes[0]
        assert lost in {mortal.owner(frames_channel(shard)) for shard in range(SHARDS)}
        lost.kill()
        for server in (first, second):
            await eventually(partial(_not_ready, server), 10, "the loss")
        for number in range(2, 6):
            await first.publish(prices=[price(symbol, number) for symbol in symbols])
        for socket in (here, there):
            await until_newest(socket, symbols, 5)
        for server in (first, second):
            await eventually(partial(is_ready, server), 20, "readiness")
            _said_once(server)
            assert not server.events("websocket_connection_closed")
        # The first node of its URL is gone; the others are found by the next.
        async with (
            gateways(mortal.url, 1, owner=False) as (third,),
            raw_socket(third.url, token=third.token()) as late,
        ):
            assert numbers(await subscribe(late, *symbols)) == [5] * SHARDS
        for socket in (here, there):
            await socket.fence()
            for symbol in symbols:
                prices = [data for name, data in socket.events if name == "price"]
                came = [data["midPrice"] for data in prices if data["symbol"] == symbol]
                assert came == sorted(came)


async def _not_ready(server: Server) -> bool:
    return not await is_ready(server)


def _said_once(server: Server) -> None:
    """The log says what happened once."""
    wait_until(lambda: server.events("bus_reconnected"), what="the return of the bus in the log")
    assert len(server.events("bus_disconnected")) == 1
    assert len(server.events("bus_reconnected")) == 1


# One bus in this process, looked at more closely


@asynccontextmanager
async def running_bus(cluster: Cluster) -> AsyncIterator[tuple[RedisBus, list[Frame]]]:
    """A bus and what its receiver got."""
    bus = build_bus(cluster.url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    got: list[Frame] = []
    bus.attach(got.extend)
    running = asyncio.create_task(bus.run())
    try:
        await eventually(lambda: bus.connected, 10, "a connection to the cluster")
        yield bus, got
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def listen(bus: RedisBus, symbols: list[str]) -> None:
    """Watches symbols, and waits until they are heard."""
    for symbol in symbols:
        bus.watch(symbol)
    await bus.last(symbols, "acme")  # type: ignore[misc]  # asked of Redis


def frame(symbol: str, bid: float) -> Frame:
    return messages.price(best_price(symbol, bid, 5))


def bodies(frames: list[Frame]) -> list[bytes]:
    return sorted(frame.body for frame in frames if frame.event == "price")


async def test_a_node_that_forgot_the_script_gets_it_and_no_other_node_a_batch_twice(
    cluster: Cluster,
) -> None:
    symbols = one_of_each_shard()
    async with running_bus(cluster) as (bus, got):
        await listen(bus, symbols)
        for number in (1, 2):
            sent = [frame(symbol, number) for symbol in symbols]
            bus.publish(sent)
            await eventually(lambda: len(got) >= SHARDS, what="a price of each shard")
            cluster.owner(frames_channel(0)).client.script_flush()
            bus.publish([frame(symbol, number + 0.5) for symbol in symbols])
            await eventually(lambda: len(got) >= 2 * SHARDS, what="another")
            assert bodies(got) == bodies(sent + [frame(symbol, number + 0.5) for symbol in symbols])
            got.clear()


async def test_the_cursors_of_one_publisher_rise_over_all_shards(cluster: Cluster) -> None:
    symbols = one_of_each_shard()
    async with running_bus(cluster) as (bus, got):
        await listen(bus, symbols)
        for number, symbol in enumerate(symbols):
            bus.publish([frame(symbol, number)])
            await eventually(lambda: len(got) == number + 1, what="a price")  # noqa: B023  # awaited in its turn
        assert all(earlier.cursor < later.cursor for earlier, later in pairwise(got))


async def test_a_process_listens_only_where_its_symbols_are(cluster: Cluster) -> None:
    first, second = one_of_each_shard()[:2]
    async with running_bus(cluster) as (bus, _):
        await listen(bus, [first])
        assert listeners(cluster, 0) == 1
        assert listeners(cluster, 1) == 0
        await listen(bus, [second])
        bus.unwatch(first)
        await eventually(lambda: listeners(cluster, 0) == 0, what="the end of the subscription")
        assert listeners(cluster, 1) == 1


def listeners(cluster: Cluster, shard: int) -> int:
    """How many listen to a shard, on all nodes."""
    channel = frames_channel(shard)
    return sum(count for node in cluster.nodes for _, count in node.client.pubsub_shardnumsub(channel))


async def test_prices_flow_on_when_the_slot_of_a_shard_moves_to_another_node(cluster: Cluster) -> None:
    symbol = one_of_each_shard()[0]
    target = _another(cluster, cluster.owner(last_values(0)))
    async with running_bus(cluster) as (bus, got), running_bus(cluster) as (other, _):
        await listen(bus, [symbol])
        other.publish([frame(symbol, 1)])
        await eventually(lambda: bodies(got) == bodies([frame(symbol, 1)]), what="a price on the old node")
        link = bus._link
        await asyncio.to_thread(cluster.move, last_values(0), target)
        assert cluster.owner(last_values(0)) is target
        await eventually(lambda: bus.connected and bus._link is not link, 10, "a stay with the new owner")
        other.publish([frame(symbol, 2)])
        await eventually(lambda: frame(symbol, 2).body in bodies(got), 10, "a price on the new node")
        assert [found.body for found in await _last(bus, symbol)] == [frame(symbol, 2).body]


def _another(cluster: Cluster, node: Node) -> Node:
    return next(other for other in cluster.nodes if other is not node and other.is_primary)


async def _last(bus: RedisBus, symbol: str) -> list[Frame]:
    found = bus.last([symbol], "acme")
    return list(found if isinstance(found, list) else await found)  # type: ignore[misc]  # at hand or not


async def test_every_connection_that_listens_has_a_probe_of_its_own(cluster: Cluster) -> None:
    async with running_bus(cluster) as (bus, _):
        link = bus._link
        assert isinstance(link, ClusterSubscriber)
        owners = {cluster.owner(frames_channel(shard)).port for shard in range(SHARDS)}
        assert len(link._all) == 1 + len(owners)
        assert {link._of(probe) for probe in link.probe_channels("me")} == set(link._all)


@pytest.mark.slow
@pytest.mark.parametrize("deaf", [0, -1], ids=["of ordinary channels", "of shards"])
async def test_a_connection_that_went_deaf_is_noticed(cluster: Cluster, deaf: int) -> None:
    async with running_bus(cluster) as (bus, _):
        link = bus._link
        assert isinstance(link, ClusterSubscriber)
        link._all[deaf]._receive = lambda _channel, _data: None
        await eventually(lambda: not bus.connected, 10, "a canary that noticed")
        await eventually(lambda: bus.connected, 10, "another stay")


@pytest.mark.slow
async def test_a_primary_that_freezes_is_replaced_and_prices_flow_again(mortal: Cluster) -> None:
    """Also when it goes on afterwards, thinking for a moment that it still is one."""
    symbols = one_of_each_shard()
    async with running_bus(mortal) as (bus, got):
        await listen(bus, symbols)
        frozen = mortal.owner(frames_channel(0))
        frozen.pause()
        await eventually(lambda: not bus.connected, 15, "the loss")
        bus.publish([frame(symbol, 1) for symbol in symbols])
        prices = bodies([frame(symbol, 1) for symbol in symbols])
        await eventually(lambda: set(bodies(got)) >= set(prices), 30, "prices by the replica")
        frozen.go_on()
        await eventually(lambda: not frozen.is_primary, 10, "a new replica")
        bus.publish([frame(symbol, 2) for symbol in symbols])
        prices = bodies([frame(symbol, 2) for symbol in symbols])
        await eventually(lambda: set(bodies(got)) >= set(prices), 10, "prices by both")
        assert bus.connected


async def test_the_nodes_of_the_url_are_asked_again_after_a_stay_beside_those_that_were_found(
    cluster: Cluster,
) -> None:
    """By then its names may stand for other machines, and those that were found may all be gone."""
    absent, node = free_port(), cluster.nodes[0]
    bus = build_bus(f"redis+cluster://127.0.0.1:{absent},127.0.0.1:{node.port}", clock=SystemClock())
    assert isinstance(bus, RedisBus)
    client = bus.client
    assert isinstance(client, ClusterClient)
    asked = client._cluster.nodes_manager
    await client.ask([("GET", "key")])
    assert {at.port for at in asked.startup_nodes.values()} == {at.port for at in cluster.nodes}
    await client.disconnect()
    assert {at.port for at in asked.startup_nodes.values()} == {absent, *(at.port for at in cluster.nodes)}
    await client.aclose()


async def test_a_cluster_of_which_no_node_answers_is_an_error_of_redis_like_any_other() -> None:
    """redis-py has another tree of exceptions for it; who catches a RedisError must not have to know."""
    bus = build_bus(f"redis+cluster://127.0.0.1:{free_port()}", clock=SystemClock())
    assert isinstance(bus, RedisBus)
    client = bus.client
    link = client.listener(lambda _channel, _data: None)
    for attempt in (client.ask([("GET", "key")]), client.publish("channel", b""), link.open()):
        with pytest.raises(RedisError, match="cannot be connected"):
            await attempt
    await link.close()
    await client.aclose()


async def test_the_command_publishes_through_a_cluster_too(cluster: Cluster) -> None:
    """Whichever node it speaks to, the process that feeds the market hears it, and is heard."""
    symbol = new_symbol("PIPE")
    async with gateways(cluster.url) as (_, second), raw_socket(second.url, token=second.token()) as socket:
        await subscribe(socket, symbol)
        line = parse_line(1, dumps(price(symbol, 4)))
        assert await _send_through(cluster.url, line) == []
        await next_price(socket, 4)


async def _send_through(url: str, line: Line) -> list[tuple[int, str]]:
    channel = RelayedChannel(url)
    try:
        return await channel.send([line])
    finally:
        await channel.close()


async def test_a_cluster_that_is_not_there_is_an_error_of_publish_in_one_sentence() -> None:
    with pytest.raises(UnavailableError, match="cannot publish through Redis"):
        await _send_through(f"redis+cluster://127.0.0.1:{free_port()}", parse_line(1, b'{"source":"x"}'))


async def test_entries_of_a_stream_in_a_cluster_are_published(cluster: Cluster) -> None:
    symbol = new_symbol("STREAM")
    entry = {"eventType": "market-data.best-price", "payload": price(symbol, 6)}
    async with gateways(cluster.url) as (_, second), raw_socket(second.url, token=second.token()) as socket:
        await subscribe(socket, symbol)
        redis = RedisCluster.from_url(cluster.url.replace("redis+cluster", "redis").partition(",")[0])
        async with redis:
            await redis.xadd("market-data.best-price", {"event": dumps(entry)})
        await next_price(socket, 6)
