"""The steps on the way of a price and of a client, each by itself: run by `make bench`."""

import asyncio
import random
from itertools import count, cycle

import pytest

from marketstream.core.delivery.closing import CLIENT_LEFT
from marketstream.core.delivery.hub import Hub
from marketstream.core.delivery.outbox import Outbox
from marketstream.core.market.aggregate import Aggregation
from marketstream.engine.delivery.connection import Connection
from marketstream.engine.delivery.flusher import Flusher
from marketstream.engine.delivery.waiting import Waiting
from marketstream.engine.eager import start
from marketstream.engine.stats import Stats
from marketstream.observability.clock import SystemClock
from marketstream.security.jwt import TokenVerifier, sign_token
from marketstream.wire import messages, request, socketio
from marketstream.wire.dialect import Dialect
from marketstream.wire.sse import SSE
from marketstream.wire.websocket import Decoder
from tests.benchmarks.conftest import Measure, SilentSink
from tests.support.builders import AT_MS, PRO, Bench, best_price, principal, quote
from tests.support.raw_socket import masked

CLIENTS, SYMBOLS, EACH = 1_000, 100, 20
NAMES = [f"SYM{index}" for index in range(SYMBOLS)]
SECRET = "a secret for benchmarks, long enough"
CALL = '2/market-data,7["subscribe",{"symbols":["EUR/USD","AAPL"],"mode":"latest"}]'


class Crowd:
    """A hub whose members watch `each` of the symbols, and a flusher that writes to nobody.

    Attributes:
        frames: A price of every symbol.
    """

    def __init__(self, *, symbols: int = 1, each: int = 1, clients: int = CLIENTS) -> None:
        self.hub: Hub[Connection] = Hub()
        self.flusher = Flusher(
            hub=self.hub, clock=SystemClock(), stats=Stats(), on_dead=lambda _connection: None
        )
        self.frames = [messages.price(best_price(name)) for name in NAMES[:symbols]]
        self.outboxes: list[Outbox[Connection]] = []
        draw = random.Random(1)
        waiting = Waiting(0, SystemClock())
        for index in range(clients):
            connection = Connection(
                f"c{index}",
                "websocket",
                SilentSink(),
                0.0,
                control_capacity=10,
                call_bytes=0,
                waiting=waiting,
            )
            self.outboxes.append(connection.outbox)
            for frame in draw.sample(self.frames, each):
                self.hub.join(frame.symbol, connection.outbox)

    def deliver(self) -> None:
        """One price of every symbol reaches everybody who watches it."""
        for frame in self.frames:
            self.hub.deliver(frame.symbol, frame)

    def empty(self) -> None:
        """Everybody has taken everything."""
        self.flusher.flush()

    def take_and_render(self) -> None:
        """What the flusher does for a client that has more than newest prices waiting."""
        dirty, self.hub.dirty = self.hub.dirty, []
        for outbox in dirty:
            outbox.dirty = False
            frames, _ = outbox.take(0.0)
            socketio.WEBSOCKET.render(frames)


def test_deliver_one_price_to_1000_clients(measure: Measure) -> None:
    """A round offers one frame to 1,000 empty outboxes."""
    crowd = Crowd()
    measure(crowd.deliver, prepare=crowd.empty, items=CLIENTS, unit="client")


def test_deliver_a_burst(measure: Measure) -> None:
    """A round offers 100 frames to the members of 100 rooms: 1,000 clients watch 20 of the symbols each."""
    crowd = Crowd(symbols=SYMBOLS, each=EACH)
    measure(crowd.deliver, prepare=crowd.empty, items=CLIENTS * EACH, unit="price and client")


@pytest.mark.parametrize("each", [1, EACH])
def test_flush_to_1000_clients(measure: Measure, each: int) -> None:
    """A round renders what waits for 1,000 clients and writes it, without a network."""
    crowd = Crowd(symbols=each, each=each)
    measure(crowd.flusher.flush, prepare=crowd.deliver, items=CLIENTS * each, unit="price and client")


