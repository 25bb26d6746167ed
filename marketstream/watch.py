"""Show live prices in a terminal over the Python SDK: the command `watch`.

On a terminal it shows a table that lives, elsewhere a plain line for each price. Whatever a source is called,
nothing of it is obeyed by the terminal. The only module that needs the SDK; without it the command says how
to get it.
"""

import asyncio
import io
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from marketstream.errors import ConfigurationError, UnavailableError
from marketstream.observability.logging import configure
from marketstream.observability.text import mask, mask_setting, printable
from marketstream_sdk import (
    InvalidSymbolError,
    MarketDataClient,
    MarketDataError,
    Quote,
    Side,
    StreamStatus,
    SubscriptionError,
    SymbolStatus,
    Token,
)

FRAMES_PER_SECOND = 10

_ANSWER_SECONDS = 5
_COLOURS = {"connected": "green", "connecting": "yellow", "reconnecting": "yellow"}
_ARROWS = {1: ("▲", "green"), -1: ("▼", "red"), 0: (" ", "")}
_MISSING = "-"
_LONGEST_MS = 10**12


@dataclass(slots=True)
class Row:
    """What is known of one symbol.

    Attributes:
        quote: The newest quote; None before the first.
        change: 1 after the middle rose, -1 after it fell, 0 before it moved.
        note: What there is to say beside the price, such as `stale`; empty when all is well.
    """

    quote: Quote | None = None
    change: int = 0
    note: str = ""

    def take(self, quote: Quote) -> None:
        """Take a newer quote."""
        before, now = _level(self.quote), _level(quote)
        if before is not None and now is not None and now != before:
            self.change = 1 if now > before else -1
        self.quote = quote


