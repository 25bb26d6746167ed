"""The messages of the server, byte for byte, as the files in `tests/golden` freeze them.

Every client library is tested against the same files. They are made here by the real edges, from what
a client really sends; a difference means that the protocol has changed.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from marketstream.core.delivery.closing import TOKEN_EXPIRED
from marketstream.core.delivery.entitlements import Plan, Principal
from marketstream.core.glob import compile_globs
from marketstream.core.market.model import BestPrice, Side, Status
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.market.ahead import Ahead
from marketstream.engine.market.publication_handler import PublicationHandler
from marketstream.errors import AuthFailedError
from marketstream.transports.credentials import Credentials
from marketstream.transports.origin import OriginPolicy
from marketstream.transports.rest import reference
from marketstream.transports.rest.guard import Guard
from marketstream.transports.rest.market import Publishing
from marketstream.wire import messages, sse
from marketstream.wire import socketio as wire
from marketstream.wire.websocket import Message
from tests.support import event_messages
from tests.support.builders import AT_MS, HOUR_MS, Bench, Client, Edge
from tests.support.event_bench import EventBench
from tests.support.eventually import eventually
from tests.support.plain import PlainClient
from tests.support.providers import exhausted, unknown
from tests.support.reading import MARKET, answered, reading
from tests.support.recording import RecordingTransport

GOLDEN = Path(__file__).parents[2] / "golden"
PLAN = Plan("pro", max_subscriptions=2, max_connections=10, rate_capacity=4, rate_refill=1)
WHO = Principal("u1", "acme", PLAN, frozenset({"market:read", "market:publish"}), None, AT_MS + HOUR_MS)
EURUSD = BestPrice(
    "EUR/USD", Side(1.3863, 1_500_000.0, "ebs"), Side(1.3865, None, "lmax"), 1.3864, 0.0002, 1.4426, AT_MS
)
ONE_SIDED = BestPrice("AAPL", Side(150.0, 100.0, "iex"), None, None, None, None, AT_MS)
TRADED = replace(EURUSD, symbol="AAPL", last=150.25, volume=81_000.0)
STALE = Status("AAPL", "stale", "iex", AT_MS)


def recorded() -> list[str]:
    """Names of the golden files."""
    files = (path.relative_to(GOLDEN) for path in GOLDEN.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.name != "README.md")


class Conversation:
    """One Socket.IO client that talks to an edge in memory."""

    def __init__(self) -> None:
        self.edge = Edge()
        self.edge.tokens.known["good"] = WHO
        self.edge.tokens.known["bad"] = AuthFailedError("the token is not good")
        self.client: Client = self.edge.arrive()

    def say(self, packet: str) -> bytes:
        """What the server writes when the client has sent a packet."""
        self.edge.sockets[self.client.connection.id].receive(packet)
        return self.heard()

    def heard(self) -> bytes:
        """What was written since the last time."""
        self.edge.flush()
        data = b"\x1e".join(self.client.sink.writes)
        self.client.sink.clear()
        return data

    def call(self, number: int, name: str, payload: object) -> bytes:
        """The server's answer to a call."""
        return self.say(f"42/market-data,{number}{json.dumps([name, payload])}").partition(b"\x1e")[0]


def handshakes() -> dict[str, bytes]:
    """The beginning of a conversation, accepted and refused."""
    refused, accepted = Conversation(), Conversation()
    connect_error = refused.say('40/market-data,{"token":"bad"}')
    connect, _, connected = accepted.say('40/market-data,{"token":"good"}').partition(b"\x1e")
    first = wire.open_packet("sid", upgrades=["websocket"], ping_interval=25, ping_timeout=20, limit=262_144)
    return {
        "socketio/open.txt": first.body,
        "socketio/connect.txt": connect,
        "socketio/connected.txt": connected,
        "socketio/connect_error.txt": connect_error,
    }


