"""A cache in a Redis that dies, freezes and comes back: readers lose a little time."""

from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from marketstream.bus.url import build_client
from marketstream.cache.redis import PAUSE, RedisCache
from tests.support.clock import FakeClock
from tests.support.eventually import eventually
from tests.support.valkey import Valkey, running_valkey


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A Valkey that a test may kill."""
    with running_valkey() as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def cache(own_valkey: Valkey, clock: FakeClock) -> AsyncIterator[RedisCache]:
    """A cache that holds one value."""
    one = RedisCache(build_client(own_valkey.url), clock=clock)
    await one.put([("k", b"1", 60)])
    assert await one.get("k") == b"1"
    yield one
    await one.aclose()


async def test_a_redis_that_died_is_a_miss_and_one_line_in_the_log(
    own_valkey: Valkey, cache: RedisCache, clock: FakeClock
) -> None:
    own_valkey.kill()
    with capture_logs() as logged:
        for _ in range(5):
            assert await cache.get("k") is None
            await cache.put([("k", b"2", 60)])
            clock.advance(PAUSE)
    assert [entry["event"] for entry in logged] == ["cache_disconnected"]
    assert not cache.connected


async def test_a_redis_that_is_frozen_is_a_miss_and_then_left_alone(
    own_valkey: Valkey, cache: RedisCache, clock: FakeClock
) -> None:
    own_valkey.pause()
    assert await cache.get("k") is None
    own_valkey.go_on()
    assert await cache.get("k") is None
    clock.advance(PAUSE)

    async def back() -> bool:
        clock.advance(PAUSE)
        return await cache.get("k") == b"1"

    await eventually(back, what="an answer of the Valkey that was thawed")
    assert cache.connected


async def test_a_redis_that_came_back_is_used_again(
    own_valkey: Valkey, cache: RedisCache, clock: FakeClock
) -> None:
    own_valkey.kill()
    assert await cache.get("k") is None
    own_valkey.start()
    clock.advance(PAUSE)
    with capture_logs() as logged:
        await cache.put([("k", b"2", 60)])
        assert await cache.get("k") == b"2"
    assert [entry["event"] for entry in logged] == ["cache_reconnected"]
