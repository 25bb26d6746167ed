"""Which of the quotes that arrive are news.

Per symbol nothing older than what was delivered passes, and nothing twice: that is what makes reconnects,
snapshots and overlapping streams invisible. Pure; time is the quotes' own.
"""

from collections.abc import Container

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
        """The newest quote of a symbol; None when there was none."""
        return self._last.get(symbol)

    def retain(self, symbols: Container[str]) -> None:
        """Forgets all other symbols; called once the server sends nothing of them any more."""
        for symbol in [symbol for symbol in self._last if symbol not in symbols]:
            del self._last[symbol]
