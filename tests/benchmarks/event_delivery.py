"""How late events are at a thousand users, alone and while prices flow to the same clients.

`python -m tests.benchmarks.event_delivery` runs one process: every user has a connection, watches 20 of 100
symbols, and subscribes to the patterns of these symbols that are sure enough. Events come in over HTTP one by
one: normal ones, which wait for the window of 100 ms, and CRITICAL ones, which do not. Each bears the time
before its request; clients take it out of the bytes that arrive. First without prices, then with 100,000
prices a second. Verdicts are printed, not asserted.
"""

import argparse
import http.client
import json
import random
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.benchmarks import machine
from tests.benchmarks.contestants import pin
from tests.benchmarks.fanout import Usage, say
from tests.benchmarks.readers import Reader, Readers, watch_lists
from tests.support.server import Server, serving

USERS, SYMBOLS, EACH = 1_000, 100, 20
PRICES: Final = {"without prices": 0, "with 100,000 prices a second": 5}
"""Updates a second and symbol: each reaches a fifth of the users."""
RATE = 20
"""Events a second; one of four is CRITICAL."""
LEAST_CONFIDENCE = 0.5
TARGETS_MS: Final = {"MEDIUM": 125.0, "CRITICAL": 25.0}
SEEN: Final = re.compile(rb'"priority":"(MEDIUM|CRITICAL)"[^{]*"data":\{"sentUs":(\d{16})\}')
PLANS: Final = "[plans.pro]\nrate_limit = { capacity = 1000, refill = 1000 }\n[plans.basic]\n"


class Listeners(Readers):
    """Readers that also note how late events are.

    Attributes:
        late: Milliseconds from before the request to the bytes here, by priority.
    """

    def __init__(self, server: Server, tokens: Sequence[str], watched: Sequence[Sequence[str]]) -> None:
        super().__init__(server.port, watched, tokens)
        self.late: defaultdict[str, list[float]] = defaultdict(list)

    def _take(self, reader: Reader, size: int) -> None:
        super()._take(reader, size)
        if self._buffer.find(b'["events"', 0, size) >= 0:
            now_us = time.time_ns() // 1_000
            for priority, sent_us in SEEN.findall(self._buffer[:size]):
                self.late[priority.decode()].append((now_us - int(sent_us)) / 1_000)


class Publisher(threading.Thread):
    """Sends events at a steady rate until told to stop."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self.done = threading.Event()
        self._server = server

    def run(self) -> None:
        """Sends."""
        draw = random.Random(7)
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port)
        headers = {"Authorization": f"Bearer {self._server.token(scopes=('market:publish',))}"}
        started = time.monotonic()
        while not self.done.wait(max(0.0, started + self.sent / RATE - time.monotonic())):
            event = {
                "type": "pattern",
                "name": "double-bottom",
                "symbol": f"SYM{draw.randrange(SYMBOLS)}",
                "confidence": draw.uniform(LEAST_CONFIDENCE, 1),
                "priority": "CRITICAL" if self.sent % 4 == 0 else "MEDIUM",
                "data": {"sentUs": time.time_ns() // 1_000},
            }
            connection.request("POST", "/api/v1/events", json.dumps(event), headers)
            connection.getresponse().read()
            self.sent += 1


def prepare(server: Server, watched: Sequence[Sequence[str]]) -> list[str]:
    """Makes the subscription of every user; returns their tokens."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    tokens = [server.token(user=f"u{index}") for index in range(len(watched))]
    for token, symbols in zip(tokens, watched, strict=True):
        wanted = {"types": ["pattern"], "symbols": list(symbols), "minConfidence": LEAST_CONFIDENCE}
        call(connection, "PUT", "/api/v1/events/subscriptions/mine", token, wanted)
    return tokens


def call(
    connection: http.client.HTTPConnection, method: str, path: str, token: str, body: Mapping[str, Any] | None
) -> Any:
    """Calls the server; any status but 200 is an error."""
    headers = {"Authorization": f"Bearer {token}"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    data = answer.read()
    assert answer.status == http.client.OK, data
    return json.loads(data)


def measure(server: Server, seconds: float) -> bool:
    """Measures for some time; returns whether the targets were met."""
    watched = watch_lists(USERS, SYMBOLS, EACH)
    with Listeners(server, prepare(server, watched), watched) as listeners:
        listeners.connect(60)
        listeners.read(2)
        publisher = Publisher(server)
        publisher.start()
        listeners.read(2)
        listeners.late.clear()
        start = Usage.of(server.pid)
        window = listeners.read(seconds)
        used = Usage.of(server.pid).since(start)
        publisher.done.set()
        publisher.join()
    say(
        f"  {publisher.sent / (seconds + 2):.1f} events/s, {window.prices / window.seconds:,.0f} prices/s; "
        f"server {used.cpu / window.seconds:.0%} of a processor, others {used.others / window.seconds:.0%}"
    )
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    health = call(connection, "GET", "/api/v1/events/health", server.token(scopes=("admin",)), None)
    say(f"  health: {health['status']} {health['reasons']}, router {health['router']}")
    found = [verdict(listeners.late[priority], priority) for priority in TARGETS_MS]
    return all(found)


def verdict(late: Sequence[float], priority: str) -> bool:
    """Says how late events of a priority were."""
    if not late:
        say(f"  {priority}: none arrived: FAIL")
        return False
    ordered = sorted(late)
    p50, p95, p99 = (ordered[max(0, ceil(share * len(ordered)) - 1)] for share in (0.5, 0.95, 0.99))
    met = p95 < TARGETS_MS[priority]
    say(
        f"  {priority:8} {len(late):7,} arrivals: p50 {p50:6.1f}, p95 {p95:6.1f}, p99 {p99:6.1f} ms; "
        f"p95 below {TARGETS_MS[priority]:g}: {'PASS' if met else 'FAIL'}"
    )
    return met


def main() -> int:
    """Measures both cases; returns the exit code, 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.event_delivery", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each case")
    seconds = parser.parse_args().seconds
    met: list[bool] = []
    with TemporaryDirectory() as folder:
        plans = Path(folder) / "plans.toml"
        plans.write_text(PLANS)
        for what, rate in PRICES.items():
            pin(machine.SERVER_CPU)  # the server inherits it
            feed = f"synthetic?symbols=SYM*{SYMBOLS}&rate={rate}&shape=burst&sources=1" if rate else "none"
            env = {"MARKETSTREAM_AUTH__PLANS_FILE": str(plans), "MARKETSTREAM_JOBS__ENABLED": "false"}
            with serving(feeds=[feed], env=env) as server:
                pin(machine.LOAD_CPU)
                if not met:
                    say(machine.describe())
                say(f"{USERS} users, {what}:")
                met.append(measure(server, seconds))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
