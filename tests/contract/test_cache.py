"""What every cache promises, wherever it keeps its values."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from marketstream.bus.url import build_client
from marketstream.cache.memory import MemoryCache
from marketstream.cache.redis import RedisCache
from marketstream.observability.clock import SystemClock
from marketstream.ports import Cache
from tests.support.cluster import Cluster
from tests.support.eventually import eventually
from tests.support.valkey import Valkey

Open = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Cache]]
LONG = 60.0


@asynccontextmanager
async def memory(_request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    """The cache of a single process."""
    yield MemoryCache(clock=SystemClock())


@asynccontextmanager
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    """The cache of many processes, in a real Valkey."""
    valkey: Valkey = request.getfixturevalue("valkey")
    async with opened(valkey.url) as cache:
        yield cache


@asynccontextmanager
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    """The same in a cluster, where each key may be on another node."""
    valkeys: Cluster = request.getfixturevalue("cluster")
    async with opened(valkeys.url) as cache:
        yield cache


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisCache]:
    """A cache that is closed in the end."""
    cache = RedisCache(build_client(url), clock=SystemClock())
    try:
        await eventually(lambda: answers(cache), what="an answer of Valkey")
        yield cache
    finally:
        await cache.aclose()


async def answers(cache: RedisCache) -> bool:
    """Whether it can be reached; the first contact to a cluster may take longer than one answer may."""
    await cache.get("any")
    return cache.connected


@pytest.fixture(params=[memory, redis, cluster], ids=lambda each: each.__name__)
async def cache(request: pytest.FixtureRequest) -> AsyncIterator[Cache]:
    """Each cache in turn, empty."""
    open_one: Open = request.param
    async with open_one(request) as cache:
        yield cache


@pytest.mark.parametrize("value", [b"", b"{}", b"\x00\xff\r\n", b"x" * 100_000])
async def test_a_value_comes_back_exactly_as_it_was_put(cache: Cache, value: bytes) -> None:
    await cache.put([("quote:AAPL", value, LONG)])
    assert await cache.get("quote:AAPL") == value


async def test_what_was_never_put_is_not_there(cache: Cache) -> None:
    assert await cache.get("quote:NOPE") is None


async def test_several_values_are_put_at_once(cache: Cache) -> None:
    await cache.put([(f"quote:{name}", name.encode(), LONG) for name in ("A", "B", "EUR/USD")])
    assert [await cache.get(f"quote:{name}") for name in ("A", "B", "EUR/USD")] == [b"A", b"B", b"EUR/USD"]


async def test_a_newer_value_takes_the_place_of_the_older(cache: Cache) -> None:
    await cache.put([("k", b"1", LONG)])
    await cache.put([("k", b"2", LONG)])
    assert await cache.get("k") == b"2"


async def test_a_value_is_gone_when_its_time_is_over_and_others_stay(cache: Cache) -> None:
    await cache.put([("short", b"1", 0.02), ("long", b"2", LONG)])

    async def gone() -> bool:
        return await cache.get("short") is None

    await eventually(gone, what="the end of a value")
    assert await cache.get("long") == b"2"


async def test_a_value_that_is_put_again_lives_by_its_new_time(cache: Cache) -> None:
    await cache.put([("k", b"1", 0.02)])
    await cache.put([("k", b"2", LONG), ("other", b"3", 0.02)])

    async def gone() -> bool:
        return await cache.get("other") is None

    await eventually(gone, what="the end of a value")
    assert await cache.get("k") == b"2"


async def test_nothing_to_put_is_no_fault(cache: Cache) -> None:
    await cache.put([])
    assert cache.connected