def calls() -> dict[str, bytes]:
    """The answers to every call."""
    talk = Conversation()
    talk.say('40/market-data,{"token":"good"}')
    talk.edge.publisher.publish([EURUSD])
    symbols = ["EUR/USD", "eur/usd", "no symbol", "AAPL", "MSFT"]
    subscribed = talk.call(1, "subscribe", {"symbols": symbols, "channels": ["indices"], "maxRate": 5})
    files = {
        "socketio/subscribe_ack.txt": subscribed,
        "socketio/subscriptions_ack.txt": talk.call(2, "subscriptions", {}),
        "socketio/quote_ack.txt": talk.call(3, "get_quote", {"symbol": "EUR/USD"}),
        "socketio/ping_ack.txt": talk.call(4, "ping", None),
        "socketio/authenticate_ack.txt": talk.call(5, "authenticate", {"token": "good"}),
        "socketio/authenticate_ended_ack.txt": narrowed(),
        "socketio/invalid_message_ack.txt": talk.call(6, "subscribe", {"symbols": "AAPL"}),
        "socketio/unknown_event_ack.txt": talk.call(7, "buy", {}),
        "socketio/unsubscribe_ack.txt": talk.call(8, "unsubscribe", {"symbols": ["AAPL", "TSLA"]}),
    }
    for number in range(2):
        talk.call(number, "subscribe", {"symbols": []})
    return files | {"socketio/rate_limited_ack.txt": talk.call(9, "subscribe", {"symbols": ["AAPL"]})}


def narrowed() -> bytes:
    """The answer to a token that covers less than what is watched."""
    talk = Conversation()
    talk.edge.tokens.known["narrow"] = replace(WHO, symbols=compile_globs(["AAPL"]))
    talk.say('40/market-data,{"token":"good"}')
    talk.call(1, "subscribe", {"symbols": ["EUR/USD", "AAPL"]})
    return talk.call(5, "authenticate", {"token": "narrow"})


def pushed() -> dict[str, bytes]:
    """What the server sends by itself, one message each."""
    talk = Conversation()
    talk.say('40/market-data,{"token":"good"}')
    talk.edge.publisher.publish([EURUSD, ONE_SIDED])
    snapshot = talk.say('42/market-data,["subscribe",{"symbols":["EUR/USD","AAPL"]}]')
    files = {"socketio/snapshot.txt": snapshot}
    for name, best in (("price", EURUSD), ("price_one_sided", ONE_SIDED)):
        talk.edge.publisher.publish([best])
        files[f"socketio/{name}.txt"] = talk.heard()
    talk.edge.publisher.announce([STALE])
    files["socketio/status.txt"] = talk.heard()
    frames = {
        "lagged": messages.lagged("EUR/USD", 37),
        "heartbeat": messages.heartbeat(AT_MS),
        "error": messages.error("TOKEN_EXPIRED", TOKEN_EXPIRED.text),
        "token_expiring": messages.token_expiring(AT_MS + HOUR_MS),
        "market_update": messages.channel_update("indices", {"^GSPC": {"price": 4514.02}}, AT_MS),
        "sector_update": messages.channel_update("sectors", {"Energy": 0.4}, AT_MS),
        "sentiment_update": messages.channel_update("sentiment", {"score": 61}, AT_MS),
        "ping": wire.PING,
        "disconnect": wire.DISCONNECT,
    }
    for name, frame in frames.items():
        talk.edge.node.send(talk.client.connection, frame)
        files[f"socketio/{name}.txt"] = talk.heard()
    return files


def streamed() -> dict[str, bytes]:
    """What an event stream is made of."""
    bench = Bench()
    client = bench.client(WHO, RecordingTransport(sse.UNCHUNKED, snapshots=False), "sse")
    client.subscribe("EUR/USD", "AAPL")
    files = {"sse/retry.txt": sse.UNCHUNKED.render([sse.retry(3_000)])}

    def heard() -> bytes:
        bench.flush()
        data = b"".join(client.sink.writes)
        client.sink.clear()
        return data

    for name, best in (("price", EURUSD), ("price_one_sided", ONE_SIDED)):
        bench.publisher.publish([best])
        files[f"sse/{name}.txt"] = heard()
    frames = {
        "comment": sse.COMMENT,
        "subscribed": messages.subscribed(["EUR/USD"], ["!: invalid symbol"]),
        "lagged": messages.lagged("EUR/USD", 37),
        "error": messages.error("TOKEN_EXPIRED", TOKEN_EXPIRED.text),
        "token_expiring": messages.token_expiring(AT_MS + HOUR_MS),
    }
    for name, frame in frames.items():
        bench.node.send(client.connection, frame)
        files[f"sse/{name}.txt"] = heard()
    return files


