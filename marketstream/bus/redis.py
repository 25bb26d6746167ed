"""Implement the bus over Redis: publish, subscribe, reconnect and resynchronise.

Publishing puts frames into a bounded queue; one task sends what waits, one call a shard. A process hears only
the shards of what it watches, reads the headers of frames and hands on those that are news to it. When Redis
is lost it says so once, keeps trying, and then asks for everything again: only what changed is delivered.

A subscription can go deaf without an error, so the process talks to itself through Redis every two seconds.
"""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import structlog

from marketstream.bus.client import Client
from marketstream.bus.clock import BusClock
from marketstream.bus.freshness import Freshness
from marketstream.bus.last_values import Field, LastValues, best, fields
from marketstream.bus.listener import Listener
from marketstream.bus.probe import Probe
from marketstream.bus.pulse import PulseWatch
from marketstream.bus.recall import Recall
from marketstream.bus.reply import first_reason
from marketstream.bus.sender import Sender
from marketstream.bus.values import Reader, fetch
from marketstream.core.backlog import Backlog
from marketstream.core.backoff import Backoff
from marketstream.core.delivery.frame import Frame
from marketstream.errors import BusError, InvalidMessageError
from marketstream.ports import Bus, Clock, Relay
from marketstream.wire import envelope, keys

log = structlog.get_logger(__name__)

