"""Publish patterns and alerts from a Python back end over HTTP.

    async with PatternPublisher("http://127.0.0.1:8080", token=token) as publisher:
        await publisher.pattern("double-bottom", "AAPL", tier="daily", confidence=0.93)
        await publisher.alert("halt", symbol="AAPL", priority="CRITICAL")

With the address of a server events go there by HTTP, with a token of the scope `market:publish`; with that
of the Redis which servers share (`redis://...`, as `serve --bus` takes it) they are added to its stream of
events, without a token. What is no event is refused here, before anything is sent. An event keeps its id, so
one whose answer was lost is sent again to a server: the same id within five minutes is one event.
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any, Literal, Self

from aiohttp import ClientError, ClientTimeout
from aiohttp_retry import RetryClient
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from marketstream.bus.url import build_client
from marketstream.core.events.event import Tier
from marketstream.errors import (
    AuthFailedError,
    ConfigurationError,
    NotEntitledError,
    UnavailableError,
)
from marketstream.retry import Retry
from marketstream.wire.events import codec as wire
from marketstream.wire.json import loads

Priority = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]

STREAM = "marketstream.events"
"""The Redis stream that servers read events from, unless `events.stream` says otherwise."""

MOST = 1_000_000
"""Entries that the stream keeps, about."""

PATIENCE = 10.0
"""Seconds that an answer may take; without one in that time it is given up."""

_PATH = "/api/v1/events"
_REFUSALS = {
    401: AuthFailedError("the server does not accept the token"),
    403: NotEntitledError("the token does not allow publishing: it needs the scope market:publish"),
}


class PatternPublisher:
    """See the module; an asynchronous context manager.

    Args:
        url: Of a server (`http://`, `https://`) or of the Redis of servers.
        token: For a server; not needed for Redis.
        tenant: The only tenant that may hear of what is published; None for all.
        stream: Name of the Redis stream.

    Raises:
        ConfigurationError: The address cannot be one, or there is no token for a server.
    """

    def __init__(
        self, url: str, *, token: str | None = None, tenant: str | None = None, stream: str = STREAM
    ) -> None:
        self._tenant = tenant
        self._stream = stream
        self._url = url.rstrip("/")
        self._redis: Redis | RedisCluster | None = None
        self._client: RetryClient | None = None
        self._token = token
        if not url.startswith(("http://", "https://")):
            self._redis = build_client(url)
        elif not token:
            raise ConfigurationError("token", "a server takes events from who has a token only")

    async def __aenter__(self) -> Self:
        """Connect when there is something to send."""
        if self._redis is None:
            headers = {"Authorization": f"Bearer {self._token}"}
            self._client = RetryClient(
                retry_options=Retry(repeatable=True, longest=PATIENCE),
                headers=headers,
                timeout=ClientTimeout(total=PATIENCE),
            )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()
        if self._redis is not None:
            await self._redis.aclose()

    async def pattern(  # the fields of a pattern, all but two by name
        self,
        name: str,
        symbol: str,
        *,
        tier: Tier,
        confidence: float,
        data: Mapping[str, Any] | None = None,
        priority: Priority = "MEDIUM",
        lasts: float | None = None,
        ident: str | None = None,
    ) -> str:
        """Publish an event of the type `pattern`.

        Args:
            name: What was seen, such as `double-bottom`.
            symbol: Where.
            tier: Span of time that it looks at: daily, intraday or combo.
            confidence: How sure it is, 0 to 1.
            data: Whatever else there is to say, up to 16 KB of JSON.
            priority: How much it matters.
            lasts: Seconds after which it is of no use; None: it stays of use.
            ident: Id; the same one within five minutes is one event. Made if None.

        Returns:
            The id.

        Raises:
            InvalidMessageError: It is no event; the path names the field.
            AuthError: The token is no good for this.
            UnavailableError: It may have been published or not: send it again under the same id.
        """
        fields = {"symbol": symbol, "tier": tier, "confidence": confidence}
        return await self._publish("pattern", name, fields, data, priority, lasts, ident)

    async def alert(  # the fields of an alert, all but one by name
        self,
        name: str,
        *,
        symbol: str | None = None,
        data: Mapping[str, Any] | None = None,
        priority: Priority = "HIGH",
        lasts: float | None = None,
        ident: str | None = None,
    ) -> str:
        """Publish an event of the type `alert`; as `pattern` otherwise."""
        return await self._publish("alert", name, {"symbol": symbol}, data, priority, lasts, ident)

    async def _publish(  # what both kinds have
        self,
        kind: str,
        name: str,
        fields: Mapping[str, Any],
        data: Mapping[str, Any] | None,
        priority: Priority,
        lasts: float | None,
        ident: str | None,
    ) -> str:
        at_ms = time.time_ns() // 1_000_000
        given = {
            **fields,
            "type": kind,
            "name": name,
            "priority": priority,
            "timestamp": at_ms,
            "expiresAt": None if lasts is None else at_ms + round(lasts * 1000),
            "tenantId": self._tenant,
            "data": None if data is None else dict(data),
            "id": ident,
        }
        event = wire.parse_event(given, at_ms, lambda: secrets.token_hex(12))
        body = wire.render_event(event)
        await (self._add(self._redis, body) if self._redis is not None else self._post(body))
        return event.id

    async def _add(self, redis: Redis | RedisCluster, body: bytes) -> None:
        try:
            await redis.xadd(self._stream, {"event": body}, maxlen=MOST, approximate=True)
        except (RedisError, RedisClusterException, OSError) as error:
            raise UnavailableError("Redis does not answer") from error

    async def _post(self, body: bytes) -> None:
        assert self._client is not None, "use it as a context manager"  # noqa: S101  # a fault of the caller
        try:
            async with self._client.post(f"{self._url}{_PATH}", data=body) as answer:
                status, said = answer.status, await answer.read()
        except (ClientError, TimeoutError) as error:
            raise UnavailableError(f"{self._url} does not answer") from error
        if status in _REFUSALS:
            raise _REFUSALS[status]
        if status != 200 or loads(said)["rejected"]:  # noqa: PLR2004  # OK
            raise UnavailableError(f"{self._url} answered with status {status}: {said[:200]!r}")
