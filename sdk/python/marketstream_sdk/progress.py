"""How far a client is in what the server sends, so that it takes nothing twice and misses nothing; pure.

Of quotes, nothing older than what was delivered passes, symbol by symbol, and nothing twice: that is what
makes reconnects, snapshots and overlapping streams invisible. Of events the newest ids are remembered.

The id in an event stream is `SYMBOL-TIMESTAMP@CURSOR`. A server leaves out current values that were published
before the id it is given; cursors of different symbols may arrive in another order than they were given. So
the safe id is the oldest among the newest of each symbol, and there is none while one symbol has not been
heard of.
"""

from collections.abc import Collection, Container

from marketstream_sdk.model import Quote


class Delivery:
    """Remembers the newest quote of each symbol."""

    def __init__(self) -> None:
        self._last: dict[str, Quote] = {}

    def accept(self, quote: Quote) -> bool:
        """Whether a quote is to be delivered; if so it is the newest from now on."""
        last = self._last.get(quote.symbol)
        if last is not None and (quote.timestamp < last.timestamp or quote == last):
            return False
        self._last[quote.symbol] = quote
        return True

    def last(self, symbol: str) -> Quote | None:
        """Return the newest quote of a symbol; None when there was none."""
        return self._last.get(symbol)

    def retain(self, symbols: Container[str]) -> None:
        """Forgets all other symbols; called once the server sends nothing of them any more."""
        for symbol in [symbol for symbol in self._last if symbol not in symbols]:
            del self._last[symbol]


class Recent:
    """The newest ids, up to a bound.

    Args:
        room: How many are remembered.
    """

    def __init__(self, room: int = 2_000) -> None:
        self._room = room
        self._ids: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ident: str) -> bool:
        """Note an id; return whether it is new."""
        if ident in self._ids:
            return False
        self._ids[ident] = None
        if len(self._ids) > self._room:
            del self._ids[next(iter(self._ids))]
        return True


class Cursors:
    """The newest id of each symbol."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, str]] = {}

    def note(self, symbol: str, ident: str) -> None:
        """Take the id of a price that came; one without a cursor is passed over."""
        cursor = ident.rpartition("@")[2]
        if "@" in ident and cursor.isascii() and cursor.isdecimal():
            mine = (int(cursor), ident)
            self._newest[symbol] = max(mine, self._newest.get(symbol, mine))

    def resume(self, symbols: Collection[str]) -> str:
        """Return the id to open a stream of these symbols with; empty when everything is wanted.

        Other symbols are forgotten: without the stream they will have missed something.
        """
        self._newest = {symbol: mine for symbol, mine in self._newest.items() if symbol in symbols}
        if not symbols or len(self._newest) < len(symbols):
            return ""
        return min(self._newest.values())[1]
