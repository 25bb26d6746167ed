"""Take entries of the Redis stream of best prices."""

from collections.abc import Callable

from marketstream.core.market.model import BestPrice
from marketstream.core.market.symbols import SymbolRegistry
from marketstream.engine.market.ahead import Ahead
from marketstream.errors import FutureTimeError, LateQuoteError
from marketstream.ports import Clock
from marketstream.wire import ingest


class PriceEntries:
    """See the module.

    Args:
        publish: Takes a price and its tenant; raises `RequestError` for what it does not take.
        registry: Symbols of this server.
        clock: The time that all processes share.
        ahead: How far back ends' times may be ahead of it.
    """

    def __init__(
        self,
        *,
        publish: Callable[[BestPrice, str | None], None],
        registry: SymbolRegistry,
        clock: Clock,
        ahead: Ahead,
    ) -> None:
        self._publish = publish
        self._registry = registry
        self._clock = clock
        self._ahead = ahead

    def take(self, data: bytes, entry_id: bytes) -> str:
        """Publish what an entry says.

        Args:
            data: Its field `event`.
            entry_id: Its id, which begins with the epoch milliseconds at which it was added.

        Returns:
            What became of it: accepted, or late.

        Raises:
            RequestError: It is a bad one.
        """
        added_ms = int(entry_id.partition(b"-")[0])
        try:
            entry = ingest.parse(data, self._registry, self._clock.wall_ms(), added_ms)
            self._ahead.check(entry.price.at_ms)
            self._publish(entry.price, entry.tenant)
        except LateQuoteError:
            return "late"
        except FutureTimeError as error:
            self._ahead.note("stream", error.at_ms)
            raise
        return "accepted"
