"""Answer `get_quote` from the newest best price.

It reads a price's JSON, which is asked for by one client at a time, never on the way of a price to the many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cachetools import TTLCache

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame, Trade
from marketstream.core.query.model import Answer, ProviderQuote
from marketstream.engine.delivery.delay import DelayLines
from marketstream.engine.eager import settled
from marketstream.errors import UnavailableError, UnknownSymbolError
from marketstream.ports import Bus, Clock
from marketstream.wire.json import dumps, loads
from marketstream.wire.messages import PRICE, STATUS, single_price, status_key

MOST_KNOWN = 10_000
KNOWN_FOR = 3_600.0
"""Seconds: the close before is the same for a day, but nobody here knows when a day of a market begins."""

STALE = "stale"
"""The state of a price that may be old, and what a quote of it warns of where there is no other reason."""


@dataclass(frozen=True, slots=True)
class Newest:
    """What the newest best price of a symbol says.

    Attributes:
        price: Its middle, or its one side.
        bid: Best bid.
        ask: Best ask.
        at_ms: Source time, epoch milliseconds.
    """

    price: float
    bid: float | None
    ask: float | None
    at_ms: int


async def newest_price(bus: Bus, symbol: str) -> Newest | None:
    """Return the newest price of a symbol that everybody may see; None when there is none.

    Raises:
        UnavailableError: Nobody can say how fresh it is.
    """
    # No tenant has an empty name, so none of a tenant's own prices is found.
    frames = await settled(bus.last([symbol, status_key(symbol)], ""))
    if (reason := _staleness(frames)) not in (None, STALE):
        raise UnavailableError(f"{symbol}: {reason}")
    newest = next((frame for frame in frames if frame.event == PRICE), None)
    if newest is None:
        return None
    best = loads(newest.body)
    bid, ask = (best[side] and best[side]["price"] for side in ("bestBid", "bestAsk"))
    price = single_price(best, newest.trade)
    return None if price is None else Newest(price, bid, ask, best["timestamp"])


class Quotes:
    """Answers `get_quote`.

    Args:
        bus: Where last values are.
        clock: Time.
        lines: Where prices are held back, for callers that may not see them live.

    Attributes:
        known: What a provider said of a symbol within the hour: knows the close before, which no best price
            does. Filled by whoever asks providers, bounded, read here without asking or waiting.
    """

    def __init__(self, *, bus: Bus, clock: Clock, lines: DelayLines) -> None:
        self._bus = bus
        self._clock = clock
        self._lines = lines
        self.known: TTLCache[str, Answer[ProviderQuote]] = TTLCache(MOST_KNOWN, KNOWN_FOR, clock.now)

    async def get(self, symbol: str, principal: Principal) -> bytes:
        """Return JSON of a symbol's quote as the protocol writes it; waits when the price must be fetched.

        Args:
            symbol: A symbol the caller may see.
            principal: The caller, whose tenant may have prices of its own.

        Raises:
            UnknownSymbolError: No price of it is known.
        """
        known = await settled(self._bus.last([symbol, status_key(symbol)], principal.tenant))
        prices = [frame for frame in known if frame.event == PRICE]
        line = self._lines.of(principal.plan.delay)
        found: Sequence[Frame] = prices
        if line is not None:
            now, at_ms = self._clock.now(), self._bus.clock.wall_ms()
            line.ask(symbol, now)
            line.begin(known, now, at_ms)
            found = line.last([symbol], principal.tenant, prices, at_ms)
            known = [line.state(symbol, at_ms)]
        if not found:
            raise UnknownSymbolError(f"{symbol}: no price is known")
        # Who sees prices late must not learn from the volume what happens now.
        answer = self.known.get(symbol) if line is None else None
        quote = self._quote(loads(found[0].body), found[0].trade, answer.value if answer else None)
        if (warning := _staleness(known)) is not None:
            quote |= {"status": "partial_data", "warning": warning}
        return dumps(quote)

    def _quote(
        self, best: dict[str, Any], trade: Trade | None, known: ProviderQuote | None
    ) -> dict[str, Any]:
        sides = [best[side] for side in ("bestBid", "bestAsk") if best[side]]
        at_ms = best["timestamp"]
        price = single_price(best, trade)
        change, percent = _moved(price, known)
        return {
            "symbol": best["symbol"],
            "price": price,
            "change": change,
            "changePercent": percent,
            "volume": trade[1] if trade and trade[1] is not None else known and known.volume,
            "bid": best["bestBid"] and best["bestBid"]["price"],
            "ask": best["bestAsk"] and best["bestAsk"]["price"],
            "timestamp": at_ms,
            "data_source": "+".join(dict.fromkeys(side["source"] for side in sides)) or None,
            "status": "ok",
            "last_updated": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "age_seconds": round(max(0.0, (self._clock.wall_ms() - at_ms) / 1000), 3),
            "retry_attempts": 0,
        }


def _staleness(known: Sequence[Frame]) -> str | None:
    """Return why a price among some frames is not fresh, by the state among them.

    None where nothing says so.
    """
    states = [state for frame in known if frame.event == STATUS and (state := loads(frame.body))]
    return next((state.get("reason") or STALE for state in states if state["state"] == STALE), None)


def _moved(price: float | None, known: ProviderQuote | None) -> tuple[float | None, float | None]:
    """Change and change in percent of a price since the close that a provider knows."""
    if price is None or known is None or known.change is None:
        return None, None
    before = known.price - known.change
    change = price - before
    # Ten digits: enough for every price, and none of the dust of binary fractions.
    return float(f"{change:.10g}"), round(100 * change / before, 4) if before else None
