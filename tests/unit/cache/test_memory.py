import pytest

from marketstream.cache.memory import OVERHEAD, MemoryCache
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_it_never_holds_more_entries_than_it_may(clock: FakeClock) -> None:
    cache = MemoryCache(clock=clock, max_entries=3)
    for number in range(10):
        await cache.put([(str(number), b"x", 60)])
    assert cache.size == 3
    assert [await cache.get(str(number)) for number in range(6, 10)] == [None, b"x", b"x", b"x"]


async def test_the_least_recently_used_gives_way(clock: FakeClock) -> None:
    cache = MemoryCache(clock=clock, max_entries=2)
    await cache.put([("a", b"1", 60), ("b", b"2", 60)])
    await cache.get("a")
    await cache.put([("c", b"3", 60)])
    assert [await cache.get(key) for key in "abc"] == [b"1", None, b"3"]


async def test_it_never_holds_more_bytes_than_it_may(clock: FakeClock) -> None:
    cache = MemoryCache(clock=clock, max_bytes=10 * (OVERHEAD + 101))
    for number in range(100):
        await cache.put([(str(number % 10 + number), b"x" * 100, 60)])
        assert cache.weight <= 10 * (OVERHEAD + 101)
    await cache.put([("large", b"x" * 100_000, 60)])
    assert await cache.get("large") is None


async def test_its_weight_is_that_of_what_it_holds(clock: FakeClock) -> None:
    cache = MemoryCache(clock=clock)
    await cache.put([("a", b"12345", 60), ("a", b"1", 60), ("b", b"1", 10)])
    clock.advance(10)
    assert await cache.get("b") is None
    assert cache.weight == OVERHEAD + 2


async def test_a_value_is_gone_at_the_very_moment_its_time_is_over(clock: FakeClock) -> None:
    cache = MemoryCache(clock=clock)
    await cache.put([("a", b"1", 60)])
    clock.advance(59.999)
    assert await cache.get("a") == b"1"
    clock.advance(0.001)
    assert await cache.get("a") is None
