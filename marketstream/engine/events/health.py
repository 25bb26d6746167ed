"""Report how event streams are doing in this process.

Times are those of the last minute or two: quantiles of histograms, so each is the upper bound of the bucket
that it falls into.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from marketstream.engine.events.streams import EventStreams
from marketstream.engine.stats import Histogram

MATCH_P99_MS = 5.0
ROUTE_P99_MS = 20.0
"""What finding recipients may take."""

DELIVERY_MS = 25.0
"""What telling them may take beyond the window."""

ENOUGH = 100
"""Observations below which nothing is concluded."""

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        reasons: Why the state is degraded; empty when it is healthy.
        subscriptions: Figures of what users want.
        router: Figures of finding them.
        broadcaster: Figures of telling them.
    """

    reasons: tuple[str, ...]
    subscriptions: Mapping[str, float]
    router: Mapping[str, float]
    broadcaster: Mapping[str, float]


class _Recent:
    """Counts that only grow, and how much of them is of the last minute or two, if somebody looks so often.

    Args:
        size: Counts there are.
    """

    def __init__(self, size: int) -> None:
        self._old: Sequence[int] = [0] * size
        self._newer: Sequence[int] = self._old
        self._turned = float("-inf")

    def look(self, counts: Sequence[int], now: float) -> list[int]:
        """Return what is new.

        Args:
            counts: The counts as they are.
            now: Monotonic seconds.
        """
        if now - self._turned >= MINUTE:
            self._old, self._newer, self._turned = self._newer, list(counts), now
        return [count - old for count, old in zip(counts, self._old, strict=True)]


class Health:
    """See the module.

    Args:
        streams: The event streams.
    """

    def __init__(self, streams: EventStreams) -> None:
        self._streams = streams
        size = len(streams.stats.match.counts)
        self._recent = {name: _Recent(size) for name in ("match", "route", "queue", "delivery")}
        self._dropped = _Recent(1)

    def look(self) -> Report:
        """Return the figures right now."""
        stats, router, box = self._streams.stats, self._streams.router, self._streams.broadcaster
        now = self._streams.now()
        looks = router.hits + router.misses
        times = (stats.match, stats.route, stats.queue, stats.delivery)
        recent = {
            name: Histogram(seen.bounds, self._recent[name].look(seen.counts, now))
            for name, seen in zip(self._recent, times, strict=True)
        }
        (dropped,) = self._dropped.look([stats.dropped], now)
        return Report(
            reasons=tuple(self._reasons(recent, dropped)),
            subscriptions={
                "users": router.connected,
                "held": router.subscriptions,
                "unread": self._streams.unread,
            },
            router={
                "events": stats.received,
                "matchP99Ms": quantile(recent["match"], 0.99),
                "routeP99Ms": quantile(recent["route"], 0.99),
                "cacheHitRatio": round(router.hits / looks, 4) if looks else 0.0,
                "cacheInvalidated": router.invalidated,
            },
            broadcaster={
                "waiting": box.waiting,
                "delivered": stats.delivered,
                "batches": stats.batches,
                "limited": stats.limited,
                "dropped": stats.dropped,
                "expired": stats.expired,
                "queueP95Ms": quantile(recent["queue"], 0.95),
                "deliveryP95Ms": quantile(recent["delivery"], 0.95),
            },
        )

    def _reasons(self, recent: Mapping[str, Histogram], dropped: int) -> Iterator[str]:
        delivery = self._streams.broadcaster.window * 1000 + DELIVERY_MS
        targets = (("match", 0.99, MATCH_P99_MS), ("route", 0.99, ROUTE_P99_MS), ("delivery", 0.95, delivery))
        for name, part, target in targets:
            took = quantile(recent[name], part)
            if sum(recent[name].counts) >= ENOUGH and took > target:
                yield f"{name} takes {took:g} ms at p{part * 100:g}, {target:g} are the target"
        if dropped:
            yield f"{dropped} events found no room of late"
        if self._streams.blind:
            yield f"the subscriptions of {self._streams.unread} users cannot be read"


def quantile(seen: Histogram, part: float) -> float:
    """Return the bound below which a part of all observations lies.

    0 without any, and the last bound beyond it.
    """
    wanted = sum(seen.counts) * part
    if not wanted:
        return 0.0
    found = 0
    for bound, count in zip(seen.bounds, seen.counts, strict=False):
        found += count
        if found >= wanted:
            return float(bound)
    return float(seen.bounds[-1])