@pytest.mark.parametrize("each", [1, EACH])
def test_take_and_render_for_1000_clients(measure: Measure, each: int) -> None:
    """A round empties 1,000 outboxes on the general way and renders each client's frames."""
    crowd = Crowd(symbols=each, each=each)
    measure(crowd.take_and_render, prepare=crowd.deliver, items=CLIENTS * each, unit="price and client")


def test_encode_a_price(measure: Measure) -> None:
    """A round makes the JSON of one price, once for all clients."""
    best = best_price()
    measure(lambda: messages.price(best), items=1, unit="price")


@pytest.mark.parametrize("dialect", [socketio.WEBSOCKET, socketio.POLLING, SSE], ids=lambda d: d.name)
def test_wrap_a_price(measure: Measure, dialect: Dialect) -> None:
    """A round makes the bytes of one frame in a dialect, once for all its clients."""
    frame = messages.price(best_price())
    frame.cursor = AT_MS * 1000
    measure(lambda: dialect.wrap(frame), items=1, unit="frame")


def test_aggregate_two_sources(measure: Measure) -> None:
    """A round takes one quote of a symbol that two sources quote in turn; each changes the best price."""
    aggregation, ticks = Aggregation(), count()
    sources = cycle(("lmax", "ebs"))

    def tick() -> None:
        index = next(ticks)
        bid = 1.0 + index % 1_000 / 10_000
        aggregation.apply(quote(bid=bid, source=next(sources), at_ms=AT_MS + index), index / 1000)

    measure(tick, items=1, unit="quote")


def test_parse_a_call(measure: Measure) -> None:
    """A round reads one `subscribe` packet into a command."""

    def parse() -> None:
        name, *arguments = socketio.parse(CALL).read()
        request.parse(name, arguments)

    measure(parse, items=1, unit="call")


def test_decode_a_small_websocket_frame(measure: Measure) -> None:
    """A round reads one masked frame with a call in it."""
    decoder, data = Decoder(65_536), masked("4" + CALL)
    measure(lambda: decoder.feed(data), items=1, unit="frame")


@pytest.mark.parametrize("seen", [True, False], ids=["seen_before", "new"])
def test_verify_a_token(measure: Measure, *, seen: bool) -> None:
    """A round verifies one HS256 token, seen before or not."""
    clock = SystemClock()
    verifier = TokenVerifier(plans={"pro": PRO}, default_plan="pro", clock=clock, secret=SECRET)
    tokens = cycle(
        sign_token(
            secret=SECRET,
            tenant="acme",
            user=f"u{index}",
            plan="pro",
            scopes=(),
            symbols=(),
            ttl=3600,
            at_ms=clock.wall_ms(),
        )
        for index in range(1 if seen else 20_000)  # twice what is remembered
    )
    measure(lambda: verifier.verify(next(tokens)), items=1, unit="token")


@pytest.mark.usefixtures("server_log")
def test_connect_and_subscribe(measure: Measure) -> None:
    """A round admits 100 clients, each of which subscribes to 20 symbols, and sees them leave again."""
    bench, who, ids = Bench(), principal(), count()
    bench.publish("SYM0", 1.0)
    call = request.parse("subscribe", [{"symbols": NAMES[:EACH]}])

    async def connect() -> None:
        arrived = []
        for _ in range(100):
            connection = bench.node.open(f"c{next(ids)}", "websocket", SilentSink())
            bench.admit(connection, who)
            start(bench.execution.execute(connection, call, lambda _reply: None))
            arrived.append(connection)
        bench.node.flusher.flush()
        for connection in arrived:
            bench.node.close(connection, CLIENT_LEFT)

    with asyncio.Runner() as runner:
        measure(lambda: runner.run(connect()), items=100, unit="client")
