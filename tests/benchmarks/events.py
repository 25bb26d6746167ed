"""What finding the recipients of an event costs: `python -m tests.benchmarks.events --help`.

    match      finding who wants an event, by the index; beside it, by asking each subscription
    route      the same by the router, as traffic goes on; which part was known from before
    change     putting and removing a subscription, with the answers that it takes along
    memory     bytes that a subscription takes, and how that grows
    publish    a publication through a server that is one process, from its body to the outboxes

The population: users of 20 tenants, each with three subscriptions. A watch list (5 to 20 symbols; half of
them for two of four types only, half of them with a least confidence), a strategy (up to four names, one
tier, a least confidence), and what is urgent (HIGH or more; for 9 of 10 only of the watch list). There are
2,000 symbols, as popular as 1 / rank ** 0.75: the first one is on two watch lists of five.

The traffic: 50 events a second, 1 in 10 of one tenant. Each has one of 40 names, which are as popular as they
are among users; a name belongs to a type and has, nine times of ten, one priority. `stories` are patterns
that form: each is reported six times on average, every 10 s (`slow`: every 30 s), each time with another
confidence. `alone` is traffic in which nothing is ever reported again. Meanwhile every user changes a
subscription and connects anew once in five and a half hours (`restless`: every hour; `still`: never).

Times are of the processor, so that others on the machine lengthen them less; garbage is collected as the
server has it.
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import accumulate, count
from typing import get_args

from marketstream.core.events.event import Event, Priority, Tier, User
from marketstream.core.events.filter import Filter
from marketstream.core.events.index import Index
from marketstream.core.events.router import Router
from marketstream.core.events.rule import parse_rules
from tests.support.event_bench import EventBench

SIZES = (1_000, 10_000)
RATE = 50
SECONDS = 600
TRAFFIC = {
    "stories": (6.0, 10.0, 1.0),
    "slow": (6.0, 30.0, 1.0),
    "restless": (6.0, 10.0, 5.0),
    "still": (6.0, 10.0, 0.0),
    "alone": (1.0, 10.0, 1.0),
}
"""How often a story is reported, every how many seconds, and how often users change anything."""
CHANGES = 1 / 20_000
"""Changes of one user in a second."""
SYMBOLS = [f"SYM{number}" for number in range(2_000)]
NAMES = [f"name-{number}" for number in range(40)]
POPULAR, USUAL = (
    list(accumulate(rank**-0.75 for rank in range(1, len(some) + 1))) for some in (SYMBOLS, NAMES)
)
TYPES = ("pattern", "signal", "pattern", "alert", "pattern", "signal", "news", "pattern")
"""Of the names, in turn."""
KINDS = sorted(set(TYPES))
TIERS = get_args(Tier)
TENANTS = [f"tenant-{number}" for number in range(20)]
RULES = {"rules": [{"name": "halts", "filter": {"types": ["halt"]}, "strategy": "broadcast_all"}]}
FLOORS = (0.5, 0.6, 0.7, 0.8, 0.9)

Subscription = tuple[User, str, Filter]


def symbols(chance: random.Random, count: int) -> frozenset[str]:
    """Symbols that somebody is interested in."""
    return frozenset(chance.choices(SYMBOLS, cum_weights=POPULAR, k=count))


def subscriptions(chance: random.Random, user: User) -> list[Subscription]:
    """The three of a user."""
    watched = symbols(chance, chance.randint(5, 20))
    unsure = chance.random() < 0.5
    return [
        (
            user,
            "watch list",
            Filter(
                types=frozenset(chance.sample(KINDS, 2)) if chance.random() < 0.5 else None,
                symbols=watched,
                min_confidence=None if unsure else chance.choice(FLOORS),
            ),
        ),
        (
            user,
            "strategy",
            Filter(
                names=frozenset(chance.choices(NAMES, cum_weights=USUAL, k=chance.randint(1, 4))),
                tiers=frozenset([chance.choice(TIERS)]),
                min_confidence=chance.choice(FLOORS),
            ),
        ),
        (
            user,
            "urgent",
            Filter(
                symbols=watched if chance.random() < 0.9 else None,
                min_priority=Priority.HIGH,
            ),
        ),
    ]


def population(size: int, seed: int = 7) -> list[Subscription]:
    """Subscriptions of so many users."""
    chance = random.Random(seed)
    users = [(chance.choice(TENANTS), f"user-{number}") for number in range(size)]
    return [each for user in users for each in subscriptions(chance, user)]


def story(chance: random.Random) -> Event:
    """What the first report of something says."""
    name = chance.choices(range(len(NAMES)), cum_weights=USUAL)[0]
    kind = TYPES[name % len(TYPES)]
    # Of 20 names one is CRITICAL, two are HIGH, the others in turn MEDIUM and LOW.
    usual = {19: Priority.CRITICAL, 5: Priority.HIGH, 12: Priority.HIGH}.get(name % 20, Priority(name % 2))
    measured = kind in ("pattern", "signal")
    return Event(
        id="event",
        type=kind,
        name=NAMES[name],
        priority=usual if chance.random() < 0.9 else chance.choice((Priority.LOW, Priority.MEDIUM)),
        at_ms=1,
        symbol=chance.choices(SYMBOLS, cum_weights=POPULAR)[0] if chance.random() < 0.95 else None,
        tier=chance.choice(TIERS) if measured else None,
        confidence=round(chance.uniform(0.3, 1), 2) if measured else None,
        tenant=chance.choice(TENANTS) if chance.random() < 0.1 else None,
    )


def again(chance: random.Random, event: Event) -> Event:
    """What a later report of it says."""
    confidence = None if event.confidence is None else round(chance.uniform(0.3, 1), 2)
    fields = (event.id, event.type, event.name, event.priority, event.at_ms, event.symbol, event.tier)
    return Event(*fields, confidence, event.expires_at_ms, event.tenant)


def traffic(chance: random.Random, reports: float, pause: float) -> Iterator[tuple[float, Event]]:
    """Events in order with their seconds, for a while.

    Args:
        chance: Source of chance.
        reports: How often a story is reported on average.
        pause: Seconds between two reports, on average.
    """

    def follow(event: Event, at: float) -> None:
        if chance.random() < 1 - 1 / reports:
            heappush(waiting, (at + chance.expovariate(1 / pause), next(number), event))

    waiting: list[tuple[float, int, Event]] = []
    number, now = count(), 0.0
    while now < SECONDS:
        # Stories begin at such a rate that there are so many reports in all.
        now += chance.expovariate(RATE / reports)
        while waiting and waiting[0][0] <= now:
            at, _, event = heappop(waiting)
            yield at, again(chance, event)
            follow(event, at)
        event = story(chance)
        yield now, event
        follow(event, now)


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of a call."""
    began = time.thread_time()
    call()
    return (time.thread_time() - began) * 1_000