def spoken() -> dict[str, bytes]:
    """What is said over a plain WebSocket, in both of its languages."""
    return in_action_language() | in_type_language()


class Talk:
    """One client of the plain WebSocket, and the files its conversation fills.

    Args:
        folder: Of the files.
    """

    def __init__(self, folder: str) -> None:
        self.bench = Bench()
        self.bench.tokens.known["good"] = WHO
        self.bench.publisher.publish([EURUSD])
        self.bench.bus.publish([messages.channel_update("sectors", {"Energy": 0.4}, AT_MS)])
        self.client = PlainClient(self.bench, WHO)
        self.files: dict[str, bytes] = {}
        self._folder = folder

    def ask(self, file: str, message: object, *more: str) -> None:
        """Says something; the answer fills a file, and what follows it further ones."""
        self.client.stream.message(Message("text", json.dumps(message).encode()))
        self.fill(file, *more)

    def fill(self, *files: str) -> None:
        """What was said since the last time fills these files, a message each."""
        texts = self.client.texts()
        for file, text in zip(files, texts, strict=True):
            self.files[f"websocket/{self._folder}/{file}.json"] = text

    def push(self) -> None:
        """Everything that the server says by itself."""
        self.bench.publisher.publish([TRADED])
        self.fill("traded")
        self.bench.publisher.publish([ONE_SIDED])
        self.fill("one_sided")
        self.bench.publisher.announce([STALE])
        self.fill("status")
        frames = {
            "lagged": messages.lagged("EUR/USD", 37),
            "heartbeat": messages.heartbeat(AT_MS),
            "token_expired": messages.error("TOKEN_EXPIRED", TOKEN_EXPIRED.text),
            "token_expiring": messages.token_expiring(AT_MS + HOUR_MS),
            "market_update": messages.channel_update("indices", {"^GSPC": {"price": 4514.02}}, AT_MS),
            "sentiment_update": messages.channel_update("sentiment", {"score": 61}, AT_MS),
            "custom": messages.custom("news", [{"title": "Rates"}]),
        }
        for name, frame in frames.items():
            self.bench.node.send(self.client.connection, frame)
            self.fill(name)


def in_action_language() -> dict[str, bytes]:
    """Calls with an `action`."""
    talk = Talk("action")
    symbols = ["EUR/USD", "no symbol", "AAPL", "MSFT"]
    wanted = {"data_types": ["price", "volume"], "request_id": "r1"}
    talk.ask("subscribed", {"action": "subscribe", "symbols": symbols, **wanted}, "price_update")
    fast = {"action": "subscribe", "symbols": ["AAPL"], "high_frequency": True, "channels": ["sectors"]}
    talk.ask("subscribed_one", fast, "sector_update")
    talk.ask("connection_state", {"action": "get_connection_state", "request_id": 2})
    talk.ask("quote", {"action": "get_quote", "symbol": "EUR/USD", "request_id": 3})
    talk.ask("pong", {"action": "ping"})
    talk.ask("authenticated", {"action": "authenticate", "token": "good"})
    talk.ask("error", {"action": "subscribe", "symbols": "AAPL", "request_id": 4})
    talk.push()
    talk.ask("unsubscribed", {"action": "unsubscribe", "symbols": ["AAPL", "TSLA"]})
    talk.client.say({"action": "subscribe", "symbols": ["EUR/USD"]})
    talk.ask("rate_limited", {"action": "subscribe", "symbols": ["EUR/USD"], "request_id": "r9"})
    return talk.files


