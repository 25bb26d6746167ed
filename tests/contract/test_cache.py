"""The caches of this repository, held to the contract of the test kit."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from marketstream.bus.url import build_client
from marketstream.cache.memory import MemoryCache
from marketstream.cache.redis import RedisCache
from marketstream.observability.clock import SystemClock
from marketstream.ports import Cache
from marketstream.testing.cache import CacheContract
from tests.support.cluster import Cluster
from tests.support.eventually import eventually
from tests.support.valkey import Valkey

Open = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Cache]]


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


class TestCache(CacheContract):
    """Holds each of them to the contract."""
