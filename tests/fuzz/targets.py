"""Every parser of bytes that come from outside, as a function that takes any bytes.

The law of each: nothing comes out but a value or one of its documented errors. What an input is cut into is
up to the target; where to begin is in `CORPUS`: messages of the golden files and recorded answers of vendors.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp.test_utils import make_mocked_request

from marketstream.core.market.symbols import SymbolRegistry
from marketstream.errors import (
    InvalidMessageError,
    ProviderError,
    RequestError,
    UnknownEventError,
    UnknownSymbolError,
)
from marketstream.transports.sse import _command, _last_event_id
from marketstream.wire import (
    answers,
    envelope,
    forwarded,
    ingest,
    interest,
    publication,
    relay,
    request,
    socketio,
    sse,
)
from marketstream.wire.events import between_processes, codec, work
from marketstream.wire.json import loads
from marketstream.wire.plain import read, recognise
from marketstream.wire.vendors import alpaca, alpha_vantage, fmp, tiingo, yahoo, yahoo_rest
from marketstream.wire.websocket import Decoder, FrameError
from tests.support.yahoo import frame, pricing, wrapped

NOW = 1_700_000_000_000
LIMIT = 64 * 1024
OPEN = SymbolRegistry("open")
TESTS = Path(__file__).parents[1]

Errors = tuple[type[Exception], ...]
_MESSAGE: Errors = (InvalidMessageError,)
_CALL: Errors = (InvalidMessageError, UnknownEventError)
_VENDOR: Errors = (ProviderError, UnknownSymbolError)
_HISTORY: dict[str, Any] = {"symbol": "AAPL", "period": "1y", "interval": "1wk", "today": date(2025, 2, 5)}


@dataclass(frozen=True, slots=True)
class Target:
    """A parser.

    Attributes:
        parse: Gives it any bytes; catches nothing.
        errors: What may come out of it.
        corpus: Patterns of files below `tests` whose contents are inputs to begin with.
        seeds: More of them.
    """

    parse: Callable[[bytes], object]
    errors: Errors = _MESSAGE
    corpus: tuple[str, ...] = ()
    seeds: tuple[bytes, ...] = ()

    def run(self, data: bytes) -> None:
        """Parse an input; raise what is not documented."""
        with suppress(*self.errors):
            self.parse(data)

    def inputs(self) -> list[bytes]:
        """Return what to begin with."""
        files = [path for pattern in self.corpus for path in sorted(TESTS.glob(pattern)) if path.is_file()]
        return [*self.seeds, *map(_content, files)]


def _content(path: Path) -> bytes:
    data = path.read_bytes()[:LIMIT]
    return bytes.fromhex(data.decode()) if path.suffix == ".hex" else data


def _texts(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _engineio(data: bytes) -> None:
    """The body of a poll: packets of Engine.IO, each of which may hold one of Socket.IO, and that a call."""
    for packet in _texts(data).split("\x1e"):
        with suppress(InvalidMessageError):
            found = socketio.parse(packet[1:])
            arguments = found.read()
            if isinstance(arguments, list) and arguments:
                with suppress(UnknownEventError):
                    request.parse(arguments[0], arguments[1:])


def _websocket(data: bytes) -> None:
    """Frames, cut in two at a place that the first byte says."""
    decoder = Decoder(LIMIT)
    at = data[0] if data else 0
    for part in (data[1:at], data[max(1, at) :]):
        for _ in decoder.feed(part):
            pass


def _plain(data: bytes) -> None:
    message, fault = read(data)
    language = recognise(message, fault)
    mark = language.mark(message)
    language.refuse(mark, InvalidMessageError("x"))
    language.parse(message)


def _sse(data: bytes) -> None:
    """A query, whose values lie between zero bytes, and the cursor."""
    names = ("symbols", "mode", "maxRate", "last_event_id", "symbols")
    query = urlencode([*zip(names, map(_texts, data.split(b"\0")), strict=False)])
    asked = make_mocked_request("GET", f"/market-data/stream?{query}")
    sse.parse_cursor(_last_event_id(asked))
    _command(asked)


def _publication(data: bytes) -> None:
    for _ in publication.parse(data).items(OPEN, NOW):
        pass


def _events(data: bytes) -> None:
    value = loads(data)
    for item in value if isinstance(value, list) else [value]:
        for parse in (
            lambda each: codec.render_event(codec.parse_event(each, NOW, lambda: "made")),
            lambda each: codec.render_filter(codec.parse_filter(each)),
            codec.parse_subscription_name,
        ):
            with suppress(InvalidMessageError):
                parse(item)


def _between(data: bytes) -> None:
    """What processes tell each other; Redis may hold anything."""
    for parse in (
        partial(work.parse_report, at_ms=NOW),
        work.parse_order,
        between_processes.parse_message,
        between_processes.parse_user,
        forwarded.parse_request,
        forwarded.parse_answer,
        interest.parse,
    ):
        with suppress(InvalidMessageError):
            parse(data)


def _envelope(data: bytes) -> None:
    for parse in (partial(envelope.parse_batch, wanted={"A"}), envelope.parse_value):
        with suppress(InvalidMessageError):
            parse(data)


def _cached(data: bytes) -> None:
    readers: tuple[answers.Read[Any], ...] = (
        answers.read_quote,
        answers.read_history,
        answers.read_profile,
        answers.read_matches,
        answers.read_articles,
        answers.read_quotes,
        answers.read_listed,
        answers.read_sentiment,
    )
    for reader in readers:
        answers.unpack(data, reader)


def _each(*parsers: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        for parser in parsers:
            with suppress(*_VENDOR):
                parser(data)

    return parse


_CALLS = (
    b'{"action":"subscribe","symbols":["EUR/USD","AAPL"],"data_types":["price"],"high_frequency":true,"request_id":"r"}',
    b'{"action":"get_quote","symbol":"AAPL","request_id":7}',
    b'{"type":"subscribe","data":{"type":"stock_quotes","symbols":["AAPL"]}}',
    b'{"type":"subscribe","data":{"type":"market_data","channels":["indices"]}}',
)

TARGETS: dict[str, Target] = {
    "engineio": Target(
        _engineio, corpus=("golden/socketio/*.txt",), seeds=(b'42/market-data,1["ping",{}]\x1e2probe',)
    ),
    "websocket": Target(
        _websocket,
        (FrameError,),
        seeds=(b"\x05\x81\x84\0\0\0\0ping\x88\x82\0\0\0\0\x03\xe8", b"\x00\x01\x81abcda"),
    ),
    "request": Target(_plain, _CALL, seeds=_CALLS, corpus=("golden/websocket/*/*.json",)),
    "sse": Target(_sse, (RequestError,), seeds=(b"EUR/USD,AAPL\0latest\x001.5\0AAPL-1@2\0B",)),
    "envelope": Target(_envelope, corpus=("golden/bus/*",)),
    "between": Target(_between, corpus=("golden/bus/*",), seeds=(b'["join","n","g","t","c"]',)),
    "relay": Target(
        relay.parse,
        corpus=("golden/bus/*",),
        seeds=(b'{"method":"emit","event":"e","data":[1],"room":["r"]}',),
    ),
    "ingest": Target(lambda data: ingest.parse(data, OPEN, NOW, NOW), corpus=("golden/stream/*",)),
    "publication": Target(_publication, corpus=("golden/http/publish*.json",)),
    "events": Target(_events, corpus=("golden/http/event*.json",)),
    "cache": Target(_cached, (), seeds=(b'{"value":{"symbol":"A"},"source":"x","at_ms":1,"warning":null}',)),
    "alpaca": Target(lambda data: alpaca.parse(data, "alpaca-iex", NOW), corpus=("recorded/alpaca/*.json",)),
    "yahoo_stream": Target(
        lambda data: yahoo.parse(data, NOW),
        seeds=(frame("AAPL").encode(), frame("BTC-USD", 5.5, time=NOW).encode()),
    ),
    # What lies inside such a frame: chance alone seldom finds the way through JSON and base64.
    "yahoo_message": Target(
        lambda data: yahoo.parse(wrapped(data).encode(), NOW),
        seeds=(pricing(id="AAPL", price=1.5, time=NOW, quote_type=8, market_hours=1),),
    ),
    "fmp": Target(
        _each(
            partial(fmp.quote, symbol="AAPL"),
            partial(fmp.history, **_HISTORY),
            partial(fmp.profile, symbol="AAPL"),
            partial(fmp.matches, limit=5),
            partial(fmp.news, limit=5),
        ),
        (),
        corpus=("recorded/fmp/*.json",),
    ),
    "alpha_vantage": Target(
        _each(
            partial(alpha_vantage.quote, symbol="IBM"),
            partial(alpha_vantage.history, **_HISTORY),
            partial(alpha_vantage.profile, symbol="IBM"),
            partial(alpha_vantage.matches, limit=5),
            partial(alpha_vantage.news, symbol="IBM", limit=5),
        ),
        (),
        corpus=("recorded/alpha_vantage/*.json",),
    ),
    "tiingo": Target(
        _each(
            partial(tiingo.quote, symbol="AAPL"),
            partial(tiingo.history, **_HISTORY),
            partial(tiingo.profile, symbol="AAPL"),
            partial(tiingo.matches, limit=5),
            partial(tiingo.news, symbol="AAPL", limit=5),
        ),
        (),
        corpus=("recorded/tiingo/*.json",),
    ),
    "yahoo": Target(
        _each(
            partial(yahoo_rest.quote, symbol="AAPL"),
            partial(yahoo_rest.history, **_HISTORY),
            partial(yahoo_rest.profile, symbol="AAPL"),
            partial(yahoo_rest.matches, limit=5),
            partial(yahoo_rest.news, limit=5),
        ),
        (),
        corpus=("recorded/yahoo/*.json",),
    ),
}


def grown(size: int, seed: bytes) -> Iterator[bytes]:
    """Yield inputs of about a size that parsers are known to spend too much on."""
    for part in (
        seed,
        b"[",
        b'{"a":',
        b'["',
        b"9",
        b"-",
        b"\xff",
        b"\\u0000",
        b"\x00",
        b'{"a":1},',
        b",",
        b"=&",
        b"\x1e4",
    ):
        if part:
            yield part * (size // len(part) + 1)
    yield b"[" + b"1e9," * (size // 4) + b"1]"
    yield b'{"symbols":[' + b'"A",' * (size // 4) + b'"B"]}'
