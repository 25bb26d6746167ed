from typing import Any

import pytest
from redis import Redis
from redis.sentinel import SentinelConnectionPool

from marketstream.bus.blocking import connect
from marketstream.errors import ConfigurationError


def pool_of(url: str) -> Any:
    """Makes the connections to one server."""
    client = connect(url)
    assert isinstance(client, Redis)
    return client.connection_pool


def test_a_redis_is_found_where_the_url_says_and_asked_once() -> None:
    """Whatever the query of the URL says."""
    options = pool_of("redis://me:p%40ss@host:7000/3?decode_responses=yes").connection_kwargs
    expected = {"host": "host", "port": 7000, "db": 3, "username": "me", "password": "p@ss"}
    assert expected.items() <= options.items()
    assert (options["socket_timeout"], options["decode_responses"], options["protocol"]) == (3.0, False, 2)
    assert options["retry"].get_retries() == 0


def test_tls_is_asked_for_by_the_scheme() -> None:
    assert pool_of("rediss://host").connection_class.__name__ == "SSLConnection"


def test_a_sentinel_url_names_sentinels_service_and_database() -> None:
    pool = pool_of("redis+sentinel://me:secret@one:1,two/prices/2")
    assert isinstance(pool, SentinelConnectionPool)
    assert pool.service_name == "prices"
    sentinels = [client.connection_pool.connection_kwargs for client in pool.sentinel_manager.sentinels]
    assert [(at["host"], at["port"]) for at in sentinels] == [("one", 1), ("two", 26379)]
    assert (pool.connection_kwargs["db"], pool.connection_kwargs["password"]) == (2, "secret")


@pytest.mark.parametrize(
    "url", ["memory://", "nats://host", "redis://secret@host:port", "redis+sentinel://a"]
)
def test_what_nobody_else_can_reach_is_refused_in_a_sentence(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        connect(url)
    assert "secret" not in str(refused.value)
