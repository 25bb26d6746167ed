"""The bus that a URL names.

`memory://`, `redis://`, `rediss://` (TLS) and `redis+sentinel://h1:p,h2:p/SERVICE/DB`. A cluster is refused
with a sentence: its sharded channels are another way to listen, which this version does not have.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from marketstream.bus.memory import MemoryBus
from marketstream.bus.redis import PATIENCE, RedisBus
from marketstream.errors import ConfigurationError
from marketstream.ports import Clock
from marketstream.wire import keys

SENTINEL_PORT = 26379

_HOST = re.compile(r"(\[[0-9a-fA-F:]+\]|[^:\[\]]+)(?::(\d{1,5}))?")
_MASTER = re.compile(r"/([^/]+)(?:/(\d+))?/?")

Pools = tuple[ConnectionPool, ConnectionPool]
"""Connections for commands, and for listening."""


def build_bus(url: str, *, clock: Clock, shards: int = keys.SHARDS) -> MemoryBus | RedisBus:
    """Makes the bus; connects to nothing yet.

    Args:
        url: As the module says.
        clock: Time.
        shards: Parts of the market; the same in every process.

    Raises:
        ConfigurationError: The URL names no bus that this version has.
    """
    pools = _pools(url)
    if pools is None:
        return MemoryBus(clock=clock)
    commands, listeners = pools
    return RedisBus(client=Redis.from_pool(commands), listeners=listeners, clock=clock, shards=shards)


def build_clients(url: str) -> tuple[Redis, Redis]:
    """Makes a client for commands, and one for reads that wait longer than an answer may take.

    Args:
        url: As the module says, but not of a bus in memory.

    Raises:
        ConfigurationError: The URL names no Redis that this version speaks to.
    """
    pools = _pools(url)
    if pools is None:
        raise _bad("there is no Redis behind memory://")
    commands, waiting = pools
    return Redis.from_pool(commands), Redis.from_pool(waiting)


def check_url(url: str) -> None:
    """Raises what `build_bus` would raise, and makes nothing.

    Raises:
        ConfigurationError: The URL names no bus that this version has.
    """
    _pools(url)


def _pools(url: str) -> Pools | None:
    kind = url.partition("://")[0]
    if kind == "memory":
        return None
    if kind == "redis+cluster":
        raise _bad("this version does not speak to a cluster; use redis:// or redis+sentinel://")
    if kind not in _POOLS:
        raise _bad(f"there is no bus {kind}://; there are memory, {', '.join(_POOLS)}")
    return _POOLS[kind](url)


def _plain(url: str) -> Pools:
    try:
        parts: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        raise _bad(str(error)) from None  # the cause would show the URL
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
    """Reads a `redis+sentinel://` URL.

    Raises:
        ConfigurationError: It is not one.
    """
    parts = urlsplit(url)
    account, _, listed = parts.netloc.rpartition("@")
    hosts = [_HOST.fullmatch(host) for host in listed.split(",")]
    master = _MASTER.fullmatch(parts.path)
    if master is None or not all(hosts):
        raise _bad("it must be redis+sentinel://host:port,host:port/SERVICE or .../SERVICE/DB")
    given: dict[str, Any] = {"db": int(master[2] or 0)}
    if account:
        user, _, password = account.partition(":")
        given |= {"username": unquote(user) or None, "password": unquote(password) or None}
    addresses = [(host[1].strip("[]"), int(host[2] or SENTINEL_PORT)) for host in hosts if host]
    return Watch(addresses, unquote(master[1]), given)


def _sentinel(url: str) -> Pools:
    watch = read_sentinel(url)

    def pool(timeout: float | None) -> ConnectionPool:
        sentinel = Sentinel(watch.addresses, sentinel_kwargs=_options(PATIENCE))  # type: ignore[no-untyped-call]  # redis-py's types are not complete
        options = watch.options | _options(timeout)
        return _SentinelPool(watch.service, sentinel, **options)  # type: ignore[no-untyped-call]  # redis-py's types are not complete

    return pool(PATIENCE), pool(None)


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
