"""Read best prices from a Redis stream as a consumer group, publish them, then acknowledge.

At least once: an entry is acknowledged only after its price was sent, so what a process had in hand when it
died is taken over by the next one. An entry that cannot be used is kept in the stream of dead letters with
the reason, and costs no other. A price that is older than the newest of its symbol is not bad: it came too
late, as entries that are read again usually do, and is acknowledged.

One process at a time should run this. Two may meet while one takes over from another: then a price may be
published twice.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from marketstream.bus.redis import PATIENCE, STEPS
from marketstream.bus.reply import raise_if_cancelled
from marketstream.core.backoff import Backoff
from marketstream.engine.stats import Stats
from marketstream.errors import BusError, RequestError
from marketstream.ports import Clock
from marketstream.wire import keys

log = structlog.get_logger(__name__)

IN_HAND = 500
"""Entries that are read and not yet acknowledged, at most."""

TURN = 50
"""Entries that are worked through before the process' other work gets a turn."""

LOOK_INTERVAL = 2.0
"""Seconds between two looks for entries that somebody left behind; also the longest that a read waits."""

ABANDONED_MS = 5_000
"""An entry that was not acknowledged for so long was left behind: sending takes milliseconds."""

MAX_DELIVERIES = 5
"""An entry that was delivered so often and never acknowledged is one that kills its reader."""

DEAD_LETTERS = 10_000
"""Entries kept in the stream of dead letters, about."""

FORGOTTEN_MS = 24 * 3600 * 1000
"""A consumer that has nothing and has done nothing for so long is struck off the list."""

Fields = Mapping[bytes, bytes]
Entries = Sequence[tuple[bytes, Fields]]
"""Entries by their ids."""

FIELD = b"event"
"""The field of an entry that counts."""

Take = Callable[[bytes, bytes], str | Awaitable[str]]
"""Takes the field of an entry, and the entry's id."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is read, and in whose name.

    Attributes:
        stream: The stream.
        group: The consumer group.
        consumer: This process in it; no other one has the same name at the same time.
    """

    stream: str
    group: str
    consumer: str


