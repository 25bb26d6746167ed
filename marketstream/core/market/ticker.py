"""Merge the separate messages of one source into one view of a symbol.

A quote replaces the last one of its source as a whole, so a trade that came alone would take the sides away.
A trade is therefore kept until the sides are known, and repeats them from then on. It forgets what it is told
to forget: sides from before a gap must not look new because of a trade after it.
"""

from collections.abc import Container

from marketstream.core.market.model import Quote


class _Ticker:
    """One symbol.

    Attributes:
        quote: The newest sides; None while none came.
        last: Price of the newest trade.
        volume: Volume of the day.
        traded_ms: When that trade was.
    """

    __slots__ = ("last", "quote", "traded_ms", "volume")

    def __init__(self) -> None:
        self.quote: Quote | None = None
        self.last: float | None = None
        self.volume: float | None = None
        self.traded_ms = 0


class Tickers:
    """The symbols of one source.

    Args:
        source: Its name.
        sided: Whether it sends sides at all; if not, trades go out alone.
    """

    def __init__(self, source: str, *, sided: bool) -> None:
        self._source = source
        self._sided = sided
        self._tickers: dict[str, _Ticker] = {}

    def __len__(self) -> int:
        return len(self._tickers)

    def quote(self, quote: Quote) -> Quote:
        """Complete a quote; one that is older than the last one is returned as it is, to be found late."""
        ticker = self._of(quote.symbol)
        if ticker.quote is not None and quote.at_ms < ticker.quote.at_ms:
            return quote
        ticker.quote = quote
        return quote if ticker.last is None else self._complete(ticker, quote)

    def trade(self, symbol: str, price: float, at_ms: int) -> Quote | None:
        """Take a trade.

        Returns:
            What the source says of the symbol now; None when a newer trade is known, or no sides yet.
        """
        ticker = self._of(symbol)
        if at_ms < ticker.traded_ms:
            return None
        ticker.last, ticker.traded_ms = price, at_ms
        if ticker.quote is None and self._sided:
            return None
        sides = ticker.quote or Quote(symbol, self._source, None, None, None, None, at_ms)
        return self._complete(ticker, sides)

    def volume(self, symbol: str, volume: float) -> None:
        """Take the volume of the day, which goes out with the next quote or trade."""
        self._of(symbol).volume = volume

    def keep(self, symbols: Container[str]) -> None:
        """Forget all symbols but these."""
        self._tickers = {symbol: known for symbol, known in self._tickers.items() if symbol in symbols}

    def _of(self, symbol: str) -> _Ticker:
        ticker = self._tickers.get(symbol)
        if ticker is None:
            ticker = self._tickers[symbol] = _Ticker()
        return ticker

    @staticmethod
    def _complete(ticker: _Ticker, sides: Quote) -> Quote:
        # The times of both kinds cross on the way; together they are as new as the newer one.
        at_ms = max(sides.at_ms, ticker.traded_ms)
        return Quote(
            sides.symbol,
            sides.source,
            sides.bid,
            sides.bid_size,
            sides.ask,
            sides.ask_size,
            at_ms,
            ticker.last,
            ticker.volume,
        )
