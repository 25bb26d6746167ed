"""The quote of one symbol on request, from the newest best price.

It reads a price's JSON, which is asked for by one client at a time, never on the way of a price to the many.
"""

from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any

from marketstream.core.entitlements import Principal
from marketstream.core.frame import Frame, Trade
from marketstream.engine.delay import DelayLine
from marketstream.errors import UnknownSymbolError
from marketstream.ports import Bus, Clock
from marketstream.wire.event import single_price
from marketstream.wire.json import dumps, loads


class Quotes:
    """Answers `get_quote`."""

    def __init__(self, *, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    def get(
        self, symbol: str, principal: Principal, line: DelayLine | None = None
    ) -> bytes | Awaitable[bytes]:
        """JSON of a symbol's quote as the protocol writes it; awaitable when the price must be fetched.

        Args:
            symbol: A symbol the caller may see.
            principal: The caller, whose tenant may have prices of its own.
            line: Where prices are held back, for a caller that may not see them live.

        Raises:
            UnknownSymbolError: No price of it is known.
        """
        found = self._bus.last([symbol], principal.tenant)
        if isawaitable(found):
            return self._later(symbol, principal, line, found)
        return self._written(symbol, principal, line, found)

    async def _later(
        self, symbol: str, principal: Principal, line: DelayLine | None, found: Awaitable[Sequence[Frame]]
    ) -> bytes:
        return self._written(symbol, principal, line, await found)

    def _written(
        self, symbol: str, principal: Principal, line: DelayLine | None, known: Sequence[Frame]
    ) -> bytes:
        found = line.last([symbol], principal.tenant, known, self._clock.wall_ms()) if line else known
        if not found:
            raise UnknownSymbolError(f"{symbol}: no price is known")
        return dumps(self._quote(loads(found[0].body), found[0].trade))

    def _quote(self, best: dict[str, Any], trade: Trade | None) -> dict[str, Any]:
        sides = [best[side] for side in ("bestBid", "bestAsk") if best[side]]
        at_ms = best["timestamp"]
        return {
            "symbol": best["symbol"],
            "price": single_price(best, trade),
            # The change of a day needs a close of yesterday, which no best price has.
            "change": None,
            "changePercent": None,
            "volume": trade[1] if trade else None,
            "bid": best["bestBid"] and best["bestBid"]["price"],
            "ask": best["bestAsk"] and best["bestAsk"]["price"],
            "timestamp": at_ms,
            "data_source": "+".join(dict.fromkeys(side["source"] for side in sides)) or None,
            "status": "ok",
            "last_updated": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "age_seconds": round(max(0.0, (self._clock.wall_ms() - at_ms) / 1000), 3),
            "retry_attempts": 0,
        }
