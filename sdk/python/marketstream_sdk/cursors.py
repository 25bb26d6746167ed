"""Where a client is in an event stream, so that it need not hear again what it has.

An id is `SYMBOL-TIMESTAMP@CURSOR`. A server leaves out current values that were published before the id it
is given; cursors of different symbols may arrive in another order than they were given. So the safe id is
the oldest among the newest of each symbol, and there is none while one symbol has not been heard of.
"""

from collections.abc import Collection


class Cursors:
    """The newest id of each symbol."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, str]] = {}

    def note(self, symbol: str, ident: str) -> None:
        """Takes the id of a price that came; one without a cursor is passed over."""
        cursor = ident.rpartition("@")[2]
        if "@" in ident and cursor.isascii() and cursor.isdecimal():
            mine = (int(cursor), ident)
            self._newest[symbol] = max(mine, self._newest.get(symbol, mine))

    def resume(self, symbols: Collection[str]) -> str:
        """The id to open a stream of these symbols with; empty when everything is wanted.

        Other symbols are forgotten: without the stream they will have missed something.
        """
        self._newest = {symbol: mine for symbol, mine in self._newest.items() if symbol in symbols}
        if not symbols or len(self._newest) < len(symbols):
            return ""
        return min(self._newest.values())[1]
