import re
from typing import Any

import pytest

from marketstream.bus.client import PlainClient
from marketstream.bus.cluster import ClusterClient
from marketstream.bus.redis import RedisBus
from marketstream.bus.url import build_bus, build_client
from marketstream.errors import ConfigurationError
from tests.support.clock import FakeClock


def plain(url: str) -> PlainClient:
    """How the bus of a URL speaks to one server."""
    bus = build_bus(url, clock=FakeClock())
    assert isinstance(bus, RedisBus)
    assert isinstance(bus.client, PlainClient)
    return bus.client


def cluster(url: str) -> Any:
    """The cluster that the bus of a URL speaks to."""
    bus = build_bus(url, clock=FakeClock())
    assert isinstance(bus, RedisBus)
    assert isinstance(bus.client, ClusterClient)
    return bus.client._cluster


def options(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What connections for commands, and those that listen, are made with."""
    client = plain(url)
    return client._pool.connection_kwargs, client._listeners.connection_kwargs


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
    listeners = plain("rediss://host?ssl_ca_certs=/ca.pem")._listeners
    assert listeners.connection_class.__name__ == "SSLConnection"
    assert listeners.connection_kwargs["ssl_ca_certs"] == "/ca.pem"


def test_commands_have_a_limit_of_time_and_listening_has_none_and_nothing_is_tried_again_silently() -> None:
    """Whatever the query of the URL says."""
    commands, listening = options("redis://host?protocol=3&socket_timeout=60&decode_responses=yes")
    assert (commands["socket_timeout"], listening["socket_timeout"]) == (3.0, None)
    for found in (commands, listening):
        assert (found["protocol"], found["decode_responses"]) == (2, False)
        assert found["retry"].get_retries() == 0


def test_a_sentinel_url_names_sentinels_service_and_database() -> None:
    pool: Any = plain("redis+sentinel://me:secret@one:1,two,[::1]:3/prices/2")._listeners
    assert pool.service_name == "prices"
    sentinels = [client.connection_pool.connection_kwargs for client in pool.sentinel_manager.sentinels]
    assert [(at["host"], at["port"]) for at in sentinels] == [("one", 1), ("two", 26379), ("::1", 3)]
    assert (pool.connection_kwargs["db"], pool.connection_kwargs["password"]) == (2, "secret")


@pytest.mark.parametrize("path", ["", "/", "/0"])
def test_a_cluster_url_names_some_nodes_and_an_account_for_all(path: str) -> None:
    found = cluster(f"redis+cluster://me:p%40ss@10.0.0.1:7000,10.0.0.2,[::1]:3{path}")
    assert [(node.host, node.port) for node in found.startup_nodes] == [
        ("10.0.0.1", 7000),
        ("10.0.0.2", 6379),
        ("::1", 3),
    ]
    for node in found.startup_nodes:
        assert (node.connection_kwargs["username"], node.connection_kwargs["password"]) == ("me", "p@ss")
        assert (node.connection_kwargs["socket_timeout"], node.connection_kwargs["protocol"]) == (3.0, 2)
    assert found.retry.get_retries() == 0


def test_a_password_alone_is_that_of_the_default_user_of_a_cluster() -> None:
    kwargs = cluster("redis+cluster://:secret@10.0.0.1").connection_kwargs
    assert (kwargs["username"], kwargs["password"]) == (None, "secret")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("redis+cluster://:secret@a:1/2", "one database"),
        ("redis+cluster://:secret@a:1?db=0", "must be redis+cluster://host:port,host:port"),
        ("redis+cluster://:secret@a:1,,b:2", "must be redis+cluster://host:port,host:port"),
        ("redis+cluster://", "must be redis+cluster://host:port,host:port"),
        ("rediss+cluster://:secret@a:1", "there is no bus rediss+cluster"),
    ],
)
def test_a_cluster_url_that_asks_for_too_much_is_refused_with_what_it_must_be(
    url: str, sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(sentence)) as refused:
        build_client(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://a:1",
        "redis+sentinel://a:1,/prices",
        "redis+sentinel://a:1/prices/two",
        "redis://secret@host:port",
        "memory://",
        "nats://host",
    ],
)
def test_what_is_no_bus_is_refused_in_a_sentence_that_shows_no_secret(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        build_client(url)
    assert refused.value.path == "bus.url"
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:s3cr3t",
        "redis://:s3cr3t:1@host:port/0",
        "redis://user:s3cr3t@host:99999999/0",
        "redis://[user:s3cr3t@host/0",
        "redis://user:pass@host/0?socket_timeout=s3cr3t",
        "redis+sentinel://user:s3cr3t@host",
        "redis+sentinel://[user:s3cr3t@host/S",
        "redis+sentinel://user:s3cr3t\u2100@host/S",
        "redis+cluster://user:s3cr3t@host/7",
        "redis+cluster://user:s3cr3t@[host",
        "user:s3cr3t@host:6379",
        "redis:user:s3cr3t@host",
    ],
)
def test_what_is_said_of_a_bad_url_holds_nothing_of_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        build_client(url)
    assert "s3cr3t" not in str(refused.value)
    assert refused.value.__cause__ is None