STEPS = (0.05, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts to reach Redis: a broken connection is often just that."""

PATIENCE = 3.0
"""Seconds Redis may take to answer."""

LOOK = 1.0
"""Seconds between two looks for a sign of life of whoever feeds the market."""

LEAST = 0.05
"""Seconds between two of them at least, however much is published."""

SKEW = 1_000_000
"""Microseconds by which the clocks of two nodes of a cluster may differ."""


class RedisBus:
    """See the module and `ports.Bus`; it is also the `ports.Relay` of its processes.

    Args:
        client: Speaks to Redis; its time-outs should be `PATIENCE`.
        clock: Time.
        shards: Number of shards; the same in every process.
        patience: Seconds without a sign of life after which nobody feeds the market.

    Attributes:
        client: Commands go through it.
        clock: Redis' time.
        node: Name of this process among those that share Redis.
        sender: What goes out.
        pulse: Whether somebody feeds the market.
    """

    def __init__(
        self, *, client: Client, clock: Clock, shards: int = keys.SHARDS, patience: float = 24.0
    ) -> None:
        self.client = client
        self._clock = clock
        self.clock = BusClock(clock)
        self._shards = shards
        self.sender = Sender(client, shards)
        self._last_values = LastValues()
        self._reader = Reader(client, shards, self._took)
        self._interest: Counter[int] = Counter()
        self._shard_of_channel = {keys.frames_channel(shard): shard for shard in range(shards)}
        self._seen: dict[int, int] = {}
        self._link: Listener | None = None
        self._up = False
        self._announced = False
        self._attempts = 0
        self.node = secrets.token_hex(8)
        self._handlers: dict[str, Callable[[bytes], None]] = {keys.RELAY: _ignore}
        self._probe = Probe(client, self.clock)
        self._recall = Recall(client)
        self.pulse = PulseWatch(client, clock, shards, patience)
        self._freshness = Freshness(self._last_values, self.pulse, clock, self._shard)
        self._gaps: set[int] = set()
        self._gap = asyncio.Event()
        self._on_found: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        """Whether Redis was heard and heard from, as far as is known."""
        return self._up

    @property
    def skew(self) -> int:
        """How much the clocks of a cluster's nodes may differ; one Redis has one clock."""
        return SKEW if self.client.sharded else 0

    @property
    def backlog(self) -> Backlog:
        """What waits to be published, and what never was."""
        sender = self.sender
        return Backlog(len(sender), sender.lost, sender.late, sender.refused, len(self.pulse.silent))

    def attach(self, receive: Callable[[Sequence[Frame]], None]) -> None:
        """Name the one receiver in this process."""
        self._freshness.receive = receive

    def publish(self, frames: Sequence[Frame]) -> None:
        """Put frames into the queue; what finds no room and is not replaced is counted and told."""
        self.sender.publish(frames)

    async def flushed(self) -> None:
        """Return when everything that was published before is in Redis; wait while Redis is away.

        Raises:
            BusError: As `Sender.flushed`.
        """
        await self.sender.flushed()

    def watch(self, name: str) -> None:
        """Listen to the shard of a symbol or channel."""
        if not self._last_values.watch(name):
            return
        shard = self._shard(name)
        self._freshness.begin(name, connected=self._up)
        self._interest[shard] += 1
        if self._interest[shard] == 1 and self._link is not None:
            self._link.subscribe([keys.frames_channel(shard)])

    def unwatch(self, name: str) -> None:
        """Let go of what nobody watches any more."""
        if not self._last_values.unwatch(name):
            return
        shard = self._shard(name)
        self._interest[shard] -= 1
        if self._interest[shard] == 0:
            del self._interest[shard]
            # While nobody listens messages are missed on purpose: that is no gap.
            self._seen.pop(shard, None)
            if self._link is not None:
                self._link.unsubscribe([keys.frames_channel(shard)])

    def last(self, wanted: Sequence[str], tenant: str) -> Sequence[Frame] | Awaitable[Sequence[Frame]]:
        """From memory where everything is known, or Redis is away; otherwise Redis is asked."""
        # No await where memory knows the answer: a subscribe then needs no task and no turn of the loop.
        if self._up and self._last_values.missing(fields(wanted, tenant)):
            return self._last(wanted, tenant)
        return self._choose(wanted, tenant, {})

    async def run(self) -> None:
        """Keep the connections until cancelled."""
        backoff = Backoff(STEPS)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._freshness.watch())
                while True:
                    began = self._clock.now()
                    # A task of its own: a group that is falling apart forgets that it was cancelled.
                    session = tasks.create_task(self._try_session())
                    await asyncio.wait([session])
                    self._disconnected(session.result())
                    lasted = self._clock.now() - began
                    await asyncio.sleep(backoff.next(lasted, random.random()))  # noqa: S311  # jitter
        finally:
            self._up = False
            await self.client.aclose()

    # Other messages between processes

    def send(self, message: bytes) -> None:
        """See `ports.Relay.send`."""
        self.sender.send(keys.RELAY, message)

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """See `ports.Relay.listen`."""
        self._handlers[keys.RELAY] = receive

    def subscribe(self, channel: str, receive: Callable[[bytes], None]) -> None:
        """Listen to a channel that is not one of frames, also after Redis was lost and found.

        Args:
            channel: Its name, or a pattern for many.
            receive: Called with each message.
        """
        self._handlers[channel] = receive
        if self._link is not None:
            self._link.subscribe([channel])

    def unsubscribe(self, channel: str) -> None:
        """End what `subscribe` began."""
        if self._handlers.pop(channel, None) is not None and self._link is not None:
            self._link.unsubscribe([channel])

    def on_reconnected(self, call: Callable[[], None]) -> None:
        """Name one more who is called whenever Redis was found, after which nothing more is missed."""
        self._on_found.append(call)

    # One stay with Redis

    async def _try_session(self) -> str:
        """Stay connected as long as possible; return why it ended."""
        reason = "it ended"
        link: Listener | None = None
        try:
            # redis-py reads a file for each connection, which may fail like the connection itself.
            link = self.client.listener(self._dispatch)
            async with asyncio.timeout(PATIENCE):
                await link.open()
            await self._session(link)
        except* Exception as group:  # noqa: BLE001  # whatever it was, the process and its clients go on
            reason = first_reason(group)
        finally:
            self._link = None
            self._reader.abandon()
            if link is not None:
                await link.close()
            await self.client.disconnect()
        return reason

    async def _session(self, link: Listener) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(link.read())
            tasks.create_task(link.write())
            self._link = link
            self._seen.clear()
            self._gaps.clear()
            probes = link.probe_channels(self.node)
            self._probe.begin(probes)
            frames = [keys.frames_channel(shard) for shard in self._interest]
            channels = [*self._handlers, *probes, *frames]
            async with asyncio.timeout(PATIENCE):
                link.subscribe(channels)
                await link.subscribed(channels)
            # Before anything is judged by time: delays and signs of life go by Redis' clock.
            await self.clock.read(self.client)
            await self._look()
            # First give back, then read: a Redis that came back empty would show every symbol as unknown.
            await self._restore()
            await self._resync(list(self._last_values))
            # Sending begins last: what waits must not overtake a newer value that was just read.
            self._reconnected()
            tasks.create_task(self.sender.run())
            tasks.create_task(self._reader.run())
            tasks.create_task(self._probe.run())
            tasks.create_task(self._fill_gaps())
            tasks.create_task(self._follow())

    def _disconnected(self, reason: str) -> None:
        """Redis is lost, or could not be reached again; only the second time is it worth an alarm."""
        self._up = False
        self._attempts += 1
        if not self._announced and not self.sender.refused:
            self._announced = True
            log.warning("bus_disconnected", reason=reason)
        # The first failure is mostly a cut connection that is repaired at once: clients are not told.
        if self._attempts > 1:
            self._freshness.lose_bus()

    def _reconnected(self) -> None:
        self._up = True
        self._attempts = 0
        if self._announced:
            self._announced = False
            log.info("bus_reconnected", waiting=len(self.sender))
        for call in self._on_found:
            call()

    # Who feeds the market

    async def _follow(self) -> None:
        """Look for a sign of life of whoever feeds, about once a second, and when something is published."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK, self.pulse.patience / 4, max(0.0, self.pulse.left()))):
                    await self._freshness.stirred.wait()
            await asyncio.sleep(LEAST)
            self._freshness.stirred.clear()
            await self._look()

    async def _look(self) -> None:
        fed = not self.pulse.silent
        fell, came = await self.pulse.look()
        if fell or not self._up:
            self._freshness.lose_feed()
        if fell and fed:
            log.warning("market_not_fed", shards=len(self.pulse.silent))
        if came and not self.pulse.silent:
            log.info("market_fed_again")
        names = self._freshness.received(came)
        if names and self._up:
            await self._resync(names)

    def _dispatch(self, channel: str, data: bytes) -> None:
        if (shard := self._shard_of_channel.get(channel)) is not None:
            self._take(shard, data)
        elif not self._probe.answered(channel) and (receive := self._handlers.get(channel)) is not None:
            receive(data)

    def _take(self, shard: int, data: bytes) -> None:
        if shard not in self._interest:
            # Said before Redis heard that nobody listens any more.
            return
        try:
            batch = envelope.parse_batch(data, self._last_values)
        except InvalidMessageError as error:
            log.warning("bus_message_refused", error=str(error))
            return
        self.sender.seen(batch.last)
        # Each message names the cursor before it, so a lost one shows with the next.
        if self._seen.setdefault(shard, batch.previous) != batch.previous or batch.last < batch.first:
            self._gaps.add(shard)
            self._gap.set()
        self._seen[shard] = batch.last
        self._freshness.publish(batch.frames)

    async def _last(self, wanted: Sequence[str], tenant: str) -> Sequence[Frame]:
        asked = self._last_values.missing(fields(wanted, tenant))
        found: Mapping[Field, Frame] = {}
        while (link := self._link) is not None:
            watched = {field: keys.subject(field[1]) in self._last_values for field in asked}
            # Subscribed first, read second: what is published in between arrives by the subscription.
            if not await self._is_subscribed(link, watched):
                continue
            with suppress(BusError):
                found = await self._reader.read(watched)
                break
        else:
            # With the rest of what is watched this is asked for as soon as Redis is back.
            self._last_values.load(asked)
        return self._choose(wanted, tenant, found)

    async def _is_subscribed(self, link: Listener, watched: Mapping[Field, bool]) -> bool:
        """Return whether all that is watched is heard by now; False when that should be asked again."""
        names = {keys.subject(key) for (_, key), is_watched in watched.items() if is_watched}
        try:
            async with asyncio.timeout(PATIENCE):
                await link.subscribed(keys.frames_channel(self._shard(name)) for name in names)
        except TimeoutError:
            return False
        return link is self._link

    def _took(self, found: Iterable[Frame], subscribed: Iterable[Field]) -> None:
        """Take what was read; those who asked then choose among it and what was heard since."""
        self._last_values.load(subscribed)
        self._freshness.read(found)

    def _choose(self, wanted: Sequence[str], tenant: str, found: Mapping[Field, Frame]) -> list[Frame]:
        chosen = []
        for key in wanted:
            known = [
                self._last_values.get(field) or found.get(field) for field in ((None, key), (tenant, key))
            ]
            if (frame := self._freshness.stale_state(key) or best(known)) is not None:
                chosen.append(frame)
        return chosen

    async def _restore(self) -> None:
        """Restore a Redis that lost its data: with what was published here, and what is watched here."""
        lost = await self._recall.is_lost() and self.sender.newest
        if lost and (restored := await self.sender.restore(self._last_values.frames())):
            log.warning("bus_memory_lost", restored=restored)
        self._recall.restored()

    async def _resync(self, names: list[str]) -> None:
        """Ask for all that is watched under some names, and deliver what is news."""
        asked = self._last_values.everything(names)
        found = await fetch(self.client, asked, self._shards) if asked else {}
        self._last_values.load(asked)
        self._freshness.refresh(found)

    async def _fill_gaps(self) -> None:
        """Ask again where a message of a shard did not follow on the one before."""
        while True:
            await self._gap.wait()
            self._gap.clear()
            shards, self._gaps = self._gaps, set()
            log.warning("bus_gap", shards=sorted(shards))
            await self._resync([name for name in self._last_values if self._shard(name) in shards])

    def _shard(self, name: str) -> int:
        return keys.shard_of(name, self._shards)


def _ignore(_: object) -> None:
    """Who has no receiver yet has nothing to lose."""


_: type[Bus] = RedisBus
_relay: type[Relay] = RedisBus
