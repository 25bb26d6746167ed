"""Encode best prices into frames and publish them.

The time of a symbol never goes back for anybody: not for the public, and not for a tenant that sees the
public's prices and its own as one.
"""

from collections.abc import Iterable, Sequence

from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import BestPrice, Status
from marketstream.engine.stats import Stats
from marketstream.errors import LateQuoteError
from marketstream.ports import Bus
from marketstream.wire import messages


class Publisher:
    """Encodes and publishes; sees to it that the time of a symbol never goes back.

    Args:
        bus: Where frames go.
        stats: Counters to keep.
    """

    def __init__(self, *, bus: Bus, stats: Stats) -> None:
        self._bus = bus
        self._stats = stats
        self._newest: dict[str, int] = {}
        self._private: dict[str, dict[str, int]] = {}

    def restore(self, last_values: Iterable[Frame]) -> None:
        """Go on where somebody else ended: no time goes back behind what was published there.

        Args:
            last_values: The newest frame of every key and tenant; what was known before is forgotten.
        """
        self._newest.clear()
        self._private.clear()
        for frame in last_values:
            if frame.event != messages.PRICE:
                continue
            if frame.tenant is None:
                self._newest[frame.symbol] = frame.at_ms
            else:
                self._private.setdefault(frame.symbol, {})[frame.tenant] = frame.at_ms

    def publish(self, prices: Iterable[BestPrice], tenant: str | None = None) -> None:
        """Publish prices in order; one that is older than what its clients have is left out."""
        frames = []
        for best in prices:
            if best.at_ms < self._newest_of(best.symbol, tenant):
                self._stats.rejected["late_price"] += 1
                continue
            withheld: frozenset[str] = frozenset()
            if tenant is not None:
                self._private.setdefault(best.symbol, {})[tenant] = best.at_ms
            else:
                self._newest[best.symbol] = best.at_ms
                if own := self._private.get(best.symbol):
                    withheld = frozenset(name for name, at_ms in own.items() if at_ms > best.at_ms)
            frames.append(messages.price(best, tenant, withheld))
        self._send(frames)

    def publish_one(self, best: BestPrice, tenant: str | None = None) -> None:
        """Publish a price that somebody made elsewhere.

        Raises:
            LateQuoteError: It is older than the newest of its symbol.
        """
        newest = self._newest_of(best.symbol, tenant)
        if best.at_ms < newest:
            raise LateQuoteError(f"{best.symbol}: timestamp {best.at_ms} is older than the newest, {newest}")
        self.publish([best], tenant)

    def announce(self, changes: Iterable[Status], tenant: str | None = None) -> None:
        """Publish how far prices can be trusted."""
        self._send([messages.status(change, tenant) for change in changes])

    def symbols(self) -> list[str]:
        """Return the symbols that have had a public price, in order of their first."""
        return list(self._newest)

    def has_priced(self, symbol: str) -> bool:
        """Return whether a symbol has had a public price."""
        return symbol in self._newest

    def _newest_of(self, symbol: str, tenant: str | None) -> int:
        """Return time of the newest price that a tenant, or the public, has of a symbol; 0 for none."""
        newest = self._newest.get(symbol, 0)
        if tenant is None:
            return newest
        return max(newest, self._private.get(symbol, {}).get(tenant, 0))

    def _send(self, frames: Sequence[Frame]) -> None:
        if frames:
            self._stats.published += len(frames)
            self._bus.publish(frames)
