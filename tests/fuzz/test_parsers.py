"""No bytes from outside make a parser raise what it does not document, or cost more than their length.

A short run, the same each time; `make fuzz` looks for as long as it is told to, guided by what is covered.
"""

import time
import tracemalloc
from itertools import islice

import pytest

from tests.fuzz.mutator import damaged
from tests.fuzz.targets import TARGETS, grown

INPUTS = 400
SEED = 20_261_201
SMALL, LARGE = 2_000, 16_000


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_a_documented_error_comes_out(name: str) -> None:
    target = TARGETS[name]
    for data in islice(damaged(target.inputs(), SEED), INPUTS):
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"{name} was given {data!r}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_eight_times_the_bytes_take_no_more_than_their_share(name: str) -> None:
    """Of time and of memory: what grows with the square would take sixty-four times as much."""
    target = TARGETS[name]
    seed = target.inputs()[0]

    def timed(data: bytes) -> float:
        started = time.process_time()
        target.run(data)
        return time.process_time() - started

    def cost(data: bytes) -> tuple[float, int]:
        # The least of a few: a collector that comes by in a process full of tests takes longer than a parser.
        spent = min(timed(data) for _ in range(3))
        tracemalloc.start()
        target.run(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return spent, peak

    for small, large in zip(grown(SMALL, seed), grown(LARGE, seed), strict=True):
        (short, little), (long, much) = cost(small), cost(large)
        assert long < 24 * short + 0.02, f"{long:.3f} s for {large[:40]!r}, {short:.4f} s for an eighth of it"
        assert much < 24 * little + 256 * 1024, f"{much} bytes for {large[:40]!r}, {little} for an eighth"