def in_type_language() -> dict[str, bytes]:
    """Calls with a `type`."""
    talk = Talk("type")
    quotes = {"type": "stock_quotes", "symbols": ["EUR/USD", "no symbol", "AAPL", "MSFT"]}
    talk.ask("subscribed", {"type": "subscribe", "data": quotes}, "quote_update")
    market = {"type": "market_data", "channels": ["indices", "sectors"]}
    talk.ask("subscribed_channels", {"type": "subscribe", "data": market}, "sector_update")
    talk.ask("subscriptions", {"type": "subscriptions"})
    talk.ask("quote", {"type": "get_quote", "data": {"symbol": "EUR/USD"}})
    talk.ask("pong", {"type": "ping"})
    talk.ask("authenticated", {"type": "authenticate", "data": {"token": "good"}})
    talk.ask("error", {"type": "subscribe", "data": {"type": "stock_quotes", "symbols": "AAPL"}})
    talk.push()
    gone = {"type": "stock_quotes", "symbols": ["AAPL", "TSLA"]}
    talk.ask("unsubscribed", {"type": "unsubscribe", "data": gone})
    talk.client.say({"type": "get_quote", "data": {"symbol": "EUR/USD"}})
    talk.ask("rate_limited", {"type": "subscribe", "data": quotes})
    return talk.files


@pytest.fixture
async def rendered() -> dict[str, bytes]:
    """Every message that is sent to streaming clients, by the name of its file."""
    return handshakes() | calls() | pushed() | streamed() | spoken() | event_messages.messages()


