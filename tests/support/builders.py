"""Parts put together for tests: people, prices, and an engine without a network."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

from hypothesis import strategies as st

from marketstream.bus.memory import MemoryBus
from marketstream.core.delivery.commands import Authenticate, Reply, Subscribe, Unsubscribe
from marketstream.core.delivery.entitlements import Mode, Plan, Principal
from marketstream.core.glob import compile_globs
from marketstream.core.market.model import BestPrice, Quote, Side
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.connection_limits import LocalConnectionLimits
from marketstream.engine.delivery.execution import Execution
from marketstream.engine.delivery.heartbeat import Heartbeat
from marketstream.engine.delivery.node import Node
from marketstream.engine.delivery.terms import Delivery
from marketstream.engine.eager import start
from marketstream.engine.events.streams import EventStreams
from marketstream.engine.market.aggregator import Aggregator
from marketstream.engine.market.ahead import Ahead
from marketstream.engine.market.publisher import Publisher
from marketstream.engine.stats import Stats
from marketstream.errors import AuthFailedError, MarketstreamError
from marketstream.ports import ConnectionLimits, Verifier
from marketstream.transports.address import AddressReader
from marketstream.transports.credentials import Credentials
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.socketio.namespace import build_socketio
from marketstream.transports.socketio.socket import EngineSocket
from tests.support.clock import FakeClock
from tests.support.recording import RecordingTransport

NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 1e308, 5e-324, 2**64 - 1, True, False]),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | NUMBERS | st.text(max_size=40),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=9), children, max_size=4)
    ),
    max_leaves=12,
)
HOSTILE = [
    b"[" * 1_000 + b"]" * 1_000,
    b"[" * 100_000,
    b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
    b"1" * 5_000,
    b"-" + b"9" * 400,
    b"1e400",
    b"NaN",
    b"Infinity",
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\xff"',
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf[]",
    b"\x00",
    b"",
    b"[1,]",
    b'{"a":1,"a":2}',
    b'["' + b"\\u0000" * 1_000 + b'"]',
]
"""JSON, or nearly, that has broken parsers before."""

PRO = Plan("pro")
AT_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
NAMESPACE = "/market-data"


def principal(
    user: str = "u1",
    tenant: str = "acme",
    plan: Plan = PRO,
    *,
    symbols: Iterable[str] | None = None,
    scopes: Iterable[str] = ("market:read",),
    expires_at_ms: int = AT_MS + HOUR_MS,
) -> Principal:
    """A verified caller whose token lasts an hour of the fake clock."""
    narrowed = None if symbols is None else compile_globs(symbols)
    return Principal(user, tenant, plan, frozenset(scopes), narrowed, expires_at_ms)


def best_price(symbol: str = "EUR/USD", bid: float = 1.0, at_ms: int = AT_MS) -> BestPrice:
    """A best price with a spread of 1."""
    return BestPrice(symbol, Side(bid, 1.0, "lmax"), Side(bid + 1, 2.0, "ebs"), bid + 0.5, 1.0, None, at_ms)


def quote(symbol: str = "EUR/USD", bid: float = 1.0, at_ms: int = AT_MS, source: str = "lmax") -> Quote:
    """A quote with a spread of 1."""
    return Quote(symbol, source, bid, 1.0, bid + 1, 2.0, at_ms)


class KnownTokens:
    """Verifies tokens that a test has named.

    Args:
        later: Whether the answer has to be waited for, as when keys must be fetched.

    Attributes:
        known: What each token stands for.
        release: While `later`, answers come only once this is set.
    """

    def __init__(self, *, later: bool = False) -> None:
        self.known: dict[str, Principal | MarketstreamError] = {}
        self.later = later
        self.release = asyncio.Event()

    def verify(self, token: str) -> Principal | Awaitable[Principal]:
        """See `ports.Verifier.verify`."""
        return self._wait(token) if self.later else self._find(token)

    async def _wait(self, token: str) -> Principal:
        await self.release.wait()
        return self._find(token)

    def _find(self, token: str) -> Principal:
        found = self.known.get(token, AuthFailedError("the token is not good"))
        if isinstance(found, MarketstreamError):
            raise found
        return found


_: type[Verifier] = KnownTokens


class Client:
    """One admitted client of a `Bench`."""

    def __init__(self, bench: "Bench", connection: Connection, sink: RecordingTransport) -> None:
        self.bench = bench
        self.connection = connection
        self.sink = sink

    def subscribe(
        self,
        *symbols: str,
        mode: Mode = "latest",
        max_rate: float = 0,
        channels: tuple[str, ...] | None = None,
    ) -> Reply | MarketstreamError:
        """Subscribes and returns the answer."""
        return self.ask(Subscribe(symbols, mode, max_rate, channels))

    def unsubscribe(
        self, *symbols: str, channels: tuple[str, ...] | None = None
    ) -> Reply | MarketstreamError:
        """Unsubscribes and returns the answer."""
        return self.ask(Unsubscribe(symbols, channels))

    def ask(self, command: Any) -> Reply | MarketstreamError:
        """The answer to a command that can be given at once."""
        answers: list[Reply | MarketstreamError] = []
        assert start(self.bench.execution.execute(self.connection, command, answers.append)) is None
        (answer,) = answers
        return answer

    async def authenticate(self, token: str) -> Reply | MarketstreamError:
        """The answer to `authenticate`, waited for when it has to be."""
        answers: list[Reply | MarketstreamError] = []
        await self.bench.execution.execute(self.connection, Authenticate(token), answers.append)
        (answer,) = answers
        return answer

    def prices(self) -> list[float]:
        """Bids of the `price` events so far."""
        return [payload["bestBid"]["price"] for payload in self.sink.named("price")]

    def snapshots(self) -> list[list[float]]:
        """Bids of the prices in each `snapshot` event so far."""
        return [[p["bestBid"]["price"] for p in s["prices"]] for s in self.sink.named("snapshot")]


class Bench:
    """A node with everything around it, and a clock that the test owns; flushes when told, or by its loop.

    Args:
        delivery: How connections are treated.
        limits: Who may have one more connection.
        bus: Carries frames.
        clock: The clock.
    """

    def __init__(
        self,
        *,
        delivery: Delivery | None = None,
        limits: ConnectionLimits | None = None,
        bus: MemoryBus | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock(wall_ms=AT_MS)
        self.stats = Stats()
        self.bus = bus or MemoryBus(clock=self.clock)
        self.tokens = KnownTokens()
        self.limits: Any = LocalConnectionLimits() if limits is None else limits
        self.node = Node(
            clock=self.clock,
            bus=self.bus,
            verifier=self.tokens,
            registry=SymbolRegistry("open"),
            stats=self.stats,
            delivery=delivery or Delivery(),
            limits=self.limits,
        )
        self.execution = Execution(node=self.node, bus=self.bus)
        self.publisher = Publisher(bus=self.bus, stats=self.stats)
        self.aggregator = Aggregator(
            publisher=self.publisher,
            clock=self.clock,
            stats=self.stats,
            ahead=Ahead(clock=self.clock, stats=self.stats),
        )
        self.heartbeat = Heartbeat(node=self.node, expire=self.aggregator.expire)
        self._count = 0

    def open(self, sink: RecordingTransport | None = None, transport: str = "websocket") -> Client:
        """A connection that is not admitted yet."""
        self._count += 1
        sink = sink or RecordingTransport()
        return Client(self, self.node.open(f"c{self._count}", transport, sink), sink)

    def client(
        self,
        who: Principal | None = None,
        sink: RecordingTransport | None = None,
        transport: str = "websocket",
    ) -> Client:
        """An admitted client."""
        client = self.open(sink, transport)
        self.admit(client.connection, who)
        return client

    def admit(self, connection: Connection, who: Principal | None = None) -> None:
        """Lets a connection in, for which nobody else has to be asked."""
        assert start(self.node.admit(connection, who or principal())) is None

    def attach(self, streams: EventStreams) -> None:
        """Has event streams hear of connections and carry out what clients ask of them, as the root does."""
        self.node.listener = streams
        self.execution = Execution(
            node=self.node,
            bus=self.bus,
            on_event_command=streams.execute,
            on_work_command=streams.workers.execute,
        )

    def publish(self, symbol: str, *bids: float, tenant: str | None = None) -> None:
        """Publishes prices of a symbol, each in a batch of its own."""
        for bid in bids:
            self.publisher.publish([best_price(symbol, bid, self.clock.wall_ms())], tenant)

    def flush(self) -> None:
        """Writes what waits now, until nothing more can be written now."""
        self.node.flusher.flush()
        while self.node.hub.dirty:
            self.node.flusher.flush()


class Edge(Bench):
    """A bench with the Socket.IO server on it; its clients write into memory instead of a websocket."""

    def __init__(self) -> None:
        super().__init__()
        self.server = build_socketio(
            execution=self.execution,
            credentials=Credentials(),
            origins=OriginPolicy([]),
            addresses=AddressReader([]),
        )
        self.manager = self.server.manager
        self.sockets: dict[str, EngineSocket] = {}

    def arrive(self) -> Client:
        """A client that has not shaken hands yet."""
        client = self.open()
        socket = EngineSocket(self.server.eio, f"secret of {client.connection.id}", None)
        socket.connection = client.connection
        self.sockets[client.connection.id] = self.server.eio.sockets[socket.sid] = socket
        return client

    def member(self, tenant: str = "acme") -> Client:
        """A client that was admitted before."""
        client = self.arrive()
        self.admit(client.connection, principal(tenant=tenant))
        self.manager.add(self.sockets[client.connection.id])
        return client

    async def emit(self, event: str, data: Any, **options: Any) -> None:
        """Emits as a back end in this process does, and lets it be written."""
        await self.server.emit(event, data, namespace=NAMESPACE, **options)
        self.flush()
