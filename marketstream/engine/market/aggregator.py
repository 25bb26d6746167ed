"""Feed quotes of all feeds into the aggregation and publish what changed.

There is one aggregation for everybody, and one for each tenant that brings quotes of its own.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from marketstream.core.delivery.frame import Frame
from marketstream.core.market.aggregate import Aggregation
from marketstream.core.market.model import BestPrice, Quote, Status
from marketstream.engine.market.ahead import Ahead
from marketstream.engine.market.interest import Interest
from marketstream.engine.market.publisher import Publisher
from marketstream.engine.stats import Stats
from marketstream.errors import LateQuoteError
from marketstream.ports import Clock, QuoteSink
from marketstream.wire import messages

CaughtUp = Callable[[], Awaitable[None]]

MAX_TENANTS = 1_000
"""Tenants with quotes of their own; the one unused for longest makes room for the next."""

MAX_LACKING = 10_000
"""Symbols without a price that are said to be stale: clients make names up, and states are kept for ever."""


class Aggregator:
    """See the module.

    Args:
        publisher: Where best prices go.
        clock: Time.
        stats: Counters to keep.
        ahead: How far times may be ahead.
        stale_after: Seconds after which a silent source leaves the best price.
    """

    def __init__(
        self,
        *,
        publisher: Publisher,
        clock: Clock,
        stats: Stats,
        ahead: Ahead,
        stale_after: float = 30.0,
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        self._stats = stats
        self._ahead = ahead
        self._stale_after = stale_after
        self._public = Aggregation(stale_after)
        self._private: dict[str, Aggregation] = {}
        self._inherited: dict[tuple[str | None, str], float] = {}
        self._stated: frozenset[str] = frozenset()
        self._lacking: set[str] = set()

    def restore(self, last_values: Iterable[Frame]) -> None:
        """Begin anew where somebody else ended: what was live there is given its time to be quoted here.

        Args:
            last_values: The newest frame of every key and tenant; what was known before is forgotten.
        """
        self._public = Aggregation(self._stale_after)
        self._private.clear()
        patience = self._clock.now() + self._stale_after
        states = [frame for frame in last_values if frame.event == messages.STATUS]
        self._inherited = {
            (frame.tenant, frame.symbol): patience for frame in states if messages.is_live(frame)
        }
        # Live or not, what is said of them stands until they are quoted, or expire.
        self._stated = frozenset(frame.symbol for frame in states if frame.tenant is None)
        self._lacking.clear()

    def offer(self, quotes: Sequence[Quote], feed: str, stale_after: float | None = None) -> None:
        """Take what a feed read; a late quote is counted and left out, one that is ahead is dated back.

        A feed cannot be told that its clock is wrong, and what it says is true all the same.

        Args:
            quotes: In order.
            feed: Name of the feed.
            stale_after: Seconds after which its sources count as silent; None for the default.
        """
        now = self._clock.now()
        self._stats.quotes[feed] += len(quotes)
        apply, (now_ms, latest_ms) = self._public.apply, self._ahead.bounds()
        changed: list[BestPrice] = []
        for quote in quotes:
            if quote.at_ms > latest_ms:
                self._ahead.note(feed, quote.at_ms, quote.source)
                quote = replace(quote, at_ms=now_ms)  # noqa: PLW2901  # the same quote, dated better
            try:
                best = apply(quote, now, feed=feed, stale_after=stale_after)
            except LateQuoteError:
                self._stats.rejected["late_quote"] += 1
                continue
            if best is not None:
                changed.append(best)
        self._publish(self._public, changed, None)

    def offer_one(self, quote: Quote, feed: str, tenant: str | None = None) -> None:
        """Take one quote of somebody who waits for an answer.

        Raises:
            LateQuoteError: It is older than the newest of its source and symbol.
        """
        aggregation = self._public if tenant is None else self._of(tenant)
        best = aggregation.apply(quote, self._clock.now(), feed=feed)
        self._stats.quotes[feed] += 1
        self._publish(aggregation, [best] if best else [], tenant)

    def expire(self) -> None:
        """Let silent sources leave; called about once a second."""
        now, at_ms = self._clock.now(), self._clock.wall_ms()
        self._publish(self._public, self._public.expire(now, at_ms), None)
        for tenant, aggregation in self._private.items():
            self._publish(aggregation, aggregation.expire(now, at_ms), tenant)
        if self._inherited:
            self._expire_inherited(now, at_ms)

    def _expire_inherited(self, now: float, at_ms: int) -> None:
        """Say of what was live somewhere else, and is quoted by nobody here, that it is stale."""
        for (tenant, symbol), deadline in list(self._inherited.items()):
            aggregation = self._public if tenant is None else self._private.get(tenant)
            quoted = aggregation is not None and aggregation.price_of(symbol) is not None
            if quoted or now >= deadline:
                del self._inherited[tenant, symbol]
            if not quoted and now >= deadline:
                self._publisher.announce([Status(symbol, "stale", None, at_ms)], tenant)

    def resume(self) -> None:
        """Say again of what is live that it is, once it is quoted again: others had given all of it up."""
        for aggregation in (self._public, *self._private.values()):
            aggregation.unsay()

    def finish(self, feed: str) -> None:
        """Note that a feed came to its regular end."""
        self._public.finish(feed, self._clock.wall_ms())
        self._publish(self._public, [], None)

    def rest(self, feed: str, symbols: frozenset[str]) -> None:
        """Note of which symbols a feed may be silent because their market is closed."""
        self._public.rest(feed, symbols, self._clock.wall_ms())
        self._publish(self._public, [], None)

    def lack(self, symbols: Iterable[str]) -> None:
        """Note which symbols a feed cannot have; what nobody has ever quoted is said to be stale, once."""
        news = sorted(
            symbol
            for symbol in symbols
            if symbol not in self._lacking
            and symbol not in self._stated
            and self._public.state_of(symbol) is None
            and not self._publisher.has_priced(symbol)
        )[: max(0, MAX_LACKING - len(self._lacking))]
        self._lacking.update(news)
        at_ms = self._clock.wall_ms()
        self._publisher.announce([Status(symbol, "stale", None, at_ms) for symbol in news])

    def _of(self, tenant: str) -> Aggregation:
        aggregation = self._private.pop(tenant, None) or Aggregation(self._stale_after)
        self._private[tenant] = aggregation
        if len(self._private) > MAX_TENANTS:
            del self._private[next(iter(self._private))]
        return aggregation

    def _publish(self, aggregation: Aggregation, changed: Sequence[BestPrice], tenant: str | None) -> None:
        if changed:
            self._publisher.publish(changed, tenant)
        changes = aggregation.drain_transitions()
        if changes:
            self._publisher.announce(changes, tenant)


class FeedSink:
    """What one feed sees of the line.

    Args:
        name: Name of the feed.
        aggregator: Where its quotes go.
        interest: The symbols that somebody watches.
        caught_up: Waits until clients have been sent what was offered.
        on_quotes: Called with every sign of life, so that the feed's state is known.
        stale_after: Seconds after which its sources count as silent; None for the server's default.
    """

    def __init__(
        self,
        *,
        name: str,
        aggregator: Aggregator,
        interest: Interest,
        caught_up: CaughtUp,
        on_quotes: Callable[[], None],
        stale_after: float | None = None,
    ) -> None:
        self._name = name
        self._stale_after = stale_after
        self._aggregator = aggregator
        self._interest = interest
        self._caught_up = caught_up
        self._on_quotes = on_quotes

    def offer(self, quotes: Sequence[Quote]) -> None:
        """See `ports.QuoteSink.offer`."""
        self._aggregator.offer(quotes, self._name, self._stale_after)
        self._on_quotes()

    async def ready(self) -> None:
        """See `ports.QuoteSink.ready`."""
        await self._caught_up()

    async def interest(self, known: frozenset[str]) -> frozenset[str]:
        """See `ports.QuoteSink.interest`."""
        return await self._interest.differs(known)

    def alive(self) -> None:
        """See `ports.QuoteSink.alive`."""
        self._on_quotes()

    def rest(self, symbols: frozenset[str]) -> None:
        """See `ports.QuoteSink.rest`."""
        self._aggregator.rest(self._name, symbols)

    def lack(self, symbols: frozenset[str]) -> None:
        """See `ports.QuoteSink.lack`."""
        self._aggregator.lack(symbols)


_: type[QuoteSink] = FeedSink