class Board:
    """What is shown: a row for each symbol, and where the connection is."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.rows = {symbol: Row() for symbol in symbols}

    def take(self, quote: Quote) -> None:
        """Take a quote."""
        self.rows.setdefault(quote.symbol, Row()).take(quote)

    def note(self, status: SymbolStatus) -> None:
        """Take word of how far a price can be trusted."""
        self.rows.setdefault(status.symbol, Row()).note = "" if status.state == "live" else status.state

    def refuse(self, error: MarketDataError) -> None:
        """Take word of a symbol that is not to be had."""
        if isinstance(error, SubscriptionError):
            self.rows.setdefault(error.symbol, Row()).note = error.reason

    def render(self, status: StreamStatus, url: str, at_ms: int) -> Group:
        """Return the table and the line below it.

        Args:
            status: Where the client is.
            url: The server, as it was named.
            at_ms: Epoch milliseconds now.
        """
        table = Table(pad_edge=False)
        table.add_column("symbol")
        for heading in ("bid", "ask", "mid", "spread", "bps", "age"):
            table.add_column(heading, justify="right")
        table.add_column("")
        for symbol, row in self.rows.items():
            table.add_row(Text(printable(symbol)), *_cells(row, at_ms))
        return Group(table, _state_line(status, url))


def watch(symbols: Sequence[str], url: str, token: str | None) -> None:
    """Show prices until it is interrupted.

    Args:
        symbols: What to watch.
        url: Base URL of the server.
        token: Who asks; None to ask a server in development mode for one.

    Raises:
        ConfigurationError: A symbol, the address or the token cannot be used.
        UnavailableError: The server cannot be reached any more.
    """
    # What the SDK warns of goes the way of our own log, which lets no escape sequence through; what stdout
    # cannot encode is written as an escape.
    configure("warning", "console")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if not _is_web_address(url):
            raise ConfigurationError("--url", f"{mask_setting(url)} is not an http or https address")
        if token is None:
            fetch_token(url)
        asyncio.run(_show(symbols, url, token or (lambda: asyncio.to_thread(fetch_token, url))))
    except KeyboardInterrupt:
        return
    except InvalidSymbolError as error:
        raise ConfigurationError("SYMBOL", str(error)) from error
    except MarketDataError as error:
        raise UnavailableError(str(error)) from error


def fetch_token(url: str) -> str:
    """Return a token, as a server in development mode gives it to whoever asks.

    Raises:
        ConfigurationError: It does not.
    """
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/dev/token", timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - the user names the server
            return str(json.load(answer)["token"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        text = "watching takes a token; give one, or set MARKETSTREAM_TOKEN"
        raise ConfigurationError("--token", f"{text} ({mask_setting(url)} gives none away)") from error


async def _show(symbols: Sequence[str], url: str, token: Token) -> None:
    client = MarketDataClient(url, token=token)
    console = Console()
    show = _show_table if console.is_terminal else _show_lines
    try:
        await show(client, symbols, url, console)
    finally:
        await client.close()


async def _show_table(client: MarketDataClient, symbols: Sequence[str], url: str, console: Console) -> None:
    stream = client.stream_quotes(symbols)
    board = Board(stream.symbols)
    client.on_status(board.note)
    client.on_error(board.refuse)

    def frame() -> Group:
        return board.render(client.get_stream_status(), url, time.time_ns() // 1_000_000)

    with Live(get_renderable=frame, console=console, refresh_per_second=FRAMES_PER_SECOND):
        await client.connect()
        async for quote in stream:
            board.take(quote)


async def _show_lines(client: MarketDataClient, symbols: Sequence[str], url: str, console: Console) -> None:
    del url, console  # a line is a line, however wide
    stream = client.stream_quotes(symbols)
    await client.connect()
    async for quote in stream:
        print(line(quote), flush=True)  # noqa: T201 - what it is for


def line(quote: Quote) -> str:
    """Return a quote as one line: time, symbol, bid, ask, middle, spread, spread in basis points."""
    figures = [_side(quote.best_bid), _side(quote.best_ask), quote.mid_price, quote.spread, quote.spread_bps]
    shown = [figure if isinstance(figure, str) else _number(figure) for figure in figures]
    return " ".join([_moment(quote.timestamp), printable(quote.symbol), *shown])


def _cells(row: Row, at_ms: int) -> list[str | Text]:
    """Bid, ask, middle, spread, basis points, age and arrow of a row."""
    arrow, colour = _ARROWS[row.change]
    last = Text(printable(row.note), "yellow") if row.note else Text(arrow, colour)
    quote = row.quote
    if quote is None:
        return [*[_MISSING] * 6, last]
    return [
        # As texts: a plain string would be searched for markup.
        Text(_side(quote.best_bid)),
        Text(_side(quote.best_ask)),
        _number(quote.mid_price),
        _number(quote.spread),
        _number(quote.spread_bps),
        f"{min(max(0, at_ms - quote.timestamp), _LONGEST_MS) / 1000:.1f}s",
        last,
    ]


def _state_line(status: StreamStatus, url: str) -> Text:
    text = Text(f"{status.state}  {printable(mask_setting(url))}", _COLOURS.get(status.state, "red"))
    if status.state == "reconnecting":
        text.append(f"  attempt {status.reconnect_attempts}: {printable(mask(str(status.error)))}")
    return text


def _side(side: Side | None) -> str:
    return _MISSING if side is None else f"{_number(side.price)} {printable(side.source)}"


def _moment(timestamp: int) -> str:
    try:
        moment = time.strftime("%H:%M:%S", time.gmtime(timestamp // 1000))
    except (OverflowError, ValueError, OSError):
        return "?"  # no calendar reaches that far
    return f"{moment}.{timestamp % 1000:03d}Z"


def _is_web_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in {"http", "https"}
    except ValueError:
        return False


def _number(value: float | None) -> str:
    """Return a number without an exponent, and with no more decimals than it has."""
    if value is None:
        return _MISSING
    try:
        return f"{value:.10f}".rstrip("0").rstrip(".")
    except OverflowError:
        return "?"  # a whole number that is more than any price can be


def _level(quote: Quote | None) -> float | None:
    """Return the price that an arrow goes by: the middle, else the only side."""
    if quote is None:
        return None
    if quote.mid_price is not None:
        return quote.mid_price
    side = quote.best_bid or quote.best_ask
    return side.price if side else None
