"""What a delivered price costs, side by side with other servers: `python -m tests.benchmarks.fanout --help`.

Each server in turn does the same work on processor 0 while the readers are on processor 1. Its processor
time is read from outside and divided by the prices that arrived. Ratios within a run hold; times do not.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

from tests.benchmarks import machine
from tests.benchmarks.contestants import (
    CONTESTANTS,
    Contestant,
    Work,
    build_floor,
    pin,
    raise_file_limit,
    running,
    token,
)
from tests.benchmarks.readers import Readers, watch_lists

CONNECT_PATIENCE = 90.0
WARM_UP = 2.0
MAX_ROUNDS = 20
MAX_SECONDS = 60.0
SPARE_FILES = 200
ATTEMPTS = 2
DISTURBED = 0.1
"""Part of a processor in use by others from which on a run is repeated."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of work, and what is expected of marketstream in it.

    Attributes:
        work: What servers are asked to do.
        of_floor: At most so many times the floor's cost of a price; None: no target.
        of_node: At most so many times the cost in socket.io for Node; None: no target.
        connection_kb: At most so many kilobytes for each connection; None: no target.
        connects: Whether clients must be ready no later than with socket.io for Node.
    """

    work: Work
    of_floor: float | None = None
    of_node: float | None = None
    connection_kb: float | None = None
    connects: bool = False


SCENARIOS = {
    "fanout": Scenario(Work(1_000, 1, 1, 50, "burst"), of_floor=2.2, of_node=0.75, connects=True),
    "watchlist": Scenario(Work(1_000, 100, 20, 5, "burst"), of_floor=3.5, of_node=0.12),
    "spread": Scenario(Work(1_000, 100, 20, 2, "spread"), of_node=0.5),
    "idle": Scenario(Work(8_000, 1, 1, 0.2, "burst"), connection_kb=25),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of one server gave, or the median of several.

    Attributes:
        price_us: Processor microseconds of the server for each price that arrived; not a number when there
            were too few to tell.
        delivered: Prices that arrived a second.
        load: Part of a processor that the server used.
        p50_ms: Median lateness of a price, milliseconds.
        p99_ms: Lateness that one price in a hundred exceeded.
        ready_s: Seconds until all clients were connected and subscribed, while prices went out.
        connection_kb: Resident kilobytes for each connection, above the process without any.
        others: Part of a processor, the server's or the readers', that others used meanwhile: noise.
    """

    price_us: float
    delivered: float
    load: float
    p50_ms: float
    p99_ms: float
    ready_s: float
    connection_kb: float
    others: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds up to a moment, or between two.

    Attributes:
        cpu: Of the server.
        beside_server: Of others on its processor.
        beside_readers: Of others on the readers' processor.
    """

    cpu: float
    beside_server: float
    beside_readers: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Up to now, for the server with this process id."""
        cpu = machine.cpu_seconds(pid)
        return cls(
            cpu,
            machine.busy_seconds(machine.SERVER_CPU) - cpu,
            machine.busy_seconds(machine.LOAD_CPU) - time.process_time(),
        )

    @property
    def others(self) -> float:
        """Of others, on the processor where it was more."""
        return max(0.0, self.beside_server, self.beside_readers)

    def since(self, earlier: "Usage") -> "Usage":
        """Between two moments."""
        return Usage(
            self.cpu - earlier.cpu,
            self.beside_server - earlier.beside_server,
            self.beside_readers - earlier.beside_readers,
        )


def measure_undisturbed(
    contestant: Contestant, work: Work, options: argparse.Namespace, floor: Path | None
) -> Figures:
    """One run of one server, repeated a few times while others use the machine; the quietest counts."""
    found: list[Figures] = []
    while len(found) < ATTEMPTS and not any(figures.others < DISTURBED for figures in found):
        machine.wait_until_quiet(options.patience)
        found.append(measure(contestant, work, options.seconds, floor))
    return min(found, key=lambda figures: figures.others)


def measure(contestant: Contestant, work: Work, seconds: float, floor: Path | None) -> Figures:
    """One run of one server."""
    watched = watch_lists(work.clients, work.symbols, work.each)
    with (
        running(contestant, work, floor) as (pid, port),
        Readers(port, watched, token(), raw=contestant.raw, sse=contestant.sse) as readers,
    ):
        machine.wait_until_settled(pid)
        empty = machine.resident_bytes(pid)
        ready = readers.connect(CONNECT_PATIENCE)
        readers.read(WARM_UP)
        before = Usage.of(pid)
        window = readers.read(seconds)
        used = Usage.of(pid).since(before)
        grown = machine.resident_bytes(pid) - empty
        if readers.closed_by_server:
            raise RuntimeError(f"{contestant.name} closed {readers.closed_by_server} clients")
    return Figures(
        price_us=used.cpu / window.prices * 1e6 if window.prices > work.clients else float("nan"),
        delivered=window.prices / window.seconds,
        load=used.cpu / window.seconds,
        p50_ms=window.quantile(0.5),
        p99_ms=window.quantile(0.99),
        ready_s=ready,
        connection_kb=grown / work.clients / 1000,
        others=used.others / window.seconds,
    )


