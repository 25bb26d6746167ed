"""Two feeds, three gateways and a Valkey, each behind links that can be cut, and what may befall them."""

import asyncio
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

from redis import Redis
from redis.exceptions import RedisError

from tests.chaos import flood
from tests.chaos.schedule import FEEDS, GATEWAYS, PROCESSES, PUBLISHERS, Harm
from tests.support.eventually import eventually
from tests.support.figures import memory
from tests.support.proxy import Proxy
from tests.support.server import FAULTS, START_TIMEOUT, Server, free_port
from tests.support.valkey import Valkey, running_valkey

STALE_AFTER = 3
FED = tuple(f"FED{number}" for number in range(4))
SECRET = "a secret that all of the processes share, and clients too"
ENV = {
    "MARKETSTREAM_JWT_SECRET": SECRET,
    "MARKETSTREAM_FEEDS__STALE_AFTER": str(STALE_AFTER),
}
MOST_SKEW = 10.0
"""Seconds by which a publisher's clock is off at most."""

FILLS = {
    "fill memory": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "fill buffers": (
        ("CONFIG", "SET", "client-output-buffer-limit", "pubsub 2048 1024 1"),
        ("CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60"),
    ),
    "pause writes": (("CLIENT", "PAUSE", "60000", "WRITE"), ("CLIENT", "UNPAUSE")),
    "read only": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
}
"""Commands that begin and end what is done to Redis."""


class Part:
    """A server process that comes back whenever it was killed, on the same port.

    Attributes:
        name: Its name.
        server: The process that runs now.
        bus: The link to Redis.
        clients: The link to it.
        printed: Bytes that it and those before it have printed.
        largest: Bytes of memory that any of them has held.
        faults: Lines that no healthy server prints.
    """

    def __init__(self, name: str, valkey: Valkey) -> None:
        self.name = name
        self.bus = Proxy(valkey.port)
        self._port = free_port()
        self.clients = Proxy(self._port)
        self.largest = 0
        self.faults: list[str] = []
        self._printed = 0
        self.server: Server

    @property
    def printed(self) -> int:
        """Bytes of all its logs."""
        return self._printed + sum(map(len, list(self.server.log)))

    async def begin(self) -> None:
        """Opens its links and starts it."""
        await self.bus.start()
        await self.clients.start()
        await self.start()

    async def start(self) -> None:
        """Starts it and waits until it answers."""
        role = "feed" if self.name in FEEDS else "gateway"
        feeds = (f"synthetic?symbols={','.join(FED)}&rate=5",) if role == "feed" else ("none",)
        flags = ("--role", role, "--bus", f"redis://127.0.0.1:{self.bus.port}/0")
        server = self.server = Server(flags, ENV, feeds, port=self._port)
        await eventually(lambda: asyncio.to_thread(server.healthy), START_TIMEOUT, f"a healthy {self.name}")

    async def kill(self) -> None:
        """Kills it and keeps what counts of its log."""
        await asyncio.to_thread(self.server.kill)
        self._printed = self.printed
        self._keep_faults()

    async def end(self) -> None:
        """Ends it in order, and its links."""
        with suppress(OSError):
            os.kill(self.server.pid, signal.SIGCONT)
        try:
            code = await asyncio.to_thread(self.server.terminate)
            if code not in (0, -signal.SIGKILL):
                self.faults.append(f"{self.name} ended with {code}")
        finally:
            self._keep_faults()
            await self.clients.stop()
            await self.bus.stop()

    def weigh(self) -> None:
        """Notes how much memory it holds."""
        with suppress(OSError, IndexError):
            self.largest = max(self.largest, memory(self.server))

    def _keep_faults(self) -> None:
        self.faults += [
            f"{self.name} printed {line[:300]}"
            for line in list(self.server.log)
            if any(fault in line for fault in FAULTS)
        ]


