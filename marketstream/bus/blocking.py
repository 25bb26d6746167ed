"""A connection to the Redis behind a bus for programs that have no event loop: `marketstream publish`."""

from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import ConnectionPool, parse_url
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import Sentinel

from marketstream.bus.redis import PATIENCE
from marketstream.bus.url import check_url, read_cluster, read_sentinel
from marketstream.errors import ConfigurationError, UnavailableError


def connect(url: str) -> Redis | RedisCluster:
    """Makes a client, which connects when it is used.

    Args:
        url: As `bus.url` takes it, but not of a bus in memory.

    Raises:
        ConfigurationError: The URL names no Redis that this version speaks to.
        UnavailableError: It is a cluster of which no node answers.
    """
    check_url(url)
    kind = url.partition("://")[0]
    if kind not in _CLIENTS:
        raise ConfigurationError("bus.url", f"{kind}:// is within one process: nobody else can publish there")
    return _CLIENTS[kind](url)


def _plain(url: str) -> Redis:
    parts: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]  # redis-py's types are not complete
    return Redis.from_pool(ConnectionPool(**parts | _options()))


def _sentinel(url: str) -> Redis:
    watch = read_sentinel(url)
    sentinel = Sentinel(watch.addresses, sentinel_kwargs=_options())  # type: ignore[no-untyped-call]  # the same
    client: Redis = sentinel.master_for(watch.service, **watch.options | _options())  # type: ignore[no-untyped-call]  # the same
    return client


def _cluster(url: str) -> RedisCluster:
    addresses, given = read_cluster(url)
    nodes = [ClusterNode(host, port) for host, port in addresses]  # type: ignore[no-untyped-call]  # the same
    try:
        return RedisCluster(startup_nodes=nodes, **given, **_options())
    except RedisClusterException as error:
        raise UnavailableError(f"cannot publish through Redis: {error}") from error


def _options() -> dict[str, Any]:
    return {
        "socket_timeout": PATIENCE,
        "socket_connect_timeout": PATIENCE,
        "socket_keepalive": True,
        # Trying again is for who asked: it knows what an answer is worth waiting for.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
        "decode_responses": False,
    }


_CLIENTS: dict[str, Callable[[str], Redis | RedisCluster]] = {
    "redis": _plain,
    "rediss": _plain,
    "redis+sentinel": _sentinel,
    "redis+cluster": _cluster,
}
