import pytest

from marketstream.cache.memory import MemoryCache
from marketstream.cache.redis import RedisCache
from marketstream.errors import ConfigurationError
from marketstream.settings import Settings
from marketstream.wiring import build_cache
from tests.support.clock import FakeClock


def settings(**tables: dict[str, object]) -> Settings:
    return Settings.model_validate(tables)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (settings(), MemoryCache),
        (settings(bus={"url": "redis://h:1/0"}), RedisCache),
        (settings(bus={"url": "redis://h:1/0"}, cache={"url": "memory://"}), MemoryCache),
        (settings(cache={"url": "redis+cluster://h:1"}), RedisCache),
    ],
)
async def test_the_cache_is_where_it_is_wanted_or_where_the_bus_is(given: Settings, kind: type) -> None:
    cache = build_cache(given, FakeClock())
    assert isinstance(cache, kind)
    if isinstance(cache, RedisCache):
        await cache.aclose()


def test_a_cache_that_does_not_exist_is_named_by_its_own_setting() -> None:
    with pytest.raises(ConfigurationError) as refused:
        build_cache(settings(cache={"url": "amqp://h"}), FakeClock())
    assert refused.value.path == "cache.url"
    assert "bus.url" not in str(refused.value)