def compare(
    names: Sequence[str], work: Work, options: argparse.Namespace, floor: Path | None
) -> dict[str, list[Figures]]:
    """Several rounds of several servers, in turn, so that the machine's moods hit all alike."""
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            try:
                figures = measure_undisturbed(CONTESTANTS[name], work, options, floor)
                found[name].append(figures)
                say(f"  {name}: {figures.price_us:.2f} us/price, {figures.others:.0%} used by others")
            except (OSError, RuntimeError) as error:
                say(f"  {name}: {error}")
    return found


def report(scenario: Scenario, found: Mapping[str, Sequence[Figures]]) -> None:
    """Prints a table, and which targets are met."""
    middles = {name: _median(rounds) for name, rounds in found.items() if rounds}
    floor, node = middles.get("floor"), middles.get("socket.io")
    say(
        f"{'':22}{'us/price':>9}{'from-to':>14}{'x floor':>9}{'x node':>8}{'prices/s':>10}{'offered':>9}"
        f"{'cpu':>6}{'p50 ms':>8}{'p99 ms':>8}{'ready s':>9}{'KB/conn':>9}{'others':>8}"
    )
    for name, own in middles.items():
        costs = [figures.price_us for figures in found[name]]
        work = scenario.work
        offered = work.clients * work.each * CONTESTANTS[name].rate(work)
        say(
            f"{name:22}{own.price_us:9.2f}{f'{min(costs):.2f}-{max(costs):.2f}':>14}"
            f"{_ratio(own, floor):>9}{_ratio(own, node):>8}{own.delivered:10.0f}{offered:9.0f}"
            f"{own.load:6.2f}{own.p50_ms:8.0f}{own.p99_ms:8.0f}{own.ready_s:9.2f}{own.connection_kb:9.1f}"
            f"{own.others:8.1%}"
        )
    if own_figures := middles.get("marketstream"):
        for line in _verdicts(scenario, own_figures, floor, node):
            say(f"  {line}")


def _median(rounds: Sequence[Figures]) -> Figures:
    return Figures(*(median(getattr(figures, field.name) for figures in rounds) for field in fields(Figures)))


def _ratio(own: Figures, other: Figures | None) -> str:
    return "-" if other is None else f"{own.price_us / other.price_us:.2f}"


def _verdicts(scenario: Scenario, own: Figures, floor: Figures | None, node: Figures | None) -> list[str]:
    """One line for each target that this run can judge."""
    judged: list[tuple[str, float, float]] = []
    if scenario.of_floor and floor:
        judged.append(("cost of a price, times the floor", own.price_us / floor.price_us, scenario.of_floor))
    if scenario.of_node and node:
        judged.append(("cost of a price, times socket.io", own.price_us / node.price_us, scenario.of_node))
    if scenario.connection_kb:
        judged.append(("KB for each connection", own.connection_kb, scenario.connection_kb))
    if scenario.connects and node:
        judged.append(("seconds until all are ready, times socket.io", own.ready_s / node.ready_s, 1.0))
    return [
        f"{what}: {value:.2f}, target {most:g}: {'met' if value <= most else 'NOT met'}"
        for what, value, most in judged
    ]


def say(line: str) -> None:
    """Prints a line now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def parse_options(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.fanout",
        description="What a delivered price costs in several servers, measured side by side.",
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument(
        "--servers",
        default="floor,marketstream,socket.io,python-socketio",
        help=f"comma separated; there are {', '.join(CONTESTANTS)}",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help=f"of which the median counts, 1 to {MAX_ROUNDS}"
    )
    parser.add_argument("--seconds", type=float, default=4, help=f"of each run, 1 to {MAX_SECONDS:g}")
    parser.add_argument(
        "--patience", type=float, default=20, help="seconds to wait for a quiet machine before each run"
    )
    options = parser.parse_args(words)
    options.scenarios = options.scenarios or list(SCENARIOS)
    options.servers = options.servers.split(",")
    for kind, given, known in (
        ("scenario", options.scenarios, SCENARIOS),
        ("server", options.servers, CONTESTANTS),
    ):
        if unknown := sorted(set(given) - set(known)):
            parser.error(f"there is no {kind} {', '.join(unknown)}; there are {', '.join(known)}")
    if not (1 <= options.rounds <= MAX_ROUNDS and 1 <= options.seconds <= MAX_SECONDS):
        parser.error("rounds or seconds are out of bounds")
    return options


def main() -> None:
    """Measures what the command line asks for."""
    options = parse_options()
    files = raise_file_limit()
    pin(machine.LOAD_CPU)
    say(machine.describe())
    with tempfile.TemporaryDirectory() as folder:
        floor = build_floor(Path(folder)) if "floor" in options.servers else None
        names = [name for name in options.servers if name != "floor" or floor is not None]
        for title in options.scenarios:
            scenario = SCENARIOS[title]
            work = scenario.work
            say(
                f"\n{title}: {work.clients} clients, {work.symbols} symbols, {work.each} each, "
                f"{work.rate:g}/s, {work.shape}; {options.rounds} rounds of {options.seconds:g} s"
            )
            if work.clients + SPARE_FILES > files:
                say(f"  left out: only {files} files may be open (ulimit -n)")
                continue
            report(scenario, compare(names, work, options, floor))


if __name__ == "__main__":
    main()