class Stage:
    """See the module.

    Attributes:
        valkey: The Redis.
        parts: The processes by name.
        skews: Seconds by which the clock of each publisher is off now.
    """

    def __init__(self, valkey: Valkey) -> None:
        self.valkey = valkey
        self.parts = {name: Part(name, valkey) for name in PROCESSES}
        self.skews = dict.fromkeys(PUBLISHERS, 0.0)
        self._shut: Counter[str] = Counter()
        self._clear_at = dict.fromkeys(PROCESSES, 0.0)
        # Who was killed takes some time to come back, and is not killed meanwhile.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def gateways(self) -> list[Part]:
        """Those that serve clients."""
        return [self.parts[name] for name in GATEWAYS]

    def clear_since(self, gateway: str) -> float:
        """Since when it runs and reaches its clients, monotonic seconds; far ahead while it does not."""
        return float("inf") if self._shut[gateway] else self._clear_at[gateway]

    async def do(self, harm: Harm) -> None:
        """Does harm when that before it to the same target is over, and undoes it when its time is over."""
        async with self._turns[harm.target]:
            await self._do(harm)

    async def _do(self, harm: Harm) -> None:
        if harm.kind in FILLS:
            await self._fill(harm)
        elif harm.kind == "skew":
            self.skews[harm.target] = harm.amount * MOST_SKEW
            await asyncio.sleep(harm.seconds)
            self.skews[harm.target] = 0.0
        elif harm.kind in flood.KINDS:
            await flood.flood(harm.kind, self.parts[harm.target].server, harm.seconds)
        elif harm.target == "valkey":
            await self._hurt_valkey(harm)
        elif harm.target in self.parts:
            with self._closed(harm.target):
                await self._hurt(self.parts[harm.target], harm)
        else:
            await self._hurt_link(harm)

    async def _hurt(self, part: Part, harm: Harm) -> None:
        if harm.kind == "kill":
            await part.kill()
            await asyncio.sleep(harm.seconds)
            await part.start()
            return
        os.kill(part.server.pid, signal.SIGSTOP)
        await asyncio.sleep(harm.seconds)
        os.kill(part.server.pid, signal.SIGCONT)

    async def _hurt_valkey(self, harm: Harm) -> None:
        if harm.kind == "kill":
            await asyncio.to_thread(self.valkey.kill)
            await asyncio.sleep(harm.seconds)
            await asyncio.to_thread(self.valkey.start)
            return
        self.valkey.pause()
        await asyncio.sleep(harm.seconds)
        self.valkey.go_on()

    async def _hurt_link(self, harm: Harm) -> None:
        side, _, name = harm.target.partition("-")
        link = self.parts[name].clients if side == "clients" else self.parts[name].bus
        if harm.kind == "cut":
            link.cut()
        elif harm.kind == "refuse":
            link.refuse()
            await asyncio.sleep(harm.seconds)
        elif side == "clients":
            with self._closed(name):
                await self._hold(link, harm.seconds)
        else:
            await self._hold(link, harm.seconds)
        link.resume()

    async def _hold(self, link: Proxy, seconds: float) -> None:
        link.hold()
        await asyncio.sleep(seconds)
        link.resume()

    async def _fill(self, harm: Harm) -> None:
        begin, end = FILLS[harm.kind]
        await asyncio.to_thread(self._say, *begin)
        await asyncio.sleep(harm.seconds)
        await asyncio.to_thread(self._say, *end)

    def _say(self, *words: str) -> None:
        with suppress(RedisError), Redis(port=self.valkey.port, socket_timeout=5) as client:
            client.execute_command(*words)

    @contextmanager
    def _closed(self, name: str) -> Iterator[None]:
        self._shut[name] += 1
        try:
            yield
        finally:
            self._shut[name] -= 1
            self._clear_at[name] = time.monotonic()


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """All of it runs, inside the block."""
    async with AsyncExitStack() as stack:
        stage = Stage(stack.enter_context(running_valkey()))
        for part in stage.parts.values():
            await part.begin()
            stack.push_async_callback(part.end)
        yield stage