def spread(times: Sequence[float]) -> str:
    """The middle and the ends of some milliseconds."""
    ordered = sorted(times)
    shown = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.95, 0.99, 0.999))
    return "p50 {:7.3f}  p95 {:7.3f}  p99 {:7.3f}  p99.9 {:7.3f} ms".format(*shown)


def _filled(held: Sequence[Subscription]) -> Index:
    index = Index()
    for user, name, filter_ in held:
        index.put(user, name, filter_)
    return index


def match() -> None:
    """See the module."""
    for size in SIZES:
        held = population(size)
        index, chance = _filled(held), random.Random(1)
        _settled()
        events = [story(chance) for _ in range(5_000)]
        found = sorted(len(index.match(event)) for event in events)
        _say(f"match  {size:6,} users  {spread([timed(partial(index.match, each)) for each in events])}")
        reached = ", ".join(f"p{part} {found[len(found) * part // 100]:,}" for part in (50, 95, 99))
        _say(f"       of it recipients: {reached}, most {found[-1]:,}")
        brute = [timed(partial(_asked, held, each)) for each in events[:100]]
        _say(f"       asking each subscription: {spread(brute)}")


def _asked(held: Sequence[Subscription], event: Event) -> list[Subscription]:
    return [each for each in held if each[2].matches(event)]


