"""What benchmarks share: clients without a network, and a list of what one item costs."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import structlog
from pytest_benchmark.fixture import BenchmarkFixture

from marketstream.core.delivery.closing import CloseReason
from marketstream.core.delivery.frame import Frame
from marketstream.engine.delivery.connection import Sink
from marketstream.observability.logging import configure
from marketstream.wire import socketio
from marketstream.wire.dialect import Dialect

COSTS = pytest.StashKey[dict[str, tuple[float, str]]]()


class SilentSink:
    """A client that takes everything at once and keeps nothing."""

    dialect: Dialect = socketio.WEBSOCKET
    keepalive: Frame | None = None
    keepalive_interval = 1e9
    listens = True
    personal = True
    snapshots = True
    keeps = False
    writable = True
    __slots__ = ("written",)

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        """Counts the bytes."""
        self.written += len(data)

    def backlog(self) -> int:
        """Nothing is ever held."""
        return 0

    def close(self, reason: CloseReason) -> None:
        """There is nothing to end."""


_: type[Sink] = SilentSink


class Measure(Protocol):
    """Runs something many times, each time after an unmeasured preparation."""

    def __call__(
        self,
        work: Callable[[], object],
        *,
        items: int,
        unit: str,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        """Measures rounds of `work`, each of which handles so many items of a unit."""
        ...


@pytest.fixture
def measure(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Measure:
    """The cost of one item is in `extra_info` and in the list at the end of the run."""

    def run(
        work: Callable[[], object], *, items: int, unit: str, prepare: Callable[[], object] | None = None
    ) -> None:
        if prepare is None:
            benchmark(work)
        else:

            def setup() -> None:
                prepare()

            benchmark.pedantic(work, setup=setup, rounds=200, warmup_rounds=5)  # type: ignore[no-untyped-call]  # it has no types
        stats: Any = benchmark.stats
        each_ns = stats.stats.median / items * 1e9
        benchmark.extra_info |= {"ns_per_item": round(each_ns, 1), "item": unit}
        costs = request.config.stash.setdefault(COSTS, {})
        costs[request.node.name] = (each_ns, unit)

    return run


@pytest.fixture
def server_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging as a server does it, JSON on stderr, which goes nowhere."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with Path(os.devnull).open("w") as nowhere:
        monkeypatch.setattr(sys, "stderr", nowhere)
        configure("info", "json")
        yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Lists what one item costs."""
    costs = config.stash.get(COSTS, {})
    if not costs:
        return
    terminalreporter.section("median cost of one item")
    for name, (each_ns, unit) in costs.items():
        terminalreporter.write_line(f"{name.removeprefix('test_'):56}{each_ns:10.0f} ns a {unit}")
