"""Entries of the Redis stream of best prices are taken here, one by one."""

from collections.abc import Callable

from marketstream.core.model import BestPrice
from marketstream.core.symbols import SymbolRegistry
from marketstream.errors import LateQuoteError
from marketstream.ports import Clock
from marketstream.wire import ingest


class PriceEntries:
    """See the module.

    Args:
        publish: Takes a price and its tenant; raises `RequestError` for what it does not take.
        registry: Symbols of this server.
        clock: Time.
    """

    def __init__(
        self, *, publish: Callable[[BestPrice, str | None], None], registry: SymbolRegistry, clock: Clock
    ) -> None:
        self._publish = publish
        self._registry = registry
        self._clock = clock

    def take(self, data: bytes, entry_id: bytes) -> str:
        """Publishes what an entry says.

        Args:
            data: Its field `event`.
            entry_id: Its id, which begins with the epoch milliseconds at which it was added.

        Returns:
            What became of it: accepted, or late.

        Raises:
            RequestError: It is a bad one.
        """
        added_ms = int(entry_id.partition(b"-")[0])
        entry = ingest.parse(data, self._registry, self._clock.wall_ms(), added_ms)
        try:
            self._publish(entry.price, entry.tenant)
        except LateQuoteError:
            return "late"
        return "accepted"
