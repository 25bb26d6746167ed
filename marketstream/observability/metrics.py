"""Export the engine's counters as Prometheus series.

No label holds a user, a tenant or a symbol: their number has no bound.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from marketstream.core.backlog import Backlog
from marketstream.core.events.event import Priority
from marketstream.engine.delivery.node import Node
from marketstream.engine.events.streams import EventStreams
from marketstream.engine.market.supervisor import Supervisor
from marketstream.engine.stats import Histogram
from marketstream.observability.log_writer import STDERR

FEED_STATES = ("standby", "starting", "live", "retrying", "ended", "failed")


class EngineCollector(Collector):
    """Reads a node.

    Args:
        node: The engine.
        supervisor: Knows the feeds.
        bus_connected: Whether frames can travel now.
        backlog: What waits to travel.
        feeding: Whether this process feeds the market.
    """

    def __init__(
        self,
        *,
        node: Node,
        supervisor: Supervisor,
        bus_connected: Callable[[], bool],
        backlog: Callable[[], Backlog],
        feeding: Callable[[], bool],
    ) -> None:
        self._node = node
        self._supervisor = supervisor
        self._bus_connected = bus_connected
        self._backlog = backlog
        self._feeding = feeding

    def collect(self) -> Iterable[Metric]:
        """Return every series of the engine, right now."""
        yield from self._connections()
        yield from self._delivery()
        yield from self._bus()
        yield from self._market()
        yield from self._reads()
        yield from self._jobs()

    def _connections(self) -> Iterator[Metric]:
        stats = self._node.stats
        active = GaugeMetricFamily(
            "websocket_active_connections", "Admitted connections right now", labels=["transport"]
        )
        for transport in ("websocket", "polling", "ws", "sse"):
            active.add_metric([transport], stats.connections[transport])
        yield active
        yield _counter("ws_connections", "Admitted connections", "transport", stats.opened)
        yield _counter("ws_connections_closed", "Ended connections", "reason", stats.closed)
        yield GaugeMetricFamily("accepting_connections", "Whether clients can connect", value=stats.accepting)
        yield CounterMetricFamily(
            "accept_pauses", "Times that file descriptors ran short", value=stats.accept_pauses
        )
        yield _counter(
            "http_refused", "Requests that no handler took, by status", "status", stats.http_refused
        )
        waiting = self._node.waiting
        yield GaugeMetricFamily("waiting_bytes", "Bytes that wait for something", value=waiting.bytes)
        yield CounterMetricFamily(
            "waiting_refused", "Requests refused because too much waited", value=waiting.refused
        )
        yield _counter("ws_handshakes_refused", "Refused handshakes", "code", stats.refused)
        unadmitted = len(self._node.unadmitted)
        yield GaugeMetricFamily(
            "ws_unadmitted_connections", "Connections that wait to be admitted", value=unadmitted
        )
        yield CounterMetricFamily("ws_subscriptions", "Symbols subscribed", value=stats.subscriptions)
        yield _counter("ws_commands", "Calls of clients by outcome", "code", stats.commands)

    def _delivery(self) -> Iterator[Metric]:
        stats, node = self._node.stats, self._node
        yield GaugeMetricFamily(
            "messages_per_second", "Messages written to clients in the last second", value=stats.rate
        )
        yield _histogram(
            "websocket_message_latency_ms", "Milliseconds from source time to socket write", stats.latency
        )
        yield CounterMetricFamily(
            "ws_broadcasts", "Events sent to rooms by back ends", value=stats.broadcasts
        )
        yield CounterMetricFamily(
            "ws_messages_delivered", "Messages written to clients", value=stats.delivered
        )
        yield CounterMetricFamily("ws_writes", "Writes to connections", value=stats.writes)
        yield CounterMetricFamily("outbox_conflated", "Prices replaced by newer ones", value=node.conflated())
        yield CounterMetricFamily("outbox_lagged", "Values of mode every that were lost", value=stats.lagged)
        lines = node.fanout.lines
        yield GaugeMetricFamily("delayed_frames", "Prices held back for delayed plans", value=lines.frames)
        yield GaugeMetricFamily("delayed_bytes", "Bytes that held-back prices take", value=lines.bytes)
        yield CounterMetricFamily(
            "delayed_frames_waited", "Prices that had to wait for room", value=lines.waited
        )
        closed = stats.closed["slow_consumer"]
        yield CounterMetricFamily("outbox_closed", "Clients closed because they read nothing", value=closed)

    def _bus(self) -> Iterator[Metric]:
        backlog = self._backlog()
        yield GaugeMetricFamily("bus_connected", "Whether frames can travel", value=self._bus_connected())
        yield GaugeMetricFamily(
            "bus_lag_ms",
            "Milliseconds the newest frame needed to get here",
            value=self._node.fanout.bus_lag_ms,
        )
        yield GaugeMetricFamily(
            "bus_frames_waiting", "Frames that wait to be published", value=backlog.waiting
        )
        yield GaugeMetricFamily(
            "bus_writes_refused", "Whether Redis is there and takes no frames", value=backlog.refused
        )
        yield GaugeMetricFamily(
            "market_shards_not_fed", "Shards of the market that nobody feeds", value=backlog.silent
        )
        yield CounterMetricFamily("bus_frames_lost", "Frames that found no room", value=backlog.lost)
        yield CounterMetricFamily(
            "bus_frames_late", "Frames left out because a newer one was published", value=backlog.late
        )

    def _market(self) -> Iterator[Metric]:
        stats = self._node.stats
        yield GaugeMetricFamily(
            "feeds_market", "Whether this process feeds the market", value=self._feeding()
        )
        yield GaugeMetricFamily(
            "demanded_symbols",
            "Symbols that feeds should provide, by what is known here",
            value=len(self._node.interest),
        )
        yield CounterMetricFamily("frames_published", "Frames given to the bus", value=stats.published)
        yield _counter("quotes", "Quotes taken", "feed", stats.quotes)
        yield _counter("rejected", "Quotes and prices refused", "reason", stats.rejected)
        yield _counter("stream_entries", "Entries of the Redis stream by outcome", "outcome", stats.ingested)
        yield CounterMetricFamily(
            "stream_claimed", "Entries of the Redis stream taken over", value=stats.claimed
        )
        state = GaugeMetricFamily("upstream_state", "1 for the state a feed is in", labels=["feed", "state"])
        restarts = CounterMetricFamily(
            "upstream_reconnects", "Times a feed was started again", labels=["feed"]
        )
        for name, health in self._supervisor.feeds.items():
            restarts.add_metric([name], health.restarts)
            for each in FEED_STATES:
                state.add_metric([name, each], float(health.state == each))
        yield state
        yield restarts
        yield from self._streams()

    def _streams(self) -> Iterator[Metric]:
        """Yield how the connections of feeds to their vendors are."""
        label = ["feed"]
        connected = GaugeMetricFamily(
            "upstream_connected", "Whether the vendor has accepted us", labels=label
        )
        symbols = GaugeMetricFamily("upstream_symbols", "Symbols that the vendor sends", labels=label)
        left_out = GaugeMetricFamily(
            "upstream_symbols_left_out", "Watched symbols beyond what the vendor allows", labels=label
        )
        last = GaugeMetricFamily(
            "upstream_last_message_seconds", "Epoch seconds of the vendor's last message", labels=label
        )
        attempts = CounterMetricFamily("upstream_attempts", "Connections that were tried", labels=label)
        skipped = CounterMetricFamily(
            "upstream_messages_skipped", "Messages that could not be used", labels=label
        )
        ahead = CounterMetricFamily(
            "upstream_messages_ahead", "Messages skipped because their time lies ahead", labels=label
        )
        offset = GaugeMetricFamily(
            "upstream_clock_offset_seconds",
            "Seconds by which the vendor's last time was ahead of our clock",
            labels=label,
        )
        for name, health in self._supervisor.feeds.items():
            if health.status is None:
                continue
            status = health.status()
            connected.add_metric([name], float(status.connected))
            symbols.add_metric([name], status.symbols)
            left_out.add_metric([name], status.left_out)
            attempts.add_metric([name], status.attempts)
            skipped.add_metric([name], status.skipped)
            ahead.add_metric([name], status.ahead)
            if status.offset_ms is not None:
                offset.add_metric([name], status.offset_ms / 1000)
            if status.last_ms is not None:
                last.add_metric([name], status.last_ms / 1000)
        yield from (connected, symbols, left_out, last, attempts, skipped, ahead, offset)

    def _reads(self) -> Iterator[Metric]:
        reads = self._node.stats.reads
        times = HistogramMetricFamily(
            "data_source_response_time_ms",
            "Milliseconds a provider took to answer or fail",
            labels=["provider"],
        )
        for provider, seen in sorted(reads.times.items()):
            times.add_metric([provider], _buckets(seen), seen.total)
        yield times
        asked = CounterMetricFamily(
            "data_source_requests", "Questions to providers by outcome", labels=["provider", "outcome"]
        )
        for (provider, outcome), count in sorted(reads.attempts.items()):
            asked.add_metric([provider, outcome], count)
        yield asked
        yield GaugeMetricFamily(
            "redis_cache_hit_ratio",
            "Share of looks into the cache that found something",
            value=reads.hit_ratio,
        )
        yield _counter("cache_lookups", "Cache lookups by outcome", "outcome", reads.cache)

    def _jobs(self) -> Iterator[Metric]:
        runs = CounterMetricFamily("job_runs", "Runs of background jobs", labels=["job", "outcome"])
        for labels, count in sorted(self._node.stats.job_runs.items()):
            runs.add_metric(labels, count)
        yield runs


class EventCollector(Collector):
    """Reads the event streams, layer by layer.

    Args:
        streams: They.
    """

    def __init__(self, streams: EventStreams) -> None:
        self._streams = streams

    def collect(self) -> Iterable[Metric]:
        """Return every series of the event streams, right now."""
        yield from self._users()
        yield from self._routes()
        yield from self._deliveries()
        yield from self._work()

    def _users(self) -> Iterator[Metric]:
        router = self._streams.router
        yield GaugeMetricFamily(
            "event_users", "Users connected here who may get events", value=router.connected
        )
        yield GaugeMetricFamily(
            "event_subscriptions", "Event subscriptions of users here", value=router.subscriptions
        )
        yield GaugeMetricFamily(
            "event_users_unread", "Users whose subscriptions are not known yet", value=self._streams.unread
        )
        yield _counter(
            "event_publications",
            "Events that back ends brought here, by outcome",
            "outcome",
            self._streams.stats.taken,
        )

    def _routes(self) -> Iterator[Metric]:
        stats, router = self._streams.stats, self._streams.router
        yield CounterMetricFamily("events_received", "Events that reached this process", value=stats.received)
        yield _counter("events_routed", "Routed events by rule", "rule", stats.routed)
        yield _histogram("event_match_ms", "Milliseconds to find recipients in the index", stats.match)
        yield _histogram("event_route_ms", "Milliseconds to find all recipients", stats.route)
        yield CounterMetricFamily(
            "event_route_cache_hits", "Events whose recipients were known", value=router.hits
        )
        yield CounterMetricFamily(
            "event_route_cache_misses", "Events for which the index was asked", value=router.misses
        )

    def _deliveries(self) -> Iterator[Metric]:
        stats = self._streams.stats
        yield CounterMetricFamily(
            "events_delivered", "Events handed to connections, one for each", value=stats.delivered
        )
        yield CounterMetricFamily("event_batches", "Messages that carried events", value=stats.batches)
        yield _by_priority("events_dropped", "Events for which there was no room", stats.tally.dropped)
        yield _by_priority("events_limited", "Events that the limit held back", stats.tally.limited)
        yield CounterMetricFamily(
            "events_expired", "Events whose time was over before their turn", value=stats.expired
        )
        yield CounterMetricFamily(
            "events_abandoned", "Events that waited for a connection when it ended", value=stats.abandoned
        )
        yield GaugeMetricFamily(
            "event_queue_depth",
            "Events that wait for connections",
            value=self._streams.broadcaster.waiting,
        )
        yield _histogram("event_queue_ms", "Milliseconds that events waited here", stats.queue)
        yield _histogram(
            "event_delivery_ms", "Milliseconds from taking an event to handing it over", stats.delivery
        )

    def _work(self) -> Iterator[Metric]:
        streams = self._streams
        yield GaugeMetricFamily(
            "event_workers", "Memberships of worker groups here", value=streams.workers.members
        )
        yield GaugeMetricFamily(
            "event_work_waiting", "Events that wait for a worker", value=streams.coordinator.waiting
        )
        yield GaugeMetricFamily(
            "event_work_pending", "Events in flight at workers", value=streams.coordinator.pending
        )
        yield _counter("event_work", "Events of worker groups by outcome", "outcome", streams.stats.work)


class LogCollector(Collector):
    """Reads what became of the log of this process."""

    def collect(self) -> Iterable[Metric]:
        """Return every series of the log, right now."""
        yield CounterMetricFamily(
            "log_lines_dropped", "Lines of the log that could not be written", value=STDERR.dropped
        )
        yield GaugeMetricFamily(
            "log_bytes_waiting", "Bytes of the log that wait to be written", value=STDERR.waiting
        )


def build_registry(
    *,
    node: Node,
    events: EventStreams,
    supervisor: Supervisor,
    bus_connected: Callable[[], bool],
    backlog: Callable[[], Backlog],
    feeding: Callable[[], bool],
) -> CollectorRegistry:
    """Return everything that `/metrics` shows: the engine, the process and its garbage collector."""
    registry = CollectorRegistry()
    registry.register(
        EngineCollector(
            node=node,
            supervisor=supervisor,
            bus_connected=bus_connected,
            backlog=backlog,
            feeding=feeding,
        )
    )
    registry.register(EventCollector(events))
    registry.register(LogCollector())
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def _counter(name: str, text: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _by_priority(name: str, text: str, counts: Sequence[int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=["priority"])
    for priority, count in zip(Priority, counts, strict=True):
        # What is CRITICAL neither waits nor goes.
        if priority is not Priority.CRITICAL:
            family.add_metric([priority.name], count)
    return family


def _histogram(name: str, text: str, seen: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, buckets=_buckets(seen), sum_value=seen.total)


def _buckets(seen: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(str, seen.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(seen.counts)), strict=True))
