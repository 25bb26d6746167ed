from typing import Any

import pytest

from marketstream.bus.memory import MemoryBus
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus, check_url
from marketstream.errors import ConfigurationError
from tests.support.clock import FakeClock


def options(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What connections for commands, and those that listen, are made with."""
    bus = build_bus(url, clock=FakeClock())
    assert isinstance(bus, RedisBus)
    return bus.client.connection_pool.connection_kwargs, bus._listeners.connection_kwargs


def test_memory_is_a_bus_of_its_own() -> None:
    assert isinstance(build_bus("memory://", clock=FakeClock()), MemoryBus)


def test_a_redis_is_found_where_the_url_says() -> None:
    for found in options("redis://me:p%40ss@host:7000/3"):
        assert {name: found[name] for name in ("host", "port", "db", "username", "password")} == {
            "host": "host",
            "port": 7000,
            "db": 3,
            "username": "me",
            "password": "p@ss",
        }


def test_tls_is_asked_for_by_the_scheme() -> None:
    bus = build_bus("rediss://host?ssl_ca_certs=/ca.pem", clock=FakeClock())
    assert isinstance(bus, RedisBus)
    assert bus._listeners.connection_class.__name__ == "SSLConnection"
    assert bus._listeners.connection_kwargs["ssl_ca_certs"] == "/ca.pem"


def test_commands_have_a_limit_of_time_and_listening_has_none_and_nothing_is_tried_again_silently() -> None:
    """Whatever the query of the URL says."""
    commands, listening = options("redis://host?protocol=3&socket_timeout=60&decode_responses=yes")
    assert (commands["socket_timeout"], listening["socket_timeout"]) == (3.0, None)
    for found in (commands, listening):
        assert (found["protocol"], found["decode_responses"]) == (2, False)
        assert found["retry"].get_retries() == 0


def test_a_sentinel_url_names_sentinels_service_and_database() -> None:
    bus = build_bus("redis+sentinel://me:secret@one:1,two,[::1]:3/prices/2", clock=FakeClock())
    assert isinstance(bus, RedisBus)
    pool: Any = bus._listeners
    assert pool.service_name == "prices"
    sentinels = [client.connection_pool.connection_kwargs for client in pool.sentinel_manager.sentinels]
    assert [(at["host"], at["port"]) for at in sentinels] == [("one", 1), ("two", 26379), ("::1", 3)]
    assert (pool.connection_kwargs["db"], pool.connection_kwargs["password"]) == (2, "secret")


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://a:1,b:2",
        "redis+sentinel://a:1",
        "redis+sentinel://a:1,/prices",
        "redis+sentinel://a:1/prices/two",
        "redis://secret@host:port",
        "nats://host",
    ],
)
def test_what_is_no_bus_is_refused_in_a_sentence_that_shows_no_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_url(url)
    assert refused.value.path == "bus.url"
    assert "secret" not in str(refused.value)
