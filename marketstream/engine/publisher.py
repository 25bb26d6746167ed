"""Best prices become frames here, once, and go to the bus."""

from collections.abc import Iterable, Sequence

from marketstream.core.frame import Frame
from marketstream.core.model import BestPrice, Status
from marketstream.engine.stats import Stats
from marketstream.errors import LateQuoteError
from marketstream.ports import Bus
from marketstream.wire import event


class Publisher:
    """Encodes and publishes; sees to it that the time of a symbol never goes back.

    Args:
        bus: Where frames go.
        stats: Counters to keep.
    """

    def __init__(self, *, bus: Bus, stats: Stats) -> None:
        self._bus = bus
        self._stats = stats
        self._newest: dict[tuple[str | None, str], int] = {}

    def publish(self, prices: Iterable[BestPrice], tenant: str | None = None) -> None:
        """Publishes prices in order; one that is older than what its clients have is left out."""
        frames = []
        for best in prices:
            if self._is_late(best, tenant):
                self._stats.rejected["late_price"] += 1
                continue
            self._newest[tenant, best.symbol] = best.at_ms
            frames.append(event.price(best, tenant))
        self._send(frames)

    def publish_one(self, best: BestPrice, tenant: str | None = None) -> None:
        """Publishes a price that somebody made elsewhere.

        Raises:
            LateQuoteError: It is older than the newest of its symbol.
        """
        if self._is_late(best, tenant):
            newest = self._newest[tenant, best.symbol]
            raise LateQuoteError(f"{best.symbol}: timestamp {best.at_ms} is older than the newest, {newest}")
        self.publish([best], tenant)

    def announce(self, changes: Iterable[Status], tenant: str | None = None) -> None:
        """Publishes how far prices can be trusted."""
        self._send([event.status(change, tenant) for change in changes])

    def symbols(self) -> list[str]:
        """Symbols that have had a public price, in order of their first."""
        return [symbol for tenant, symbol in self._newest if tenant is None]

    def _is_late(self, best: BestPrice, tenant: str | None) -> bool:
        return best.at_ms < self._newest.get((tenant, best.symbol), 0)

    def _send(self, frames: Sequence[Frame]) -> None:
        if frames:
            self._stats.published += len(frames)
            self._bus.publish(frames)