@pytest.fixture
async def http() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A client of the real publishing edge."""
    bench = Bench()
    bench.tokens.known["good"] = WHO
    app = web.Application()
    handler = PublicationHandler(
        registry=SymbolRegistry("open"),
        aggregator=bench.aggregator,
        publisher=bench.publisher,
        clock=bench.clock,
        ahead=Ahead(clock=bench.clock, stats=bench.stats),
        stats=bench.stats,
    )
    publishing = Publishing(
        guard=Guard(verifier=bench.tokens, credentials=Credentials(), waiting=bench.node.waiting),
        forwarder=handler,
    )
    reference.attach(app, publishing.operations())
    async with answered(app, OriginPolicy([])) as client:
        yield client
    bench.node.flusher.stop()


EXCHANGES = {
    "http/publish_request.json": (200, "http/publish_response.json"),
    "http/publish_invalid_request.json": (400, "http/publish_invalid_response.json"),
}

READINGS = {
    "http/overview.json": "overview",
    "http/indices.json": "indices",
    "http/sectors.json": "sectors",
    "http/movers.json": "movers?type=gainers",
    "http/sentiment.json": "sentiment",
    "http/quote.json": "quote/EUR%2FUSD",
    "http/historical.json": "historical/AAPL?period=5d",
    "http/profile.json": "profile/AAPL",
    "http/news.json": "news/AAPL?limit=1",
    "http/providers.json": "providers",
    "http/cache_stats.json": "cache/stats",
    "http/historical_invalid.json": "historical/AAPL?period=9d",
}
"""Questions to two providers that answer, each of them alone, and the files of their answers."""

OTHER_READINGS = {
    "http/search_request.json",
    "http/search_response.json",
    "http/quote_fallback.json",
    "http/quote_unavailable.json",
    "http/quote_unknown.json",
    "http/rate_limited.json",
    "http/events_request.json",
    "http/events_response.json",
    "http/jobs_started.json",
    "http/jobs_run.json",
    "http/jobs_status.json",
}

READ_ELSEWHERE = {
    "bus/batch.hex",
    "sdk/delivery.json",
    "sdk/event_reconcile.json",
    "sdk/reconcile.json",
    "sdk/refused_calls.json",
    "stream/best_price.json",
}
"""Held to their bytes where the envelope, and the reading of the stream, are tested."""


@pytest.mark.parametrize(
    "name", [name for name in recorded() if not name.startswith(("http/", "bus/", "sdk/", "stream/"))]
)
def test_a_message_is_sent_as_it_was_recorded(rendered: dict[str, bytes], name: str) -> None:
    assert rendered[name] == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", EXCHANGES)
async def test_a_publication_is_answered_as_it_was_recorded(
    http: TestClient[web.Request, web.Application], name: str
) -> None:
    status, expected = EXCHANGES[name]
    body = (GOLDEN / name).read_bytes()
    response = await http.post("/api/v1/market/publish", data=body, headers={"Authorization": "Bearer good"})
    assert (response.status, await response.read()) == (status, (GOLDEN / expected).read_bytes())


@pytest.mark.parametrize("name", READINGS)
async def test_a_question_is_answered_as_it_was_recorded(name: str) -> None:
    async with reading("yahoo", "fmp") as api:
        assert await (await api.raw(READINGS[name], "admin")).read() == (GOLDEN / name).read_bytes()


async def test_a_search_is_answered_as_it_was_recorded() -> None:
    async with reading("yahoo") as api:
        body = (GOLDEN / "http/search_request.json").read_bytes()
        headers = {"Authorization": "Bearer good"}
        response = await api.http.post(f"{MARKET}/search", data=body, headers=headers)
        assert await response.read() == (GOLDEN / "http/search_response.json").read_bytes()


async def test_a_run_of_a_job_is_answered_as_it_was_recorded() -> None:
    async with reading("yahoo") as api:
        task = asyncio.create_task(api.jobs.run())
        await asyncio.sleep(0)
        response = await api.http.post(
            f"{MARKET}/jobs/indices/run", headers={"Authorization": "Bearer admin"}
        )
        assert response.status == 202
        started = await response.read()
        run = api.jobs.find(json.loads(started)["task_id"])
        await eventually(lambda: run.state != "running", what="the end of the run")
        asked = [await (await api.raw(f"jobs/{name}", "admin")).read() for name in (run.id, "status")]
        for name, body in zip(("started", "run", "status"), (started, *asked), strict=True):
            assert body == (GOLDEN / f"http/jobs_{name}.json").read_bytes()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_events_are_answered_as_it_was_recorded() -> None:
    bench = EventBench()
    body = (GOLDEN / "http/events_request.json").read_bytes()
    assert await bench.streams.publisher.take(body) == (GOLDEN / "http/events_response.json").read_bytes()
    bench.close()


async def test_what_stands_in_and_what_is_missing_is_told_as_it_was_recorded() -> None:
    async with reading("yahoo", "fmp") as api:

        async def told(path: str) -> bytes:
            body: bytes = await (await api.raw(path)).read()
            return body

        await told("quote/AAPL")
        api.reader.clock.advance(60)
        for name in ("yahoo", "fmp"):
            api.reader.script(name, exhausted(name))
        assert await told("quote/AAPL") == (GOLDEN / "http/quote_fallback.json").read_bytes()
        assert await told("quote/MSFT") == (GOLDEN / "http/quote_unavailable.json").read_bytes()
        for name in ("yahoo", "fmp"):
            api.reader.script(name, unknown())
        assert await told("quote/NOPE") == (GOLDEN / "http/quote_unknown.json").read_bytes()
        api.tokens.known["good"] = replace(WHO, plan=Plan("once", rate_capacity=1, rate_refill=0.1))
        await told("quote/NOPE")
        assert await told("quote/NOPE") == (GOLDEN / "http/rate_limited.json").read_bytes()


async def test_every_message_is_recorded(rendered: dict[str, bytes]) -> None:
    exchanged = {*EXCHANGES, *(response for _, response in EXCHANGES.values())}
    assert set(recorded()) == rendered.keys() | exchanged | READ_ELSEWHERE | READINGS.keys() | OTHER_READINGS


def test_every_file_is_explained_in_one_line() -> None:
    lines = (GOLDEN / "README.md").read_text().splitlines()
    explained = [line.split("`")[1] for line in lines if line.startswith("- `")]
    assert sorted(explained) == recorded()
