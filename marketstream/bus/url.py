"""The Redis that a URL names, and a bus over it.

`redis://`, `rediss://` (TLS), `redis+sentinel://h1:p,h2:p/SERVICE/DB` and
`redis+cluster://h1:p,h2:p`, where the hosts are some nodes of the cluster; the others are found by them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from marketstream.bus.client import Client, PlainClient
from marketstream.bus.cluster import ClusterClient
from marketstream.bus.pulse import patience_of
from marketstream.bus.redis import PATIENCE, RedisBus
from marketstream.errors import ConfigurationError
from marketstream.ports import Clock
from marketstream.wire import keys

SENTINEL_PORT = 26379
CLUSTER_PORT = 6379

_CLUSTER = "redis+cluster"
_KIND = re.compile(r"[a-z+]{1,32}")
_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_MASTER = re.compile(r"/([^/]+)(?:/([0-9]+))?/?")

Pools = tuple[ConnectionPool, ConnectionPool]
"""Connections for commands, and for those that wait."""


def build_bus(url: str, *, clock: Clock, shards: int = keys.SHARDS, stale_after: float = 30.0) -> RedisBus:
    """Make the bus; connects to nothing yet.

    Args:
        url: As the module says.
        clock: Time.
        shards: Parts of the market; the same in every process.
        stale_after: Seconds within which it is noticed that nobody feeds the market; likewise.

    Raises:
        ConfigurationError: The URL names no bus that this version has.
    """
    return RedisBus(
        client=_client(url, shards), clock=clock, shards=shards, patience=patience_of(stale_after)
    )


def build_client(url: str) -> Redis | RedisCluster:
    """Make a client for commands.

    Args:
        url: As the module says.

    Raises:
        ConfigurationError: The URL names no Redis that this version speaks to.
    """
    kind = url.partition("://")[0]
    return _cluster(url, PATIENCE) if kind == _CLUSTER else Redis.from_pool(_pools(kind, url)[0])


def build_clients(url: str) -> tuple[Redis | RedisCluster, Redis | RedisCluster]:
    """Make a client for commands, and one for reads that wait longer than an answer may take.

    Args:
        url: As the module says.

    Raises:
        ConfigurationError: The URL names no Redis that this version speaks to.
    """
    kind = url.partition("://")[0]
    if kind == _CLUSTER:
        return _cluster(url, PATIENCE), _cluster(url, None)
    commands, waiting = _pools(kind, url)
    return Redis.from_pool(commands), Redis.from_pool(waiting)


def _client(url: str, shards: int) -> Client:
    kind = url.partition("://")[0]
    if kind == _CLUSTER:
        return ClusterClient(_cluster(url, PATIENCE), shards)
    commands, listeners = _pools(kind, url)
    return PlainClient(Redis.from_pool(commands), listeners)


def _pools(kind: str, url: str) -> Pools:
    if kind not in _POOLS:
        shown = f"{kind}://" if _KIND.fullmatch(kind) else "without a scheme"  # it may be all of the URL
        raise _bad(f"there is no bus {shown}; there are {', '.join([*_POOLS, _CLUSTER])}")
    return _POOLS[kind](url)


def _plain(url: str) -> Pools:
    try:
        parts: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        # The library's words, and the cause, would show a part of it.
        raise _bad(f"it must be {url.partition('://')[0]}://[[user]:password@]host[:port][/db]") from None
    return ConnectionPool(**parts | _options(PATIENCE)), ConnectionPool(**parts | _options(None))


@dataclass(frozen=True, slots=True)
class Watch:
    """What a sentinel URL says.

    Attributes:
        addresses: Host and port of each sentinel.
        service: Name of the master they watch.
        options: Database, user and password of the master.
    """

    addresses: list[tuple[str, int]]
    service: str
    options: dict[str, Any]


def read_sentinel(url: str) -> Watch:
    """Read a `redis+sentinel://` URL.

    Raises:
        ConfigurationError: It is not one.
    """
    parts = _split(url)
    addresses, given = _hosts(parts.netloc, SENTINEL_PORT)
    master = _MASTER.fullmatch(parts.path)
    if master is None or not addresses:
        raise _bad("it must be redis+sentinel://host:port,host:port/SERVICE or .../SERVICE/DB")
    return Watch(addresses, unquote(master[1]), given | {"db": int(master[2] or 0)})


def _sentinel(url: str) -> Pools:
    watch = read_sentinel(url)

    def pool(timeout: float | None) -> ConnectionPool:
        sentinel = Sentinel(watch.addresses, sentinel_kwargs=_options(PATIENCE))  # type: ignore[no-untyped-call]  # redis-py's types are not complete
        options = watch.options | _options(timeout)
        return _SentinelPool(watch.service, sentinel, **options)  # type: ignore[no-untyped-call]  # redis-py's types are not complete

    return pool(PATIENCE), pool(None)


def read_cluster(url: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Read a `redis+cluster://` URL.

    Returns:
        Host and port of each node in it, and user and password of all.

    Raises:
        ConfigurationError: It is not one.
    """
    parts = _split(url)
    addresses, given = _hosts(parts.netloc, CLUSTER_PORT)
    if not addresses or parts.query:
        raise _bad("it must be redis+cluster://host:port,host:port")
    if parts.path not in ("", "/", "/0"):
        raise _bad("a cluster has one database: redis+cluster://host:port,host:port and no path")
    return addresses, given


def _cluster(url: str, timeout: float | None) -> RedisCluster:
    addresses, given = read_cluster(url)
    nodes = [ClusterNode(host, port) for host, port in addresses]
    # A slot that has moved is noted one by one; asking all anew would break the connections of other calls.
    return RedisCluster(startup_nodes=nodes, reinitialize_steps=0, **given, **_options(timeout))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise _bad("it is no URL") from None  # the cause would show a part of it


def _hosts(netloc: str, port: int) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Return hosts and ports, none if one of them is not a host, and what an account adds to a connection."""
    account, _, listed = netloc.rpartition("@")
    hosts = [_HOST.fullmatch(host) for host in listed.split(",")]
    if not all(hosts):
        return [], {}
    user, _, password = account.partition(":")
    given = {"username": unquote(user) or None, "password": unquote(password) or None} if account else {}
    return [(host[1].strip("[]"), int(host[2] or port)) for host in hosts if host], given


class _SentinelPool(SentinelConnectionPool):
    """Closes its connections to the sentinels too, which redis-py leaves open."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's signature
        """See `ConnectionPool.disconnect`."""
        await super().disconnect(inuse_connections)
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.connection_pool.disconnect()


def _options(timeout: float | None) -> dict[str, Any]:
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": PATIENCE,
        "socket_keepalive": True,
        # Trying again is the bus's own business: it must know that something was lost.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "protocol": 2,
        "decode_responses": False,
    }


def _bad(text: str) -> ConfigurationError:
    return ConfigurationError("bus.url", text)


_POOLS: dict[str, Callable[[str], Pools]] = {"redis": _plain, "rediss": _plain, "redis+sentinel": _sentinel}
