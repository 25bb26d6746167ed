"""Count what the engine does; readers read plain attributes."""

from collections import Counter
from dataclasses import dataclass, field

LATENCY_BUCKETS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


@dataclass(slots=True)
class Histogram:
    """Counts of observations up to each bound, as Prometheus wants them.

    Attributes:
        bounds: Upper bounds, rising.
        counts: Observations per bound (not cumulative); one more for everything above the last.
        total: Sum of all observations.
    """

    bounds: tuple[float, ...] = LATENCY_BUCKETS_MS
    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_MS) + 1))
    total: float = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value that was seen once, or so many times."""
        self.total += value * count
        for index, bound in enumerate(self.bounds):
            if value <= bound:
                self.counts[index] += count
                return
        self.counts[-1] += count


@dataclass(slots=True)
class ReadStats:
    """What was asked of the cache and of providers since the process started.

    Attributes:
        cache: Looks into the cache by outcome: hit, miss, and fallback for what stood in.
        attempts: Questions to providers by provider and outcome: `ok` or an error code.
        times: Milliseconds that each provider took.
    """

    cache: Counter[str] = field(default_factory=Counter)
    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    times: dict[str, Histogram] = field(default_factory=dict)

    @property
    def hit_ratio(self) -> float:
        """Share of looks that found something fresh; 0 before the first."""
        looks = self.cache["hit"] + self.cache["miss"]
        return self.cache["hit"] / looks if looks else 0.0

    def asked(self, provider: str, outcome: str, seconds: float) -> None:
        """Count one question to a provider."""
        self.attempts[provider, outcome] += 1
        self.times.setdefault(provider, Histogram()).observe(seconds * 1000)


@dataclass(slots=True)
class Stats:
    """What happened since the process started.

    Attributes:
        connections: Admitted connections right now, by transport.
        opened: Admitted connections ever, by transport.
        closed: Ended connections by reason code.
        refused: Refused handshakes by error code.
        subscriptions: Symbols subscribed ever.
        commands: Client calls by outcome: `ok` or an error code.
        published: Frames given to the bus.
        quotes: Quotes offered by feeds, by feed.
        rejected: Quotes and prices refused, by reason.
        ingested: Entries of the stream that are done with, by outcome: accepted, late, bad, trimmed.
        claimed: Entries of the stream that were taken over because nobody had acknowledged them.
        broadcasts: Events sent to rooms by back ends.
        delivered: Frames written to clients.
        taken: Prices and other replaceable frames taken out of outboxes to be written.
        discarded: Frames dropped because the client left or unsubscribed.
        lagged: Values of mode `every` that were lost to overflow.
        writes: Writes to client connections.
        flushes: Rounds of the flusher.
        dead_writes: Writes that failed because the connection was gone.
        latency: Milliseconds from source time to the end of the flush that wrote it.
        rate: Frames delivered in the last whole second.
        job_runs: Runs of jobs by job and outcome: ok, failed, and elsewhere for those of other processes.
        reads: What was asked of the cache and of providers.
        accepting: Whether clients can connect right now.
        accept_pauses: Times that they could not, for want of file descriptors.
        http_refused: Requests that no handler took, by status.
    """

    connections: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    subscriptions: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    published: int = 0
    quotes: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    ingested: Counter[str] = field(default_factory=Counter)
    claimed: int = 0
    broadcasts: int = 0
    delivered: int = 0
    taken: int = 0
    discarded: int = 0
    lagged: int = 0
    writes: int = 0
    flushes: int = 0
    dead_writes: int = 0
    latency: Histogram = field(default_factory=Histogram)
    rate: int = 0
    job_runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    reads: ReadStats = field(default_factory=ReadStats)
    accepting: bool = True
    accept_pauses: int = 0
    http_refused: Counter[str] = field(default_factory=Counter)