class StreamConsumer:
    """See the module.

    Args:
        client: Commands go through it.
        reader: Reads that wait go through it; without a read time-out.
        source: What is read.
        take: Tells what became of an entry; raises `RequestError` for one that it does not take, and
            `BusError` when none can be taken now.
        flushed: Returns when everything published before was sent.
        clock: Time.
        stats: Counters to keep.
    """

    def __init__(
        self,
        *,
        client: Redis | RedisCluster,
        reader: Redis | RedisCluster,
        source: Source,
        take: Take,
        flushed: Callable[[], Awaitable[None]],
        clock: Clock,
        stats: Stats,
    ) -> None:
        self._client = client
        self._reader = reader
        self._source = source
        self._take = take
        self._flushed = flushed
        self._clock = clock
        self._stats = stats
        self._interrupted = False

    async def run(self) -> None:
        """Read until cancelled, whatever happens to Redis; may be run again."""
        backoff = Backoff(STEPS)
        while True:
            began = self._clock.now()
            try:
                await self._session()
            except (RedisError, RedisClusterException, OSError, BusError) as error:
                self._disconnected(error)
            finally:
                await self._reader.aclose()
                await self._client.aclose()
            await asyncio.sleep(backoff.next(self._clock.now() - began, random.random()))  # noqa: S311  # jitter

    # One stay with Redis

    async def _session(self) -> None:
        """Read and publish entries until Redis fails.

        Raises:
            RedisError: Redis is lost, or does not have the group any more.
            OSError: The same, or it does not answer.
        """
        await self._join()
        await self._remove_idle(FORGOTTEN_MS)
        # What this consumer had in hand when it was interrupted, and then what others left behind.
        await self._take_over(self._source.consumer, 0)
        await self._take_over(None, ABANDONED_MS)
        self._reconnected()
        looked = self._clock.now()
        while True:
            raise_if_cancelled()
            await self._handle(await self._read())
            if self._clock.now() - looked >= LOOK_INTERVAL:
                await self._take_over(None, ABANDONED_MS)
                looked = self._clock.now()

    def _disconnected(self, error: Exception) -> None:
        if not self._interrupted:
            self._interrupted = True
            reason = str(error) or "Redis does not answer"
            log.warning("ingest_interrupted", stream=self._source.stream, reason=reason)

    def _reconnected(self) -> None:
        if self._interrupted:
            self._interrupted = False
            log.info("ingest_resumed", stream=self._source.stream)

    async def _join(self) -> None:
        """Make the group, so that it reads what is there already; a Redis that came back empty has none."""
        try:
            await self._client.xgroup_create(self._source.stream, self._source.group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _remove_idle(self, idle_ms: int) -> None:
        """Remove consumers that are long gone: each start of a process adds one."""
        stream, group = self._source.stream, self._source.group
        for consumer in await self._client.xinfo_consumers(stream, group):
            if consumer["pending"] == 0 and consumer["idle"] >= idle_ms:
                await self._client.xgroup_delconsumer(stream, group, consumer["name"])

    async def _read(self) -> Entries:
        """Return the next entries that nobody was given yet; none when there were none for a while."""
        source = self._source
        async with asyncio.timeout(LOOK_INTERVAL + PATIENCE):
            found: Any = await self._reader.xreadgroup(
                source.group,
                source.consumer,
                {source.stream: ">"},
                count=IN_HAND,
                block=int(LOOK_INTERVAL * 1000),
            )
        entries: Entries = found[0][1] if found else []
        return entries

    # What was given to somebody and not acknowledged

    async def _take_over(self, consumer: str | None, idle_ms: int) -> None:
        """Handle what was given to a consumer (None: any) so long ago and is not acknowledged.

        XPENDING and XCLAIM rather than XAUTOCLAIM, which does not tell how often an entry was delivered.
        """
        source, start = self._source, "-"
        while True:
            pending: Any = await self._client.xpending_range(
                source.stream, source.group, start, "+", IN_HAND, consumername=consumer, idle=idle_ms or None
            )
            if not pending:
                return
            await self._claim({row["message_id"]: row["times_delivered"] for row in pending}, idle_ms)
            raise_if_cancelled()
            start = f"({pending[-1]['message_id'].decode()}"

    async def _claim(self, deliveries: Mapping[bytes, int], idle_ms: int) -> None:
        source = self._source
        claimed: Any = await self._client.xclaim(
            source.stream, source.group, source.consumer, idle_ms, list(deliveries)
        )
        # Redis before version 7 returns nothing in the place of an entry that is gone.
        entries = [(entry_id, fields) for entry_id, fields in claimed if entry_id is not None]
        self._stats.claimed += len(entries)
        await self._forget(deliveries.keys() - dict(entries).keys())
        fatal = [entry for entry in entries if deliveries[entry[0]] >= MAX_DELIVERIES]
        for entry_id, fields in fatal:
            reason = f"delivered {deliveries[entry_id]} times and never acknowledged"
            await self._put_aside(entry_id, fields, reason)
        await self._acknowledge([entry_id for entry_id, _ in fatal], Counter(bad=len(fatal)))
        await self._handle([entry for entry in entries if deliveries[entry[0]] < MAX_DELIVERIES])

    async def _forget(self, ids: set[bytes]) -> None:
        """Acknowledge what the producer trimmed before it was published; others are left alone."""
        gone = [each for each in ids if not await self._client.xrange(self._source.stream, each, each)]
        if gone:
            log.warning("ingest_entries_trimmed", stream=self._source.stream, count=len(gone))
            await self._acknowledge(gone, Counter(trimmed=len(gone)))

    # Entries

    async def _handle(self, entries: Entries) -> None:
        """Publish entries, and acknowledge them once that has been sent."""
        done: list[bytes] = []
        outcomes: Counter[str] = Counter()
        for number, (entry_id, fields) in enumerate(entries):
            if number % TURN == 0:
                await asyncio.sleep(0)
            try:
                found = self._take(fields.get(FIELD, b""), entry_id)
                outcome = await found if isawaitable(found) else found
            except RequestError as error:
                await self._put_aside(entry_id, fields, str(error))
                outcome = "bad"
            except BusError:
                # None of the others would be taken either: they are in hand, and tried first when it goes on.
                raise
            except Exception as error:  # noqa: BLE001  # a fault of the server: others must not wait for this entry
                # It is taken over like one that was left behind, until it was delivered too often.
                log.error("ingest_entry_failed", id=entry_id.decode(), error=repr(error))  # noqa: TRY400  # one line
                continue
            done.append(entry_id)
            outcomes[outcome] += 1
        if done:
            raise_if_cancelled()
            await self._flushed()
            await self._acknowledge(done, outcomes)

    async def _put_aside(self, entry_id: bytes, fields: Fields, reason: str) -> None:
        """Keep an entry that cannot be used, for people to look at."""
        event = fields.get(FIELD, b"")
        await self._client.xadd(
            keys.dead_letters(self._source.stream),
            {FIELD: event, "reason": reason, "id": entry_id},
            maxlen=DEAD_LETTERS,
        )
        log.debug("ingest_entry_refused", id=entry_id.decode(), reason=reason)

    async def _acknowledge(self, ids: Sequence[bytes], outcomes: Counter[str]) -> None:
        if ids:
            await self._client.xack(self._source.stream, self._source.group, *ids)
            self._stats.ingested.update(outcomes)
