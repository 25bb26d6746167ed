from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from marketstream.core.backlog import Backlog
from marketstream.core.delivery import closing
from marketstream.engine.market.supervisor import FeedHealth, Supervisor
from marketstream.engine.stats import Histogram
from marketstream.observability.metrics import build_registry
from marketstream.ports import StreamStatus
from tests.support.builders import principal, quote
from tests.support.event_bench import EventBench

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Figures(EventBench):
    """An engine and what `/metrics` says of it."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = True
        self.backlog = Backlog()
        self.feeding = False
        self.supervisor = Supervisor(
            aggregator=self.aggregator,
            interest=self.node.interest,
            caught_up=self.node.caught_up,
            clock=self.clock,
        )
        self._registry = build_registry(
            node=self.node,
            events=self.streams,
            supervisor=self.supervisor,
            bus_connected=lambda: self.connected,
            backlog=lambda: self.backlog,
            feeding=lambda: self.feeding,
        )

    def read(self) -> Series:
        """Every sample, by its name and labels, as a scraper parses them."""
        families = text_string_to_metric_families(generate_latest(self._registry).decode())
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """One sample."""
        return self.read()[name, tuple(sorted(labels.items()))]


@pytest.fixture
async def figures() -> AsyncIterator[Figures]:
    """An engine that has not done anything."""
    made = Figures()
    yield made
    await made.until_read()
    made.close()


def names(series: Series) -> Iterator[str]:
    return (name for name, _ in series)


async def test_runs_of_jobs_are_counted_by_outcome(figures: Figures) -> None:
    figures.stats.job_runs["indices", "ok"] += 2
    figures.stats.job_runs["indices", "elsewhere"] += 1
    assert figures.value("job_runs_total", job="indices", outcome="ok") == 2
    assert figures.value("job_runs_total", job="indices", outcome="elsewhere") == 1


async def test_what_waits_for_the_bus_is_told_and_what_never_travelled_is_counted(figures: Figures) -> None:
    names = ("bus_frames_waiting", "bus_frames_lost_total", "bus_frames_late_total", "feeds_market")
    assert [figures.value(name) for name in names] == [0, 0, 0, 0]
    figures.backlog = Backlog(waiting=7, lost=2, late=1)
    figures.feeding = True
    assert [figures.value(name) for name in names] == [7, 2, 1, 1]


async def test_the_series_that_were_promised_are_there_from_the_start(figures: Figures) -> None:
    promised = {
        *(
            "websocket_active_connections",
            "messages_per_second",
            "ws_broadcasts_total",
            "ws_subscriptions_total",
        ),
        *(
            "websocket_message_latency_ms_bucket",
            "websocket_message_latency_ms_sum",
            "outbox_conflated_total",
        ),
        *(
            "redis_cache_hit_ratio",
            "websocket_message_latency_ms_count",
            "outbox_closed_total",
            "bus_lag_ms",
            "bus_connected",
        ),
    }
    assert promised - set(names(figures.read())) == set()


async def test_connections_are_counted_by_transport_and_reason(figures: Figures) -> None:
    first, _ = figures.client(), figures.client(transport="sse")
    figures.node.leave(first.connection, closing.IDLE)
    figures.node.refuse("AUTH_FAILED")
    assert figures.value("websocket_active_connections", transport="websocket") == 0
    assert figures.value("websocket_active_connections", transport="sse") == 1
    assert figures.value("websocket_active_connections", transport="polling") == 0
    assert figures.value("ws_connections_total", transport="websocket") == 1
    assert figures.value("ws_connections_closed_total", reason="idle") == 1
    assert figures.value("ws_handshakes_refused_total", code="AUTH_FAILED") == 1


async def test_delivery_is_counted(figures: Figures) -> None:
    client = figures.client()
    client.subscribe("A", "B")
    client.subscribe("!")
    figures.flush()
    client.sink.full = True
    for number in range(3):
        figures.publish("A", number)
        figures.flush()
    figures.node.emit("tenant:acme", figures.bus.last(["A"], "acme")[0])
    figures.node.close(client.connection, closing.SLOW_CONSUMER)
    figures.stats.lagged, figures.stats.rate = 4, 7
    expected = {
        "ws_subscriptions_total": 2,
        "ws_broadcasts_total": 1,
        "ws_messages_delivered_total": 1,
        "ws_writes_total": 1,
        "outbox_closed_total": 1,
        "outbox_lagged_total": 4,
        "messages_per_second": 7,
        "frames_published_total": 3,
    }
    assert {name: figures.value(name) for name in expected} == expected
    assert figures.value("ws_commands_total", code="ok") == 2


async def test_entries_of_the_stream_are_counted_by_outcome(figures: Figures) -> None:
    figures.stats.ingested.update(accepted=3, late=1)
    figures.stats.claimed = 2
    assert figures.value("stream_entries_total", outcome="accepted") == 3
    assert figures.value("stream_entries_total", outcome="late") == 1
    assert figures.value("stream_claimed_total") == 2


async def test_the_cache_and_providers_are_counted(figures: Figures) -> None:
    reads = figures.stats.reads
    assert figures.value("redis_cache_hit_ratio") == 0
    reads.cache.update(hit=3, miss=1, fallback=2)
    reads.asked("yahoo", "ok", 0.04)
    reads.asked("yahoo", "PROVIDER_TIMEOUT", 2.5)
    assert figures.value("redis_cache_hit_ratio") == 0.75
    assert figures.value("cache_lookups_total", outcome="fallback") == 2
    assert figures.value("data_source_requests_total", provider="yahoo", outcome="ok") == 1
    series = "data_source_response_time_ms"
    assert figures.value(f"{series}_bucket", provider="yahoo", le="50") == 1
    assert (
        figures.value(f"{series}_count", provider="yahoo"),
        figures.value(f"{series}_sum", provider="yahoo"),
    ) == (
        2,
        2_540,
    )


async def test_conflation_is_counted(figures: Figures) -> None:
    client = figures.client()
    client.subscribe("A")
    client.sink.full = True
    figures.publish("A", 1, 2, 3)
    assert figures.value("outbox_conflated_total") == 2


async def test_latency_is_a_histogram_that_adds_up(figures: Figures) -> None:
    for milliseconds in (1, 3, 40, 99_999):
        figures.stats.latency.observe(milliseconds)
    series = "websocket_message_latency_ms"
    bounds = ("1", "5", "50", "10000", "+Inf")
    assert [figures.value(f"{series}_bucket", le=bound) for bound in bounds] == [1, 2, 3, 3, 4]
    assert (figures.value(f"{series}_count"), figures.value(f"{series}_sum")) == (4, 100_043)


@pytest.mark.parametrize(("value", "index"), [(0, 0), (1, 0), (1.5, 1), (2, 1), (10_000, 12), (10_001, 13)])
def test_a_bound_belongs_to_its_bucket(value: float, index: int) -> None:
    seen = Histogram()
    seen.observe(value)
    assert seen.counts.index(1) == index


async def test_exactly_one_state_of_each_feed_is_set(figures: Figures) -> None:
    figures.supervisor.feeds["tape"] = FeedHealth("retrying", "why", 3)
    states = {
        state: figures.value("upstream_state", feed="tape", state=state)
        for state in ("standby", "starting", "live", "retrying", "ended", "failed")
    }
    assert states == {"standby": 0, "starting": 0, "live": 0, "retrying": 1, "ended": 0, "failed": 0}
    assert figures.value("upstream_reconnects_total", feed="tape") == 3


async def test_interest_is_counted_until_it_has_lingered(figures: Figures) -> None:
    figures.client().subscribe("A", "B")
    leaving = figures.client()
    leaving.subscribe("B", "C")
    assert figures.value("demanded_symbols") == 3
    figures.node.leave(leaving.connection, closing.IDLE)
    assert figures.value("demanded_symbols") == 3
    figures.clock.advance(5)
    assert figures.value("demanded_symbols") == 2


async def test_the_connection_of_a_feed_to_its_vendor_is_shown(figures: Figures) -> None:
    status = StreamStatus(
        connected=True,
        symbols=3,
        left_out=2,
        attempts=4,
        last_ms=1_700_000_000_500,
        skipped=5,
        ahead=3,
        offset_ms=-1_500,
    )
    figures.supervisor.feeds["vendor"] = FeedHealth("live", status=lambda: status)
    figures.supervisor.feeds["tape"] = FeedHealth("live")
    expected = {
        "upstream_connected": 1,
        "upstream_symbols": 3,
        "upstream_symbols_left_out": 2,
        "upstream_attempts_total": 4,
        "upstream_last_message_seconds": 1_700_000_000.5,
        "upstream_messages_skipped_total": 5,
        "upstream_messages_ahead_total": 3,
        "upstream_clock_offset_seconds": -1.5,
    }
    assert {name: figures.value(name, feed="vendor") for name in expected} == expected
    assert not set(expected) & {name for name, labels in figures.read() if ("feed", "tape") in labels}


async def test_a_vendor_that_has_said_nothing_yet_has_no_last_message(figures: Figures) -> None:
    status = StreamStatus(connected=False, symbols=0, left_out=0, attempts=1, last_ms=None, skipped=0)
    figures.supervisor.feeds["vendor"] = FeedHealth("starting", status=lambda: status)
    assert figures.value("upstream_connected", feed="vendor") == 0
    unknown = {"upstream_last_message_seconds", "upstream_clock_offset_seconds"}
    assert unknown.isdisjoint(names(figures.read()))


async def test_quotes_and_refusals_are_counted(figures: Figures) -> None:
    figures.aggregator.offer([quote("A", at_ms=50), quote("A", at_ms=40)], "tape")
    assert figures.value("quotes_total", feed="tape") == 2
    assert figures.value("rejected_total", reason="late_quote") == 1


async def test_a_bus_that_is_cut_off_shows(figures: Figures) -> None:
    assert figures.value("bus_connected") == 1
    figures.connected = False
    assert figures.value("bus_connected") == 0


async def test_no_label_names_a_user_a_tenant_or_a_symbol(figures: Figures) -> None:
    client = figures.client(principal("SECRETUSER", "SECRETTENANT"))
    client.subscribe("SECRETSYMBOL")
    figures.publish("SECRETSYMBOL", 1, tenant="SECRETTENANT")
    figures.node.emit("tenant:SECRETTENANT", figures.bus.last(["SECRETSYMBOL"], "SECRETTENANT")[0])
    figures.node.leave(client.connection, closing.IDLE)
    assert "SECRET" not in repr(figures.read())


async def test_the_process_and_its_garbage_collector_are_shown(figures: Figures) -> None:
    assert {"process_resident_memory_bytes", "python_gc_collections_total", "python_info"} <= set(
        names(figures.read())
    )


async def test_event_streams_are_counted_layer_by_layer(figures: Figures) -> None:
    client = figures.client()
    await figures.subscribe(client, types=["alert"])
    await figures.take({"id": "1"}, {"id": "1"}, {"type": 5}, {"priority": "CRITICAL"})
    figures.flush()
    figures.ring()
    assert figures.value("event_users") == 1
    assert figures.value("event_subscriptions") == 1
    for outcome, count in (("accepted", 2), ("repeated", 1), ("refused", 1)):
        assert figures.value("event_publications_total", outcome=outcome) == count
    assert figures.value("events_received_total") == 2
    assert figures.value("events_routed_total", rule="default") == 2
    assert figures.value("event_route_cache_misses_total") == 2
    assert figures.value("event_match_ms_count") == figures.value("event_route_ms_count") == 2
    assert figures.value("events_delivered_total") == figures.value("event_delivery_ms_count") == 2
    assert figures.value("event_batches_total") == figures.value("event_queue_ms_count") == 1
    assert figures.value("event_queue_depth") == 0


async def test_events_that_waited_or_went_are_counted_by_priority(figures: Figures) -> None:
    client = figures.client()
    await figures.subscribe(client)
    for part in range(2):
        await figures.take(*({"id": f"{part} {n}", "priority": "LOW"} for n in range(550)))
    figures.ring()
    assert figures.value("events_dropped_total", priority="LOW") == 100
    assert figures.value("events_limited_total", priority="LOW") == 900
    assert figures.value("events_dropped_total", priority="HIGH") == 0
    assert figures.value("event_queue_depth") == 900