def _settled() -> None:
    """What lives long is not looked at again and again, as in the server."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000)


def route() -> None:
    """See the module."""
    for size in SIZES:
        for title, (reports, pause, unrest) in TRAFFIC.items():
            held = population(size)
            router = Router((), Index())
            for user, name, filter_ in held:
                router.join(user, len(user[1]) % 3)
                router.subscribe(user, name, filter_)
            _settled()
            times, known = _routed(router, held, reports, pause, unrest)
            _say(f"route  {size:6,} users  {spread(times)}  {title}")
            cache = router._cache
            _say(
                f"       known from before {known:.1%} of {len(times):,}, {router.invalidated:,} taken along;"
                f" {len(cache):,} answers that weigh {cache.weight:,} at the end"
            )


def _routed(
    router: Router, held: Sequence[Subscription], reports: float, pause: float, unrest: float
) -> tuple[list[float], float]:
    chance, changes = random.Random(2), random.Random(3)
    rate, due, last = router.connected * CHANGES * unrest, 0.0, 0.0
    times, known = [], 0
    for now, event in traffic(chance, reports, pause):
        due += (now - last) * rate
        last = now
        while due >= 1:
            _change(router, held, changes)
            due -= 1
        began = time.thread_time()
        found = router.route(event, now)
        times.append((time.thread_time() - began) * 1_000)
        known += found.cached
    return times, known / len(times)


def _change(router: Router, held: Sequence[Subscription], changes: random.Random) -> None:
    """One user changes a subscription, another one goes and comes again."""
    user, name, _ = changes.choice(held)
    other = next(filter_ for _, each, filter_ in subscriptions(changes, user) if each == name)
    router.subscribe(user, name, other)
    user, _, _ = changes.choice(held)
    names = dict(router.held(user))
    router.leave(user)
    router.join(user, 1)
    for each, filter_ in names.items():
        router.subscribe(user, each, filter_)


def change() -> None:
    """See the module."""
    for size in SIZES:
        held = population(size)
        router = Router((), _filled(held))
        for user, _, _ in held:
            router.join(user)
        _settled()
        times: dict[str, list[float]] = {"put": [], "remove": []}
        stream = traffic(random.Random(4), 6.0, 10)
        for user, name, filter_ in random.Random(5).sample(held, 3_000):
            for _ in range(3):
                router.route(next(stream)[1], 0)
            times["remove"].append(timed(partial(router.unsubscribe, user, name)))
            times["put"].append(timed(partial(router.subscribe, user, name, filter_)))
        for title, taken in times.items():
            _say(f"change {size:6,} users  {spread(taken)}  {title}")
        index = _filled(held)
        _say(f"       building all of it anew: {timed(index.rebuild):.0f} ms")


def memory() -> None:
    """See the module."""
    before = (0, 0)
    for size in (1_000, 2_500, 5_000, 10_000, 20_000):
        held = population(size)
        tracemalloc.start()
        index = _filled(held)
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        grown = (taken - before[0]) / (len(index) - before[1])
        before = taken, len(index)
        _say(
            f"memory {size:6,} users  {taken / len(index):7.0f} bytes a subscription,"
            f" {grown:7.0f} for each beyond the line above"
        )


def publish() -> None:
    """See the module."""
    asyncio.run(_publish())


async def _publish() -> None:
    bench = EventBench(rules=parse_rules(RULES, ["pro"]))
    await bench.subscribe(bench.client(), symbols=["AAPL"])
    one = {"type": "pattern", "name": "double-bottom", "tier": "daily", "confidence": 0.8, "data": {"n": 1}}
    for title, symbol in (("nobody wants", "MSFT"), ("one user gets", "AAPL")):
        for size in (1, 100):
            listed = [{**one, "symbol": symbol, "priority": "CRITICAL"}] * size
            body = json.dumps({"events": listed}).encode()
            times = []
            for _ in range(10_000 // size):
                began = time.thread_time()
                await bench.streams.publisher.take(body)
                times.append((time.thread_time() - began) * 1_000 / size)
                bench.flush()
            _say(f"publish {size:3} at a time {spread(times)} an event that {title}")
    bench.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


FIGURES = {figure.__name__: figure for figure in (match, route, change, memory, publish)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.events",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; none: all")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.figures if name not in FIGURES]
    if unknown:
        parser.error(f"there is no figure {unknown[0]}; there are {', '.join(FIGURES)}")
    for name in given.figures or FIGURES:
        FIGURES[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
