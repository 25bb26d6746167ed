"""The Redis in memory that tests use answers as a real one does, script by script and command by command.

Where the answer holds a time of the server, the words push it far ahead, so that both count on from there.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marketstream.bus.client import Call, Client, Script
from marketstream.bus.pulse import PULSE
from marketstream.bus.redis import RedisBus
from marketstream.bus.sender import PUBLISH, RESTORE
from marketstream.bus.url import build_bus
from marketstream.coordination import connection_limits, interest_gossip, membership
from marketstream.coordination.lease import FENCE, RELEASE, TAKE
from marketstream.observability.clock import SystemClock
from marketstream.wire import envelope, keys, messages
from tests.support.builders import best_price
from tests.support.fake_redis import FakeRedis
from tests.support.valkey import Valkey

FAR = 4_000_000_000_000_000
NODES = st.sampled_from(["a", "b", "c"])
TERMS = st.sampled_from(["", str(FAR), str(FAR + 1), str(FAR + 2)])
SHARDS = st.integers(0, 1)
SYMBOLS = ["A", "B"]


def names_of(shard: int) -> list[str]:
    """Keys of a shard as `publish.lua` wants them."""
    channel, shut = keys.frames_channel(shard), keys.fence(shard)
    return [keys.last_values(shard), keys.shard_cursor(shard), keys.CURSOR, channel, shut]


@st.composite
def publishing(draw: st.DrawFn) -> tuple[Script, Call]:
    """A batch of some shards."""
    names: list[str] = []
    words: list[Any] = [FAR + draw(st.integers(0, 20)), draw(TERMS)]
    for shard in draw(st.lists(SHARDS, min_size=1, max_size=2, unique=True)):
        frames = draw(st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 9)), max_size=4))
        names += names_of(shard)
        words.append(len(frames))
        for symbol, at_ms in frames:
            field = draw(st.sampled_from(["", keys.field(None, symbol)]))
            words += [field, envelope.render(messages.price(best_price(symbol, 1, at_ms)))]
    return PUBLISH, (names, words)


@st.composite
def restoring(draw: st.DrawFn) -> tuple[Script, Call]:
    """Values that were forgotten."""
    words: list[Any] = [FAR + draw(st.integers(0, 20))]
    for symbol in draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=2, unique=True)):
        frame = messages.price(best_price(symbol, 1, draw(st.integers(1, 9))))
        frame.cursor = FAR + draw(st.integers(0, 20))
        words += [keys.field(None, symbol), envelope.render_value(frame)]
    return RESTORE, (names_of(draw(SHARDS))[:4], words)


@st.composite
def announcing(draw: st.DrawFn) -> tuple[Script, Call]:
    """Symbols that are watched at a node."""
    added, dropped = (draw(st.lists(st.sampled_from(SYMBOLS), max_size=2)) for _ in range(2))
    head: list[Any] = [
        keys.INTEREST,
        b"word",
        draw(st.integers(1, 4)),
        draw(st.integers(0, 1)),
        100_000,
        len(added),
    ]
    return interest_gossip.SCRIPT, ([keys.node_symbols(draw(NODES))], [*head, *added, *dropped])


CALLS = st.one_of(
    st.tuples(
        st.just(TAKE), st.tuples(st.just([keys.LEASE, keys.TERM]), st.tuples(NODES, TERMS, st.just(9_999)))
    ),
    st.tuples(
        st.just(FENCE), st.tuples(SHARDS.map(lambda s: [keys.fence(s)]), st.tuples(TERMS.filter(bool)))
    ),
    st.tuples(st.just(RELEASE), st.tuples(st.just([keys.LEASE]), st.tuples(NODES))),
    st.tuples(
        st.just(PULSE),
        st.tuples(
            st.just([keys.fence(0), keys.pulse(0), keys.fence(1), keys.pulse(1)]),
            st.tuples(TERMS.filter(bool), st.just(60_000)),
        ),
    ),
    st.tuples(
        st.just(connection_limits.SCRIPT),
        st.tuples(
            st.just([keys.user_connections("t", "u")]),
            st.tuples(NODES, st.integers(0, 2), st.integers(1, 4), st.just(60_000)).flatmap(
                lambda four: st.lists(NODES.filter(lambda n: n != four[0]), max_size=1).map(
                    lambda dead: (*four, *dead)
                )
            ),
        ),
    ),
    announcing(),
    publishing(),
    restoring(),
)


def client_of(valkey: Valkey) -> Client:
    """A client of a real Valkey."""
    bus = build_bus(valkey.url, clock=SystemClock())
    assert isinstance(bus, RedisBus)
    return bus.client


@pytest.fixture
async def real(valkey: Valkey) -> AsyncIterator[Client]:
    """A client of a real Valkey."""
    client = client_of(valkey)
    yield client
    await client.aclose()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CALLS, max_size=25))
def test_scripts_answer_and_store_the_same(valkey: Valkey, calls: list[tuple[Script, Call]]) -> None:
    """Whatever is asked in whatever order; also what is kept afterwards is the same."""

    async def run() -> None:
        valkey.flush()
        real = client_of(valkey)
        redis = FakeRedis()
        fake = redis.client()
        try:
            for client in (real, fake):
                await client.ask([("SET", keys.TERM, FAR)])
            for script, (names, words) in calls:
                expected = await real.evaluate(script, [(names, words)])
                assert _sorted(script, await fake.evaluate(script, [(names, words)])) == _sorted(
                    script, expected
                ), script.text
            for shard in range(2):
                for ask in [("HGETALL", keys.last_values(shard)), ("GET", keys.shard_cursor(shard))]:
                    assert await fake.ask([ask]) == await real.ask([ask])
            for ask in [
                ("HGETALL", keys.user_connections("t", "u")),
                ("GET", keys.LEASE),
                ("GET", keys.CURSOR),
            ]:
                assert await fake.ask([ask]) == await real.ask([ask])
        finally:
            await real.aclose()

    asyncio.run(run())


def _sorted(script: Script, replies: list[Any]) -> list[Any]:
    """Replies, those that come out of a hash in any order put in order."""
    if script is connection_limits.SCRIPT:
        return [[reply[0], *sorted(reply[1:])] for reply in replies]
    return replies


async def test_a_beat_tells_the_same_but_for_the_time(real: Client) -> None:
    names = [keys.NODES_SEEN, keys.NODES_NUMBERS]
    fake = FakeRedis().client()
    for node, number in (("a", 1), ("b", 4), ("a", 2)):
        told = []
        for client in (real, fake):
            ((known, *rest),) = await client.evaluate(membership.SCRIPT, [(names, [node, number, 60_000])])
            told.append((known, sorted(zip(rest[::4], rest[1::4], strict=True))))
        assert told[0] == told[1]


async def test_commands_answer_the_same(real: Client) -> None:
    fake = FakeRedis().client()
    commands: list[tuple[Any, ...]] = [
        ("SET", "k", "v", "NX", "PX", 5_000),
        ("SET", "k", "w", "NX"),
        ("GET", "k"),
        ("EXISTS", "k"),
        ("PTTL", "nothing"),
        ("SET", "k", "x"),
        ("PTTL", "k"),
        ("PEXPIRE", "k", 10_000),
        ("PEXPIRE", "nothing", 10_000),
        ("DEL", "k"),
        ("DEL", "k"),
        ("GET", "k"),
        ("HSET", "h", "a", 1, "b", 2),
        ("HSET", "h", "a", 3),
        ("HMGET", "h", "a", "c"),
        ("HSCAN", "h", 0, "COUNT", 10),
        ("HDEL", "h", "a"),
        ("HGETALL", "h"),
        ("HDEL", "h", "b"),
        ("EXISTS", "h"),
        ("ZSCORE", "z", "a"),
        ("ZREM", "z", "a"),
        ("PUBLISH", "c", b"m"),
    ]
    for command in commands:
        assert await fake.ask([command]) == await real.ask([command]), command
