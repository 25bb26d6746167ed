"""What is done to a running system, and when: a pure function of a seed, so that a failure can be had again.

Harms of different targets overlap; those of one target come one after the other. The last seconds are left
alone, so that everything can come to rest.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

FEEDS = ("feed1", "feed2")
GATEWAYS = ("gateway1", "gateway2", "gateway3")
PROCESSES = (*FEEDS, *GATEWAYS)
LINKS = (*(f"clients-{name}" for name in GATEWAYS), *(f"bus-{name}" for name in PROCESSES))
PUBLISHERS = ("acme", "globex")

WARMING = 3.0
"""Seconds at the beginning without any harm."""

HARMS: dict[str, tuple[tuple[str, ...], float, float]] = {
    "kill": ((*PROCESSES, "valkey"), 0.2, 12.0),
    "stop": ((*PROCESSES, "valkey"), 0.3, 12.0),
    "cut": (LINKS, 0.0, 0.0),
    "hold": (LINKS, 0.5, 12.0),
    "refuse": (LINKS, 0.5, 12.0),
    "fill memory": (("valkey",), 1.0, 12.0),
    "fill buffers": (("valkey",), 1.0, 5.0),
    "pause writes": (("valkey",), 1.0, 12.0),
    "read only": (("valkey",), 1.0, 12.0),
    "skew": (PUBLISHERS, 2.0, 8.0),
    "flood handshakes": (GATEWAYS, 1.0, 3.0),
    "flood calls": (GATEWAYS, 1.0, 3.0),
    "flood bytes": (GATEWAYS, 1.0, 3.0),
    "read slowly": (GATEWAYS, 2.0, 8.0),
}
"""For each kind: to whom it is done, and for how many seconds, at least and at most."""


@dataclass(frozen=True, slots=True)
class Harm:
    """Something that is done for a while.

    Attributes:
        at: When it begins, in seconds.
        seconds: How long it lasts; 0: a moment.
        kind: A key of `HARMS`.
        target: To whom.
        amount: From -1 to 1, whatever the kind makes of it.
    """

    at: float
    seconds: float
    kind: str
    target: str
    amount: float

    def __str__(self) -> str:
        return f"{self.at:7.2f} s  {self.kind} {self.target} for {self.seconds:.2f} s ({self.amount:+.2f})"


def harms(seed: int, seconds: float) -> Iterator[Harm]:
    """What is done, in order of time, all of it over after so many seconds.

    Args:
        seed: What everything follows from.
        seconds: How long harm is done.
    """
    chance = random.Random(seed)
    busy: dict[str, float] = {}
    at = WARMING
    while True:
        at = round(at + chance.uniform(0.2, 2.0), 3)
        if at >= seconds:
            return
        kind = chance.choice(list(HARMS))
        targets, least, most = HARMS[kind]
        target = chance.choice(targets)
        lasts, amount = round(chance.uniform(least, most), 3), round(chance.uniform(-1, 1), 3)
        if busy.get(target, 0.0) > at or at + lasts > seconds:
            continue
        busy[target] = at + lasts
        yield Harm(at, lasts, kind, target, amount)
